"""A table as its pages show it: tabs, columns, and every row as cells.

A table has a tab of averages and tabs of its tasks. Each tab is one or more pages, so that everything can be read
without a script. The same rows are written to `data/rows/`, in every measure, for the script that sorts and filters the
whole table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from mrb.leaderboard.page import TYPE_WORDS, get_task_path
from mrb.leaderboard.tables import fact_columns
from mrb.leaderboard.tables.cells import (
    BLANK,
    NO_INTERVAL,
    CellText,
    format_cell,
    format_signed,
    gain_class,
    list_row_notes,
    make_blank,
)
from mrb.leaderboard.tables.fact_columns import CONFLICT_LETTER, MARK_LETTERS, RowSource
from mrb.leaderboard.tables.finding import FACETS, join_words
from mrb.leaderboard.tables.gain_tests import compute_gains
from mrb.leaderboard.tables.lead import describe_lead, describe_ranks
from mrb.leaderboard.tables.ranks import Standing
from mrb.leaderboard.tables.rows import AVERAGE_TASKS, AVERAGE_TYPES, COMMON, SOURCE, Table, TableRow, View
from mrb.leaderboard.tables.rows_html import render_fixed_row, render_row
from mrb.leaderboard.tables.training_marks import TrainingMarks
from mrb.metrics.measures import HEADLINE
from mrb.metrics.significance import Difference
from mrb.results.run import Run

PAGE_ROWS = 100
"""Rows per page."""
SUMMARY, TASKS = "overview", "tasks"
_TITLES = {AVERAGE_TYPES: "over types", AVERAGE_TASKS: "over tasks", COMMON: "over common tasks"}


@dataclass(frozen=True)
class Head:
    """A column's head: `key` in addresses and data, title, small line, group of columns, link of the title, whether the
    column is sorted as text, and whether it is shown by default.
    """

    key: str
    title: str
    group: str = ""
    small: str = ""
    href: str = ""
    is_text: bool = False
    default: bool = True
    words: str = ""


@dataclass(frozen=True)
class Tab:
    """One view of a table: `part` names the data files that hold its columns."""

    key: str
    title: str
    part: str
    heads: tuple[Head, ...]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The groups of the heads after rank and name, in order, each with the number of columns it spans."""
        return [(name, len(list(heads))) for name, heads in groupby(self.heads[2:], key=lambda head: head.group)]


@dataclass(frozen=True, eq=False)
class Board:
    """One table with all that its rows show. `sources` are by run.

    `parts` are the tables of its suite's sub-suites, and `whole` is the id of the table that this one is a part of, or
    empty.
    """

    id: str
    table: Table
    sources: dict[str, RowSource]
    standing: Standing
    parts: tuple[Board, ...] = ()
    whole: str = ""

    @cached_property
    def tabs(self) -> tuple[Tab, ...]:
        """The averages (if a suite fixes the tasks), all tasks, the tasks of each family and of each larger type."""
        tasks = self.table.comparison.tasks
        found = [self._make_summary_tab()] if self.table.comparison.suite is not None else []
        found.append(self._make_tasks_tab(TASKS, "all tasks", [task.id for task in tasks]))
        if len(tasks) > len(self.table.type_names):
            for family in self.table.families:
                found.append(self._make_tasks_tab(family, family, [task.id for task in tasks if task.family == family]))
            for name in self.table.type_names:
                found.append(self._make_tasks_tab(name, name, list(self.table.list_tasks_of_type(name))))
        return tuple(found)

    def make_tab(self, tab: Tab, measure: str) -> Tab:
        """Return the tab with the heads for a measure: with `SOURCE`, each task's head names its own measure."""
        if measure != SOURCE:
            return tab
        return self._make_tasks_tab(tab.key, tab.title, self.table.comparison.task_ids, SOURCE)

    def list_measures(self, tab: Tab) -> tuple[str, ...]:
        """Return the measures in which the tab has pages.

        The averages have every measure; all tasks also have each task's own. A task in all measures is on its own page.
        """
        own = (str(HEADLINE), SOURCE) if tab.key == TASKS else (str(HEADLINE),)
        return tuple(self.summaries) if tab.key == SUMMARY else own

    def get_path(self, tab: Tab, number: int = 1, measure: str = str(HEADLINE)) -> str:
        """Return the path of a tab's page (from 1), in one of `list_measures` the tab."""
        own = "" if measure == str(HEADLINE) else "-" + slugify(measure)
        return f"tables/{self.id}/{tab.key}{own}{f'-{number}' if number > 1 else ''}.html"

    def list_pages(self, tab: Tab, measure: str = str(HEADLINE)) -> list[str]:
        """Return the paths of a tab's pages."""
        count = max(1, -(-len(self.table.runs) // PAGE_ROWS))
        return [self.get_path(tab, number, measure) for number in range(1, count + 1)]

    def get_view(self, part: str, measure: str) -> View:
        """Return the numbers of a part: averages, or tasks with their averages."""
        return self.summaries[measure] if part == SUMMARY else self.table.get_view(measure)

    @cached_property
    def summaries(self) -> dict[str, View]:
        """The averages by measure; there are none for the tasks' own measures."""
        return {measure: self.table.compute_summary(measure) for measure in self.table.measures}

    @property
    def marked(self) -> bool:
        """Whether a row has marks of training data: a submission's, or those that are published of its model."""
        task_ids = self.table.comparison.task_ids
        return any(task_id in source.marks for source in self.sources.values() for task_id in task_ids)

    @cached_property
    def lead(self) -> str:
        """Who leads, by how much, how surely, over which first stage, and what the best order would reach."""
        return describe_lead(self.table, self.standing, {name: one.card for name, one in self.sources.items()})

    @cached_property
    def ranked(self) -> str:
        """How the ranks were computed."""
        return describe_ranks(self.table, self.standing)

    @cached_property
    def notes(self) -> dict[str, list[tuple[str, str]]]:
        """What each run's row says below its name, without what would be the same in all rows."""
        return list_row_notes([source.card for source in self.sources.values()])

    @property
    def measures(self) -> tuple[str, ...]:
        """Every measure, with each task's own after the headline."""
        first, *others = self.table.measures
        return (first, SOURCE, *others)

    @cached_property
    def facts(self) -> dict[str, dict[str, CellText]]:
        """The facts of each run, by column; the hardware stands in the head if it is the same in all rows."""
        found = {name: fact_columns.format_facts(source) for name, source in self.sources.items()}
        if self._hardware:
            for own in found.values():
                own["speed"] = own["speed"]._replace(smalls=())
        return found

    @cached_property
    def _hardware(self) -> str:
        """The hardware on which every row of several was timed; empty if that is not one."""
        cards = [source.card for source in self.sources.values()]
        found = {card.hardware if card.pairs_per_second else "" for card in cards}
        return found.pop() if len(cards) > 1 and len(found) == 1 else ""

    def _list_fact_heads(self) -> tuple[Head, ...]:
        """Return the heads of the facts; what is the same in all rows of several is shown on demand."""
        rows = list(self.facts.values())
        return tuple(
            Head(
                one.key,
                one.title,
                small=self._hardware if one.key == "speed" else "",
                is_text=one.is_text,
                default=one.default and (len(rows) == 1 or len({row[one.key].text for row in rows}) > 1),
            )
            for one in fact_columns.COLUMNS
        )

    @cached_property
    def facets(self) -> dict[str, tuple[str, ...]]:
        """What each run is filtered by: a value for each of FACETS."""
        return {name: tuple(facet.read(source) for facet in FACETS) for name, source in self.sources.items()}

    def prepare(self) -> None:
        """Compute in advance what many pages need: numbers in every measure, facts, the headline's cells."""
        for measure in self.measures:
            self.table.get_view(measure)
        self.table.get_type_view()
        next(self.iterate_rows(self.tabs[0], str(HEADLINE)))

    def iterate_rows(
        self, tab: Tab, measure: str, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[Run, list[CellText]]]:
        """Yield runs (from `start` to `stop`) with their cells in the order of the tab's heads, without the name."""
        keys = [head.key for head in tab.heads if head.key != "name"]
        if measure == str(HEADLINE):
            made = self._headline[tab.part]
            for run in self.table.runs[start:stop]:
                cells = made[run.name]
                yield run, [cells[key] for key in keys]
            return
        view = self.get_view(tab.part, measure)
        for run, row in zip(self.table.runs[start:stop], view.rows[start:stop], strict=True):
            yield run, self._make_cells(keys, view, row, run)

    @cached_property
    def _headline(self) -> dict[str, dict[str, dict[str, CellText]]]:
        """The cells of each part by run and column, in the headline measure, which pages of every tab and the exports
        use.
        """
        found = {}
        for part in dict.fromkeys(tab.part for tab in self.tabs):
            keys = list(dict.fromkeys(head.key for tab in self.tabs if tab.part == part for head in tab.heads))
            keys.remove("name")
            view = self.get_view(part, str(HEADLINE))
            found[part] = {
                run.name: dict(zip(keys, self._make_cells(keys, view, row, run), strict=True))
                for run, row in zip(self.table.runs, view.rows, strict=True)
            }
        return found

    def make_fixed_rows(self, tab: Tab, measure: str) -> list[tuple[str, list[CellText]]]:
        """Return the rows of first stage and oracle: label and cells."""
        keys = [head.key for head in tab.heads if head.key != "name"]
        return [
            (row.role, [format_cell(row.cells[key]) if key in row.cells else _format_fixed(key, row) for key in keys])
            for row in self.get_view(tab.part, measure).fixed
        ]

    def make_data(self, part: str, measure: str) -> dict[str, object]:
        """Return all rows of a part for board.js: each as HTML, with what it is filtered and sorted by."""
        tab = next(tab for tab in self.tabs if tab.part == part)
        keys = [head.key for head in tab.heads if head.key != "name"]
        rows = []
        for run, cells in self.iterate_rows(tab, measure):
            source = self.sources[run.name]
            rows.append(
                {
                    "key": run.name,
                    "search": join_words(source.card, source.submission.model if source.submission else None),
                    "facets": self.facets[run.name],
                    "values": [round(one.value, 9) if isinstance(one.value, float) else one.value for one in cells],
                    "html": render_row(source.card, self.notes[run.name], cells, ""),
                }
            )
        return {
            "keys": keys,
            "facets": [facet.key for facet in FACETS],
            "small": self._list_notes() if part == TASKS else {},
            "fixed": [render_fixed_row(role, cells, "") for role, cells in self.make_fixed_rows(tab, measure)],
            "rows": rows,
        }

    def _make_cells(self, keys: Sequence[str], view: View, row: TableRow, run: Run) -> list[CellText]:
        own, source, best = self.facts[run.name], self.sources[run.name], view.best
        is_headline = view.measure == str(HEADLINE)
        gains = self._gains.get(run.name, {}) if is_headline else {}
        found = []
        for key in keys:
            if key in row.cells:
                cell = row.cells[key]
                marks = [_format_mark(source.marks, key)] if key in source.marks else []
                found.append(format_cell(cell, *marks, best=best.get(key, ""), gain=gains.get(key)))
            elif key == "rank":
                rank = self.standing.ranks[run.name]
                found.append(rank.shown if is_headline else rank.shown_elsewhere)
            elif key == "gain":
                found.append(_format_gain(row, gains.get(AVERAGE_TYPES)))
            else:
                found.append(own.get(key) or make_blank("no average over different measures"))
        return found

    @cached_property
    def _gains(self) -> dict[str, dict[str, Difference]]:
        """The gains over the first stage in the headline measure that are tested, by run and column."""
        found = compute_gains(self.table)
        return {name: found.get(name, {}) | {AVERAGE_TYPES: one} for name, one in self.standing.gains.items()} or found

    def _list_notes(self) -> dict[str, list[str]]:
        """Return each task head's small lines: number of queries, and the same after the source's measure."""
        return {
            column.key: [format_head_note("", column.queries), format_head_note(column.measure, column.queries)]
            for column in self.table.get_view(SOURCE).columns
        }

    @property
    def _first(self) -> tuple[Head, Head, Head]:
        """The columns rank, name and size, which stand first; rank and size show by default only if a row has one."""
        is_ranked = any(rank.position for rank in self.standing.ranks.values())
        words = (
            f"position by {HEADLINE}, average over types; beside it the best and the worst rank that the tests allow"
        )
        return (
            Head("rank", "rank", small=f"by {HEADLINE}", default=is_ranked, words=words),
            Head("name", "Model", is_text=True),
            Head("parameters", "size", default=any(own["parameters"].kind != BLANK for own in self.facts.values())),
        )

    def _make_summary_tab(self) -> Tab:
        view = self.summaries[str(HEADLINE)]
        heads = [Head(name, _TITLES[name], "average", default=name == AVERAGE_TYPES) for name in view.averages]
        heads.insert(1, Head("gain", "gain", "average", "over types"))
        for column in view.columns:
            if column.key in self.table.families:
                heads.append(Head(column.key, column.key, "family, over its types"))
            else:
                ids = self.table.list_tasks_of_type(column.key)
                path = get_task_path(ids[0]) if len(ids) == 1 else f"tables/{self.id}/{column.key}.html"
                heads.append(
                    Head(
                        column.key, column.key, "type, over its tasks", column.title, path, words=TYPE_WORDS[column.key]
                    )
                )
        return Tab(SUMMARY, "averages", SUMMARY, (*self._first, *heads, *self._list_fact_heads()))

    def _make_tasks_tab(self, key: str, title: str, task_ids: Sequence[str], measure: str = str(HEADLINE)) -> Tab:
        view = self.table.get_view(measure)
        heads = [Head(name, _TITLES[name], "average", default=name == AVERAGE_TYPES) for name in view.averages]
        for column in view.columns:
            if column.key in task_ids:
                small = format_head_note(column.measure if measure == SOURCE else "", column.queries)
                heads.append(Head(column.key, column.key, column.type, small, get_task_path(column.key)))
        return Tab(key, title, TASKS, (*self._first, *heads, *self._list_fact_heads()))


def slugify(measure: str) -> str:
    """Return a measure as part of a file name."""
    return measure.lower().replace("@", "-")


def format_head_note(measure: str, queries: int) -> str:
    """Return the small line of a task's head: its measure if there are several, and its number of queries."""
    return " · ".join(filter(None, (measure, f"{queries:,} queries" if queries else "no model")))


def _format_mark(marks: TrainingMarks, task_id: str) -> tuple[str, str]:
    mark = marks.get(task_id)
    return f"mark {mark}", CONFLICT_LETTER if marks.find_conflict(task_id) else MARK_LETTERS[mark]


def _format_gain(row: TableRow, found: Difference | None) -> CellText:
    cell = row.cells.get(AVERAGE_TYPES)
    if cell is None or cell.gain is None:
        return make_blank("no average")
    smalls = (("", f"{format_signed(found.low)} to {format_signed(found.high)}"),) if found else ()
    kind = f"gains {gain_class(found)}" if found else f"gains same {NO_INTERVAL}"
    return CellText(cell.gain, format_signed(cell.gain), "", smalls, kind)


def _format_fixed(key: str, row: TableRow) -> CellText:
    return CellText(float(row.done), f"{row.done}/{row.of}") if key == "coverage" else CellText(None, "")
