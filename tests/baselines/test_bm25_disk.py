"""The disk index of BM25: the same lists as in memory, and builds that stop and go on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mrb.baselines.rerankers.bm25 import BM25Retriever
from mrb.baselines.retrievers import bm25_disk
from mrb.baselines.retrievers.bm25_disk import DiskIndex
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, CandidatesError, MRBError
from mrb.retrieval import make_candidates
from tests.builders.toy import toy_data


@pytest.fixture
def data() -> TaskData:
    """300 documents of Zipf words, some empty, some twice; queries with repeated, unknown and no words."""
    draw = random.Random(4)
    known = [f"word{n}x" for n in range(60)]
    weights = [1 / (n + 1) for n in range(60)]
    texts = [" ".join(draw.choices(known, weights, k=draw.randint(0, 30))) for _ in range(300)]
    texts[100:140] = texts[:40]
    docs = {f"d{n}": text for n, text in enumerate(texts)}
    queries = {f"q{n}": " ".join(draw.choices(known, weights, k=n % 6)) for n in range(30)}
    queries["qz"] = "unheard word0x word0x"
    return toy_data(queries, docs, {query: {"d0": 1} for query in queries})


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bm25_disk, "SHARD_DOCUMENTS", 70)


@pytest.mark.slow
@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4), (2.0, 0.0)])
@pytest.mark.parametrize("depth", [1, 10, 400])
def test_both_engines_make_the_same_list(data: TaskData, tmp_path: Path, k1: float, b: float, depth: int) -> None:
    memory = make_candidates(data, BM25Retriever(k1, b, "memory"), "bm25", depth, "t")
    disk = make_candidates(data, BM25Retriever(k1, b, "disk", tmp_path), "bm25", depth, "t")
    assert len(list(tmp_path.glob("*/shard-*"))) == 5
    assert disk.sha256 == memory.sha256


@pytest.mark.slow
def test_an_index_that_was_cut_anywhere_goes_on_to_the_same_bytes(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [data.corpus.item(doc_id).text for doc_id in data.corpus]
    DiskIndex(tmp_path / "whole", texts, len(texts))
    writes = sum(1 for _ in (tmp_path / "whole").rglob("*.*"))
    real = bm25_disk.write_array
    for allowed in range(0, writes - 11, 3):
        folder, left = tmp_path / f"cut{allowed}", iter(range(allowed))

        def failing(path: Path, array: np.ndarray, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            real(path, array)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(bm25_disk, "write_array", failing)
            DiskIndex(folder, texts, len(texts))
        assert not (folder / "manifest.json").exists()
        DiskIndex(folder, texts, len(texts))
        assert _content(folder) == _content(tmp_path / "whole")


def test_a_complete_index_reads_no_text(tmp_path: Path) -> None:
    DiskIndex(tmp_path, ["red flag", "blue flag"], 2)
    found = list(DiskIndex(tmp_path, iter(()), 2).search([["flag"], ["blue"], []], 5, k1=1.2, b=0.75))
    assert [sorted(rows.tolist()) for rows, _ in found] == [[0, 1], [1], []]


def test_ties_at_the_cut_are_all_kept(tmp_path: Path) -> None:
    index = DiskIndex(tmp_path, ["same words"] * 200, 200)
    ((rows, scores),) = index.search([["same"]], 3, k1=1.2, b=0.75)
    assert len(rows) == 200
    assert len(np.unique(scores)) == 1


def test_what_cannot_be_indexed_is_told_in_one_line(data: TaskData, tmp_path: Path) -> None:
    with pytest.raises(CandidatesError, match="BM25 needs text"):
        DiskIndex(tmp_path / "a", ["", "of the"], 2)
    with pytest.raises(CandidatesError, match="ended after 1 documents, 2 were stated"):
        DiskIndex(tmp_path / "b", ["one"], 2)
    DiskIndex(tmp_path / "c", ["one", "two"], 2)
    with pytest.raises(MRBError, match="holds 2 documents, wanted 3"):
        DiskIndex(tmp_path / "c", ["one", "two", "three"], 3)
    with pytest.raises(AdapterError, match="there are auto, memory and disk"):
        BM25Retriever(engine="tape")  # type: ignore[arg-type]


def test_large_corpora_go_to_disk_by_themselves(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MRB_CACHE", str(tmp_path))
    monkeypatch.setattr("mrb.baselines.rerankers.bm25.MEMORY_DOCUMENTS", 299)
    made = make_candidates(data, BM25Retriever(), "bm25", 5, "t")
    assert list((tmp_path / "first-stages").glob("bm25-*/manifest.json"))
    monkeypatch.setattr("mrb.baselines.rerankers.bm25.MEMORY_DOCUMENTS", 300)
    assert make_candidates(data, BM25Retriever(), "bm25", 5, "t").sha256 == made.sha256


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file()}
