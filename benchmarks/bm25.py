"""Time and memory of BM25 over a generated corpus: MRB's two engines, bm25s used directly, and tantivy if installed.

    python benchmarks/bm25.py --passages 200000 --queries 200 --out bm25.json

tantivy gets the words of MRB's analyser. `same` is the share of queries for which an engine's scores, in order, are
those of the first engine within 1e-4, so ties in another order count as the same; `top 10` is the mean share of the
first engine's ten best documents that are among an engine's.

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

from mrb._util.cores import count_cores
from mrb.data.load import load_task_data
from mrb.data.stats import Counts
from mrb.data.task import load_task
from mrb.data.task_data import ItemTable, TaskData

ENGINES = ("memory", "disk", "bm25s", "tantivy")
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


def task_data(path: Path, asked_for: int) -> TaskData:
    """The corpus as a task's; the queries are the first 8 words of passages that stand far apart."""
    texts = pa.ipc.open_file(pa.memory_map(str(path))).read_all().column("text")
    corpus = ItemTable("corpus", {str(row): row for row in range(len(texts))}, texts, None)
    asked = [" ".join(texts[row * len(texts) // asked_for].as_py().split()[:8]) for row in range(asked_for)]
    queries = ItemTable("queries", {f"q{n}": n for n in range(asked_for)}, pa.chunked_array([pa.array(asked)]), None)
    counts = Counts(
        queries=asked_for,
        documents=len(texts),
        qrels=0,
        queries_in_table=QUERIES,
        queries_without_positives=0,
        qrels_outside_corpus=0,
        qrels_not_positive=0,
    )
    return TaskData(load_task("mini-faq-t2t"), queries, corpus, {}, counts)


def run_engine(engine: str, corpus: Path, folder: Path, asked_for: int) -> dict[str, float | str]:
    """Index and search in this process; seconds and bytes. The lists go into the file `lists.json` of the folder."""
    peak = _watch()
    started = time.perf_counter()
    data = task_data(corpus, asked_for)
    loaded = time.perf_counter()
    digest = ""
    lists: list[tuple[list[str], list[float]]] = []
    if engine == "bm25s":
        indexed = _direct(data)
    elif engine == "tantivy":
        indexed, lists = _tantivy(data, folder)
    else:
        from mrb._util.hashing import dump_canonical_json, hash_lines
        from mrb.baselines.rerankers.bm25 import BM25Retriever

        search = BM25Retriever(engine=engine, folder=folder).search(data, DEPTH)  # type: ignore[arg-type]
        first = next(search)
        indexed = time.perf_counter()
        found = [first, *search]
        ended = time.perf_counter()
        digest = hash_lines(dump_canonical_json([q, ids, scores.tobytes().hex()]) for q, ids, scores in found)
        lists = [(list(ids), scores.tolist()) for _, ids, scores in found]
    if not digest:
        ended = time.perf_counter()
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    (folder / "lists.json").write_text(json.dumps(lists))
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


def _tantivy(data: TaskData, folder: Path) -> tuple[float, list[tuple[list[str], list[float]]]]:
    """tantivy with one thread that indexes; the time at which the index was ready, and the lists."""
    import tantivy

    from mrb.baselines.retrievers.lexical import tokenize

    assert data.corpus.texts is not None
    fields = tantivy.SchemaBuilder()
    fields.add_text_field("words", stored=False, tokenizer_name="words", index_option="freq")
    fields.add_unsigned_field("row", stored=True)
    index = tantivy.Index(fields.build(), path=str(folder))
    index.register_tokenizer("words", tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build())
    writer = index.writer(heap_size=500_000_000, num_threads=1)
    for row, text in enumerate(data.corpus.texts):
        words = " ".join(tokenize(text.as_py()))
        writer.add_document(tantivy.Document(words=words, row=row))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    indexed = time.perf_counter()
    searcher = index.searcher()
    lists = []
    for query_id in data.queries:
        words = tokenize(data.queries.item(query_id).text)
        terms = [tantivy.Query.term_query(index.schema, "words", word) for word in words]
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])
        hits = searcher.search(query, DEPTH, count=False).hits
        lists.append(([str(searcher.doc(place)["row"][0]) for _, place in hits], [score for score, _ in hits]))
    return indexed, lists


def compare_lists(folder: Path, first: Path) -> tuple[float, float]:
    """The share of queries with the same scores, and the mean share of the first's ten best documents."""
    mine, wanted = (json.loads((one / "lists.json").read_text()) for one in (folder, first))
    if not mine or not wanted:
        return float("nan"), float("nan")
    pairs = list(zip(mine, wanted, strict=True))
    same = [len(a[1]) == len(b[1]) and np.allclose(a[1], b[1], rtol=1e-4) for a, b in pairs]
    return float(np.mean(same)), float(
        np.mean([len({*a[0][:10]} & {*b[0][:10]}) / len(b[0][:10]) for a, b in pairs if b[0]])
    )


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


def table(passages: int, queries: int, results: list[dict[str, float | str]]) -> str:
    """A row an engine."""
    million = passages / 1e6
    heads = (
        ("index s", 8),
        ("s/M", 7),
        ("anon GB", 8),
        ("GB/M", 6),
        ("peak GB", 8),
        ("disk GB", 8),
        ("ms/query", 9),
        ("same", 6),
        ("top 10", 6),
    )
    lines = [f"{'engine':8} " + " ".join(f"{head:>{width}}" for head, width in heads)]
    for r in results:
        anonymous, index = float(r["anonymous_bytes"]) / 1e9, float(r["index_seconds"])
        lines.append(
            f"{r['engine']:8} {index:8.1f} {index / million:7.1f} {anonymous:8.2f} {anonymous / million:6.2f} "
            f"{float(r['peak_bytes']) / 1e9:8.2f} {float(r['index_bytes']) / 1e9:8.2f} "
            f"{1000 * float(r['search_seconds']) / queries:9.1f} {float(r['same']):6.2f} {float(r['top_10']):6.2f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES[:3]))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--engine-here", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.engine_here:
        engine, corpus, folder = asked.engine_here
        print(json.dumps(run_engine(engine, Path(corpus), Path(folder), asked.queries)))
        return
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        corpus = Path(scratch) / "corpus.arrow"
        write_corpus(corpus, asked.passages)
        for engine in asked.engines:
            folder = Path(scratch) / engine
            folder.mkdir()
            command = [sys.executable, __file__, "--queries", str(asked.queries)]
            command += ["--engine-here", engine, str(corpus), str(folder)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            result = json.loads(done.stdout.splitlines()[-1])
            result["same"], result["top_10"] = compare_lists(folder, Path(scratch) / asked.engines[0])
            results.append(result)
    print(f"{asked.passages:,} passages, {asked.queries:,} queries, depth {DEPTH}, {count_cores()} cores")
    print(table(asked.passages, asked.queries, results))
    if asked.out:
        asked.out.write_text(json.dumps({"passages": asked.passages, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
