"""Snapshots: copies of a board kept permanently under `snapshots/NAME/`, with a page that lists them."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from mrb._util.files import write_bytes
from mrb.errors import ResultError
from mrb.leaderboard.page import is_file_name, render

FOLDER = "snapshots"
INDEX = f"{FOLDER}/index.html"
INDEX_OF_SNAPSHOT = "../index.html"
"""The list of snapshots as a path of the site, and relative to the root of a snapshot."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


def check_name(name: str) -> None:
    """Raise ResultError for a name that a snapshot cannot have."""
    if _NAME.fullmatch(name) is None or not is_file_name(name) or name == "index.html":
        raise ResultError(
            f"{name!r} is not a valid snapshot name: use lower-case letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )


def write_snapshot(out: Path, name: str, write: Callable[[Path], object]) -> Path:
    """Write a snapshot of a board into `out`/snapshots/`name` and list it; return the path of its overview.

    `write` writes the board's files into the folder that it is given. The snapshot appears atomically. Raises
    ResultError, and changes nothing, if one of this name exists.
    """
    check_name(name)
    home = out / FOLDER / name
    if os.path.lexists(home):
        raise ResultError(f"{home}: there is a snapshot of this name, and none is ever overwritten; choose another")
    scratch = out / FOLDER / f".{name}.{secrets.token_hex(4)}.tmp"
    try:
        write(scratch)
        scratch.rename(home)
    except OSError as error:
        raise ResultError(f"{home}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    write_index(out)
    return home / "index.html"


def write_index(out: Path) -> None:
    """Write `snapshots/index.html`, which lists every snapshot or says that there is none."""
    found = (out / FOLDER).glob("*/index.html")
    names = sorted(page.parent.name for page in found if page.parent.name[0] != ".")
    page = render("snapshots.html.jinja", INDEX, section="about.html", names=names)
    write_bytes(out / page.path, page.data)
