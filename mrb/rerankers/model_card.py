"""What an adapter says of its model for people: checkpoint, size, licence, what it needs. No score depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mrb.data.task import Modality
from mrb.rerankers.reranker import MODALITIES

Need = Literal["no", "advised", "needed"]


@dataclass(frozen=True)
class ModelCard:
    """The class attribute `card` of an adapter, which `mrb models` and docs/models.md show.

    Args:
        checkpoint: ORG/NAME of the published model that the adapter runs by itself, or in words what it runs.
        licence: Licence of the weights; "(unconfirmed)" where its source was not read.
        size: Number of weights, e.g. "8.29B"; empty without weights.
        inputs: What it takes. None: what the model takes that the user names.
        run_here: Whether the project has run it on its real weights: "yes", "never" or words; "-" if it has none.
        compared_with: What its scores were compared with.
        extra: The extra of the package `mrb` that installs what it needs; empty if nothing more is needed.
        packages: Modules that must be importable.
        gpu: Whether it needs a GPU.
        server: Whether it calls a server.
        note: A few words on its inputs.
        variants: Further published models that the same adapter runs, with the options they need.
    """

    checkpoint: str
    licence: str = "Apache-2.0"
    size: str = ""
    inputs: tuple[Modality, ...] | None = MODALITIES
    run_here: str = "never"
    compared_with: str = "the authors' code"
    extra: str = ""
    packages: tuple[str, ...] = ()
    gpu: Need = "no"
    server: bool = False
    note: str = ""
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def engine_card(
    checkpoint: str, size: str, inputs: tuple[Modality, ...] = MODALITIES, extra: str = "models", **words: str
) -> ModelCard:
    """Return the card of a published checkpoint that MRB's engine runs.

    Args:
        checkpoint: ORG/NAME.
        size: Number of weights.
        inputs: What it takes.
        extra: The extra that installs what it needs.
        words: `licence`, `run_here`, `compared_with` or `note`, where they are not the usual ones.
    """
    needs = ("torch", "transformers", *(("peft",) if extra == "train" else ()))
    return ModelCard(
        checkpoint,
        size=size,
        inputs=inputs,
        extra=extra,
        packages=needs,
        gpu="advised",
        **words,  # type: ignore[arg-type]
    )
