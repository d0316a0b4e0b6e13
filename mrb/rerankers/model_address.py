"""Resolve the value of `--model` that names a model and no adapter: ORG/NAME[@REVISION] of the Hub, or a model folder.

The result is the adapter and the options that one would type, so that both ways give the same scores.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mrb._util.home import expand_user
from mrb.errors import AdapterError, to_one_line
from mrb.hub.model_files import read_folder_files, read_hub_files
from mrb.rerankers.known_models import KnownModel, find_known_models
from mrb.rerankers.plugins import RERANKERS, RETRIEVERS, list_installed
from mrb.rerankers.recognition import recognise_model

logger = logging.getLogger(__name__)
_HUB_ID = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(@(?P<revision>[\w./-]{1,100}))?")
_MODEL_FILES = ("config.json", "modules.json", "adapter_config.json")
_NAME_LENGTH = 96


@dataclass(frozen=True)
class ResolvedModel:
    """An adapter's name and options, the name of the run, and one line that says what the model is."""

    adapter: str
    options: Mapping[str, str]
    name: str
    line: str


def announce_model(spec: str, options: Mapping[str, str]) -> None:
    """Log in one line what a model is and which adapter runs it; nothing for an adapter's own name.

    Raises AdapterError or DataError as `resolve_model` does.
    """
    if is_model_address(spec):
        logger.info(resolve_model(spec, options).line)


def is_model_address(spec: str) -> bool:
    """Return whether a value of `--model` names a model: it is ORG/NAME or a path, or a folder here holds a model.

    Raises AdapterError for a name of both a model folder and an installed adapter or a file NAME.py.
    """
    if re.fullmatch(r".*\.py(:\w+)?", spec) or not spec:
        return False
    if "/" in spec or spec.startswith("~"):
        return True
    if not any(_is_file(Path(spec) / name) for name in _MODEL_FILES):
        return False
    others = [f"the installed reranker {spec}"] if spec in list_installed(RERANKERS) else []
    others += [f"{spec}.py"] if _is_file(Path(f"{spec}.py")) else []
    if others:
        raise AdapterError(
            f"{to_one_line(spec, 80)!r} is both a model folder here and {others[0]}: give ./{spec} for the folder, "
            "or run in another folder"
        )
    return True


def _is_file(path: Path) -> bool:
    """Return whether a path is a file; False also for a text that can be no path."""
    try:
        return path.is_file()
    except OSError:  # too long
        return False


def resolve_model(spec: str, options: Mapping[str, str]) -> ResolvedModel:
    """Return the adapter and options of a model.

    Args:
        spec: ORG/NAME, ORG/NAME@REVISION or a folder.
        options: The user's options, which go to the adapter as well and may settle what the files leave open.

    Raises:
        AdapterError: There is no such model, it means two things, or no adapter is sure to be right.
        DataError: The Hub refuses or cannot be reached.
    """
    if "path" in options:
        raise AdapterError(f"{to_one_line(spec, 120)}: --model names the model and --set path= another: give one")
    hub = _HUB_ID.fullmatch(spec)
    folder = expand_user(spec)
    if folder.is_dir():
        if hub:
            raise AdapterError(
                f"{spec} is a folder here, and may mean the repository of that name on the Hub: give ./{spec} for the "
                f"folder, {spec}@COMMIT for the Hub"
            )
        return _resolve_folder(spec, folder, options)
    if hub is None:
        if _is_file(Path(f"{folder}.py")):
            raise AdapterError(
                f"{to_one_line(spec, 120)}: there is no such folder; the adapter is {spec}.py: give this"
            )
        raise AdapterError(
            f"{to_one_line(spec, 120)}: there is no such folder, and a model of the Hub is ORG/NAME or ORG/NAME@COMMIT"
        )
    return _resolve_hub(hub["repository"], hub["revision"], tuple(sorted(options.items())))


def _resolve_folder(spec: str, folder: Path, options: Mapping[str, str]) -> ResolvedModel:
    if "revision" in options:
        raise AdapterError(f"{to_one_line(spec, 120)} is a folder; --set revision= is for models of the Hub")
    found = recognise_model(spec, read_folder_files(folder), options)
    path = spec if "/" in spec else f"./{spec}"
    return _finish(folder.resolve().name, spec, found.adapter, found.what, {"path": path, **found.options}, options)


@cache  # not of a folder, whose files may change
def _resolve_hub(repository: str, revision: str | None, given: tuple[tuple[str, str], ...]) -> ResolvedModel:
    options = dict(given)
    typed = options.get("revision")
    if revision is not None and typed not in (None, revision):
        raise AdapterError(f"{repository}: @{revision} and --set revision={to_one_line(typed, 50)} differ: give one")
    revision = revision or typed
    pinned = {} if revision is None else {"revision": revision}
    known = find_known_models().get(repository.lower())
    if known is not None:
        return _use_known(known, pinned, options)
    try:
        found = recognise_model(repository, read_hub_files(repository, revision), options)
    except AdapterError as error:
        stage = find_known_models(RETRIEVERS).get(repository.lower())
        if stage is None:
            raise
        raise AdapterError(f"{error}; as a first stage: mrb candidates make --first-stage {stage.adapter}") from error
    own = {"path": repository, **pinned, **found.options}
    return _finish(repository.replace("/", "."), repository, found.adapter, found.what, own, options)


def _use_known(known: KnownModel, pinned: Mapping[str, str], options: Mapping[str, str]) -> ResolvedModel:
    """Return the adapter of a published model, at the commit that the adapter names unless the user names one."""
    layout = getattr(getattr(known.factory, "prompt", None), "name", None)
    commit = pinned.get("revision") or known.commit
    words = ["a published reranker", f"layout {layout}" if layout else "", f"at {commit[:12]}" if commit else ""]
    # A variant is another model than the adapter's own, so its run has a name of its own.
    name = known.repository.replace("/", ".") if known.options else known.adapter
    own = {**known.options, **pinned}
    return _finish(name, known.repository, known.adapter, ", ".join(filter(None, words)), own, options)


def _finish(
    name: str, address: str, adapter: str, what: str, own: Mapping[str, str], options: Mapping[str, str]
) -> ResolvedModel:
    shown = "".join(f" --set {key}={value}" for key, value in own.items() if key not in ("path", "revision"))
    line = to_one_line(f"{address}: {what} -> {adapter}{shown}", 400)
    safe = re.sub(r"[^A-Za-z0-9._-]", ".", name).lstrip("._-")[:_NAME_LENGTH] or adapter
    return ResolvedModel(adapter, {**own, **options}, safe, line)
