"""Memory and time of loading a task of the Hub whose corpus is large, when a candidate list names a part of it.

    python benchmarks/hub_corpus.py --rows 2000000 --out hub_corpus.json

The task is `edis` of the registry (text to image with text), its repository a folder of parquet files as the Hub's
client leaves them, generated: every document has some words and a picture of random bytes, which is never decoded. A
list names random documents. Each way of loading runs in a process of its own, in the order of the table, and reads the
files through MRB's loader without network. `anonymous` is memory that the process cannot give back, `peak` everything
that was resident (mapped files too, which the system may drop), `written` what is on disk afterwards beside the files.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mrb._util.hashing import hash_file
from mrb.candidates.lists import Provenance, build_candidates, write_parquet
from mrb.candidates.load import collect_documents, load_candidates
from mrb.data.corpus_subset import NOTHING
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.hub.manifest import Manifest, RemoteFile, record
from mrb.hub.table_discovery import discover_tables

TASK = load_task("edis")
PART = TASK.source.parts[0]
SHARDS = 4
GROUP = 1000
"""Rows of a row group, as the Hub's own conversion to parquet makes them."""
WAYS = {
    "imports": "nothing: the imports alone",
    "count": "counting, as `mrb data pull` does",
    "list": "the rows of a list, first time",
    "again": "the rows of a list, again",
    "read": "the same, every document read",
    "whole": "the whole corpus",
}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
DOCUMENTS = pa.schema([("id", pa.string()), ("text", pa.string()), ("image", IMAGE), ("modality", pa.string())])


def write_repository(root: Path, rows: int, picture: int, queries: int) -> None:
    """The files of the task in the cache of the Hub's client under `root`, and MRB's manifest of them."""
    folder = root / "hf" / "hub" / f"datasets--{PART.repository.replace('/', '--')}" / "snapshots" / str(PART.revision)
    draw = np.random.default_rng(20261123)
    for shard in range(SHARDS):
        path = folder / "corpus" / f"test-{shard:05}-of-{SHARDS:05}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(path, DOCUMENTS, use_dictionary=False) as writer:
            for group in _documents(range(shard * rows // SHARDS, (shard + 1) * rows // SHARDS), picture, draw):
                writer.write_table(group)
    ids = [f"3:q{n}" for n in range(queries)]
    asked = {"id": ids, "text": [f"what is in picture {n}" for n in range(queries)]}
    judged = {"query-id": ids, "corpus-id": [f"3:{n}" for n in draw.integers(0, rows, queries)], "score": [1] * queries}
    for name, columns in (("queries", asked), ("qrels", judged)):
        path = folder / name / "test-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    files = tuple(
        RemoteFile(path=str(path.relative_to(folder)), size=path.stat().st_size, git="", sha256=hash_file(path))
        for path in sorted(folder.rglob("*.parquet"))
    )
    tables = discover_tables([file.path for file in files], None)
    record(Manifest(repository=PART.repository, revision=str(PART.revision), files=files, tables=tables))


def _documents(numbers: range, picture: int, draw: np.random.Generator) -> Iterator[pa.Table]:
    """Row groups of documents: ids of the task's form, 20 words, a picture of random bytes."""
    for start in range(numbers.start, numbers.stop, GROUP):
        here = range(start, min(start + GROUP, numbers.stop))
        words = draw.integers(0, 50_000, (len(here), 20))
        pictures = draw.bytes(picture * len(here))
        cells = [{"bytes": pictures[n * picture : (n + 1) * picture], "path": None} for n in range(len(here))]
        columns = {
            "id": [f"3:{n}" for n in here],
            "text": [" ".join(f"word{word}" for word in row) for row in words.tolist()],
            "image": pa.array(cells, IMAGE),
            "modality": ["image,text"] * len(here),
        }
        yield pa.table(columns, DOCUMENTS)


def write_list(path: Path, rows: int, queries: int, depth: int) -> None:
    """A candidate list of random documents."""
    draw = np.random.default_rng(7)
    made = Provenance(
        task=TASK.id, list_hash=TASK.list_hash, revision=TASK.revision, first_stage="none", track="none", depth=depth
    )
    scores = np.linspace(1, 0, depth, dtype=np.float32)
    found = ((f"3:q{n}", [f"3:{d}" for d in draw.choice(rows, depth, replace=False)], scores) for n in range(queries))
    write_parquet(build_candidates(made, found), path)


def load(way: str, root: Path, depth: int) -> dict[str, float | str]:
    """Load in this process; rows held, seconds and bytes."""
    peak = _watch()
    started, rows = time.perf_counter(), 0
    if way in ("list", "again", "read"):
        data = load_task_data(TASK, needed=collect_documents(load_candidates(TASK, root / "edis.parquet", depth)))
        rows = len(data.corpus)
        if way == "read":
            assert all(data.corpus.item(doc_id).text and data.corpus.encoded(doc_id)[0] for doc_id in data.corpus)
    elif way != "imports":
        rows = len(load_task_data(TASK, needed=NOTHING if way == "count" else None).corpus)
    seconds = time.perf_counter() - started
    time.sleep(0.1)  # the watch looks once more
    return {
        "way": WAYS[way],
        "rows": rows,
        "seconds": seconds,
        "anonymous_bytes": peak[0],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "written_bytes": sum(path.stat().st_size for path in root.rglob("*.arrow")),
    }


def _watch() -> list[int]:
    """The greatest RssAnon seen so far, in bytes, sampled 50 times a second by a thread."""
    peak = [0]

    def sample() -> None:
        while True:
            found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
            peak[0] = max(peak[0], int(found.group(1)) * 1024 if found else 0)
            time.sleep(0.02)

    threading.Thread(target=sample, daemon=True).start()
    return peak


def table(results: list[dict[str, float | str]]) -> str:
    """A row for each way."""
    lines = [f"{'what is loaded':36} {'rows':>10} {'seconds':>8} {'anon GB':>8} {'peak GB':>8} {'written GB':>11}"]
    for r in results:
        sizes = [float(r[name]) / 1e9 for name in ("anonymous_bytes", "peak_bytes", "written_bytes")]
        lines.append(
            f"{r['way']:36} {int(r['rows']):10,} {float(r['seconds']):8.1f} "
            f"{sizes[0]:8.2f} {sizes[1]:8.2f} {sizes[2]:11.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--picture-bytes", type=int, default=4_000)
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--way-here", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.way_here:
        print(json.dumps(load(asked.way_here[0], Path(asked.way_here[1]), asked.depth)))
        return
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        caches = {"HF_HOME": str(root / "hf"), "MRB_CACHE": str(root / "mrb"), "MRB_OFFLINE": "1"}
        os.environ.update(caches)
        write_repository(root, asked.rows, asked.picture_bytes, asked.queries)
        write_list(root / "edis.parquet", asked.rows, asked.queries, asked.depth)
        size = sum(path.stat().st_size for path in (root / "hf").rglob("*.parquet"))
        for way in asked.ways:
            command = [sys.executable, __file__, "--way-here", way, scratch, "--depth", str(asked.depth)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{asked.rows:,} documents with pictures, {size / 1e9:.1f} GB of parquet; {asked.queries:,} queries", end="")
    print(f" with {asked.depth} candidates each")
    print(table(results))
    if asked.out:
        asked.out.write_text(json.dumps({"rows": asked.rows, "bytes": size, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
