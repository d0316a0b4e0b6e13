"""What a large training set takes: the check against test data, a start after it, and rows read as training reads them.

    python benchmarks/training_groups.py FOLDER [--groups 100000] [--shards 10] [--workers 1]

Makes groups of 133 documents in FOLDER, half of them with images (JPEGs of 320 x 240, each shown by many groups), and
an index of test data as large as that of all tasks (34 million hashes). The check is killed after a third of the files
and goes on. Then a start, and groups read in training's order with 17 documents each, whose images are read too. At
last a row in the middle is damaged, and the check names it. Each part is a process of its own with its own memory.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mrb.training.data import prepare as preparation
from mrb.training.data.check import FileChecker
from mrb.training.data.check_record import format_check, read_check
from mrb.training.data.contamination import HeldOutIndex
from mrb.training.data.files import find_group_files
from mrb.training.data.group import Sampling, order_groups, sample_documents
from mrb.training.data.prepare import check_file, prepare
from mrb.training.recipe import DataSettings

DOCUMENTS = 133
IMAGES = 2000
SENTENCES = 20_000
WORDS = 34
HASHES, TASKS = 34_000_000, 40
SAMPLING = Sampling(negatives=16, by_size=1)


def make_files(folder: Path, groups: int, shards: int) -> None:
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "index").mkdir()
    for number in range(IMAGES):
        values = rng.integers(0, 255, (15, 20, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(values).resize((320, 240)).save(buffer, "JPEG")
        (folder / "images" / f"{number}.jpg").write_bytes(buffer.getvalue())
    for task in range(TASKS):
        hashes = np.unique(rng.integers(0, 1 << 63, HASHES // TASKS, dtype=np.uint64))
        np.save(folder / "index" / f"task-{task}.npy", hashes)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, rng.integers(2, 11))) for _ in range(30_000)]
    sentences = [" ".join(words[n] for n in rng.integers(0, len(words), WORDS)) for _ in range(SENTENCES)]
    for shard in range(shards):
        with (folder / f"p{shard}.jsonl").open("w") as file:
            for row in range(groups * shard // shards, groups * (shard + 1) // shards):
                json.dump(make_row(row, rng, sentences), file)
                file.write("\n")


def make_row(row: int, rng: np.random.Generator, sentences: list[str]) -> dict[str, Any]:
    if row % 2:
        shown = rng.integers(0, IMAGES, DOCUMENTS).tolist()
        documents: list[dict[str, Any]] = [{"image": f"images/{n}.jpg", "id": str(n)} for n in shown]
    else:
        texts = rng.integers(0, SENTENCES, DOCUMENTS).tolist()
        documents = [{"text": f"{row} {n} {sentences[text]}", "id": str(n)} for n, text in enumerate(texts)]
    for rank, document in enumerate(documents[1:101], start=1):
        document |= {"rank": rank, "score": round(1 / rank, 4)}
    source = ("texts", "images")[row % 2]
    return {"source": source, "query": {"text": f"{row} query"}, "positives": documents[:1], "negatives": documents[1:]}


def load_index(folder: Path) -> HeldOutIndex:
    return HeldOutIndex({path.stem: np.load(path, mmap_mode="r") for path in sorted((folder / "index").iterdir())}, ())


def check(folder: Path, workers: int) -> Iterator[str]:
    index = load_index(folder)
    with FileChecker(index, workers) as checker:
        for path in find_group_files([str(folder)]):
            found = read_check(path, index)
            record, _ = found or check_file(path, checker)
            yield next(format_check(path, record, before=found is not None))
            yield from record.problems
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    yield f"check: {cpu:,.0f} s of CPU, peak memory of a process {measure_memory():,.0f} MB"


def start(folder: Path) -> Iterator[str]:
    preparation.load_held_out = lambda tasks: load_index(folder)
    FileChecker.check = None  # type: ignore[assignment, method-assign]  # no start may check again
    began = time.perf_counter()
    prepared = prepare(DataSettings(groups=(str(folder),), tasks=()))
    sources = prepared.sources
    order = order_groups({source.name: len(source) for source in sources}, prepared.groups, SAMPLING, 0)
    yield f"start: {prepared.groups:,} groups ready after {time.perf_counter() - began:.1f} s"
    for count in (len(order) // 10, len(order) // 2):
        began, cpu, read = time.perf_counter(), time.process_time(), 0
        for number, row, visit in order[:count].tolist():
            group = sample_documents(sources[number].group(row), SAMPLING, (0, number, row, visit))
            read += sum(len(image.encoded) for one in group.items for image in one.item.images)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        yield (
            f"{count:,} groups read: {count / seconds:,.0f} a second, {1000 * cpu / count:.2f} ms of CPU each, "
            f"peak memory {measure_memory():,.0f} MB"
        )


def measure_memory() -> float:
    """Return the most that this process, or one that it started, has held, with what it read of the mapped index."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def run_part(folder: Path, part: str, workers: int, kill_at: Path | None = None) -> float:
    """Run a part in a process, which is killed when the file `kill_at` appears. Return its seconds."""
    began = time.perf_counter()
    command = [sys.executable, __file__, str(folder), "--part", part, "--workers", str(workers)]
    process = subprocess.Popen(command)
    while process.poll() is None:
        time.sleep(0.05)
        if kill_at is not None and kill_at.exists():
            process.kill()
            print("killed")
            kill_at = None
    return time.perf_counter() - began


def damage_row(path: Path) -> None:
    """Overwrite some bytes in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b'"}]' * 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--groups", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--part", choices=("check", "start"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        for line in check(args.folder, args.workers) if args.part == "check" else start(args.folder):
            print(line, flush=True)
        return
    if not args.folder.exists():
        began = time.perf_counter()
        make_files(args.folder, args.groups, args.shards)
        print(f"made {args.groups:,} groups in {args.shards} shards, {time.perf_counter() - began:,.0f} s")
    size = sum(path.stat().st_size for path in args.folder.glob("*.jsonl"))
    print(f"{size / 1e9:.2f} GB of groups; {os.cpu_count()} cores, {args.workers} used; index of {HASHES:,} hashes")
    seconds = run_part(args.folder, "check", args.workers, args.folder / f"p{args.shards // 3}.check.json")
    seconds += run_part(args.folder, "check", args.workers)
    print(f"check: {seconds:,.0f} s, {1000 * seconds / args.groups:.2f} ms a group")
    run_part(args.folder, "start", args.workers)
    damage_row(args.folder / f"p{args.shards // 2}.jsonl")
    run_part(args.folder, "check", args.workers)


if __name__ == "__main__":
    main()
