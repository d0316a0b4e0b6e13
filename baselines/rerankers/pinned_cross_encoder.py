"""Base class of published rerankers that sentence-transformers loads: a checkpoint at a commit, and what it takes."""

from __future__ import annotations

from typing import Literal

from mrb.baselines.rerankers.cross_encoder import CrossEncoder
from mrb.data.inputs import StatedInputs
from mrb.rerankers.model_card import ModelCard, Need
from mrb.rerankers.plugins import find_installed_name
from mrb.rerankers.training_data import TrainingData

PACKAGES = ("torch", "transformers", "sentence_transformers")


class PinnedCrossEncoder(CrossEncoder):
    """`cross-encoder` with one model's weights, commit and length.

    A subclass states in class attributes `model`, `revision`, `inputs`, `max_images` and `length` (tokens of a pair;
    None: the model's own). The prompt, if the model has one, is the chat template of its own files.
    """

    model: str
    revision: str
    inputs: StatedInputs = ("text",)
    max_images: int | None = 1
    length: int | None = None

    def __init__(
        self,
        path: str | None = None,
        revision: str | None = None,
        device: str | None = None,
        dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32",
        max_length: int | None = None,
        batch_size: int = 0,
    ) -> None:
        """Load the model.

        Args:
            path: Local folder or ORGANISATION/NAME, instead of the adapter's own checkpoint.
            revision: Commit of `path`.
            device: Device; None is the fastest available.
            dtype: float32, bfloat16, float16 or auto (the checkpoint's).
            max_length: Tokens of a pair, instead of the adapter's own.
            batch_size: Rows per batch; 0: on a CPU about 512 tokens, elsewhere 32 rows.

        Raises:
            AdapterError: The model cannot be loaded, a weight would be random, or it does not take what the adapter
                declares.
        """
        self.name = find_installed_name(type(self))
        most = self.max_images
        commit = revision if path else revision or self.revision
        super().__init__(
            path or self.model, commit, device, dtype, max_length or self.length, batch_size, inputs=self.inputs
        )
        self.max_images = min((limit for limit in (most, self.max_images) if limit is not None), default=None)


def make_cross_encoder_card(
    size: str,
    licence: str = "Apache-2.0",
    compared_with: str = "sentence-transformers itself",
    *,
    gpu: Need = "advised",
    trained_on: TrainingData | None = None,
) -> ModelCard:
    """Return the card of a published model that sentence-transformers loads; the arguments are those of `ModelCard`."""
    return ModelCard(
        size,
        licence,
        compared_with=compared_with,
        extra="cross-encoder",
        packages=PACKAGES,
        gpu=gpu,
        trained_on=trained_on,
    )
