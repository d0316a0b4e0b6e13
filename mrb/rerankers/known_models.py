"""Find the installed adapter that belongs to a published model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mrb.errors import AdapterError
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.plugins import RERANKERS, Factory, list_installed, list_parameters, load_installed

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
    for name in list_installed(group):
        try:
            adapter = load_installed(name, group)
        except AdapterError:
            continue
        factory = adapter.factory
        repository, commit = find_default_checkpoint(adapter)
        if repository is not None:
            found[repository.lower()] = KnownModel(repository, name, factory, commit)
        card = getattr(factory, "card", None)
        for other, options in card.variants.items() if isinstance(card, ModelCard) else ():
            found[other.lower()] = KnownModel(other, name, factory, None, {"path": other, **options})
    return found


def find_default_checkpoint(adapter: Factory) -> tuple[str | None, str | None]:
    """Return (ORG/NAME, commit) of what an adapter loads without options; None for what it does not name."""
    defaults = {name: parameter.default for name, parameter in list_parameters(adapter).items()}
    factory = adapter.factory
    path = getattr(factory, "model", None) or defaults.get("path")
    commit = getattr(factory, "revision", None) or getattr(factory, "commit", None) or defaults.get("revision")
    if not isinstance(path, str) or not _HUB_ID.fullmatch(path):
        return None, None
    return path, commit if isinstance(commit, str) else None
