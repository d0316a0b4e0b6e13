"""Copies the one submission that a commit adds out of git's objects, as plain files, without checking anything out.

    python -I .github/submission.py BASE HEAD --out FOLDER

Run in a clone of the base branch that has the commit HEAD. Exit code 2 and one line, if HEAD does anything but add the
files of one new folder under leaderboard/results/: change or remove a file, touch another place, add a link, a program
or a submodule, take a name that is there, or bring more bytes than a submission has. Needs the standard library alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = "leaderboard/results/"
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
FILE = re.compile(r"submission\.json|rankings/[a-z0-9]+(-[a-z0-9]+)*\.parquet")
PLAIN_FILE = "100644"
MAX_FILES = 201
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_BYTES = 512 * 1024 * 1024


class RefusedError(Exception):
    """What the commit does that a submission does not."""


@dataclass(frozen=True)
class Added:
    """A file that the commit adds: the object that holds it, and its path in the repository."""

    blob: str
    path: str


def git(repository: Path, *arguments: str) -> bytes:
    """What a git command prints. Nothing of the repository's own configuration of filters or programs is asked."""
    done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=False)  # noqa: S603, S607
    if done.returncode:
        raise RefusedError(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()[:200]}")
    return done.stdout


def added(repository: Path, base: str, head: str) -> list[Added]:
    """The files that `head` adds since it left the base branch. RefusedError if it does anything else."""
    fork = git(repository, "merge-base", base, head).decode().strip()
    raw = git(repository, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-commit-id", "--abbrev=40", fork, head)
    found = []
    for (_, mode, _, blob, status), path in _entries(raw):
        if not path.startswith(RESULTS):
            raise RefusedError(f"{path!r}: a submission touches nothing outside {RESULTS}")
        if status != "A":
            raise RefusedError(f"{path!r}: is there already; a submission adds a new folder and changes nothing")
        if mode != PLAIN_FILE:
            raise RefusedError(f"{path!r}: mode {mode}: a link, a program or a submodule, not a plain file")
        found.append(Added(blob, path))
    if not found:
        raise RefusedError("nothing is added")
    return found


def one_folder(repository: Path, base: str, files: Sequence[Added]) -> str:
    """The name of the one folder that the files are of, which the base branch must not have in any letters."""
    names = {file.path.removeprefix(RESULTS).partition("/")[0] for file in files}
    if len(names) > 1:
        raise RefusedError(f"{len(names)} folders: a pull request adds one submission")
    (name,) = names
    if not FOLDER.fullmatch(name):
        raise RefusedError(f"{name!r} is not the name of a submission")
    if len(files) > MAX_FILES:
        raise RefusedError(f"{len(files)} files; a submission has at most {MAX_FILES}")
    for file in files:
        if not FILE.fullmatch(file.path.removeprefix(f"{RESULTS}{name}/")):
            raise RefusedError(f"{file.path!r}: no file of a submission (submission.json, rankings/<task>.parquet)")
    there = git(repository, "ls-tree", "-z", "--name-only", base, RESULTS).decode(errors="replace").split("\0")
    if name.casefold() in {Path(path).name.casefold() for path in there}:
        raise RefusedError(f"{name!r}: a submission of this name is there already")
    return name


def copy(repository: Path, files: Sequence[Added], out: Path) -> None:
    """Write the files below `out`, sizes looked at before any content."""
    total = 0
    for file in files:
        size = int(git(repository, "cat-file", "-s", file.blob))
        total += size
        if size > MAX_FILE_BYTES or total > MAX_BYTES:
            raise RefusedError(
                f"{file.path!r}: {size} bytes, {total} in all; the limits are {MAX_FILE_BYTES} and {MAX_BYTES}"
            )
    for file in files:
        path = out / file.path.removeprefix(RESULTS)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(git(repository, "cat-file", "blob", file.blob))


def main() -> int:
    """Do it; 0, or 2 with one line on stderr."""
    parser = argparse.ArgumentParser(description="Copy the submission that a commit adds.")
    parser.add_argument("base")
    parser.add_argument("head")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    here = Path.cwd()
    try:
        files = added(here, given.base, given.head)
        name = one_folder(here, given.base, files)
        copy(here, files, given.out)
    except RefusedError as error:
        print(f"refused: {error}".replace("\n", " "), file=sys.stderr)  # noqa: T201
        return 2
    print(f"{len(files)} files of {name}")  # noqa: T201
    return 0


def _entries(raw: bytes) -> Iterator[tuple[list[str], str]]:
    """(old mode, new mode, old object, new object, status) and path of each entry of `git diff-tree -z --raw`."""
    fields = raw.decode("utf-8", errors="surrogateescape").split("\0")
    for head, path in zip(fields[0::2], fields[1::2], strict=False):
        yield head.removeprefix(":").split(" "), path


if __name__ == "__main__":
    sys.exit(main())
