"""Images of a model: sizes without decoding, pixels made ahead of it, features in a bounded cache."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from mrb.data.items import ImageHandle
from mrb.engine.prefetch import PixelQueue
from mrb.engine.prompt import Ids
from mrb.engine.stats import Stats
from mrb.engine.vision import Features, Pixels, VisionTower


class ImageFeatureExtractor:
    """Feature extraction for one model: its vision tower, its images' pixels made ahead, and a feature cache.

    The cache is on `device`, where the tower runs, and holds at most `cache_bytes`; `batch_patches` bounds the patches
    per forward pass of the tower; `threads` is that of `PixelQueue`.
    """

    def __init__(
        self,
        tower: VisionTower,
        *,
        device: torch.device,
        cache_bytes: int,
        batch_patches: int,
        stats: Stats,
        threads: int = 0,
    ) -> None:
        self._tower = tower
        self._device = device
        self._cache_bytes = cache_bytes
        self._batch_patches = min(batch_patches, tower.most_patches)
        self._stats = stats
        self._held: OrderedDict[str, Features] = OrderedDict()
        self._held_bytes = 0
        self._pixels = PixelQueue(self._compute_pixels, self._measure_bytes, threads)

    def tokens(self, image: ImageHandle) -> int:
        """Return how many tokens the image takes, from its header alone.

        Raises DataError if its shape cannot be resized.
        """
        return self._tower.count_tokens(image)

    def make_ids(self, image: ImageHandle, image_id: int) -> Ids | None:
        """Return the image's tokens in a prompt, if they differ. See `VisionTower.make_ids`."""
        return self._tower.make_ids(image, image_id)

    def expect(self, images: Iterable[ImageHandle]) -> None:
        """Announce images that will be needed after those announced so far. Thread-safe."""
        self._pixels.expect(image for image in images if image.content_hash not in self._held)

    def expect_nothing(self) -> None:
        """Drop all images announced."""
        self._pixels.drop()

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
        self._pixels.drop(found)  # announced while their features were being computed
        for image, features in self._encode(missing):
            found[image.content_hash] = features
            self._keep_features(image.content_hash, features)
        return found

    def fresh(self, images: Iterable[ImageHandle]) -> dict[str, Features]:
        """Return the images' features by hash, computed now and not cached: for a tower that is being trained."""
        distinct = {image.content_hash: image for image in images}
        self._stats.cache_misses += len(distinct)
        return {image.content_hash: features for image, features in self._encode(list(distinct.values()))}

    def forget(self) -> None:
        """Empty the feature cache."""
        self._held.clear()
        self._held_bytes = 0

    def close(self) -> None:
        """Stop the threads and free everything."""
        self._pixels.close()
        self.forget()

    def _measure_bytes(self, image: ImageHandle) -> int:
        return self._tower.count_patches(image) * self._tower.patch_bytes

    def _compute_pixels(self, image: ImageHandle) -> Pixels:
        started = self._stats.clock()
        opened = image.open()
        decoded = self._stats.clock()
        made = self._tower.compute_pixels(opened)
        if self._device.type == "cuda":
            made = replace(made, values=made.values.pin_memory())  # the copy to the device then runs beside the model
        self._stats.add("decode", decoded - started)
        self._stats.add("preprocess", self._stats.clock() - decoded)
        return made

    def _encode(self, images: Sequence[ImageHandle]) -> Iterator[tuple[ImageHandle, Features]]:
        for batch in self._split_batches(images):
            pixels = self._pixels.take(batch)
            for image, made in zip(batch, pixels, strict=True):
                if math.prod(made.grid) != self._tower.count_patches(image):
                    raise image.error("the decoded image's size differs from its header")
            yield from zip(batch, self._run_tower(pixels), strict=True)

    def _split_batches(self, images: Sequence[ImageHandle]) -> Iterator[list[ImageHandle]]:
        batch: list[ImageHandle] = []
        patches = 0
        for image in images:
            more = self._tower.count_patches(image)
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
        found = self._tower.encode(pixels)
        self._stats.synchronised("vision", started, self._device)
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
