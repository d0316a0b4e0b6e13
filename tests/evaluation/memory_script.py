"""`write FOLDER N`: a task of N queries with pictures as parquet. `run FOLDER N`: a reranker over it, peak RssAnon.

Used by test_memory.py in processes of its own. Distinct pictures grow with the queries, as in real sets.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

from mrb.candidates.lists import Provenance, build_candidates
from mrb.data.items import DecodeCache, Item
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.evaluation import environment
from mrb.evaluation.journal import Journal, Record
from mrb.evaluation.measure import measure
from mrb.evaluation.plan import make_plan, make_requests
from mrb.evaluation.score import score_all
from mrb.evaluation.score_key import make_header
from mrb.rerankers.declaration import read_declarations
from mrb.rerankers.plugins import Adapter
from mrb.rerankers.reranker import Request

DEPTH = 10
"""What is held of a pair is its ids, which do grow with the queries; few pairs, so that pictures are what shows."""
SIDE = 384
"""Decoded, the few queries' pictures already fill the decode cache several times."""


def _picture(seed: int) -> dict[str, object]:
    noise = np.random.default_rng(seed).integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((SIDE, SIDE)).save(file, "JPEG")
    return {"bytes": file.getvalue(), "path": None}


def _write(folder: Path, queries: int) -> None:
    features = datasets.Features(
        {"id": datasets.Value("string"), "text": datasets.Value("string"), "image": datasets.Image()}
    )
    for table, seed in (("queries", 0), ("corpus", 1)):
        rows = {
            "id": [f"{table}-{n}" for n in range(queries)],
            "text": [None] * queries,
            "image": [_picture(seed + 2 * n) for n in range(queries)],
        }
        path = folder / table / "test.parquet"
        path.parent.mkdir(parents=True)
        # Row groups of a bounded size, as published sets of pictures have: a reader holds one at a time.
        datasets.Dataset.from_dict(rows, features=features).to_parquet(path, batch_size=50)
    qrels = {
        "query-id": [f"queries-{n}" for n in range(queries)],
        "corpus-id": [f"corpus-{n}" for n in range(queries)],
        "score": [1] * queries,
    }
    (folder / "qrels").mkdir()
    datasets.Dataset.from_dict(qrels).to_parquet(folder / "qrels" / "test.parquet")


def _corner(item: Item) -> int:
    assert item.image is not None
    return int(item.image.open().getpixel((0, 0))[0])  # type: ignore[index]


class Brightness:
    """Opens every picture, keeps none."""

    def score(self, request: Request) -> list[int]:
        own = _corner(request.query)
        return [-abs(_corner(candidate) - own) for candidate in request.candidates]


def _run(folder: Path, queries: int) -> None:
    task = load_task("mini-emoji-i2i")
    data = load_task_data(task, decode_cache=DecodeCache(), root=folder.parent)
    made = Provenance(
        task=task.id, list_hash=task.list_hash, revision=task.revision, first_stage="ring", track="test", depth=DEPTH
    )
    falling = list(range(DEPTH, 0, -1))
    # A generator: the script's own lists are not what is measured.
    ring = ([f"corpus-{(n + step) % queries}" for step in range(DEPTH)] for n in range(queries))
    candidates = build_candidates(made, ((f"queries-{n}", ids, falling) for n, ids in enumerate(ring)))
    plan = make_plan(data, candidates, DEPTH)
    reranker = read_declarations(Adapter("brightness", Brightness(), {}, "test", None))
    journal = folder / "journal"
    journal.unlink(missing_ok=True)
    with Journal(journal).open(make_header(plan, reranker.info, environment.list_packages())) as writer:
        requests = make_requests(plan, plan.entries(), "pointwise", uses_first_stage=False)
        for item, scores in score_all(reranker, requests, task.id):
            writer.append(Record(item.entry.query_id, item.entry.first, scores))
    measure(plan, Journal(journal).scores, reranker.info)


def _anonymous() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])


def _peak_of_run(folder: Path, queries: int) -> int:
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.is_set():
            peak[0] = max(peak[0], _anonymous())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    _run(folder, queries)
    ended.set()
    watcher.join()
    return peak[0]


if __name__ == "__main__":
    mode, place, number = sys.argv[1], Path(sys.argv[2]) / "mini-emoji-i2i", int(sys.argv[3])
    if mode == "write":
        _write(place, number)
    else:
        print(_peak_of_run(place, number))
