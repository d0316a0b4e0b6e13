"""Images made ready for a vision tower: MRB's pool against the image processor called by two threads.

    python benchmarks/prepare.py
    python benchmarks/prepare.py --threads 1,2 --images 24 --max-pixels 1003520

Generated pages (1,700 x 2,200 pixels of text and one picture, JPEG and PNG; 2,550 x 3,300, JPEG) and photos (640 x 480,
JPEG) are decoded and resized for Qwen2.5-VL. `before` is transformers' processor on Pillow, whole, in two threads.
Figures are CPU seconds of all threads and images per second of wall time, the best of --rounds rounds in which the ways
take turns; the bits that reach the tower are compared. `look-up` is the part that the model's device does. `draft`
shows what decoding a JPEG at half its size would gain, and how far it moves the pixels.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers import Qwen2VLImageProcessorPil

from mrb.data.items import ImageHandle
from mrb.engine.prefetch import PixelQueue
from mrb.engine.vision import QwenTower

KINDS = {
    "page 1700 x 2200, JPEG": (1700, 2200, "JPEG"),
    "page 1700 x 2200, PNG": (1700, 2200, "PNG"),
    "page 2550 x 3300, JPEG": (2550, 3300, "JPEG"),
    "photo 640 x 480, JPEG": (640, 480, "JPEG"),
}


def draw(width: int, height: int, seed: int) -> Image.Image:
    """Return a page of words with a picture, or a photo where it is small."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (height // 20, width // 20, 3), dtype=np.uint8)
    photo = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    if width < 1000:
        return photo
    page = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(page)
    for y in range(height // 30, height - height // 30, height // 80):
        for x in range(width // 20, width - width // 8, width // 12):
            pen.text((x, y), "lorem ipsum dolor"[: rng.integers(6, 17)], fill="black", font_size=height // 110)
    page.paste(photo.resize((width // 2, height // 5)), (width // 4, height // 3))
    return page


def make_images(width: int, height: int, form: str, count: int) -> list[ImageHandle]:
    """Return encoded images, each with a content of its own."""
    drawn = draw(width, height, 0)
    found = []
    for number in range(count):
        drawn.putpixel((0, 0), (number % 256, 0, 0))
        buffer = io.BytesIO()
        drawn.save(buffer, form, **({"quality": 90} if form == "JPEG" else {}))
        found.append(ImageHandle(buffer.getvalue, where=f"{form} {number}"))
    return found


class Ways:
    """The ways of one kind of image; each returns the bits of its last image that reach the tower."""

    def __init__(self, processor: Any, images: Sequence[ImageHandle]) -> None:
        self.processor = processor
        self.images = images
        self.seen: list[torch.Tensor] = []
        model = SimpleNamespace(device=torch.device("cpu"), get_image_features=self._see)
        self.tower = QwenTower(model, processor)

    def _see(self, values: torch.Tensor, **_: Any) -> Any:
        self.seen = [values]
        return SimpleNamespace(pooler_output=[values])

    def before(self) -> torch.Tensor:
        """Call the processor on each image, in two threads."""

        def make(image: ImageHandle) -> Any:
            return self.processor(images=[image.open()], return_tensors="np")["pixel_values"]

        with ThreadPoolExecutor(2) as pool:
            for made in pool.map(make, self.images):
                last = made
        return torch.from_numpy(last)

    def now(self, threads: int) -> torch.Tensor:
        """Take each image from MRB's queue and look its levels up, as the model's thread does."""
        queue = PixelQueue(
            lambda image: self.tower.compute_pixels(image.open()),
            lambda image: self.tower.count_patches(image) * self.tower.patch_bytes,
            threads,
        )
        queue.expect(self.images)
        for image in self.images:
            self.tower.encode(queue.take([image]))
        queue.close()
        return self.seen[0]


def time_best(rounds: int, *ways: Callable[[], torch.Tensor]) -> tuple[list[float], list[float], list[torch.Tensor]]:
    """Return the least CPU seconds of each way, in turns, its least wall seconds, and its last result."""
    spent, walls = [float("inf")] * len(ways), [float("inf")] * len(ways)
    results = [torch.empty(0)] * len(ways)
    for _ in range(rounds):
        for number, way in enumerate(ways):
            wall, cpu = time.perf_counter(), time.process_time()
            results[number] = way()
            spent[number] = min(spent[number], time.process_time() - cpu)
            walls[number] = min(walls[number], time.perf_counter() - wall)
    return spent, walls, results


def measure_draft(ways: Ways, rounds: int) -> str:
    """Return what a JPEG decoded at half its size or less would gain, and the change of its pixels (of 255)."""
    image = ways.images[0]
    whole = ways.tower.compute_pixels(image.open())
    patches, area = len(whole.values), whole.values.shape[2]
    share = (patches * area / (image.size[0] * image.size[1])) ** 0.5
    wanted = (round(image.size[0] * share), round(image.size[1] * share))

    def decode(draft: bool) -> torch.Tensor:
        opened = Image.open(io.BytesIO(image.encoded))
        if draft:
            opened.draft("RGB", wanted)
        opened.load()
        return ways.tower.compute_pixels(opened).values

    opened = Image.open(io.BytesIO(image.encoded))
    opened.draft("RGB", wanted)
    if opened.size == image.size:
        return "no draft: the target is over half the size, or no JPEG"
    (full, drafted), _, (a, b) = time_best(rounds, lambda: decode(False), lambda: decode(True))
    if a.shape != b.shape:
        return f"draft {full / drafted:.2f} x, but another grid"
    apart = (a.float() - b.float()).abs()
    return f"draft {full / drafted:.2f} x, pixels differ by {apart.mean():.2f} on average, {int(apart.max())} at most"


def measure(ways: Ways, threads: Sequence[int], rounds: int) -> str:
    """Return the line of one kind of image."""
    count = len(ways.images)
    tried = [lambda number=number: ways.now(number) for number in threads]
    spent, walls, results = time_best(rounds, ways.before, *tried)
    assert all(torch.equal(results[0], other) for other in results[1:]), "other bits reach the tower"
    ready = ways.tower.compute_pixels(ways.images[0].open())
    (look_up,), _, _ = time_best(rounds, lambda: ways.tower.encode([ready])[0].embeds)
    before, now = (1e3 * seconds / count for seconds in (spent[0], min(spent[1:])))
    rates = ", ".join(
        f"{count / wall:.1f} ({number})" for number, wall in zip(["before", *threads], walls, strict=True)
    )
    return (
        f"{before:.1f} CPU ms before, {now:.1f} now ({before / now:.2f} x), of it look-up {1e3 * look_up:.1f}; a "
        f"second, by threads: {rates}; same bits; {ready.values.numel() / 1e6:.1f} MB wait for "
        f"{4 * results[0].numel() / 1e6:.1f}; {measure_draft(ways, rounds)}"
    )


def main() -> None:
    """Print a line for each kind of image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-pixels", type=int, default=1280 * 28 * 28)
    arguments = parser.parse_args()
    threads = [int(number) for number in arguments.threads.split(",")]
    torch.set_num_threads(1)
    processor = Qwen2VLImageProcessorPil(size={"shortest_edge": 3136, "longest_edge": arguments.max_pixels})
    for name, (width, height, form) in KINDS.items():
        ways = Ways(processor, make_images(width, height, form, arguments.images))
        print(f"{name}: {measure(ways, threads, arguments.rounds)}", flush=True)


if __name__ == "__main__":
    main()
