"""Build the site: read runs and submissions, refuse invalid ones, write every file atomically, the overview last."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from mrb._util.files import write_bytes
from mrb.leaderboard.citation import check_url
from mrb.leaderboard.fork import run_forked
from mrb.leaderboard.images import IMAGES
from mrb.leaderboard.page import Page
from mrb.leaderboard.pages import (
    about,
    assets,
    badges,
    compare,
    data_index,
    embed,
    exports,
    first_stages,
    models,
    overview,
    queries,
    records,
    reported,
    tables,
    tasks,
)
from mrb.leaderboard.site import Site, make_site
from mrb.leaderboard.snapshots import check_free, find_next_number, write_index, write_snapshot
from mrb.leaderboard.tables.runs import read_entries
from mrb.leaderboard.verification import read_verified
from mrb.results.hub_metadata import split_benchmark


class PageKind(Protocol):
    """A module of `mrb.leaderboard.pages`."""

    def make_files(self, site: Site) -> Iterator[Page]:
        """Yield the files of this kind, one at a time: they need not all fit into memory."""


KINDS: tuple[PageKind, ...] = (
    overview,
    tables,
    models,
    tasks,
    compare,
    queries,
    first_stages,
    reported,
    about,
    exports,
    records,
    badges,
    embed,
    data_index,
    assets,
)
"""All page kinds of the site. They are written from last to first, so that everything the overview links to exists when
the overview does.
"""
FORKED: tuple[PageKind, ...] = (tables, exports)
"""Kinds that a second process writes if there are at least MANY runs: half of the work, and pure text."""
MANY = 40


def build(
    folders: Sequence[Path],
    out: Path,
    *,
    verified: Sequence[Path] = (),
    snapshot_name: str | None = None,
    packs: Path | None = None,
    url: str = "",
    benchmark: str = "",
) -> Path:
    """Write the board of the runs and submissions in `folders` into `out`; return the path of its overview.

    `verified` are folders with records of `mrb submission verify`. With `snapshot_name` the board is also written into
    `out`/snapshots/ under that name, which must be new. `packs` is a folder of judgement packs, with which
    submissions have ranks and comparisons where the data is not. `url` is the address at which the board will be: with
    it, citations, badges and previews name full addresses. With `benchmark`, a data set of the Hub, each model has a
    file for `.eval_results` of its repository.

    The same input gives the same bytes. Raises ResultError before anything is written if a folder is invalid. Nothing
    in `out` is removed: files of an earlier board that this one lacks stay.
    """
    if benchmark:
        split_benchmark(benchmark)
    with uncollected():
        if snapshot_name is not None:
            check_free(out, snapshot_name)
        site = make_site(read_entries(folders, packs), read_verified(verified), packs)
        site = replace(site, url=check_url(url), benchmark=benchmark)
        site.prepare()
        if snapshot_name is not None:
            kept = site.keep(snapshot_name, find_next_number(out))
            write_snapshot(out, snapshot_name, partial(_write, kept), site.url)
        write_index(out, site.url)
        return _write(site, out)


def _write(site: Site, out: Path) -> Path:
    if len(site.runs) < MANY:
        _write_kinds(site, out, KINDS)
        return out / overview.PATH
    first, *rest = KINDS
    with run_forked(partial(_write_kinds, site, out, FORKED)) as theirs:
        mine = _write_kinds(site, out, [kind for kind in rest if kind not in FORKED])
    if both := mine & theirs.value:
        raise ValueError(f"{min(both)} is written twice")
    _write_kinds(site, out, (first,))
    return out / overview.PATH


def _write_kinds(site: Site, out: Path, kinds: Sequence[PageKind]) -> set[str]:
    """Write the files of these kinds; return their paths in lower case."""
    written = set()
    for page in make_pages(site, kinds):
        write_bytes(out / page.path, page.data, durable=False)
        written.add(page.path.casefold())
    return written


@contextmanager
def uncollected() -> Iterator[None]:
    """Disable garbage collection: a board's many values live to its end; scanning them takes a third of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def make_pages(site: Site, kinds: Sequence[PageKind] = KINDS) -> Iterator[Page]:
    """Yield every file of the site, or of these kinds, in the order of writing.

    Raises ValueError if two paths differ only in case. Only images may be requested by several kinds of page: they are
    named by content, and yielded once.
    """
    taken: set[str] = set()
    for kind in reversed(kinds):
        for page in kind.make_files(site):
            if page.path.startswith(IMAGES) and page.path in taken:
                continue
            if page.path.casefold() in taken:
                raise ValueError(f"{page.path} is written twice")
            taken.add(page.path.casefold())
            yield page
