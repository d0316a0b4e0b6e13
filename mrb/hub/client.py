"""List, download and verify files of Hub repositories at a pinned revision.

A revision is a commit, so a downloaded file stays valid and needs no further request. All downloads use
`hf_hub_download`, which returns the requested revision or fails. `load_dataset(repository)` would fall back to any
revision in its cache.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrb._util.hashing import hash_file
from mrb.errors import DataError, to_one_line
from mrb.hub.manifest import Manifest, RemoteFile, VerifiedFile, read_manifest, record
from mrb.hub.retries import call_with_retries
from mrb.hub.table_discovery import Tables, discover_tables
from mrb.hub.xet import disable_xet, uses_xet

SPARE_BYTES = 64 * 1024 * 1024
MAX_FILES = 100_000
"""Largest number of files in a listing, so that an untrusted repository cannot fill the memory."""
README = "README.md"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_LOG = logging.getLogger("mrb.hub")


def is_offline() -> bool:
    """Return whether the user forbids requests: `MRB_OFFLINE` or `HF_HUB_OFFLINE` is 1, true, yes or on.

    Raises DataError for an unknown value of `MRB_OFFLINE`. `HF_HUB_OFFLINE` is read as the Hub's client reads it.
    """
    given = os.environ.get("MRB_OFFLINE", "").strip().lower()
    if given not in (*_TRUE, *_FALSE):
        raise DataError(f"MRB_OFFLINE={to_one_line(given, 40)}: wanted 1 (no requests) or 0")
    return given in _TRUE or os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE


def get_endpoint() -> str:
    """Return the address of the Hub: `HF_ENDPOINT`, else the live Hub."""
    from huggingface_hub import constants

    address: str = constants.ENDPOINT
    return address


def open_manifest(repository: str, revision: str) -> Manifest:
    """Return the manifest of a repository, created from the Hub's listing if it is not on disk.

    Raises DataError if the repository or revision does not exist, without access or network, or offline.
    """
    return read_manifest(repository, revision) or _list_repository(repository, revision)


def list_files(repository: str, revision: str, folder: str | None = None) -> tuple[RemoteFile, ...]:
    """Ask the Hub for the files of a repository at a revision.

    Returns all files, or those directly in `folder` ("" is the top folder). Raises DataError.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile, RepoFolder

    where = _format_place(repository, revision)
    if is_offline():
        raise DataError(
            f"{where}: not in the cache, and MRB is offline; pull it on a machine with network access: `mrb data pull`"
        )

    def entries() -> list[RepoFile | RepoFolder]:
        found = HfApi().list_repo_tree(
            repository, folder or None, recursive=folder is None, revision=revision, repo_type="dataset"
        )
        return list(itertools.islice(found, MAX_FILES + 1))

    tree = call_with_retries(entries, where)
    if len(tree) > MAX_FILES:
        raise DataError(f"{where}: more than {MAX_FILES} files")
    return tuple(
        RemoteFile(path=file.path, size=file.size, git=file.blob_id, sha256=file.lfs.sha256 if file.lfs else None)
        for file in tree
        if isinstance(file, RepoFile)
    )


def fetch_files(manifest: Manifest, paths: Sequence[str]) -> tuple[Manifest, list[Path]]:
    """Download missing files, verify each once, and download a file with a wrong checksum again.

    Returns (the manifest with the verified files, the local files of `paths`). Raises DataError, which names the file,
    for a second wrong checksum, no network or a full disk.
    """
    found, fresh = [], {}
    check_space(manifest, paths)
    for path in paths:
        local, checked = verify_file(manifest, path)
        found.append(local)
        if manifest.checked.get(path) != checked:
            fresh[path] = checked
    return record(manifest, checked=fresh) if fresh else manifest, found


def find_local_file(manifest: Manifest, path: str) -> Path | None:
    """Return the local file of `path`, or None if it was not downloaded. Makes no request."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(manifest.repository, path, revision=manifest.revision, repo_type="dataset")
    return Path(found) if isinstance(found, str) else None


def has_listed_digest(file: RemoteFile, local: Path) -> bool:
    """Return whether a local file has the digest that the Hub lists: SHA-256 of large files, git SHA-1 of others."""
    if local.stat().st_size != file.size:
        return False
    if file.sha256 is not None:
        return hash_file(local) == file.sha256
    digest = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    digest.update(local.read_bytes())
    return digest.hexdigest() == file.git


def check_space(manifest: Manifest, paths: Sequence[str]) -> None:
    """Raise DataError if the disk of the Hub's cache has no room for the missing files of `paths`."""
    from huggingface_hub.constants import HF_HUB_CACHE

    missing = sum(manifest.file(path).size for path in paths if find_local_file(manifest, path) is None)
    folder = Path(HF_HUB_CACHE)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if missing and missing + SPARE_BYTES > free:
        raise DataError(
            f"{_format_place(manifest.repository, manifest.revision)}: {missing / 1e6:,.1f} MB to fetch, {folder} has "
            f"{free / 1e6:,.1f} MB left; free some or set HF_HOME to another disk"
        )


def list_tables(repository: str, revision: str, files: Sequence[RemoteFile]) -> Tables:
    """Return the tables of a repository with these files, by its README, which is downloaded, if it has one."""
    return discover_tables([file.path for file in files], read_readme_header(repository, revision, files))


def read_readme_header(repository: str, revision: str, files: Sequence[RemoteFile]) -> dict[str, Any] | None:
    """Download a repository's README and return its YAML header, or None without one.

    Raises DataError if the header is not YAML.
    """
    from huggingface_hub import metadata_load

    if all(file.path != README for file in files):
        return None
    bare = Manifest(repository=repository, revision=revision, files=tuple(files), tables={})
    readme, _ = verify_file(bare, README)
    try:
        header: dict[str, Any] | None = metadata_load(readme)
    except Exception as error:  # the YAML library raises several unrelated classes
        raise DataError(f"{_format_place(repository, revision)}: README.md: {to_one_line(error)}") from error
    return header


def _list_repository(repository: str, revision: str) -> Manifest:
    files = list_files(repository, revision)
    tables = list_tables(repository, revision, files)
    return record(
        Manifest(repository=repository, revision=revision, endpoint=get_endpoint(), files=files, tables=tables)
    )


def verify_file(manifest: Manifest, path: str) -> tuple[Path, VerifiedFile]:
    """Return (local file, record of its verification); the file is downloaded if it is missing or wrong.

    Raises DataError, which names the file, for a second wrong checksum, no network or a full disk.
    """
    file = manifest.file(path)
    for _ in range(2):
        here = find_local_file(manifest, path)
        local = here or _download(manifest, path)
        state = local.stat()
        known = manifest.checked.get(path)
        if known is not None and (known.size, known.modified_ns) == (state.st_size, state.st_mtime_ns):
            return local, known
        try:
            right = has_listed_digest(file, local)
        except OSError as error:
            raise DataError(f"{local}: cannot be read: {error.strerror}") from error
        if right:
            sha256 = file.sha256 or hash_file(local)
            return local, VerifiedFile(sha256=sha256, size=state.st_size, modified_ns=state.st_mtime_ns)
        remove_cached_file(local)
        if here is None and file.sha256 is not None and uses_xet():
            disable_xet(f"{path} has a checksum that differs from the Hub's")
    raise DataError(
        f"{_format_place(manifest.repository, manifest.revision)}: {path} has a checksum that differs from the Hub's, "
        "twice in a row; nothing of it was kept; if HF_ENDPOINT names a mirror, try without"
    )


def remove_cached_file(local: Path) -> None:
    """Remove a cached file: its name in the snapshot and the blob behind it. Raises DataError if that fails."""
    blob = local.resolve()
    try:
        local.unlink(missing_ok=True)
        blob.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{local}: is not what it should be and cannot be removed: {error.strerror}") from error


def _download(manifest: Manifest, path: str) -> Path:
    from huggingface_hub import hf_hub_download

    where = f"{_format_place(manifest.repository, manifest.revision)}: {path}"
    if is_offline():
        raise DataError(
            f"{where}: not in the cache, and MRB is offline; pull it on a machine with network access: `mrb data pull`"
        )
    found = call_with_retries(
        lambda: hf_hub_download(manifest.repository, path, revision=manifest.revision, repo_type="dataset"), where
    )
    return Path(found)


def _format_place(repository: str, revision: str) -> str:
    return f"{repository} at {revision[:12]}"
