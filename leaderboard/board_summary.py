"""`data/board.json`: who is on a board and where, small enough to compare a snapshot with the one before it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from mrb import __version__
from mrb._util.hashing import hash_json
from mrb._util.model import Model
from mrb._util.printable import PrintableStr
from mrb.errors import ResultError, format_first_problem
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.board import Board
from mrb.leaderboard.tables.rows import AVERAGE_TYPES
from mrb.metrics.measures import HEADLINE
from mrb.results.run import Run

PATH = "data/board.json"
MAX_BYTES = 16 * 1024 * 1024
_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$"
SiteName = Annotated[str, Field(pattern=_NAME, max_length=200)]
Day = Annotated[str, Field(pattern=r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]$")]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Place = Annotated[int, Field(ge=1)]


class RowSummary(Model):
    """A row: its average over types (a fraction, null if a task is missing), its rank bounds (null if it has none),
    how many tasks it has, and a hash of all of its means. `title` is what the pages call it, empty in
    boards of versions that did not record it.
    """

    name: SiteName
    title: PrintableStr = ""
    average: Fraction | None
    rank: tuple[Place, Place] | None
    tasks: Annotated[int, Field(ge=0)]
    means: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]

    @property
    def label(self) -> str:
        """What the pages call it."""
        return self.title or self.name


class TableSummary(Model):
    """A table: its suite with version (null for single tasks), number of tasks, and rows in the table's order."""

    id: SiteName
    title: PrintableStr
    suite: SiteName | None
    suite_version: PrintableStr | None
    tasks: Annotated[int, Field(ge=0)]
    rows: tuple[RowSummary, ...]

    @property
    def leader(self) -> RowSummary | None:
        """The row with the highest average, None if no row has one."""
        return next((row for row in self.rows if row.average is not None), None)


class BoardSummary(Model):
    """A board. `measure` is that of the averages, `day` the newest day of a result.

    `snapshot` is the snapshot's name and `number` its place among those of its site, from 1; null and 0 for a board
    that is not kept.
    """

    schema_version: Literal[1] = 1
    mrb_version: PrintableStr
    measure: PrintableStr
    day: Day | None
    snapshot: SiteName | None
    number: Annotated[int, Field(ge=0)]
    tables: tuple[TableSummary, ...]

    @property
    def count(self) -> int:
        """The number of rows in all tables."""
        return sum(len(table.rows) for table in self.tables)


def summarize_site(site: Site) -> BoardSummary:
    """Return the summary of a board."""
    return BoardSummary(
        mrb_version=__version__,
        measure=str(HEADLINE),
        day=site.day,
        snapshot=site.snapshot,
        number=site.snapshot_number,
        tables=tuple(_summarize_table(board) for board in site.boards.values()),
    )


def _summarize_table(board: Board) -> TableSummary:
    group = board.table.comparison
    return TableSummary(
        id=board.id,
        title=group.title,
        suite=group.suite.id if group.suite else None,
        suite_version=group.suite.version if group.suite else None,
        tasks=len(group.task_ids),
        rows=tuple(_summarize_row(board, run) for run in board.table.runs),
    )


def _summarize_row(board: Board, run: Run) -> RowSummary:
    row = board.table.get_view(str(HEADLINE)).row(run.name)
    average = row.cells.get(AVERAGE_TYPES)
    bounds = board.standing.ranks[run.name].bounds
    means = {
        task_id: {measure: value.mean for measure, value in scores.result.measures.items()}
        for task_id, scores in run.tasks.items()
    }
    return RowSummary(
        name=run.name,
        title=board.sources[run.name].card.label,
        average=None if average is None or average.mean is None else float(average.mean),
        rank=(bounds.best, bounds.worst) if bounds else None,
        tasks=row.done,
        means=hash_json(means)[:16],
    )


def read_summary(path: Path) -> BoardSummary:
    """Return the summary in a file. ResultError names the file and what is wrong."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ResultError(f"{path}: larger than {MAX_BYTES} bytes")
        return BoardSummary.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise ResultError(f"{path}: {format_first_problem(error)}") from error
