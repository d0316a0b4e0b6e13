"""Columns and rows of a table in one measure, as plain values for the templates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby
from typing import NamedTuple

from mrb._util.format import format_tasks
from mrb.data.task import FAMILY_OF_TYPE, Task
from mrb.leaderboard.tables.runs import result_path
from mrb.leaderboard.tables.table_grouping import TableGroup
from mrb.metrics.measures import HEADLINE, MEASURES
from mrb.results.run import DIFFERENT, Average, Row, Run, average_numbers, average_over_tasks, average_over_types
from mrb.results.schema import Interval, Measures

SOURCE = "source"
"""The view in which each task has the measure that its source uses."""
AVERAGE_TYPES, AVERAGE_TASKS = "types", "tasks"
COMMON = "common"
"""The mean over the tasks that every run of the table has. It is no average of the suite, and shown on demand."""
SEVERAL_SETS = "lists of several candidate sets"
"""Why a run has neither average nor rank."""
_AVERAGES = {AVERAGE_TYPES: average_over_types, AVERAGE_TASKS: average_over_tasks}


class Cell(NamedTuple):
    """One number with its interval and its gain over the first stage, all fractions, and the file it comes from.

    `mean` is None for a blank; `note` says why.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    gain: float | None = None
    href: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Column:
    """A column of numbers. `key` names it in the page's address; `queries` is 0 if no run covers the task."""

    key: str
    title: str
    type: str
    family: str
    measure: str
    queries: int


@dataclass(frozen=True)
class TableRow:
    """A row. `role` is "run", "first stage" or "oracle"; `cells` has one entry per column key."""

    key: str
    role: str
    cells: dict[str, Cell]
    done: int
    of: int


@dataclass(frozen=True)
class View:
    """One table in one measure (or in each task's own, `SOURCE`)."""

    measure: str
    columns: tuple[Column, ...]
    averages: tuple[str, ...]
    fixed: tuple[TableRow, ...]
    rows: tuple[TableRow, ...]

    @property
    def families(self) -> list[tuple[str, int]]:
        """The families of the columns in order, each with the number of columns it spans."""
        return _count_spans([column.family for column in self.columns])

    @property
    def types(self) -> list[tuple[str, int]]:
        """The types of the columns in order, each with the number of columns it spans."""
        return _count_spans([column.type for column in self.columns])

    @cached_property
    def best(self) -> dict[str, str]:
        """The best number of each column as text, where two rows or more have one: what shows the same is as good."""
        found = {}
        for key in self.rows[0].cells if self.rows else ():
            means = [mean for row in self.rows if (mean := row.cells[key].mean) is not None]
            if len(means) > 1:
                found[key] = f"{100 * max(means):.2f}"
        return found

    def row(self, key: str) -> TableRow:
        """Return the run's row with that key."""
        return self._rows[key]

    @cached_property
    def _rows(self) -> dict[str, TableRow]:
        return {row.key: row for row in self.rows}


@dataclass(frozen=True)
class Table:
    """A comparison as the page shows it. Rows are ordered by the headline's average over types."""

    comparison: TableGroup

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """The runs, best first by the headline's average over types; those without an average last, by name."""
        return tuple(sorted(self.comparison.runs, key=self._place))

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """The measures that occur: the headline first, then in the order of the engine's list."""
        found = {name for run in self.runs for scores in run.tasks.values() for name in scores.result.measures}
        known = [str(HEADLINE), *(str(measure) for measure in MEASURES if measure != HEADLINE)]
        return tuple(name for name in known if name in found) + tuple(sorted(found.difference(known)))

    @cached_property
    def views(self) -> tuple[View, ...]:
        """The table in the headline, in each source's own measure, and in every other measure."""
        first, *others = self.measures
        return tuple(self.get_view(measure) for measure in (first, SOURCE, *others))

    def get_view(self, measure: str) -> View:
        """Return the view in `measure`, computed on first use and cached. `compute_view` computes it each time."""
        if measure not in self._views:
            self._views[measure] = self.compute_view(measure)
        return self._views[measure]

    @cached_property
    def _views(self) -> dict[str, View]:
        return {}

    @cached_property
    def type_names(self) -> tuple[str, ...]:
        """The types of the columns, in their fixed order."""
        return tuple(dict.fromkeys(task.type for task in self.comparison.tasks))

    def list_tasks_of_type(self, type_name: str) -> tuple[str, ...]:
        """Return the ids of the columns of one type."""
        return tuple(task.id for task in self.comparison.tasks if task.type == type_name)

    def compute_view(self, measure: str) -> View:
        """Compute the table of tasks in `measure`.

        Averages exist only if a suite fixes the tasks, never over several measures.
        """
        columns = tuple(self._make_column(task, measure) for task in self.comparison.tasks)
        averages = tuple(_AVERAGES) if self.comparison.suite is not None and measure != SOURCE else ()

        def row(run: Run, kind: Row) -> TableRow:
            cells = {column.key: self._make_task_cell(run, column, kind) for column in columns}
            for name in averages:
                found = compute_average(run, self.comparison.task_ids, measure, _AVERAGES[name], kind)
                cells[name] = _make_average_cell(found, name)
            return _make_row(run, kind, cells, sum(column.key in run.tasks for column in columns), len(columns))

        return self._make_view(measure, columns, averages, row)

    def get_type_view(self) -> View:
        """Return the table of types in the headline: the mean over each type's tasks, blank if one is missing.

        It is cached: every model's page shows a row of it.
        """
        return self._by_type

    @cached_property
    def _by_type(self) -> View:
        measure = str(HEADLINE)
        columns = tuple(
            Column(name, format_tasks(len(self.list_tasks_of_type(name))), name, FAMILY_OF_TYPE[name], measure, 0)
            for name in self.type_names
        )

        def row(run: Run, kind: Row) -> TableRow:
            means = {
                c.key: compute_average(run, self.list_tasks_of_type(c.key), measure, average_over_tasks, kind)
                for c in columns
            }
            cells = {key: _make_average_cell(found, AVERAGE_TASKS) for key, found in means.items()}
            return _make_row(run, kind, cells, sum(c.mean is not None for c in cells.values()), len(columns))

        return self._make_view(measure, columns, (), row)

    def _make_view(
        self,
        measure: str,
        columns: tuple[Column, ...],
        averages: tuple[str, ...],
        row: Callable[[Run, Row], TableRow],
    ) -> View:
        first, oracle = (row(self._reference, kind) for kind in ("first_stage", "oracle"))
        rows = tuple(_add_gains(row(run, "measures"), first) for run in self.runs)
        return View(measure, columns, averages, (first, oracle), rows)

    @cached_property
    def families(self) -> tuple[str, ...]:
        """The families of the columns, in their fixed order."""
        return tuple(dict.fromkeys(task.family for task in self.comparison.tasks))

    @cached_property
    def common(self) -> tuple[str, ...]:
        """The tasks that every run with a result has, in the columns' order."""
        there = [run.tasks.keys() for run in self.runs if run.tasks]
        return tuple(task_id for task_id in self.comparison.task_ids if all(task_id in tasks for tasks in there))

    def compute_summary(self, measure: str) -> View:
        """Return the table of averages in `measure`: over types, over tasks and over the common tasks, of each family
        over its types, of each type over its tasks.

        An average is blank if one of its tasks is missing. A sub-suite has none of families.
        """
        suite = self.comparison.suite
        # A sub-suite holds a part of a family, and an average of a family is over the whole of it.
        families = self.families if suite is not None and suite.part_of is None else ()
        of_family = {name: self._list_tasks_where(family=name) for name in families}
        of_type = {name: self.list_tasks_of_type(name) for name in self.type_names}
        columns = (
            *(Column(key, key, "", key, measure, 0) for key in of_family),
            *(
                Column(key, format_tasks(len(ids)), key, FAMILY_OF_TYPE[key], measure, 0)
                for key, ids in of_type.items()
            ),
        )

        known = self.get_view(measure)
        fixed = dict(zip(("first_stage", "oracle"), known.fixed, strict=True))

        def row(run: Run, kind: Row) -> TableRow:
            over_all = known.row(run.name) if kind == "measures" else fixed[kind]
            cells = {name: over_all.cells[name] for name in known.averages}
            cells[COMMON] = self._make_common_cell(run, measure, kind)
            for name, ids in of_family.items():
                cells[name] = _make_average_cell(
                    compute_average(run, ids, measure, average_over_types, kind), AVERAGE_TYPES
                )
            for name, ids in of_type.items():
                cells[name] = _make_average_cell(
                    compute_average(run, ids, measure, average_over_tasks, kind), AVERAGE_TASKS
                )
            done = sum(task_id in run.tasks for task_id in self.comparison.task_ids)
            return _make_row(run, kind, cells, done, len(self.comparison.task_ids))

        return self._make_view(measure, columns, (*known.averages, COMMON), row)

    def _list_tasks_where(self, family: str) -> tuple[str, ...]:
        return tuple(task.id for task in self.comparison.tasks if task.family == family)

    def _make_common_cell(self, run: Run, measure: str, kind: Row) -> Cell:
        """Return the plain mean over the common tasks, without an interval, which only averages of a suite have."""
        if not self.common:
            return Cell(None, note="no task that all have")
        if any(task_id not in run.tasks for task_id in self.common):
            return Cell(None, note="not run")
        if not run.alike and len({run.tasks[task_id].result.candidates.track for task_id in self.common}) > 1:
            return Cell(None, note=SEVERAL_SETS)
        found = [getattr(run.tasks[task_id].result, kind) for task_id in self.common]
        if any(measure not in measures for measures in found):
            return Cell(None, note=f"a result does not hold {measure}")
        return Cell(average_numbers([measures[measure].mean for measures in found]))

    @cached_property
    def _reference(self) -> Run:
        """All covered tasks as one run, from which first stage and oracle are read."""
        found = {task_id: scores for task_id, (_, scores) in self.comparison.reference.items()}
        return replace(self.comparison.runs[0], tasks=found)

    def _place(self, run: Run) -> tuple[bool, float, str]:
        mean = compute_average(run, self.comparison.task_ids, str(HEADLINE), average_over_types).mean
        return (mean is None, -(mean or 0.0), run.name)

    def _make_column(self, task: Task, measure: str) -> Column:
        covered = self.comparison.reference.get(task.id)
        return Column(
            key=task.id,
            title=task.title,
            type=task.type,
            family=task.family,
            measure=task.source_measure if measure == SOURCE else measure,
            queries=covered[1].result.counts.queries if covered else 0,
        )

    def _make_task_cell(self, run: Run, column: Column, row: Row) -> Cell:
        scores = run.tasks.get(column.key)
        if scores is None:
            refused = {item.task for item in run.record.not_covered}
            if row != "measures":
                return Cell(None, note="no run")
            return Cell(None, note="not covered" if column.key in refused else "not run")
        found: Measures = getattr(scores.result, row)
        if column.measure not in found:
            return Cell(None, note=f"this result does not hold {column.measure}")
        owner = run if row == "measures" else self.comparison.reference[column.key][0]
        return _make_cell(found[column.measure].mean, found[column.measure], href=result_path(owner, column.key))


def compute_average(
    run: Run, task_ids: tuple[str, ...], measure: str, over: Callable[..., Average], row: Row = "measures"
) -> Average:
    """Return `over` (one of the engine's two averages); a task whose result lacks the measure counts as missing."""
    if measure in _list_common_measures(run):
        return over(run, task_ids, measure, row)
    there = {i: scores for i, scores in run.tasks.items() if i not in task_ids or measure in scores.result.measures}
    return over(replace(run, tasks=there), task_ids, measure, row)


@lru_cache(maxsize=4096)
def _list_common_measures(run: Run) -> frozenset[str]:
    """Return the measures that every result of the run holds."""
    held = [scores.result.measures.keys() for scores in run.tasks.values()]
    return frozenset(held[0]).intersection(*held[1:]) if held else frozenset()


def _make_cell(mean: float, interval: Interval | None, href: str | None = None) -> Cell:
    if interval is None:
        return Cell(mean, href=href)
    return Cell(mean, interval.low, interval.high, href=href)


def _make_average_cell(found: Average, over: str) -> Cell:
    if found.mean is None:
        missing = f"only {found.done} of {found.of} {over}" if found.done else "no result"
        return Cell(None, note=missing if found.done < found.of else DIFFERENT)
    return _make_cell(found.mean, found.interval)


def _make_row(run: Run, row: Row, cells: dict[str, Cell], done: int, of: int) -> TableRow:
    if row == "measures":
        return TableRow(run.name, "run", cells, done, of)
    return TableRow(row.replace("_", "-"), row.replace("_", " "), cells, done, of)


def _add_gains(row: TableRow, first: TableRow) -> TableRow:
    """Return `row` with each cell's difference to the first stage, if both exist."""
    cells = dict(row.cells)
    for key, (mean, low, high, _, href, note) in row.cells.items():
        base = first.cells[key].mean
        if mean is not None and base is not None:
            cells[key] = Cell(mean, low, high, mean - base, href, note)
    return replace(row, cells=cells)


def _count_spans(names: list[str]) -> list[tuple[str, int]]:
    return [(name, len(list(group))) for name, group in groupby(names)]
