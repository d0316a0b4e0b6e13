"""Base class of models with one tower for texts and one for images in a shared vector space, such as CLIP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from mrb.data.items import ImageHandle, Item
from mrb.engine.prefetch import PixelQueue, prefetch
from mrb.engine.vector_reranker import EncoderReranker
from mrb.errors import AdapterError
from mrb.rerankers.plugins import RETRIEVERS, find_installed_name

if TYPE_CHECKING:
    import torch

    from mrb.retrieval.retriever import Float32


class TwoTowers(EncoderReranker):
    """An encoder, and a reranker by cosine. Vectors have length 1.

    An item with text and image gets the normalised sum of its two vectors.
    An item with neither gets the vector of the empty text. A task's instruction is not used.

    A subclass states its checkpoint: `model` (a Hub repository; the user may name another, or a folder) and its
    `revision` (None where the user must name one), `model_type` (as in config.json), `loader` (its transformers class),
    `padding` (how texts are padded), `text_tokens`, beyond which texts are truncated, and `masked`, whether the text
    tower takes an attention mask. `refused` says of other values of model_type why they are not supported. It may
    replace `tokenize`.
    """

    version = "1"
    needs_images = True  # two texts are not what the towers were trained on
    model: str
    revision: str | None = None
    model_type: str
    loader: str
    padding: Literal["longest", "max_length"]
    text_tokens: int
    masked: bool
    refused: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        path: str | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 64,
        image_threads: int = 0,
        shard_rows: int = 4096,
    ) -> None:
        """Load the model.

        Args:
            path: Local folder or ORGANISATION/NAME, instead of the retriever's own checkpoint.
            revision: Commit of `path`.
            device: auto, cpu, cuda(:n) or mps.
            dtype: auto (bfloat16 on a GPU, else float32), float32, bfloat16 or float16.
            batch_size: Texts or images per forward pass.
            image_threads: Threads that decode and resize images; 0: this process's share of the cores, at least 2.
            shard_rows: Vectors per file; a killed command may have to compute so many again.

        Raises:
            AdapterError: Something is missing or does not fit.
        """
        from mrb.engine import checkpoint
        from mrb.engine.identity import hash_checkpoint

        self.name = find_installed_name(type(self), RETRIEVERS)
        for option, value, least in (
            ("batch_size", batch_size, 1),
            ("shard_rows", shard_rows, 1),
            ("image_threads", image_threads, 0),
        ):
            if value < least:
                raise AdapterError(f"{self.name}: {option}={value}: wanted a whole number from {least}")
        checkpoint.require(self.name, "torch", "transformers")
        import transformers

        from mrb.engine.vision import LevelTable

        self._device = checkpoint.get_device(device)
        kind = checkpoint.get_dtype(dtype, self._device)
        revision = revision if path else revision or self.revision
        folder = checkpoint.resolve_checkpoint(path or self.model, revision)
        found = checkpoint.read_config(folder).get("model_type")
        if found != self.model_type:
            why = self.refused.get(str(found), "")
            raise AdapterError(f"{folder}: model_type is {found!r}, wanted {self.model_type!r}{why and f': {why}'}")
        self.version = f"{self.version}+{hash_checkpoint(folder)}"
        self._tokenizer = checkpoint.load_tokenizer(folder)
        self._model = checkpoint.load_model(folder, getattr(transformers, self.loader), dtype=kind).to(self._device)
        side = self._model.config.vision_config.image_size
        self._processor = checkpoint.load_plain_image_processor(folder, side)
        self._levels = LevelTable.read(self._processor)
        self._pixels = PixelQueue(self._compute_pixels, lambda _: 3 * side**2, image_threads)
        self._rows_per_pass = batch_size
        self.batch_size = max(batch_size, 512)  # items per call: images are prefetched within one call
        self.shard_rows = shard_rows
        self.revision = revision
        self.dtype = str(kind).removeprefix("torch.")

    def encode_queries(self, items: Sequence[Item], instruction: str) -> Float32:
        """Return float32 (n, width), rows of length 1."""
        return self.encode_documents(items)

    def encode_documents(self, items: Sequence[Item]) -> Float32:
        """Return float32 (n, width), rows of length 1. Raises AdapterError if a batch does not fit into memory."""
        from mrb.engine.batching import is_out_of_memory

        try:
            return self._encode(items)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise AdapterError(
                f"{self.name}: batch_size={self._rows_per_pass} does not fit into memory; lower it: --set "
                "batch_size=..."
            ) from error

    def _encode(self, items: Sequence[Item]) -> Float32:
        texts = {item.text: None for item in items if item.text or item.image is None}
        images = {item.image.content_hash: item.image for item in items if item.image is not None}
        of_text = dict(zip(texts, self._iterate_rows(self._encode_texts(list(texts))), strict=True))
        of_image = dict(zip(images, self._iterate_rows(self._encode_images(list(images.values()))), strict=True))
        rows = []
        for item in items:
            parts = [of_text[item.text]] if item.text or item.image is None else []
            parts += [of_image[item.image.content_hash]] if item.image is not None else []
            rows.append(parts[0] if len(parts) == 1 else _normalise(parts[0] + parts[1]))
        return np.stack(rows)

    def _iterate_rows(self, blocks: Iterator[torch.Tensor]) -> Iterator[Float32]:
        """Yield the rows of the towers' outputs, normalised to length 1."""
        for block in blocks:
            for row in block.float().cpu().numpy():
                yield _normalise(row)

    def tokenize(self, texts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return what the text tower gets of so many texts: its token ids, and their mask if the model has one."""
        made = self._tokenizer(
            texts,
            padding=self.padding,
            truncation=True,
            max_length=self.text_tokens,
            split_special_tokens=True,  # a text that spells the end token must not act as one
            return_attention_mask=self.masked,
            return_tensors="pt",
        )
        return {name: made[name] for name in (("input_ids", "attention_mask") if self.masked else ("input_ids",))}

    def _encode_texts(self, texts: Sequence[str]) -> Iterator[torch.Tensor]:
        import torch

        blocks = (texts[first : first + self._rows_per_pass] for first in range(0, len(texts), self._rows_per_pass))
        for made in prefetch(self.tokenize, blocks):
            with torch.inference_mode():
                yield _read_pooled(
                    self._model.get_text_features(**{name: made[name].to(self._device) for name in made})
                )

    def _encode_images(self, images: Sequence[ImageHandle]) -> Iterator[torch.Tensor]:
        import torch

        self._pixels.expect(images)
        left = iter(images)
        try:
            while block := list(islice(left, self._rows_per_pass)):
                pixels = [taken.to(self._device, non_blocking=True) for taken in self._pixels.take(block)]
                values = self._levels.look_up(torch.stack(pixels)).to(self._model.dtype)
                with torch.inference_mode():
                    yield _read_pooled(self._model.get_image_features(pixel_values=values))
        finally:
            self._pixels.drop()

    def _compute_pixels(self, image: ImageHandle) -> torch.Tensor:
        """Return uint8[3, side, side]."""
        import torch

        made = self._processor(images=image.open(), do_rescale=False, do_normalize=False, return_tensors="np")
        pixels = torch.from_numpy(np.ascontiguousarray(made["pixel_values"][0], np.uint8))
        return pixels.pin_memory() if self._device.type == "cuda" else pixels

    def close(self) -> None:
        """Stop the threads, and free the vectors that are kept."""
        self._pixels.close()
        self.forget_vectors()


def _read_pooled(output: Any) -> torch.Tensor:
    found: torch.Tensor = output.pooler_output
    return found


def _normalise(row: Float32) -> Float32:
    length = np.linalg.norm(row)
    unit: Float32 = row / length if length else row
    return unit
