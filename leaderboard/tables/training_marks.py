"""What a run's model was trained on, task by task: as its submitter declares, else as it is published.

A published `trained-on` goes before a declaration that says otherwise, and the board shows both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mrb.rerankers.known_models import find_training_data
from mrb.results.run import Run
from mrb.submission.schema import MARKS, Submission

UNKNOWN = "unknown"


@dataclass(frozen=True)
class TrainingMarks:
    """A mark by task id. `published` holds where `declared` says nothing or unknown; `source` says who published it."""

    declared: Mapping[str, str]
    published: Mapping[str, str]
    source: str

    def get(self, task_id: str) -> str:
        """Return the task's mark, "unknown" if there is none."""
        if self.is_published(task_id) or self.find_conflict(task_id):
            return self.published[task_id]
        return self.declared.get(task_id, UNKNOWN)

    def is_published(self, task_id: str) -> bool:
        """Return whether the mark is the published one, because nothing is declared."""
        return task_id in self.published and self.declared.get(task_id, UNKNOWN) == UNKNOWN

    def find_conflict(self, task_id: str) -> str:
        """Return the two marks in words if "trained-on" is published and another mark declared, else ""."""
        mark = self.declared.get(task_id, UNKNOWN)
        if mark in (UNKNOWN, "trained-on") or self.published.get(task_id) != "trained-on":
            return ""
        return f"declared {mark}; published: trained on"

    def __contains__(self, task_id: str) -> bool:
        return task_id in self.declared or task_id in self.published

    def count(self, task_ids: Sequence[str]) -> list[tuple[str, int]]:
        """Return how many of the tasks have each mark that occurs; empty if nothing is declared or published."""
        if not any(task_id in self for task_id in task_ids):
            return []
        marks = [self.get(task_id) for task_id in task_ids]
        return [(mark, marks.count(mark)) for mark in MARKS if mark in marks]


def find_training_marks(run: Run, submission: Submission | None) -> TrainingMarks:
    """Return the marks of a run's model: those of its submission, and those that its adapter's card has."""
    reranker = run.record.reranker
    data = find_training_data(reranker.name, reranker.options)
    return TrainingMarks(
        submission.training if submission else {}, data.find_marks() if data else {}, data.source if data else ""
    )
