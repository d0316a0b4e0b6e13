"""Push candidate lists, or any files, to a data set on the Hub in one commit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mrb._util.files import read_json
from mrb.candidates.judgement_packs import PACK_SUFFIX, check_pack, read_pack
from mrb.candidates.lists import read_provenance
from mrb.candidates.pull_lists import SUFFIX, ListInfo, verify_list
from mrb.data.task import Task, load_task
from mrb.errors import CandidatesError, DataError
from mrb.hub.address import HubFolder
from mrb.hub.client import README, is_offline
from mrb.hub.retries import call_with_retries, describe_error, list_network_errors
from mrb.hub.xet import is_xet_failure

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MANIFEST = ".manifest.json"
MAX_MANIFEST_BYTES = 1024 * 1024


@dataclass(frozen=True)
class LocalList:
    """A verified local list. `manifest` is the optional file that describes its retriever, `pack` its optional
    judgement pack."""

    path: Path
    about: ListInfo
    manifest: Path | None
    pack: Path | None


def find_lists(given: Path) -> list[LocalList]:
    """Read and verify the lists of a file or folder.

    Raises CandidatesError for an invalid list, a folder without lists and two lists of one task.
    """
    paths = sorted(given.glob(f"*{SUFFIX}")) if given.is_dir() else [given]
    if not paths:
        raise CandidatesError(f"{given}: no candidate list in this folder: wanted files <task>{SUFFIX}")
    found: dict[str, LocalList] = {}
    for path in paths:
        task = load_task(read_provenance(path).task)
        if task.id in found:
            raise CandidatesError(f"{path}: a second list for task {task.id}, beside {found[task.id].path.name}")
        about = verify_list(path, task, str(path))
        manifest = path.with_name(f"{path.stem}{MANIFEST}")
        found[task.id] = LocalList(
            path,
            about,
            _verify_manifest(manifest, about) if manifest.exists() else None,
            _verify_pack(path, task, about),
        )
    return list(found.values())


def push_lists(lists: Sequence[LocalList], target: HubFolder, *, private: bool, card: Path | None = None) -> HubFolder:
    """Push the lists, and their `card` if given, to a data set on the Hub in one commit; return the folder there.

    Raises DataError as `upload_files` does.
    """
    files: list[tuple[str, Path]] = [] if card is None else [(README, card)]
    for one in lists:
        task_id = one.about.provenance.task
        files.append((f"{task_id}{SUFFIX}", one.path))
        if one.manifest is not None:
            files.append((f"{task_id}{MANIFEST}", one.manifest))
        if one.pack is not None:
            files.append((f"{task_id}{PACK_SUFFIX}", one.pack))
    names = ", ".join(one.about.provenance.task for one in lists)
    message = f"Candidate lists: {names}" if len(lists) <= 3 else f"Candidate lists of {len(lists)} tasks"
    return upload_files(files, target, message, private=private)


def check_write_access(target: HubFolder) -> None:
    """Raise DataError if files cannot be pushed there: the address has a revision, MRB is offline, or no token."""
    if target.revision is not None:
        raise DataError(f"{target}: files are pushed to the main branch; leave @{target.revision} out")
    if is_offline():
        raise DataError(f"{target}: pushing needs the network, but MRB_OFFLINE or HF_HUB_OFFLINE is set")
    from huggingface_hub import get_token

    if get_token() is None:
        raise DataError(f"{target}: pushing needs a token: log in with `hf auth login`, or set HF_TOKEN")


def upload_files(
    files: Sequence[tuple[str, Path]], target: HubFolder, message: str, *, private: bool = False
) -> HubFolder:
    """Create the data set if needed, push files in one commit, and return the folder at that commit.

    `files` are (name in the folder, local file). The Hub's client finds the token (`hf auth login`, HF_TOKEN), which is
    never shown. Raises DataError as `check_write_access` does, without access or network, and if
    `private` is requested but the data set is public.
    """
    check_write_access(target)
    from huggingface_hub import HfApi

    api, where = HfApi(), str(target)
    call_with_retries(
        lambda: api.create_repo(target.repository, private=private or None, repo_type="dataset", exist_ok=True), where
    )
    if private and not call_with_retries(lambda: api.repo_info(target.repository, repo_type="dataset"), where).private:
        raise DataError(f"{target}: --private was asked for, but the data set is there and public; nothing was sent")
    return target.at(call_with_retries(lambda: _commit(api, files, target, message), where))


def _commit(api: HfApi, files: Sequence[tuple[str, Path]], target: HubFolder, message: str) -> str:
    """Push all files in one commit and return its hash. Unchanged files are not sent again."""
    from huggingface_hub import CommitOperationAdd

    adds = [CommitOperationAdd(target.path(name), str(path)) for name, path in files]
    try:
        with _hide_progress_bars():
            commit: str = api.create_commit(target.repository, adds, commit_message=message, repo_type="dataset").oid
    except (RuntimeError, ValueError) as error:
        if is_xet_failure(error):
            raise
        # The client wraps an error of an upload in these classes; the reason is the cause, if there is one.
        cause = error.__cause__
        if isinstance(cause, list_network_errors()):
            raise cause from error
        raise DataError(f"{target}: the Hub did not take the files: {describe_error(cause or error)}") from error
    return commit


@contextlib.contextmanager
def _hide_progress_bars() -> Iterator[None]:
    """Disable the client's progress bars: the bar of a failed upload stays open and is drawn after the error line."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


def _verify_pack(path: Path, task: Task, about: ListInfo) -> Path | None:
    """Return the judgement pack beside a list, None without one. Raises CandidatesError if it is not the list's."""
    pack = path.with_suffix(PACK_SUFFIX)
    if not pack.is_file():
        return None
    info = read_pack(pack).info
    check_pack(info, task, str(pack))
    if info.list_sha256 != about.sha256:
        raise CandidatesError(f"{pack}: of another list than {path.name}; make it again: `mrb candidates pack {path}`")
    return pack


def _verify_manifest(path: Path, about: ListInfo) -> Path:
    """Return the manifest's path. Raises CandidatesError if it describes another list."""
    stated = read_json(path, limit=MAX_MANIFEST_BYTES)
    if not isinstance(stated, dict) or stated.get("sha256") != about.sha256:
        raise CandidatesError(
            f"{path}: does not belong to the list in this folder, whose hash is {about.sha256}; remove one of them"
        )
    return path
