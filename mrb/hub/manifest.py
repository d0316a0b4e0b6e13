"""The local manifest of a repository at a revision: its files, their digests, and what the first load found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from mrb._util.files import read_json, write_json
from mrb._util.home import find_home
from mrb._util.model import Model
from mrb.errors import DataError, ResultError, format_first_problem

LOCK_SECONDS = 60.0
"""Longest wait in seconds for another process that writes the manifest, which takes milliseconds."""


class RemoteFile(Model):
    """A file as the Hub lists it. `sha256` is set for large files (LFS); small files have only git's SHA-1 (`git`)."""

    path: str
    size: int = Field(ge=0)
    git: str
    sha256: str | None = None


class VerifiedFile(Model):
    """A local file whose digest was verified. A changed size (bytes) or modification time voids the verification."""

    sha256: str
    size: int
    modified_ns: int


class ReadTable(Model):
    """The files, rows and columns that the first load of a table found."""

    files: tuple[str, ...]
    rows: int
    columns: tuple[str, ...]


class Manifest(Model):
    """One repository at one revision.

    `tables` is {config: {split: paths}}. `endpoint` is the address of the Hub that listed the files; it is empty in
    manifests of earlier versions. `read` is {`config/split`: what the first load found}.
    """

    schema_version: Literal[1] = 1
    repository: str
    revision: str
    endpoint: str = ""
    files: tuple[RemoteFile, ...]
    tables: dict[str, dict[str, list[str]]]
    checked: dict[str, VerifiedFile] = Field(default_factory=dict)
    read: dict[str, ReadTable] = Field(default_factory=dict)

    def file(self, path: str) -> RemoteFile:
        """Return the entry of `path`, which must be in the manifest."""
        return next(file for file in self.files if file.path == path)


def find_cache_root() -> Path:
    """Return MRB's cache folder: `MRB_CACHE`, else `mrb` in the user's cache folder.

    Raises DataError if no variable names one and the user has no home folder.
    """
    if given := os.environ.get("MRB_CACHE"):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "mrb"
    if (home := find_home()) is None:
        raise DataError("no home folder for the cache was found; set MRB_CACHE to a folder")
    return home / ".cache" / "mrb"


def locate_manifest(repository: str, revision: str) -> Path:
    """Return the path of the manifest's file."""
    return find_cache_root() / "hub" / repository.replace("/", "--") / f"{revision}.json"


def read_manifest(repository: str, revision: str) -> Manifest | None:
    """Read the manifest on disk, or return None. Raises DataError if it is damaged or of another repository."""
    path = locate_manifest(repository, revision)
    if not path.is_file():
        return None
    try:
        manifest = Manifest.model_validate(read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: {format_first_problem(error)}; delete it and pull again") from error
    if (manifest.repository, manifest.revision) != (repository, revision):
        raise DataError(f"{path}: belongs to {manifest.repository} at {manifest.revision}; delete it and pull again")
    return manifest


def record(
    manifest: Manifest,
    *,
    checked: Mapping[str, VerifiedFile] | None = None,
    read: Mapping[str, ReadTable] | None = None,
) -> Manifest:
    """Add verified files and read tables to the manifest, write it atomically, and return it.

    Processes that use the same repository share one file under a lock. Each adds to the current content of the file;
    the first record of a table stays. Raises ResultError if the file cannot be written.
    """
    from filelock import FileLock, Timeout

    path = locate_manifest(manifest.repository, manifest.revision)
    lock = FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ResultError(
            f"{path}: cannot be written: another process has kept {lock.lock_file} for {LOCK_SECONDS:g} s; end that "
            "process and run the same command again"
        ) from None
    except OSError as error:
        raise ResultError(f"{path}: cannot be written: {error.strerror or error}") from error
    try:
        known = read_manifest(manifest.repository, manifest.revision) or manifest
        changes = {"checked": {**known.checked, **(checked or {})}, "read": {**(read or {}), **known.read}}
        found = known.model_copy(update=changes)
        if found != known or not path.is_file():
            write_json(path, found.model_dump(mode="json"))
        return found
    finally:
        lock.release()
