"""Data of a model's page: numbers and gains per task, declared training data, and the record of each task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mrb.leaderboard.tables.board import Board
from mrb.leaderboard.tables.cells import CellText, format_cell
from mrb.leaderboard.tables.pairs import list_shared_tasks
from mrb.leaderboard.tables.ranks import Rank
from mrb.leaderboard.tables.rows import SOURCE, Cell, Column, Table
from mrb.leaderboard.tables.runs import result_path
from mrb.leaderboard.tables.training_marks import TrainingMarks
from mrb.metrics.measures import HEADLINE
from mrb.results.run import Run
from mrb.results.schema import Result
from mrb.submission.schema import Submission

EXTREMES = 3
"""Length of the lists of best and worst tasks."""
NEIGHBOURS = 3
"""Runs above and below it in the table that a run's page has comparisons with."""


@dataclass(frozen=True)
class TaskLine:
    """One task of a run: first stage, run and oracle in the headline measure, and the run in the source's own measure.

    `mark` says what of the task the model was trained on; `mark_note` that it is published, or declared otherwise.
    """

    column: Column
    first: Cell
    own: Cell
    oracle: Cell
    source: Cell
    source_measure: str
    mark: str
    mark_note: str

    def format_cells(self, other_measures: bool) -> list[CellText]:
        """Return the line's cells, with the one in the source's measure if `other_measures`."""
        found = [format_cell(getattr(self, column), column=column) for column in ("first", "own", "oracle")]
        return [
            *found,
            *([format_cell(self.source, ("", self.source_measure), column="source")] if other_measures else []),
        ]


@dataclass(frozen=True)
class Place:
    """A run's rank among the `of` runs with an average of a suite's table, which is on the page `path`."""

    title: str
    path: str
    rank: Rank
    of: int


@dataclass(frozen=True)
class RecordLine:
    """How one task was run.

    `seconds` and `pairs_per_second` are None if no timing was recorded; `rankings` is the SHA-256 of a submission's
    file.
    """

    task: str
    href: str
    result: Result
    seconds: float | None
    pairs_per_second: float | None
    rankings: str | None


def list_task_lines(table: Table, run: Run, marks: TrainingMarks) -> list[TaskLine]:
    """Return a line for each task of the run's table, including those without a number."""
    headline, source = table.get_view(str(HEADLINE)), table.get_view(SOURCE)
    own, own_source = headline.row(run.name), source.row(run.name)
    first, oracle = headline.fixed
    return [
        TaskLine(
            column,
            first.cells[key],
            own.cells[key],
            oracle.cells[key],
            own_source.cells[key],
            other.measure,
            marks.get(key),
            marks.find_conflict(key) or ("published" if marks.is_published(key) else ""),
        )
        for column, other in zip(headline.columns, source.columns, strict=True)
        for key in (column.key,)
    ]


def list_averages(table: Table, run: Run, parts: Iterable[Table] = ()) -> list[tuple[str, Cell, Cell, Cell]]:
    """Return (kind of average, first stage, run, oracle) for "types" and "tasks"; empty without a suite.

    `parts` are the tables of the suite's sub-suites: of each, those averages follow that the run has.
    """
    found = []
    for one in (table, *(part for part in parts if any(run.name == other.name for other in part.runs))):
        view = one.get_view(str(HEADLINE))
        first, oracle = view.fixed
        of = "" if one is table or one.comparison.suite is None else f" of {one.comparison.suite.id}"
        for name in view.averages:
            own = view.row(run.name).cells[name]
            if not of or own.mean is not None:
                found.append((f"{name}{of}", first.cells[name], own, oracle.cells[name]))
    return found


def list_places(board: Board, run: Run) -> list[Place]:
    """Return the run's place in its table, and in those of the sub-suites in which it is."""
    found = []
    for one in (board, *(part for part in board.parts if run.name in part.sources)):
        suite = one.table.comparison.suite
        if suite is not None:
            ranks = one.standing.ranks
            ranked = sum(rank.position is not None for rank in ranks.values())
            found.append(Place(suite.title, one.get_path(one.tabs[0]), ranks[run.name], ranked))
    return found


def list_neighbours(compared: Sequence[Run], run: Run) -> list[tuple[str, str, str]]:
    """Return (name, base, other) for the pairs of the run with those nearest to it in the table, in its order.

    `compared` are the runs that have pages with each other; the base of a pair is the later one.
    """
    place = next((place for place, one in enumerate(compared) if one.name == run.name), None)
    if place is None:
        return []
    own = compared[place]
    above = [(one.name, run.name, one.name) for one in compared[:place] if list_shared_tasks(own, one)]
    below = [(one.name, one.name, run.name) for one in compared[place + 1 :] if list_shared_tasks(one, own)]
    return above[-NEIGHBOURS:] + below[:NEIGHBOURS]


def find_extremes(lines: Sequence[TaskLine]) -> tuple[list[TaskLine], list[TaskLine]]:
    """Return the tasks with the largest gains, largest first, and with the smallest, smallest first; no task is in
    both.
    """
    gained = sorted(
        (line for line in lines if line.own.gain is not None), key=lambda line: (-(line.own.gain or 0), line.column.key)
    )
    count = min(EXTREMES, len(gained) // 2)
    return gained[:count], gained[len(gained) - count :][::-1]


def list_record_lines(run: Run, submission: Submission | None) -> list[RecordLine]:
    """Return a line for each task that the run covers."""
    found = []
    for task_id, scores in run.tasks.items():
        timing = run.record.timings.get(task_id)
        seconds = timing.seconds if timing else None
        found.append(
            RecordLine(
                task_id,
                result_path(run, task_id),
                scores.result,
                seconds,
                timing.pairs / seconds if timing and seconds else None,
                submission.rankings[task_id].sha256 if submission else None,
            )
        )
    return found
