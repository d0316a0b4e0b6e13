"""Images for a Qwen-VL model: sizes without decoding, pixels prefetched in threads, features in a bounded cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mrb.data.items import ImageHandle
from mrb.engine.stats import Stats
from mrb.errors import MRBError

AHEAD_BYTES = 256 * 1024 * 1024
"""Limit of preprocessed pixels that wait for the model."""
THREADS = 2
LONGEST = 200
"""The largest aspect ratio that Qwen-VL's resizing accepts."""


@dataclass(frozen=True)
class Pixels:
    """An image as input of the vision tower: `values` float32[patches, patch size], `grid` (1, height, width) in
    patches.
    """

    values: torch.Tensor
    grid: tuple[int, int, int]


@dataclass(frozen=True)
class Features:
    """An image as input of the language model.

    `embeds` is [tokens, hidden]; `deep` holds one tensor of that shape per early layer that takes one (Qwen3-VL);
    `grid` is (height, width) in tokens.
    """

    embeds: torch.Tensor
    deep: tuple[torch.Tensor, ...]
    grid: tuple[int, int]

    @property
    def bytes(self) -> int:
        """Size of the tensors in bytes."""
        return sum(t.numel() * t.element_size() for t in (self.embeds, *self.deep))


def refuse_thin(image: ImageHandle) -> None:
    """Raise DataError for an image whose aspect ratio is above LONGEST: Qwen's own resizing refuses it."""
    width, height = image.open_size
    if max(height, width) > LONGEST * min(height, width):
        raise image.error(f"an image of {width} x {height} pixels is too thin for this model ({LONGEST} to 1 at most)")


def count_image_patches(processor: Any, image: ImageHandle) -> int:
    """Return how many patches the processor makes of the image, from its header alone.

    Raises DataError like `refuse_thin`.
    """
    refuse_thin(image)
    width, height = image.open_size
    return int(processor.get_number_of_image_patches(height, width))


def count_image_tokens(processor: Any, image: ImageHandle) -> int:
    """Return how many tokens the image takes, from its header alone. Raises DataError like `refuse_thin`."""
    return count_image_patches(processor, image) // int(processor.merge_size) ** 2


class ImageFeatureExtractor:
    """Feature extraction for one model: its image processor, its vision tower, a prefetch queue and a feature cache.

    `processor` resizes to its own pixel limits, `cache_bytes` bounds the cached features, `batch_patches` the patches
    per forward pass of the tower.
    """

    def __init__(self, model: Any, processor: Any, *, cache_bytes: int, batch_patches: int, stats: Stats) -> None:
        self._model = model
        self._processor = processor
        self._merge = int(processor.merge_size)
        self._patch_bytes = 4 * 3 * int(processor.temporal_patch_size) * int(processor.patch_size) ** 2
        self._cache_bytes = cache_bytes
        self._batch_patches = batch_patches
        self._stats = stats
        self._held: OrderedDict[str, Features] = OrderedDict()
        self._held_bytes = 0
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="mrb-pixels")
        self._queue: dict[str, ImageHandle] = {}
        self._waiting: dict[str, tuple[Future[Pixels], int]] = {}
        self._waiting_bytes = 0

    def tokens(self, image: ImageHandle) -> int:
        """Return how many tokens the image takes, from its header alone.

        Raises DataError if its shape cannot be resized.
        """
        return count_image_tokens(self._processor, image)

    def expect(self, images: Iterable[ImageHandle]) -> None:
        """Announce the order in which images will be needed: threads decode and resize them ahead, within AHEAD_BYTES.

        Images announced earlier that are not among these are dropped.
        """
        self._queue = {image.content_hash: image for image in images}
        for key in self._waiting.keys() - self._queue.keys():
            future, size = self._waiting.pop(key)
            future.cancel()
            self._waiting_bytes -= size
        self._submit_images()

    def features(self, images: Iterable[ImageHandle]) -> dict[str, Features]:
        """Return the images' features by hash. A distinct image goes through the tower once while it is cached."""
        found: dict[str, Features] = {}
        missing: list[ImageHandle] = []
        for key, image in {image.content_hash: image for image in images}.items():
            held = self._held.get(key)
            if held is None:
                missing.append(image)
            else:
                self._held.move_to_end(key)
                found[key] = held
        self._stats.cache_hits += len(found)
        self._stats.cache_misses += len(missing)
        for image, features in self._encode(missing):
            found[image.content_hash] = features
            self._keep_features(image.content_hash, features)
        self._submit_images()
        return found

    def fresh(self, images: Iterable[ImageHandle]) -> dict[str, Features]:
        """Return the images' features by hash, computed now and not cached: for a tower that is being trained."""
        distinct = {image.content_hash: image for image in images}
        self._stats.cache_misses += len(distinct)
        found = {image.content_hash: features for image, features in self._encode(list(distinct.values()))}
        self._submit_images()
        return found

    def forget(self) -> None:
        """Empty the feature cache."""
        self._held.clear()
        self._held_bytes = 0

    def close(self) -> None:
        """Stop the threads and free everything."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._queue.clear()
        self._waiting.clear()
        self.forget()

    def _measure_bytes(self, image: ImageHandle) -> int:
        return count_image_patches(self._processor, image) * self._patch_bytes

    def _submit_images(self) -> None:
        """Submit images to the threads while there is room for their pixels; at least one, however large."""
        while self._queue and (self._waiting_bytes < AHEAD_BYTES or not self._waiting):
            key = next(iter(self._queue))
            image = self._queue.pop(key)
            if key not in self._held and key not in self._waiting:
                size = self._measure_bytes(image)
                self._waiting[key] = self._pool.submit(self._compute_pixels, image), size
                self._waiting_bytes += size

    def _get_pixels(self, image: ImageHandle) -> Pixels:
        """Return the image's pixels. An error carries the image's hash."""
        try:
            return self._take_pixels(image)
        except MRBError as error:
            error.image = image.content_hash
            raise

    def _take_pixels(self, image: ImageHandle) -> Pixels:
        self._queue.pop(image.content_hash, None)  # computed now, so no longer to prefetch
        if image.content_hash not in self._waiting:
            return self._compute_pixels(image)
        future, size = self._waiting.pop(image.content_hash)
        self._waiting_bytes -= size
        return future.result()

    def _compute_pixels(self, image: ImageHandle) -> Pixels:
        started = self._stats.clock()
        opened = image.open()
        decoded = self._stats.clock()
        made = self._processor(images=[opened], return_tensors="np")
        t, h, w = (int(n) for n in made["image_grid_thw"][0])
        values = torch.from_numpy(np.ascontiguousarray(made["pixel_values"], dtype=np.float32))
        self._stats.add("decode", decoded - started)
        self._stats.add("preprocess", self._stats.clock() - decoded)
        return Pixels(values, (t, h, w))

    def _encode(self, images: Sequence[ImageHandle]) -> Iterator[tuple[ImageHandle, Features]]:
        for batch in self._split_batches(images):
            for image, features in zip(
                batch, self._run_tower([self._get_pixels(image) for image in batch]), strict=True
            ):
                if features.embeds.shape[0] != self.tokens(image):
                    raise image.error("the decoded image's size differs from its header")
                yield image, features

    def _split_batches(self, images: Sequence[ImageHandle]) -> Iterator[list[ImageHandle]]:
        batch: list[ImageHandle] = []
        patches = 0
        for image in images:
            more = count_image_patches(self._processor, image)
            if batch and patches + more > self._batch_patches:
                yield batch
                batch, patches = [], 0
            batch.append(image)
            patches += more
        if batch:
            yield batch

    def _run_tower(self, pixels: Sequence[Pixels]) -> list[Features]:
        """Return the vision tower's output for each image."""
        started = self._stats.clock()
        device = self._model.device
        grids = torch.tensor([p.grid for p in pixels], device=device)
        values = torch.cat([p.values for p in pixels]).to(device)
        out = self._model.get_image_features(values, image_grid_thw=grids)
        deep = getattr(out, "deepstack_features", None) or ()
        found = [
            Features(embeds, tuple(layer[i] for layer in deep), (p.grid[1] // self._merge, p.grid[2] // self._merge))
            for i, (embeds, p) in enumerate(zip(out.pooler_output, pixels, strict=True))
        ]
        self._stats.synchronised("vision", started, device)
        return found

    def _keep_features(self, key: str, features: Features) -> None:
        if features.bytes > self._cache_bytes:
            return
        # A slice of a batch's output would keep the whole batch in memory.
        own = Features(features.embeds.clone(), tuple(layer.clone() for layer in features.deep), features.grid)
        self._held[key] = own
        self._held_bytes += own.bytes
        while self._held_bytes > self._cache_bytes:
            _, old = self._held.popitem(last=False)
            self._held_bytes -= old.bytes
