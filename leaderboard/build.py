"""Building the site: read the runs and submissions, refuse what does not fit, write every file whole, the page last."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from mrb._util.files import write_bytes
from mrb.leaderboard.fork import beside
from mrb.leaderboard.images import PICTURES
from mrb.leaderboard.page import Page
from mrb.leaderboard.pages import (
    about,
    assets,
    compare,
    exports,
    models,
    overview,
    queries,
    records,
    reported,
    tables,
    tasks,
)
from mrb.leaderboard.site import Site, make_site
from mrb.leaderboard.snapshots import snapshot, write_index
from mrb.leaderboard.tables.runs import read_entries
from mrb.leaderboard.verification import read_verified


class PageKind(Protocol):
    """A module of `mrb.leaderboard.pages`."""

    def pages(self, site: Site) -> Iterator[Page]:
        """The files of this kind, made one after the other: never all of them at once in memory."""


KINDS: tuple[PageKind, ...] = (
    overview,
    tables,
    models,
    tasks,
    compare,
    queries,
    reported,
    about,
    exports,
    records,
    assets,
)
"""All that a site consists of. Written from the last to the first, so that whoever can open the overview finds all that
it links to."""
BESIDE: tuple[PageKind, ...] = (tables, models)
"""Kinds that a second process writes where there are MANY runs: half of the work, and made of text alone."""
MANY = 40


def build(
    folders: Sequence[Path], out: Path, *, verified: Sequence[Path] = (), snapshot_name: str | None = None
) -> Path:
    """Write the board of the runs and submissions in `folders` into `out`; where its overview is.

    `verified` are folders of `mrb verify`'s records. With `snapshot_name` the board goes into `out`/snapshots/ of that
    name instead, which must be new.

    The same ones give the same bytes. ResultError, before anything is written, for a folder that is neither or is
    damaged. Nothing in `out` is removed: what an earlier board wrote and this one lacks stays.
    """
    with uncollected():
        site = make_site(read_entries(folders), read_verified(verified))
        if snapshot_name is not None:
            return snapshot(out, snapshot_name, partial(_write, replace(site, snapshot=snapshot_name)))
        write_index(out)
        return _write(site, out)


def _write(site: Site, out: Path) -> Path:
    if len(site.runs) < MANY:
        _write_kinds(site, out, KINDS)
        return out / overview.PATH
    first, *rest = KINDS
    for board in site.boards.values():  # what both processes need
        board.prepare()
    with beside(partial(_write_kinds, site, out, BESIDE)) as theirs:
        mine = _write_kinds(site, out, [kind for kind in rest if kind not in BESIDE])
    if both := mine & theirs.value:
        raise ValueError(f"{min(both)} is written twice")
    _write_kinds(site, out, (first,))
    return out / overview.PATH


def _write_kinds(site: Site, out: Path, kinds: Sequence[PageKind]) -> set[str]:
    """Write the files of these kinds; their paths without case."""
    written = set()
    for page in site_pages(site, kinds):
        write_bytes(out / page.path, page.data, durable=False)
        written.add(page.path.casefold())
    return written


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for garbage: a board is a great many values that live to its end, and looking through them again and
    again takes a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def site_pages(site: Site, kinds: Sequence[PageKind] = KINDS) -> Iterator[Page]:
    """Every file of the site, or of these kinds, in the order of writing. ValueError if two would be one file where
    case is ignored.

    Pictures alone may be asked for by several kinds of page: they are named by what they hold, and come once.
    """
    taken: set[str] = set()
    for kind in reversed(kinds):
        for page in kind.pages(site):
            if page.path.startswith(PICTURES) and page.path in taken:
                continue
            if page.path.casefold() in taken:
                raise ValueError(f"{page.path} is written twice")
            taken.add(page.path.casefold())
            yield page
