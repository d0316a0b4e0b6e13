"""The manifest that `mrb candidates make` writes next to a candidate list: its provenance and its retriever."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrb._util.files import read_json
from mrb._util.redact import redact
from mrb.candidates.lists import Candidates, Provenance, read_parquet
from mrb.errors import MRBError
from mrb.retrieval.first_stage import describe
from mrb.retrieval.retriever import Retriever


def manifest(
    made: Provenance, sha256: str, retriever: Retriever, options: Mapping[str, str], failed: Mapping[str, list[str]]
) -> dict[str, Any]:
    """Return the manifest of a list with the hash `sha256`.

    It names no time and no machine, so the same command writes the same bytes. `failed` are the ids of queries and
    documents that could not be encoded, by kind; it is left out if empty.
    """
    found: dict[str, Any] = redact(
        {
            "schema_version": 1,
            **made.model_dump(),
            "options": dict(options),
            "sha256": sha256,
            **describe(retriever),
            **({"failed": dict(failed)} if failed else {}),
        }
    )
    return found


def held(
    path: Path, made: Provenance, retriever: Retriever, options: Mapping[str, str], allowed: int
) -> Candidates | None:
    """Return the list in `path` if building it again would give the same manifest.

    Returns None if the manifest differs, a file is missing or damaged, or more than `allowed` items have failed. What
    the retriever does not state cannot be compared, so call it only for retrievers that state their weights.
    """
    beside = path.with_suffix(".manifest.json")
    if not beside.is_file() or not path.is_file():
        return None
    try:
        found = read_json(beside)
        candidates = read_parquet(path)
    except MRBError:
        return None
    failed = found.get("failed", {})
    if sum(len(ids) for ids in failed.values()) > allowed:
        return None
    return candidates if found == manifest(made, candidates.sha256, retriever, options, failed) else None
