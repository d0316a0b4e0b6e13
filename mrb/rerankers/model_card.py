"""What an adapter says of its model for people: size, licence, what it needs. No score depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mrb.rerankers.training_data import TrainingData

Need = Literal["no", "advised", "needed"]
ENGINE_PACKAGES = ("torch", "transformers")


@dataclass(frozen=True)
class ModelCard:
    """The class attribute `card` of an adapter, which `mrb models` and docs/models.md show.

    Args:
        size: Number of weights, e.g. "8.29B"; empty without weights.
        licence: Licence of the weights; "(unconfirmed)" where its source was not read.
        checkpoint: What the adapter runs, in words; empty: the model that its attribute `model` or its option `path`
            names.
        takes: What it takes, in words; empty: its attribute `inputs`.
        run_here: Whether the project has run it on its real weights: "yes", "never" or words; "-" if it has none.
        compared_with: What its scores were compared with.
        needs: Options that must be given, beside those without a default.
        extra: The extra of the package `mrb` that installs what it needs; empty if nothing more is needed.
        packages: Modules that must be importable.
        gpu: Whether it needs a GPU.
        server: Whether it calls a server.
        variants: Further published models that the same adapter runs, with the options they need. What is said of
            training data holds for them too.
        trained_on: What is published of its training data; None if nothing is, or if there are no weights.

    Example:
        >>> ModelCard("8.29B", "Apache-2.0", extra="models", packages=("torch", "transformers")).size
        '8.29B'
    """

    size: str = ""
    licence: str = "Apache-2.0"
    checkpoint: str = ""
    takes: str = ""
    run_here: str = "never"
    compared_with: str = "-"
    needs: tuple[str, ...] = ()
    extra: str = ""
    packages: tuple[str, ...] = ()
    gpu: Need = "no"
    server: bool = False
    variants: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    trained_on: TrainingData | None = None


def make_engine_card(
    size: str,
    licence: str = "Apache-2.0",
    compared_with: str = "the authors' code",
    *,
    checkpoint: str = "",
    takes: str = "",
    needs: tuple[str, ...] = (),
    peft: bool = False,
    variants: Mapping[str, Mapping[str, str]] | None = None,
    trained_on: TrainingData | None = None,
) -> ModelCard:
    """Return the card of a published checkpoint that MRB's engine runs; the arguments are those of `ModelCard`.

    `peft` says that its weights are LoRA weights.
    """
    return ModelCard(
        size,
        licence,
        checkpoint,
        takes,
        compared_with=compared_with,
        needs=needs,
        extra="train" if peft else "models",
        packages=(*ENGINE_PACKAGES, "peft") if peft else ENGINE_PACKAGES,
        gpu="advised",
        variants=variants or {},
        trained_on=trained_on,
    )


def make_plain_card(takes: str = "") -> ModelCard:
    """Return the card of an adapter without weights, which runs on any machine. `takes` is that of `ModelCard`."""
    return ModelCard(checkpoint="no weights", takes=takes, run_here="-")
