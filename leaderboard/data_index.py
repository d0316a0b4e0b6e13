"""`data/index.json`: every JSON and CSV file of a board, with the schema or the columns of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from mrb import __version__
from mrb._util.model import Model
from mrb.leaderboard.badges import get_badge_path
from mrb.leaderboard.board_summary import PATH as SUMMARY_PATH
from mrb.leaderboard.board_summary import Day, SiteName
from mrb.leaderboard.pages import exports, first_stages, records
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.board import SUMMARY, TASKS
from mrb.results.noise import NOISE_FILE
from mrb.results.schema import RUN_FILE
from mrb.submission.schema import SUBMISSION_FILE

PATH = "data/index.json"
SchemaName = Literal["badge", "board", "data-index", "noise", "result", "run", "submission", "table"]
Text = str | float | int | None


class TableFile(Model):
    """`data/tables/<id>/all.json`: a table with every number.

    `rows` has each run's facts by column (`text` as shown, `value` as sorted), its `rank` bounds and its
    `position`; `numbers` has one list for each number, its parts named by `fields`. Means, intervals
    and gains are fractions, null for none.
    """

    schema_version: Literal[1]
    mrb_version: str
    table: SiteName
    suite: str | None
    suite_version: str | None
    depths: tuple[int, ...]
    tracks: tuple[str, ...]
    rows: dict[str, dict[str, dict[str, Text] | list[int | None] | int | None]]
    fields: tuple[str, ...]
    numbers: list[tuple[str, str, str, float | None, float | None, float | None, float | None, str]]


class FileEntry(Model):
    """A file: its path from the site's root, its form, what it is; for JSON the name of its schema (`mrb schema NAME`
    prints it), for CSV its columns, empty where they depend on the table.
    """

    path: str
    form: Literal["json", "csv"]
    about: str
    schema_name: Annotated[SchemaName | None, Field(alias="schema")] = None
    columns: tuple[str, ...] = ()


class DataIndex(Model):
    """The index. `day` is the newest day of a result, `url` the board's address if the builder gave one."""

    schema_version: Literal[1] = 1
    mrb_version: str
    day: Day | None
    snapshot: SiteName | None
    url: str | None
    files: tuple[FileEntry, ...]


def make_index(site: Site) -> DataIndex:
    """Return the index of a board's data."""
    return DataIndex(
        mrb_version=__version__,
        day=site.day,
        snapshot=site.snapshot,
        url=site.get_address("") or None,
        files=tuple(sorted(_list_files(site), key=lambda entry: entry.path)),
    )


def _list_files(site: Site) -> Iterator[FileEntry]:
    yield _describe_json(PATH, "data-index", "this list")
    yield _describe_json(SUMMARY_PATH, "board", "rows, averages and ranks of every table in short")
    for board in site.iterate_boards():
        title = board.table.comparison.title
        for tab in board.tabs:
            if tab.key in (SUMMARY, TASKS):
                yield _describe_csv(exports.get_path(board, tab, "csv"), f"{title}, {tab.title}", ())
        yield _describe_csv(exports.get_long_path(board, "csv"), f"{title}, every number", exports.LONG_FIELDS)
        yield _describe_json(exports.get_long_path(board, "json"), "table", f"{title}, every number")
    for table in site.gains:
        yield _describe_csv(first_stages.get_data_path(table), f"{table.title}, gains over several first stages", ())
    for run in site.runs:
        yield _describe_json(get_badge_path(run.name, "json"), "badge", f"badge of {run.name}")
        for path, source in records.list_copies(run, site.cards[run.name]).items():
            yield _describe_json(path, _KINDS.get(source.name, "result"), f"record of {run.name}")


_KINDS: dict[str, SchemaName] = {RUN_FILE: "run", NOISE_FILE: "noise", SUBMISSION_FILE: "submission"}


def _describe_json(path: str, schema: SchemaName, about: str) -> FileEntry:
    return FileEntry.model_validate({"path": path, "form": "json", "about": about, "schema": schema})


def _describe_csv(path: str, about: str, columns: tuple[str, ...]) -> FileEntry:
    return FileEntry(path=path, form="csv", about=about, columns=columns)
