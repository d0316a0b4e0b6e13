"""The specification of one task of a run. The main process and its workers load the same plan from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mrb.candidates.lists import check_ids
from mrb.data.load import load_task_data
from mrb.data.task import Sample, Task
from mrb.evaluation.plan import Plan, make_plan
from mrb.evaluation.selection import load_candidates, needed


@dataclass(frozen=True)
class Choice:
    """A task with depth, candidate list and choice of queries.

    `candidates` is a file or a folder, as in `mrb run --candidates`, or None for the frozen list. `limit` and `sample`
    are those of `make_plan`.
    """

    task: Task
    depth: int
    candidates: Path | None
    limit: int | None
    sample: Sample | None


def open_plan(choice: Choice) -> Plan:
    """Load the task's candidate list and data, check them against each other, and return the plan.

    Raises:
        CandidatesError: The list is missing, does not fit the task, or names an unknown query or document.
        DataError: The data cannot be loaded or is damaged.
    """
    candidates = load_candidates(choice.task, choice.candidates, choice.depth)
    data = load_task_data(choice.task, needed=needed(candidates))
    check_ids(candidates, data.queries.rows, data.corpus.rows, f"candidates of {choice.task.id}")
    return make_plan(data, candidates, choice.depth, limit=choice.limit, sample=choice.sample)
