"""Time and memory of BM25 over a generated corpus: MRB's two engines, and bm25s used directly.

    python benchmarks/bm25.py --passages 200000 --out bm25.json

Passages are drawn from the words of the embedded FAQ task by Zipf's law (55 words on average), so they compress and
repeat like text but mean nothing. Every engine runs in a process of its own. `anonymous` is memory that the process
cannot give back (the memory-mapped corpus and index are not in it); `peak` is everything that was resident.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa

from mrb.data.load import load_task_data
from mrb.data.stats import Counts
from mrb.data.task import load_task
from mrb.data.task_data import ItemTable, TaskData

ENGINES = ("memory", "disk", "bm25s")
QUERIES = 200
DEPTH = 100
BLOCK = 20_000


def write_corpus(path: Path, passages: int) -> None:
    """A memory-mappable Arrow file with a column `text`."""
    task = load_task_data(load_task("mini-faq-t2t"))
    counted = Counter(w for d in task.corpus for w in re.findall(r"\w+", task.corpus.item(d).text))
    known = np.array([word for word, _ in counted.most_common()], dtype=object)
    share = 1.0 / np.arange(1, len(known) + 1)
    steps = np.cumsum(share / share.sum())
    draw = np.random.default_rng(20261123)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.schema([("text", pa.string())])) as writer:
        for first in range(0, passages, BLOCK):
            lengths = draw.integers(10, 101, min(BLOCK, passages - first))
            drawn = known[np.minimum(np.searchsorted(steps, draw.random(lengths.sum())), len(known) - 1)]
            texts = [" ".join(part) for part in np.split(drawn, np.cumsum(lengths)[:-1])]
            writer.write_batch(pa.record_batch([pa.array(texts)], names=["text"]))


def task_data(path: Path) -> TaskData:
    """The corpus as a task's; the queries are the first 8 words of passages that stand far apart."""
    texts = pa.ipc.open_file(pa.memory_map(str(path))).read_all().column("text")
    corpus = ItemTable("corpus", {str(row): row for row in range(len(texts))}, texts, None)
    asked = [" ".join(texts[row * len(texts) // QUERIES].as_py().split()[:8]) for row in range(QUERIES)]
    queries = ItemTable("queries", {f"q{n}": n for n in range(QUERIES)}, pa.chunked_array([pa.array(asked)]), None)
    counts = Counts(
        queries=QUERIES,
        documents=len(texts),
        qrels=0,
        queries_in_table=QUERIES,
        queries_without_positives=0,
        qrels_outside_corpus=0,
        qrels_not_positive=0,
    )
    return TaskData(load_task("mini-faq-t2t"), queries, corpus, {}, counts)


def run_engine(engine: str, corpus: Path, folder: Path) -> dict[str, float | str]:
    """Index and search in this process; seconds and bytes."""
    peak = _watch()
    started = time.perf_counter()
    data = task_data(corpus)
    loaded = time.perf_counter()
    digest = ""
    if engine == "bm25s":
        indexed = _direct(data)
    else:
        from mrb._util.hashing import dump_canonical_json, hash_lines
        from mrb.baselines.rerankers.bm25 import BM25Retriever

        search = BM25Retriever(engine=engine, folder=folder).search(data, DEPTH)  # type: ignore[arg-type]
        first = next(search)
        indexed = time.perf_counter()
        found = [first, *search]
        digest = hash_lines(dump_canonical_json([q, ids, scores.tobytes().hex()]) for q, ids, scores in found)
    ended = time.perf_counter()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "engine": engine,
        "index_seconds": indexed - loaded,
        "search_seconds": ended - indexed,
        "load_seconds": loaded - started,
        "anonymous_bytes": peak[0],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "index_bytes": size,
        "lists_sha256": digest,
    }


def _direct(data: TaskData) -> float:
    """bm25s with its own tokeniser, as its page shows it; the time at which the index was ready."""
    import bm25s
    import Stemmer

    assert data.corpus.texts is not None
    stemmer = Stemmer.Stemmer("english")
    model = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    options = {"stopwords": "en", "stemmer": stemmer, "show_progress": False}
    model.index(bm25s.tokenize(data.corpus.texts.to_pylist(), **options), show_progress=False)
    indexed = time.perf_counter()
    asked = bm25s.tokenize([data.queries.item(q).text for q in data.queries], **options)
    model.retrieve(asked, k=DEPTH, show_progress=False)
    return indexed


def _watch() -> list[int]:
    """The greatest RssAnon seen so far, in bytes, sampled 20 times a second by a thread."""
    peak = [0]

    def sample() -> None:
        while True:
            status = Path("/proc/self/status").read_text()
            found = re.search(r"RssAnon:\s+(\d+) kB", status)
            peak[0] = max(peak[0], int(found.group(1)) * 1024 if found else 0)
            time.sleep(0.05)

    threading.Thread(target=sample, daemon=True).start()
    return peak


def table(passages: int, results: list[dict[str, float | str]]) -> str:
    """A row an engine."""
    million = passages / 1e6
    heads = (("index s", 8), ("s/M", 7), ("anon GB", 8), ("GB/M", 6), ("peak GB", 8), ("disk GB", 8), ("ms/query", 9))
    lines = [f"{'engine':8} " + " ".join(f"{head:>{width}}" for head, width in heads)]
    for r in results:
        anonymous, index = float(r["anonymous_bytes"]) / 1e9, float(r["index_seconds"])
        lines.append(
            f"{r['engine']:8} {index:8.1f} {index / million:7.1f} {anonymous:8.2f} {anonymous / million:6.2f} "
            f"{float(r['peak_bytes']) / 1e9:8.2f} {float(r['index_bytes']) / 1e9:8.2f} "
            f"{1000 * float(r['search_seconds']) / QUERIES:9.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=200_000)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--engine-here", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.engine_here:
        engine, corpus, folder = asked.engine_here
        print(json.dumps(run_engine(engine, Path(corpus), Path(folder))))
        return
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch) / "corpus.arrow"
        write_corpus(corpus, asked.passages)
        for engine in asked.engines:
            folder = Path(scratch) / engine
            folder.mkdir()
            command = [sys.executable, __file__, "--engine-here", engine, str(corpus), str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    print(f"{asked.passages:,} passages, {QUERIES} queries, depth {DEPTH}")
    print(table(asked.passages, results))
    if asked.out:
        asked.out.write_text(json.dumps({"passages": asked.passages, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
