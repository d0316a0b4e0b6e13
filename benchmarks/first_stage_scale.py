"""A dense first stage from end to end over generated data: where the time goes, and the peak memory.

    python benchmarks/first_stage_scale.py --images 300000
    python benchmarks/first_stage_scale.py --passages 1000000

Documents are small JPEGs (64 x 64, made at the start) or passages of 40 drawn words. The encoder is called *random
projection*: the counts of a text's bytes, or the 16 x 16 thumbnail of an image, times a fixed random matrix; its width
is 256 (`--width`). It costs next to nothing, so what is left is what MRB does around an encoder. `prepare` is reading
and decoding, `encode` the projection, `write` and `read` the shards of vectors, `search` the search, `list` the list's
file. Search may run beside the rest, so the parts can add up to more than the whole.
"""

from __future__ import annotations

import argparse
import functools
import io
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from mrb.candidates.lists import write_parquet
from mrb.data.items import Item
from mrb.data.stats import Counts
from mrb.data.task import load_task
from mrb.data.task_data import ItemTable, TaskData
from mrb.rerankers.plugins import Adapter
from mrb.retrieval import Dense, make_candidates
from mrb.retrieval.encoding import LocalEncoder
from mrb.retrieval.exact_search import ExactSearch
from mrb.retrieval.shards import Shards

SIDE = 16
WORDS = 5_000
Float32 = npt.NDArray[np.float32]
spent: defaultdict[str, float] = defaultdict(float)


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, whose time is added to a part."""

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            spent[name] += time.perf_counter() - started

    return run


class RandomProjection:
    """A tiny random encoder: a thumbnail or counts of bytes, times a fixed random matrix."""

    def __init__(self, width: int) -> None:
        draw = np.random.default_rng(1)
        self._pixels = draw.standard_normal((SIDE * SIDE * 3, width), dtype=np.float32)
        self._bytes = draw.standard_normal((256, width), dtype=np.float32)
        self._project = timed("encode", self._multiply)

    def encode_queries(self, items: Sequence[Item], instruction: str) -> Float32:
        """Vectors of length 1."""
        return self.encode_documents(items)

    def encode_documents(self, items: Sequence[Item]) -> Float32:
        """Vectors of length 1."""
        return self._project([timed("prepare", self._read)(item) for item in items])  # type: ignore[no-any-return]

    def _read(self, item: Item) -> npt.NDArray[Any]:
        if item.image is not None:
            return np.asarray(item.image.open().resize((SIDE, SIDE)), np.float32).reshape(-1) / 255 - 0.5
        return np.bincount(np.frombuffer(item.text.encode(), np.uint8), minlength=256).astype(np.float32)

    def _multiply(self, parts: Sequence[npt.NDArray[Any]]) -> Float32:
        rows = np.stack(parts)
        rows = rows @ (self._bytes if rows.shape[1] == 256 else self._pixels)
        normal: Float32 = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return normal


def make_images(count: int) -> list[bytes]:
    """Small JPEGs of 8 x 8 flat cells."""
    draw, found = np.random.default_rng(2), []
    for _ in range(count):
        file = io.BytesIO()
        cells = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(cells).resize((64, 64), Image.Resampling.NEAREST).save(file, "JPEG")
        found.append(file.getvalue())
    return found


def make_passages(count: int) -> list[str]:
    """Passages of 40 words."""
    draw = np.random.default_rng(3)
    words = ["".join(map(chr, draw.integers(97, 123, length))) for length in draw.integers(2, 10, WORDS)]
    return [" ".join(words[word] for word in row) for row in draw.integers(0, WORDS, (count, 40))]


def make_data(images: int, passages: int, queries: int) -> TaskData:
    """The data of a task without judgements."""

    def make_table(name: str, count: int) -> ItemTable:
        texts = pa.chunked_array([pa.array(make_passages(count) if passages else [None] * count, pa.string())])
        pixels = None if passages else pa.chunked_array([pa.array(make_images(count), pa.binary())])
        return ItemTable(name, {f"{name[0]}{row}": row for row in range(count)}, texts, pixels)

    counts = Counts(
        queries=queries,
        documents=images or passages,
        qrels=0,
        queries_in_table=queries,
        queries_without_positives=0,
        qrels_outside_corpus=0,
        qrels_not_positive=0,
    )
    task = load_task("mini-faq-t2t")
    return TaskData(task, make_table("queries", queries), make_table("corpus", images or passages), {}, counts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    documents = parser.add_mutually_exclusive_group(required=True)
    for name in ("images", "passages"):
        documents.add_argument(f"--{name}", type=int, default=0)
    for name, default in (("queries", 1000), ("width", 256), ("depth", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    data = make_data(options.images, options.passages, options.queries)
    print(f"{len(data.corpus):,} documents, {len(data.queries):,} queries, width {options.width}", flush=True)
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    ExactSearch.add = timed("search", ExactSearch.add)  # type: ignore[method-assign]
    Shards.write = timed("write", Shards.write)  # type: ignore[method-assign]
    Shards.read = timed("read", Shards.read)  # type: ignore[method-assign]
    clock, processor = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        encoder = LocalEncoder(Adapter("random-projection", RandomProjection(options.width), {}, "test", "0" * 64))
        dense = Dense(encoder, Path(folder))
        found = dense.search(data, options.depth)
        searched = time.perf_counter()
        lists = list(found)  # the last block is searched here
        spent["search"] += time.perf_counter() - searched
        dense.search = lambda data, depth: iter(lists)  # type: ignore[method-assign]
        started = time.perf_counter()
        write_parquet(make_candidates(data, dense, "random-projection", options.depth, "test"), Path(folder, "list"))
        spent["list"] = time.perf_counter() - started
        disk = sum(path.stat().st_size for path in Path(folder).rglob("*.npy")) / 2**20
    whole = time.perf_counter() - clock
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in spent.items())
    print(f"{whole:.1f} s by clock, {time.process_time() - processor:.1f} s of processor: {parts}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory {peak:.2f} GiB, of which {loaded:.2f} with the data; {disk:.0f} MiB of vectors", flush=True)


if __name__ == "__main__":
    main()
