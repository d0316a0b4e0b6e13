"""Images of a model: sizes without decoding, pixels prefetched in threads, features in a bounded cache."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from mrb.data.items import ImageHandle
from mrb.engine.prompt import Ids
from mrb.engine.stats import Stats
from mrb.engine.vision import Features, Pixels, VisionTower
from mrb.errors import MRBError

AHEAD_BYTES = 256 * 1024 * 1024
"""Limit of preprocessed pixels that wait for the model."""
THREADS = 2


class ImageFeatureExtractor:
    """Feature extraction for one model: its vision tower, a prefetch queue and a feature cache.

    `cache_bytes` bounds the cached features, `batch_patches` the patches per forward pass of the tower, which runs on
    `device`.
    """

    def __init__(
        self, tower: VisionTower, *, device: torch.device, cache_bytes: int, batch_patches: int, stats: Stats
    ) -> None:
        self._tower = tower
        self._device = device
        self._cache_bytes = cache_bytes
        self._batch_patches = min(batch_patches, tower.most_patches)
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
        return self._tower.count_tokens(image)

    def make_ids(self, image: ImageHandle, image_id: int) -> Ids | None:
        """Return the image's tokens in a prompt, if they differ. See `VisionTower.make_ids`."""
        return self._tower.make_ids(image, image_id)

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
        return self._tower.count_patches(image) * self._tower.patch_bytes

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
        made = self._tower.compute_pixels(opened)
        self._stats.add("decode", decoded - started)
        self._stats.add("preprocess", self._stats.clock() - decoded)
        return made

    def _encode(self, images: Sequence[ImageHandle]) -> Iterator[tuple[ImageHandle, Features]]:
        for batch in self._split_batches(images):
            pixels = [self._get_pixels(image) for image in batch]
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
