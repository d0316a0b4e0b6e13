"""The common order of first-stage lists: score descending, ties by a fixed hash."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mrb._util.hashing import compute_tie_hashes
from mrb.errors import CandidatesError

Float32 = npt.NDArray[np.float32]


def select_top_k(
    task_id: str, query_id: str, doc_ids: Sequence[str], scores: Float32, depth: int
) -> tuple[list[str], Float32]:
    """Select the top `depth` documents: score descending, equal scores by `compute_tie_hash` ascending.

    The result does not depend on the order of the input. The hash is computed for tied documents only, because it costs
    more than the search.

    Args:
        task_id: The task's id, which enters the tie hash.
        query_id: The query's id, which enters the tie hash.
        doc_ids: The documents.
        scores: Their scores, in the same order.
        depth: The largest number of documents to return.

    Returns:
        (document ids, float32 scores), best first.

    Raises:
        CandidatesError: A score is not finite.
    """
    # Adding 0 turns -0.0 into 0.0: they compare equal, but their bits differ, and the list's hash covers the bits.
    values = np.asarray(scores, dtype=np.float32) + np.float32(0)
    if not np.isfinite(values).all():
        raise CandidatesError(f"task {task_id}, query {query_id!r}: the first stage gave a score that is not finite")
    kept = np.arange(len(values))
    if depth < len(values):
        worst = np.partition(values, len(values) - depth)[len(values) - depth]
        kept = np.flatnonzero(values >= worst)
    order = kept[np.argsort(-values[kept], kind="stable")]
    ranked = values[order]
    names = [doc_ids[row] for row in order]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(ranked)) + 1, [len(names)]])
    for run in np.flatnonzero(np.diff(starts) > 1).tolist():
        tied = names[starts[run] : starts[run + 1]]
        hashes = compute_tie_hashes(task_id, query_id, tied)
        names[starts[run] : starts[run + 1]] = [name for _, name in sorted(zip(hashes, tied, strict=True))]
    return names[:depth], ranked[:depth]
