"""List the installed rerankers and first stages: what each takes and needs, and whether it can run on this machine."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from mrb.errors import AdapterError, MRBError, suggest_names, to_one_line
from mrb.rerankers.declaration import read_inputs
from mrb.rerankers.known_models import find_default_checkpoint, find_known_models
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.plugins import RERANKERS, RETRIEVERS, Factory, list_installed, list_parameters, load_installed

Role = Literal["reranker", "first stage"]
ROLES: Mapping[Role, str] = {"reranker": RERANKERS, "first stage": RETRIEVERS}
_WEIGHTS = (".safetensors", ".bin")
_GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class AdapterOption:
    """An option of an adapter (`--set name=...`), its type and default as text; `default` is None if it has none."""

    name: str
    type: str
    default: str | None


@dataclass(frozen=True)
class ModelEntry:
    """An installed adapter.

    Attributes:
        name: The name after `--model` or `--first-stage`.
        role: "reranker" or "first stage".
        checkpoint: ORG/NAME of the model that it runs by itself, or in words what it runs.
        commit: The commit that it loads; None if the user must name one, or if there is none.
        size: Number of weights, e.g. "8.29B"; empty without weights or if not stated.
        takes: What it takes, in words.
        licence: Licence of the weights.
        run_here: Whether the project has run it on its real weights.
        compared_with: What its scores were compared with.
        install: The command that installs what it needs; empty if nothing more is needed.
        gpu: "no", "advised" or "needed".
        server: Whether it calls a server.
        options: Its options.
        ready: Whether it can run here and now without the network.
        reason: Why it is not ready; empty if it is.
        source: The package that it comes from.
        about: What its class says of itself.
        command: The shortest command that runs it.
        trained_on: Test sets that it was trained on, as published: task id -> "trained-on" or "related" (other data of
            the same source). Empty if none is named; None if nothing is published, or without weights.
        training_source: Where that is stated.
    """

    name: str
    role: Role
    checkpoint: str = ""
    commit: str | None = None
    size: str = ""
    takes: str = ""
    licence: str = ""
    run_here: str = ""
    compared_with: str = ""
    install: str = ""
    gpu: str = "no"
    server: bool = False
    options: tuple[AdapterOption, ...] = ()
    ready: bool = False
    reason: str = ""
    source: str = ""
    about: str = ""
    command: str = ""
    trained_on: Mapping[str, str] | None = None
    training_source: str = ""


def list_models(role: Role | None = None) -> list[ModelEntry]:
    """Return the installed rerankers and first stages, rerankers first, sorted by name. No request is made.

    Args:
        role: Only those of this role; None for all.

    Example:
        >>> [entry.ready for entry in list_models("reranker") if entry.name == "random"]
        [True]
    """
    roles = list(ROLES) if role is None else [role]
    return [_describe(name, role) for role in roles for name in list_installed(ROLES[role])]


def find_model(name: str) -> list[ModelEntry]:
    """Return the installed adapters of a name (a reranker, a first stage or both), or that of a published model.

    Raises AdapterError if there is none.
    """
    known = find_known_models().get(name.lower())
    wanted = known.adapter if known is not None else name
    found = [_describe(wanted, role) for role, group in ROLES.items() if wanted in list_installed(group)]
    if not found:
        names = sorted({name for group in ROLES.values() for name in list_installed(group)})
        raise AdapterError(
            f"no adapter {to_one_line(name, 80)!r} is installed{suggest_names(name, names)}; `mrb models` lists them"
        )
    return found


def check_remote(entry: ModelEntry) -> str:
    """Ask the Hub whether the adapter's published model can be fetched; return "on the Hub", or why not.

    Empty for an adapter without one. Raises MRBError offline.
    """
    from functools import partial

    from huggingface_hub import HfApi

    from mrb.hub.client import is_offline
    from mrb.hub.retries import call_with_retries

    if "/" not in entry.checkpoint or " " in entry.checkpoint:
        return ""
    if is_offline():
        raise MRBError("--remote asks the Hub, and MRB is offline (MRB_OFFLINE, HF_HUB_OFFLINE)")
    ask = partial(HfApi().model_info, entry.checkpoint, revision=entry.commit)
    try:
        call_with_retries(ask, entry.checkpoint)
    except MRBError as error:
        return str(error)
    return "on the Hub"


def _describe(name: str, role: Role) -> ModelEntry:
    group = ROLES[role]
    flag = "mrb run --model" if role == "reranker" else "mrb candidates make --first-stage"
    try:
        adapter = load_installed(name, group)
    except AdapterError as error:
        return ModelEntry(name, role, reason=str(error), source="unknown", command=f"{flag} {name}")
    factory = adapter.factory
    stated = getattr(factory, "card", None)
    card = stated if isinstance(stated, ModelCard) else ModelCard(licence="not stated", run_here="not stated")
    repository, commit = find_default_checkpoint(adapter)
    options = _list_options(adapter)
    needed = list(dict.fromkeys([*(option.name for option in options if option.default is None), *card.needs]))
    words = [f"--set {option}=..." for option in needed]
    if repository is not None and commit is None:
        words.append("--set revision=COMMIT")
    reason = _find_obstacle(card, words) or (_find_missing_weights(repository, commit) if repository and commit else "")
    return ModelEntry(
        name=name,
        role=role,
        checkpoint=card.checkpoint or repository or "",
        commit=commit,
        size=card.size,
        takes=card.takes or _format_inputs(name, factory),
        licence=card.licence,
        run_here=card.run_here,
        compared_with=card.compared_with,
        install=f"pip install 'mrb[{card.extra}]'" if card.extra else "",
        gpu=card.gpu,
        server=card.server,
        options=options,
        ready=not reason,
        reason=reason,
        source=adapter.source,
        about=" ".join((inspect.getdoc(factory) or "").split()),
        command=" ".join([flag, name, *words]),
        trained_on=card.trained_on.find_marks() if card.trained_on else None,
        training_source=card.trained_on.source if card.trained_on else "",
    )


def _find_obstacle(card: ModelCard, words: list[str]) -> str:
    """Return what an adapter lacks on this machine, weights apart; empty if nothing. Nothing heavy is imported."""
    absent = [package for package in card.packages if not _is_importable(package)]
    if absent:
        return f"pip install 'mrb[{card.extra}]'" if card.extra else f"needs {absent[0]}, which is not installed"
    if card.gpu == "needed" and not _has_gpu():
        return "needs a GPU"
    return f"needs {' '.join(words)}" if words else ""


def _find_missing_weights(repository: str, commit: str) -> str:
    """Return why the weights of a published model are not at hand; empty if they are in the Hub's cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots" / commit
    kept = folder.is_dir() and any(file.suffix in _WEIGHTS for file in folder.iterdir())
    return "" if kept else "weights not fetched yet"


def _is_importable(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):  # a parent package is missing
        return False


def _has_gpu() -> bool:
    return sys.platform == "darwin" or any(Path(device).exists() for device in _GPUS)


def _list_options(adapter: Factory) -> tuple[AdapterOption, ...]:
    empty = inspect.Parameter.empty
    return tuple(
        AdapterOption(
            name,
            _format_type(parameter.annotation),
            None if parameter.default is empty else repr(parameter.default),
        )
        for name, parameter in list_parameters(adapter).items()
    )


def _format_type(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "str"
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _format_inputs(name: str, factory: Any) -> str:
    try:
        return read_inputs(name, factory).format().replace("image+text", "both")
    except AdapterError:
        return "not stated"  # running it names the mistake; here it must not hide the other adapters
