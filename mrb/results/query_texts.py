"""What stands behind queries of a comparison: the query's text, and the document that each run puts first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrb.data.corpus_subset import NOTHING
from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.data.pull_data import is_local
from mrb.data.task import Task
from mrb.data.task_data import TaskData
from mrb.errors import MRBError
from mrb.metrics.ranking import rank_candidates
from mrb.results.export import read_lists
from mrb.results.run import Run

IMAGE = "[image]"


@dataclass(frozen=True)
class QueryText:
    """A query's content, and the first document of each run: its id, and its content where the corpus is loaded.

    Contents are texts of the data, not safe for a terminal; an image stands as `[image]`, several as
    `[3 images]`. `first` is empty for a run
    that holds no scores, such as a submission.
    """

    query: str
    first: tuple[str, ...]


def read_query_texts(runs: Sequence[Run], wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], QueryText]:
    """Return the texts of queries, as far as the data of their tasks is on this machine.

    Only data on this machine is read, and of a task on the Hub only its queries: its documents are named by id.

    Args:
        runs: Runs that have the tasks.
        wanted: (task id, query id) of each query.

    Returns:
        The texts by (task id, query id), without those of tasks whose data is not here or is damaged.
    """
    by_task: dict[str, list[str]] = {}
    for task_id, query_id in wanted:
        by_task.setdefault(task_id, []).append(query_id)
    found = {}
    for task_id, query_ids in by_task.items():
        try:
            task = runs[0].tasks[task_id].task
            if not is_local(task):
                continue
            data = load_task_data(task, needed=NOTHING)
            first = [_find_first(run, task_id, set(query_ids)) for run in runs]
            for query_id in query_ids:
                heads = tuple(_describe_document(task, data, heads[query_id]) for heads in first if query_id in heads)
                query = _describe_item(data.queries.item(query_id))
                found[task_id, query_id] = QueryText(query, heads if len(heads) == len(runs) else ())
        except MRBError:  # data that is missing or damaged leaves the comparison as it is
            continue
    return found


def _find_first(run: Run, task_id: str, query_ids: set[str]) -> Mapping[str, str]:
    """Return the first document of each query, empty if the run holds no scores."""
    found = {}
    try:
        for query_id, doc_ids, scores in read_lists(run, task_id):
            if query_id in query_ids:
                order = rank_candidates(task_id, query_id, doc_ids, scores, failed=np.isnan(scores))
                found[query_id] = doc_ids[int(order[0])]
    except MRBError:
        return {}
    return found


def _describe_document(task: Task, data: TaskData, doc_id: str) -> str:
    return doc_id if task.source.kind == "hub" else f"{doc_id}: {_describe_item(data.corpus.item(doc_id))}"


def _describe_item(item: Item) -> str:
    count = len(item.images)
    images = IMAGE if count == 1 else f"[{count} images]" if count else ""
    return " ".join(part for part in (images, item.text) if part)
