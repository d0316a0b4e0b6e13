"""One task of a run as plain data, and the plan made of it: alike in the process that asks and in those that score."""

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
    """A task, how deep, of which list (`candidates` as `mrb run --candidates` takes it) and which of its queries."""

    task: Task
    depth: int
    candidates: Path | None
    limit: int | None
    sample: Sample | None


def open_plan(choice: Choice) -> Plan:
    """Load the task's list and data, checked against each other, and plan it. CandidatesError, DataError: by name."""
    candidates = load_candidates(choice.task, choice.candidates, choice.depth)
    data = load_task_data(choice.task, needed=needed(candidates))
    check_ids(candidates, data.queries.rows, data.corpus.rows, f"candidates of {choice.task.id}")
    return make_plan(data, candidates, choice.depth, limit=choice.limit, sample=choice.sample)
