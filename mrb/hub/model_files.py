"""Read the small files of a model (configuration, templates, card), from a folder or a Hub repository."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from mrb.errors import AdapterError, to_one_line
from mrb.hub.client import MAX_FILES, README, is_offline
from mrb.hub.retries import call_with_retries

FILES = (
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "adapter_config.json",
    "tokenizer_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "training.json",
    README,
)
"""Files that say what a model is. `training.json` is MRB's own record of a training."""
MAX_BYTES = 4 * 1024 * 1024
"""Largest of these files that is read. The largest that is known, a tokenizer_config.json, has 1 MB."""


def read_folder_files(folder: Path) -> dict[str, str]:
    """Return {name: content} of the `FILES` in a folder. Raises AdapterError if one is too large or not UTF-8."""
    return _read_texts(str(folder), {name: folder / name for name in FILES if (folder / name).is_file()})


def read_hub_files(repository: str, revision: str | None) -> dict[str, str]:
    """Return {name: content} of the `FILES` of a model repository; a missing one is downloaded into the Hub's cache.

    Args:
        repository: ORG/NAME.
        revision: Commit, branch or tag; None is the main branch.

    Raises:
        AdapterError: Offline and not in the cache, or a file is too large or not UTF-8.
        DataError: The repository or revision does not exist, access is refused, or the Hub cannot be reached.
    """
    where = f"{repository}@{revision}" if revision else repository
    paths = _find_cached(repository, revision, where) if is_offline() else _fetch(repository, revision, where)
    return _read_texts(where, paths)


def _find_cached(repository: str, revision: str | None, where: str) -> dict[str, Path]:
    from huggingface_hub import try_to_load_from_cache

    found = {name: try_to_load_from_cache(repository, name, revision=revision) for name in FILES}
    paths = {name: Path(path) for name, path in found.items() if isinstance(path, str)}
    if not paths:
        raise AdapterError(f"{where}: not in the cache, and MRB is offline; run it once with network access")
    return paths


def _fetch(repository: str, revision: str | None, where: str) -> dict[str, Path]:
    from itertools import islice

    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.hf_api import RepoFile

    def list_top() -> dict[str, int]:
        entries = islice(HfApi().list_repo_tree(repository, revision=revision), MAX_FILES)
        return {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}

    sizes = call_with_retries(list_top, where)
    wanted = [name for name in FILES if name in sizes]
    for name in wanted:
        _check_size(where, name, sizes[name])
    fetch = partial(hf_hub_download, repository, revision=revision)
    return {name: Path(call_with_retries(partial(fetch, name), f"{where}: {name}")) for name in wanted}


def _read_texts(where: str, paths: Mapping[str, Path]) -> dict[str, str]:
    found = {}
    for name, path in paths.items():
        try:
            _check_size(where, name, path.stat().st_size)
            found[name] = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise AdapterError(f"{where}: {name} cannot be read: {to_one_line(error, 120)}") from error
    return found


def _check_size(where: str, name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise AdapterError(f"{where}: {name} has {size:,} bytes, more than the {MAX_BYTES:,} that MRB reads of it")
