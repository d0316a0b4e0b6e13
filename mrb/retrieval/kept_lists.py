"""The manifest that is written next to a candidate list, and the reuse of a list that an earlier command made.

Before a list is reused, a few of its pairs are scored again by each encoder that made it: what an encoder states of
itself does not cover weights that were trained again into the same folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrb._util.files import read_json
from mrb._util.redact import redact
from mrb.candidates.lists import Candidates, Provenance, read_parquet
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, MRBError
from mrb.retrieval.dense import Dense
from mrb.retrieval.encoding import CHECKED, TOLERANCE
from mrb.retrieval.first_stage import collect_dense, describe_retriever, states_identity
from mrb.retrieval.fusion import Fusion
from mrb.retrieval.retriever import Float32, Retriever


@dataclass(frozen=True)
class KeptList:
    """A list that an earlier command made, with the scores that each encoder gave to a few of its pairs.

    `scores` is {name of the encoder: scores of `documents` for `query`}. The largest accepted difference is TOLERANCE
    times `scale`, or times the largest of the scores if it is None.
    """

    path: Path
    candidates: Candidates
    query: str
    documents: list[str]
    scores: Mapping[str, Sequence[float]]
    scale: float | None = None

    def verify(self, data: TaskData, retriever: Retriever) -> None:
        """Score the pairs again. Raises AdapterError, which names the pair, if one has another score."""
        for dense in collect_dense(retriever):
            name = dense.writer.name
            if name not in self.scores:  # it does not cover the task
                continue
            before = np.array(self.scores[name])
            now = _score_pairs(dense, data, self.query, self.documents)
            worst = int(np.argmax(np.abs(now - before)))
            if abs(now[worst] - before[worst]) > TOLERANCE * (self.scale or float(np.abs(before).max())):
                raise AdapterError(
                    f"{self.path}: task {data.task.id}, query {self.query!r}, document {self.documents[worst]!r} "
                    f"scored {before[worst]:.6g} by {name} and scores {now[worst]:.6g} now: not the same model's; "
                    "--fresh makes the list again"
                )


def make_manifest(
    data: TaskData,
    candidates: Candidates,
    retriever: Retriever,
    options: Mapping[str, str],
    failed: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Return the manifest of a list that `retriever` has just made with `options`.

    It names no time and no machine, so the same command writes the same bytes. `failed` are the ids of queries and
    documents that could not be encoded, by kind; it is left out if empty. A fused list has the encoders' scores of a
    few pairs under `sample`, because its own scores are not those of the encoders.
    """
    manifest = _describe_list(candidates.provenance, candidates.sha256, retriever, options, failed)
    if not isinstance(retriever, Fusion) or not collect_dense(retriever):
        return manifest
    dense = [part for part in collect_dense(retriever) if part.covers(data)]
    missing = {kind: frozenset(ids) for kind, ids in failed.items()}
    for number, (query_id, doc_ids, _) in enumerate(candidates.lists()):
        rows = [row for row, doc_id in enumerate(doc_ids) if doc_id not in missing.get("documents", ())][:CHECKED]
        if rows and query_id not in missing.get("queries", ()):
            chosen = [doc_ids[row] for row in rows]
            # Four digits hide the rounding that depends on the number of threads.
            scores = {
                part.writer.name: [float(f"{score:.4g}") for score in _score_pairs(part, data, query_id, chosen)]
                for part in dense
            }
            return {**manifest, "sample": {"list": number, "positions": rows, "scores": scores}}
    return manifest


def load_kept_list(
    path: Path, made: Provenance, retriever: Retriever, options: Mapping[str, str], allowed: int
) -> KeptList | None:
    """Return the list in `path` if building it again would give the same manifest. Its pairs are not verified yet.

    Returns None if the manifest differs, a file is missing or damaged, more than `allowed` items have failed, or there
    is no pair to verify. A list of a retriever without an encoder is reused if the retriever states a `version`; it has
    no pairs to verify.
    """
    manifest_path = path.with_suffix(".manifest.json")
    if not states_identity(retriever) or not manifest_path.is_file() or not path.is_file():
        return None
    try:
        manifest = read_json(manifest_path)
        candidates = read_parquet(path)
        sample = manifest.pop("sample", None)
        failed = manifest.get("failed", {})
        if sum(len(ids) for ids in failed.values()) > allowed:
            return None
        if manifest != _describe_list(made, candidates.sha256, retriever, options, failed):
            return None
        if not collect_dense(retriever):
            return KeptList(path, candidates, "", [], {})
        lists = list(candidates.lists())
        if isinstance(retriever, Dense):
            query_id, doc_ids, values = lists[0]
            scores = {retriever.writer.name: values[:CHECKED].tolist()}
            return KeptList(path, candidates, query_id, doc_ids[:CHECKED], scores, float(np.abs(values).max()))
        query_id, doc_ids, _ = lists[sample["list"]]
        return KeptList(path, candidates, query_id, [doc_ids[row] for row in sample["positions"]], sample["scores"])
    except (MRBError, AttributeError, IndexError, KeyError, TypeError):  # the last four: not a manifest of this version
        return None


def _describe_list(
    made: Provenance, sha256: str, retriever: Retriever, options: Mapping[str, str], failed: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    found: dict[str, Any] = redact(
        {
            "schema_version": 2,
            **made.model_dump(),
            "options": dict(options),
            "sha256": sha256,
            **describe_retriever(retriever),
            **({"failed": dict(failed)} if failed else {}),
        }
    )
    return found


def _score_pairs(dense: Dense, data: TaskData, query_id: str, doc_ids: Sequence[str]) -> Float32:
    """Encode a query and documents, and return the inner products."""
    (query,) = dense.writer.encode(data, "queries", [query_id])
    scores: Float32 = dense.writer.encode(data, "documents", doc_ids) @ query
    return scores
