"""Write candidate lists in the forms that mteb reads: its `top_ranked` tables, and its prediction files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mrb._util.files import open_atomically
from mrb.candidates.lists import Candidates, check_task
from mrb.candidates.task_scores import PREDICTIONS, IdForms, find_id_forms
from mrb.data.mteb_facts import load_mteb_names
from mrb.data.task import Task
from mrb.errors import CandidatesError

TOP_RANKED = "top_ranked"
_SCHEMA = pa.schema([("query-id", pa.string()), ("corpus-ids", pa.list_(pa.string()))])


def write_top_ranked(candidates: Candidates, task: Task, folder: Path) -> list[Path]:
    """Write the list as a data set's config `top_ranked`: a row per query, its documents in order, without scores.

    mteb reads the table from such a folder, or from a data set that got the table and the lines of the README.
    The ids are those of the source's tables.

    Args:
        candidates: The list.
        task: Its task.
        folder: The folder of the data set; of a task with several parts, the folder of theirs.

    Returns:
        The tables. A README is written beside each where there is none.

    Raises:
        CandidatesError: The list is of another task.
    """
    check_task(candidates.provenance, task, task.id)
    written = []
    for part in task.source.parts:
        split, place = part.qrels.split, folder / part.name if len(task.source.parts) > 1 else folder
        rows = list(_collect(candidates, replace(find_id_forms(task, part), query="", document="")))
        columns = [[query_id for query_id, _ in rows], [doc_ids for _, doc_ids in rows]]
        path = place / TOP_RANKED / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_atomically(path) as file:
            pq.write_table(pa.table(columns, schema=_SCHEMA), file)
        written.append(path)
        if not (readme := place / "README.md").exists():
            with open_atomically(readme) as file:
                file.write(_format_readme(candidates, split).encode())
    return written


def write_predictions(candidates: Candidates, task: Task, folder: Path) -> list[Path]:
    """Write the list as mteb's prediction files, one per part of the task, named after mteb's task.

    `task.convert_to_reranking(folder, top_k)` of mteb then reranks this list. Ids are as mteb's loaders make them.

    Args:
        candidates: The list.
        task: Its task, one that mteb has.
        folder: The prediction folder.

    Returns:
        The files.

    Raises:
        CandidatesError: The list is of another task, or mteb has no such set, or divides its queries by language.
    """
    check_task(candidates.provenance, task, task.id)
    names = load_mteb_names().same.get(task.id)
    if names is None or len(task.languages) > 1:
        why = "has no set that is known as" if names is None else "divides by language the queries of"
        raise CandidatesError(f"mteb {why} {task.id}; --format top_ranked is a table of any task")
    made = candidates.provenance
    written = []
    for part, name in zip(task.source.parts, names, strict=True):
        lists = _collect_scores(candidates, find_id_forms(task, part))
        meta = {"model_name": made.first_stage, "revision": candidates.sha256}
        content: dict[str, Any] = {"mteb_model_meta": meta, "default": {part.qrels.split: lists}}
        path = folder / f"{name}{PREDICTIONS}"
        folder.mkdir(parents=True, exist_ok=True)
        with open_atomically(path) as file:
            file.write(json.dumps(content, ensure_ascii=False, allow_nan=False).encode())
        written.append(path)
    return written


def _collect(candidates: Candidates, ids: IdForms) -> Iterator[tuple[str, list[str]]]:
    """Yield (query id, document ids) of the queries of a part, with the ids as `ids` writes them."""
    for query_id, doc_ids, _ in candidates.lists():
        if query_id.startswith(ids.part):
            yield ids.write_query(query_id), [ids.write_document(doc_id) for doc_id in doc_ids]


def _collect_scores(candidates: Candidates, ids: IdForms) -> dict[str, dict[str, float]]:
    # mteb sorts by score and keeps the file's order where scores are equal, which is the list's.
    return {
        ids.write_query(query_id): {
            ids.write_document(doc_id): float(score) for doc_id, score in zip(doc_ids, scores, strict=True)
        }
        for query_id, doc_ids, scores in candidates.lists()
        if query_id.startswith(ids.part)
    }


def _format_readme(candidates: Candidates, split: str) -> str:
    made = candidates.provenance
    return f"""---
configs:
- config_name: {TOP_RANKED}
  data_files:
  - split: {split}
    path: {TOP_RANKED}/{split}-*
---
Candidates of the task {made.task}, by {made.first_stage}, at most {made.depth} per query; data at {made.revision}.
"""
