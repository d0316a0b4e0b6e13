"""Pull submissions from the Hub at a commit into MRB's cache. Only the files of submissions are downloaded:
`submission.json` and `rankings/<task>.parquet` in
`<cache>/submissions/<ORG>--<NAME>/<commit>/[folder/]<submission>/`.
"""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

from mrb.candidates.pull_lists import copy_list
from mrb.errors import ResultError
from mrb.hub.address import HubFolder, is_address, parse_address
from mrb.hub.client import check_space, is_offline, list_files, verify_file
from mrb.hub.manifest import Manifest, find_cache_root
from mrb.hub.revision import resolve_revision
from mrb.submission.rankings import MAX_RANKING_BYTES
from mrb.submission.schema import MAX_SUBMISSION_BYTES, RANKINGS_FOLDER, SUBMISSION_FILE

logger = logging.getLogger(__name__)


def find_local_folder(given: str) -> Path:
    """Return the local file or folder that the user named; an address is pulled first.

    Raises ResultError if it does not exist or holds no submission, and DataError as `list_files` does.
    """
    if is_address(given):
        return pull_submissions(parse_address(given))
    if "://" in given or not Path(given).exists():
        raise ResultError(f"{given}: no such file or folder, and no address hf://datasets/ORG/NAME[@REVISION][/FOLDER]")
    return Path(given)


def pull_submissions(source: HubFolder) -> Path:
    """Pull the submissions of an address and return their folder in the cache. No submission is read."""
    pinned = resolve_revision(source)
    revision = pinned.revision or ""
    root = find_cache_root() / "submissions" / pinned.repository.replace("/", "--") / revision
    if is_offline():
        if not any((root / pinned.folder).glob(f"**/{SUBMISSION_FILE}")):
            raise ResultError(f"{pinned}: not in the cache, and offline; name it once where there is network")
        return root / pinned.folder
    listed = list_files(pinned.repository, revision)
    files = tuple(file for file in listed if _is_of_submission(file.path, pinned.folder))
    if all(PurePosixPath(file.path).name != SUBMISSION_FILE for file in files):
        raise ResultError(f"{pinned}: no submission there: wanted a folder with {SUBMISSION_FILE}")
    for file in files:
        most = MAX_SUBMISSION_BYTES if file.path.endswith(SUBMISSION_FILE) else MAX_RANKING_BYTES
        if file.size > most:
            raise ResultError(f"{pinned}: {file.path}: {file.size} bytes, more than {most}")
    manifest = Manifest(repository=pinned.repository, revision=revision, files=files, tables={})
    logger.info(f"{pinned}: {len(files)} files, {sum(file.size for file in files) / 1e6:,.2f} MB")
    check_space(manifest, [file.path for file in files])
    for file in files:
        copy_list(verify_file(manifest, file.path)[0], (root / file.path).parent)
    return root / pinned.folder


def _is_of_submission(path: str, folder: str) -> bool:
    """Return whether a repository's file belongs to a submission in `folder`, or to `folder` as a submission."""
    place, name = PurePosixPath(path).parent, PurePosixPath(path).name
    if name.endswith(".parquet") and place.name == RANKINGS_FOLDER:
        place = place.parent
    elif name != SUBMISSION_FILE:
        return False
    safe = ".." not in place.parts and not place.is_absolute() and len(place.parts) > 0
    return safe and (str(place) == folder or str(place.parent) == (folder or "."))
