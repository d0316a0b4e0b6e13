"""The data of the whole site, read once; all pages are made from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path

from mrb._util.progress import track
from mrb.data.task import TYPES, Task
from mrb.leaderboard.tables.board import Board
from mrb.leaderboard.tables.fact_columns import RowSource
from mrb.leaderboard.tables.finding import join_words
from mrb.leaderboard.tables.gains import GainTable, make_gain_tables
from mrb.leaderboard.tables.rankings import ExploredTask, explore_tasks
from mrb.leaderboard.tables.ranks import rank_runs
from mrb.leaderboard.tables.rows import Table
from mrb.leaderboard.tables.runs import Entry, RunCard, drop_submitted, make_card
from mrb.leaderboard.tables.table_grouping import group_runs, list_sub_groups, make_table_ids
from mrb.leaderboard.verification import match_records
from mrb.results.run import Run
from mrb.submission.schema import Submission
from mrb.submission.verify import VerificationRecord


@dataclass(frozen=True, eq=False)
class Site:
    """What the pages show.

    `tables` by id, in the order of the overview, where each has its section: the link to one is `index.html#<id>`.
    `sub_tables` are the tables of sub-suites, by the id of the whole suite's table and their own. `cards` holds the
    description of every run by its name, `submissions` the submission that a run was read from, if any, and `verified`
    the record of a verification that agreed. `snapshot` is the name under which the board is kept permanently,
    `snapshot_number` its place among those kept, from 1, and `url` the address at which the board will be, with a slash
    at its end, or empty. `benchmark` is the Hub's data set that result files for model repositories name, or empty.
    `dropped` are the runs that stand in the row of their submission: its name by theirs. A run's name is a safe file
    name, unique regardless of case; it does not depend on what else is on the board, so pages and addresses use it
    unchanged.
    """

    tables: dict[str, Table]
    cards: dict[str, RunCard]
    submissions: dict[str, Submission]
    verified: dict[str, VerificationRecord] = field(default_factory=dict)
    snapshot: str | None = None
    sub_tables: dict[str, dict[str, Table]] = field(default_factory=dict)
    url: str = ""
    snapshot_number: int = 0
    dropped: dict[str, str] = field(default_factory=dict)
    benchmark: str = ""

    @cached_property
    def boards(self) -> dict[str, Board]:
        """Every table with all that its rows show, by id."""
        return {name: self._make_board(name, table) for name, table in track(self.tables.items(), "ranks", "tables")}

    def iterate_boards(self) -> Iterator[Board]:
        """Yield every table, each followed by those of its sub-suites."""
        for board in self.boards.values():
            yield board
            yield from board.parts

    def _make_board(self, name: str, table: Table, whole: str = "") -> Board:
        sources = {
            run.name: RowSource(
                run,
                self.cards[run.name],
                table.comparison,
                self.submissions.get(run.name),
                self.verified.get(run.name),
            )
            for run in table.runs
        }
        parts = tuple(self._make_board(part, own, name) for part, own in self.sub_tables.get(name, {}).items())
        return Board(name, table, sources, rank_runs(table), parts, whole)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Every run, in the order of the tables."""
        return tuple(run for table in self.tables.values() for run in table.runs)

    @cached_property
    def labels(self) -> dict[str, str]:
        """What every run is called on the pages, by its name."""
        return {name: card.label for name, card in self.cards.items()}

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Every task that is a column of a table, by type."""
        found = {task.id: task for table in self.tables.values() for task in table.comparison.tasks}
        return tuple(sorted(found.values(), key=lambda task: TYPES.index(task.type)))

    @cached_property
    def gains(self) -> tuple[GainTable, ...]:
        """The gains over first stages, where there are several; empty otherwise."""
        return tuple(make_gain_tables(self.runs))

    @cached_property
    def explored(self) -> dict[str, ExploredTask]:
        """The tasks whose queries are shown one by one, by id."""
        return explore_tasks(self.tables, self.tasks)

    def prepare(self) -> None:
        """Compute in advance what pages of several kinds, processes and snapshots need."""
        for board in self.iterate_boards():
            board.prepare()
        self.explored  # noqa: B018

    def keep(self, name: str, number: int) -> Site:
        """Return the same site as a snapshot; it shares what is computed, for that does not depend on the name."""
        kept = replace(self, snapshot=name, snapshot_number=number)
        vars(kept).update(boards=self.boards, explored=self.explored)
        return kept

    @cached_property
    def day(self) -> str | None:
        """The newest day, as YYYY-MM-DD, on which a result was made; None if no run recorded one."""
        stated = (timing.day for run in self.runs for timing in run.record.timings.values())
        return max((day for day in stated if day is not None and is_day(day)), default=None)

    def get_address(self, path: str) -> str:
        """Return the full address of a path of this site; empty if the board's address is not known."""
        if not self.url:
            return ""
        return self.url + (f"snapshots/{self.snapshot}/" if self.snapshot else "") + path

    def join_words(self, run_name: str) -> str:
        """Return the words that find a run's rows."""
        submission = self.submissions.get(run_name)
        return join_words(self.cards[run_name], submission.model if submission else None)

    def find_table(self, run: Run) -> str:
        """Return the id of the one table that contains `run`."""
        return self._table_ids[run.name]

    def list_tables(self, task_id: str) -> dict[str, Table]:
        """Return the tables, by id, in which at least one run covers the task."""
        return {name: table for name, table in self.tables.items() if task_id in table.comparison.reference}

    @cached_property
    def _table_ids(self) -> dict[str, str]:
        return {run.name: name for name, table in self.tables.items() for run in table.runs}


def is_day(text: str) -> bool:
    """Return whether a text of the form YYYY-MM-DD is a day of the calendar."""
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def make_site(entries: Sequence[Entry], verified: Sequence[VerificationRecord] = (), packs: Path | None = None) -> Site:
    """Return the site of these runs, independent of their order; `packs` is a folder of judgement packs.

    Raises ResultError if they contradict each other (`compare`).
    """
    runs = {entry.run.name: entry.run for entry in entries}
    entries, dropped = drop_submitted(entries)
    submissions = {entry.run.name: entry.submission for entry in entries if entry.submission is not None}
    groups = [replace(one, packs=packs) for one in group_runs(entry.run for entry in entries)]
    parts = [(number, part) for number, group in enumerate(groups) for part in list_sub_groups(group)]
    ids = make_table_ids([*groups, *(part for _, part in parts)])
    sub_tables: dict[str, dict[str, Table]] = {}
    for name, (number, part) in zip(ids[len(groups) :], parts, strict=True):
        sub_tables.setdefault(ids[number], {})[name] = Table(part)
    known = match_records(verified, submissions)
    return Site(
        {name: Table(one) for name, one in zip(ids, groups, strict=False)},
        {
            entry.run.name: make_card(
                entry.run,
                entry.submission,
                known.get(entry.run.name),
                [runs[own] for own in sorted(dropped) if dropped[own] == entry.run.name],
            )
            for entry in entries
        },
        submissions,
        known,
        sub_tables=sub_tables,
        dropped=dict(sorted(dropped.items())),
    )
