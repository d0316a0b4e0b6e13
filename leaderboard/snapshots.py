"""Snapshots: copies of a board kept permanently under `snapshots/NAME/`, with a page that lists them."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

from mrb._util.files import write_bytes
from mrb.errors import ResultError
from mrb.leaderboard.board_summary import PATH as SUMMARY
from mrb.leaderboard.board_summary import BoardSummary, read_summary
from mrb.leaderboard.changes import TableChanges, find_changes
from mrb.leaderboard.page import Page, is_file_name, render

FOLDER = "snapshots"
INDEX = f"{FOLDER}/index.html"
INDEX_OF_SNAPSHOT = "../index.html"
"""The list of snapshots as a path of the site, and relative to the root of a snapshot."""
FEED = "feed.xml"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class Snapshot:
    """A snapshot: its name, and its summary, None if it was kept by a version that wrote none."""

    name: str
    summary: BoardSummary | None

    @property
    def number(self) -> int:
        """Its place among the snapshots of the site, from 1; 0 if it is not known."""
        return self.summary.number if self.summary else 0

    @property
    def board(self) -> BoardSummary:
        """The summary. Raises ValueError if there is none."""
        if self.summary is None:
            raise ValueError(f"snapshot {self.name} has no summary")
        return self.summary

    @property
    def id(self) -> str:
        """An id for feeds, the same wherever the board is: a snapshot never changes."""
        return uuid5(NAMESPACE_OID, self.board.model_dump_json(exclude_unset=True)).urn

    @property
    def feed_id(self) -> str:
        """The id of the feed that begins with this snapshot."""
        return uuid5(NAMESPACE_OID, f"feed from {self.id}").urn


@dataclass(frozen=True)
class Step:
    """From a snapshot to the next: the tables that differ."""

    new: Snapshot
    old: Snapshot
    tables: list[TableChanges]


def check_free(out: Path, name: str) -> None:
    """Raise ResultError for a name that a snapshot cannot have, or that one in `out` has."""
    if _NAME.fullmatch(name) is None or not is_file_name(name) or name == "index.html":
        raise ResultError(
            f"{name!r} is not a valid snapshot name: use lower-case letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    home = out / FOLDER / name
    if os.path.lexists(home):
        raise ResultError(f"{home}: there is a snapshot of this name, and none is ever overwritten; choose another")


def write_snapshot(out: Path, name: str, write: Callable[[Path], object], url: str = "") -> Path:
    """Write a snapshot of a board into `out`/snapshots/`name` and list it; return the path of its overview.

    `write` writes the board's files into the folder that it is given. The snapshot appears atomically. Raises
    ResultError, and changes nothing, if one of this name exists.
    """
    check_free(out, name)
    home = out / FOLDER / name
    scratch = out / FOLDER / f".{name}.{secrets.token_hex(4)}.tmp"
    try:
        write(scratch)
        scratch.rename(home)
    except OSError as error:
        raise ResultError(f"{home}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    write_index(out, url)
    return home / "index.html"


def find_next_number(out: Path) -> int:
    """Return the number of the next snapshot."""
    return 1 + max((kept.number for kept in list_snapshots(out)), default=0)


def list_snapshots(out: Path) -> list[Snapshot]:
    """Return the snapshots in `out`/snapshots, newest first.

    Those of versions of MRB before 0.2 have no summary; they are last, by name. Raises ResultError for a damaged
    summary, or one that is not of its folder.
    """
    found = []
    for page in (out / FOLDER).glob("*/index.html"):
        name, path = page.parent.name, page.parent / SUMMARY
        if name[0] == ".":
            continue
        summary = read_summary(path) if path.is_file() else None
        if summary is not None and summary.snapshot != name:
            raise ResultError(f"{path}: says that it is of snapshot {summary.snapshot!r}")
        found.append(Snapshot(name, summary))
    return sorted(sorted(found, key=lambda kept: kept.name), key=lambda kept: -kept.number)


def write_index(out: Path, url: str = "") -> None:
    """Write the list of snapshots, a page of what each changed, and the feed; without snapshots the list says so.

    `url` is the board's address, or empty.
    """
    kept = list_snapshots(out)
    told = [one for one in kept if one.summary is not None]
    steps = [Step(new, old, find_changes(old.board, new.board)) for old, new in pairwise(told[::-1])]
    changes = {step.new.name: get_changes_path(step.new.name) for step in steps}
    for step in steps:
        path = changes[step.new.name]
        write_page(out, render("changes.html.jinja", path, section="about.html", step=step, index=INDEX))
    dated = [one for one in told if one.board.day]
    if dated:
        by_name = {step.new.name: step for step in steps}
        write_page(
            out, render("feed.xml.jinja", FEED, url=url, kept=dated, steps=by_name, changes=changes, index=INDEX)
        )
    write_page(
        out,
        render(
            "snapshots.html.jinja", INDEX, section="about.html", kept=kept, changes=changes, feed=FEED if dated else ""
        ),
    )


def write_page(out: Path, page: Page) -> None:
    """Write one file of the site."""
    write_bytes(out / page.path, page.data)


def get_changes_path(name: str) -> str:
    """Return the path of the page that says what a snapshot changed since the one before it."""
    return f"changes/{name}.html"
