"""Filter lists of tasks and sum their documented sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mrb.data.task import FAMILIES, TYPES, Sample, Task
from mrb.errors import TaskError, suggest_names


@dataclass(frozen=True)
class Totals:
    """Sums over tasks.

    `gigabytes` is the sum over tasks whose download size is documented; `gigabytes_unknown` is the number of others.
    """

    tasks: int
    queries: int
    documents: int
    pairs: int
    gigabytes: float
    gigabytes_unknown: int


def filter_tasks(
    tasks: Iterable[Task], *, family: str | None = None, types: Collection[str] = (), text: str | None = None
) -> list[Task]:
    """Return the tasks that match every given filter.

    Args:
        tasks: The tasks to filter.
        family: `single`, `cross` or `fused`.
        types: Allowed types, such as `t2i`; empty allows all.
        text: Must occur in id, title, description or repository, in any case.

    Raises:
        TaskError: The family or a type does not exist.
    """
    if family is not None and family not in FAMILIES:
        raise TaskError(f"unknown family {family!r}; there are: {', '.join(FAMILIES)}")
    for name in types:
        if name not in TYPES:
            raise TaskError(f"unknown type {name!r}{suggest_names(name, TYPES)}; there are: {', '.join(TYPES)}")
    return [
        task
        for task in tasks
        if (family is None or task.family == family)
        and (not types or task.type in types)
        and (text is None or text.casefold() in _search_text(task))
    ]


def count_queries(task: Task, sample: Sample | None) -> int:
    """Return the number of queries of `task` that a suite with this sample runs."""
    return task.size.queries if sample is None else min(sample.queries, task.size.queries)


def sum_totals(tasks: Collection[Task], *, depth: int, sample: Sample | None = None) -> Totals:
    """Sum the documented sizes; a query has `depth` candidates, or all documents if there are fewer."""
    taken = {task.id: count_queries(task, sample) for task in tasks}
    known = [task.size.gigabytes for task in tasks if task.size.gigabytes is not None]
    return Totals(
        tasks=len(tasks),
        queries=sum(taken.values()),
        documents=sum(task.size.documents for task in tasks),
        pairs=sum(taken[task.id] * min(depth, task.size.documents) for task in tasks),
        gigabytes=round(sum(known), 3),
        gigabytes_unknown=len(tasks) - len(known),
    )


def _search_text(task: Task) -> str:
    words = (task.id, task.title, task.description, *(part.repository for part in task.source.parts))
    return "\n".join(words).casefold()
