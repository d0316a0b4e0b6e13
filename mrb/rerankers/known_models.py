"""Find the installed adapter that belongs to a published model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mrb.data.mteb_facts import load_mteb_training
from mrb.errors import AdapterError
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.plugins import (
    RERANKERS,
    Factory,
    list_installed,
    list_parameters,
    load_all_installed,
    load_installed,
)
from mrb.rerankers.training_data import TrainingData

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class KnownModel:
    """A published model and the adapter that runs it with its own prompt.

    `commit` is the one that the adapter loads by itself, None if the user must name one. `options` are those that this
    model needs.
    """

    repository: str
    adapter: str
    factory: Any
    commit: str | None
    options: Mapping[str, str] = field(default_factory=dict)


@cache
def find_known_models(group: str = RERANKERS) -> Mapping[str, KnownModel]:
    """Return the published models that an installed adapter names, by ORG/NAME in lower case.

    An adapter of another package that cannot be imported is left out.
    """
    found: dict[str, KnownModel] = {}
    for adapter in load_all_installed(group):
        name, factory = adapter.name, adapter.factory
        repository, commit = find_default_checkpoint(adapter)
        if repository is not None:
            found[repository.lower()] = KnownModel(repository, name, factory, commit)
        card = getattr(factory, "card", None)
        for other, options in card.variants.items() if isinstance(card, ModelCard) else ():
            found[other.lower()] = KnownModel(other, name, factory, None, {"path": other, **options})
    return found


def find_training_data(name: str, options: Mapping[str, object]) -> TrainingData | None:
    """Return what is published of the training data of the model that a run used; None if nothing is.

    Args:
        name: The name of the run's reranker.
        options: Its options. One that names a published model decides; a folder is nobody's known weights.
    """
    known = find_known_models()
    for option in ("path", "model", "name"):
        asked = options.get(option)
        if isinstance(asked, str):
            repository = asked.partition("@")[0].lower()
            if found := known.get(repository):
                return _get_training_data(found.factory)
            names = load_mteb_training().get(repository)
            return None if names is None else TrainingData("mteb 2.26.24", names)
    return _find_adapter_data(name)


@cache  # a board asks for each of its rows, and looking up what is installed reads many files
def _find_adapter_data(name: str) -> TrainingData | None:
    if name not in list_installed(RERANKERS):
        return None
    try:
        return _get_training_data(load_installed(name, RERANKERS).factory)
    except AdapterError:
        return None


def _get_training_data(factory: object) -> TrainingData | None:
    card = getattr(factory, "card", None)
    return card.trained_on if isinstance(card, ModelCard) else None


def find_default_checkpoint(adapter: Factory) -> tuple[str | None, str | None]:
    """Return (ORG/NAME, commit) of what an adapter loads without options; None for what it does not name."""
    defaults = {name: parameter.default for name, parameter in list_parameters(adapter).items()}
    factory = adapter.factory
    path = getattr(factory, "model", None) or defaults.get("path")
    commit = getattr(factory, "revision", None) or defaults.get("revision")
    if not isinstance(path, str) or not _HUB_ID.fullmatch(path):
        return None, None
    return path, commit if isinstance(commit, str) else None
