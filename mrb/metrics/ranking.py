"""The ranking rule: float32 scores descending, ties in the fixed hash order of the candidates.

Every rank by a reranker's scores is computed here (`candidates/top_k.py` applies the same rule to a search), so that no
library's tie rule (document id, insertion order, sort order) decides a
result. `docs/scoring.md` gives the reason, `docs/design/scoring.md` lists the tests that guard the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mrb._util.hashing import compute_tie_hashes
from mrb.errors import AdapterError

Float32 = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]


def rank_candidates(
    task_id: str,
    query_id: str,
    doc_ids: Sequence[str],
    scores: npt.ArrayLike,
    *,
    failed: npt.NDArray[np.bool_] | None = None,
    ties: Positions | None = None,
) -> Positions:
    """Return the positions of `doc_ids` in rank order, best first: int64[n].

    Scores descend. Equal scores (0.0 and -0.0 are equal) are in the order of `compute_tie_hash`, then of the document
    id. The order of `doc_ids` and the ids of other candidates have no influence.

    Args:
        task_id: The task, an input of the tie hash.
        query_id: The query, an input of the tie hash.
        doc_ids: The candidates, which must be distinct.
        scores: float32[n], higher is better. Other number types are rounded to float32, as in a journal, so that a
            resumed run ranks the same.
        failed: bool[n], pairs without a score. They are ranked last, in hash order; their `scores` are ignored.
        ties: int64[n], the hash order of all candidates where it is known and their ids are not.

    Raises:
        AdapterError: A score is missing, NaN, infinite or too large for float32 (names task, query and candidate).
    """
    values = _check_scores(task_id, query_id, doc_ids, scores, failed)
    order = np.argsort(-values, kind="stable").astype(np.int64, copy=False)
    ranked = values[order]
    same = ranked[1:] == ranked[:-1]
    if same.any():
        # Hashes are computed only for ties, because equal scores are rare.
        borders = np.flatnonzero(np.concatenate(([True], ~same, [True])))
        for start, stop in pairwise(borders.tolist()):
            if stop - start > 1:
                tied = order[start:stop].copy()
                if ties is None:
                    order[start:stop] = tied[order_ties(task_id, query_id, [doc_ids[position] for position in tied])]
                else:
                    order[start:stop] = ties[np.isin(ties, tied)]
    return order


def order_ties(task_id: str, query_id: str, doc_ids: Sequence[str]) -> Positions:
    """Return the positions of `doc_ids` in hash order, int64[n].

    This order breaks ties, and a pointwise adapter gets the candidates in it.
    """
    keyed = sorted(zip(compute_tie_hashes(task_id, query_id, doc_ids), doc_ids, range(len(doc_ids)), strict=True))
    return np.array([position for _, _, position in keyed], dtype=np.int64)


def has_tie_at_cutoff(ranked_scores: Float32, cutoff: int) -> bool:
    """Return whether the ranks `cutoff` and `cutoff` + 1 have the same score, so that the hash decides between them.

    `ranked_scores` is float32[n], one query's scores in rank order. False if the list is not longer than the cutoff.
    """
    if cutoff < 1:
        raise ValueError(f"a cutoff is at least 1, not {cutoff}")
    return len(ranked_scores) > cutoff and bool(ranked_scores[cutoff - 1] == ranked_scores[cutoff])


def _check_scores(
    task_id: str,
    query_id: str,
    doc_ids: Sequence[str],
    scores: npt.ArrayLike,
    failed: npt.NDArray[np.bool_] | None,
) -> Float32:
    """Return `scores` as float32[n], failed pairs as minus infinity; AdapterError if they are not n finite numbers."""
    where = f"task {task_id}, query {query_id!r}"
    try:
        if isinstance(scores, np.ndarray) and scores.dtype == np.float32:
            values = scores.copy()
        else:
            with np.errstate(over="ignore"):  # an overflow becomes infinite and is refused below
                values = np.array(scores, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise AdapterError(f"{where}: the scores are not a list of numbers: {error}") from error
    if values.ndim != 1:
        raise AdapterError(f"{where}: scores of shape {values.shape}; return one number for each candidate")
    if len(values) != len(doc_ids):
        missing = f", none for candidate {doc_ids[len(values)]!r}" if len(values) < len(doc_ids) else ""
        raise AdapterError(f"{where}: {len(values)} scores for {len(doc_ids)} candidates{missing}")
    if failed is not None:
        values[failed] = 0.0
    finite = np.isfinite(values)
    if not finite.all():
        bad = int(np.argmin(finite))
        raise AdapterError(
            f"{where}, candidate {doc_ids[bad]!r}: the score is {values[bad]}; it must be a finite float32 number"
        )
    if failed is not None:
        values[failed] = -np.inf
    return values
