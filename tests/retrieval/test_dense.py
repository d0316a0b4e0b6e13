"""Vectors in shards on disk, and the running search over them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mrb._util.files import write_json
from mrb.baselines.rerankers.bm25 import BM25Retriever
from mrb.candidates.lists import write_parquet
from mrb.data.items import Item
from mrb.data.task import Task, list_suite_tasks, load_suite, load_task
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, CandidatesError, MRBError
from mrb.evaluation.estimate import EncodingRate, estimate_lists, format_estimate
from mrb.rerankers.plugins import Adapter
from mrb.retrieval import Dense, Fusion, load_first_stage, make_candidates, search_exact
from mrb.retrieval import encoding as encoding_module
from mrb.retrieval.encoding import CHECKED, LocalEncoder
from mrb.retrieval.exact_search import ExactSearch
from mrb.retrieval.kept_lists import load_kept_list, make_manifest
from mrb.retrieval.probe import probe_rate
from mrb.retrieval.search_backends import SearchOptions
from tests.builders.logs import logged
from tests.builders.toy import toy_data

WIDTH = 32


class Letters:
    """Counts of letters, as an encoder; notes what it was asked."""

    batch_size = 8
    version = "1"

    def __init__(self, stop_after: int | None = None) -> None:
        self.documents: list[int] = []
        self.instructions: set[str] = set()
        self.stop_after = stop_after

    def encode_queries(self, items: Sequence[Item], instruction: str) -> Any:
        self.instructions.add(instruction)
        return self._rows(items)

    def encode_documents(self, items: Sequence[Item]) -> Any:
        if self.stop_after is not None and sum(self.documents) >= self.stop_after:
            raise KeyboardInterrupt
        self.documents.append(len(items))
        return self._rows(items)

    def _rows(self, items: Sequence[Item]) -> Any:
        rows = np.zeros((len(items), WIDTH), np.float32)
        for row, item in enumerate(items):
            for letter in item.text:
                rows[row, ord(letter) % WIDTH] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> TaskData:
    monkeypatch.setattr(encoding_module, "SHARD_ROWS", 20)
    docs = {f"d{n}": f"text number {n % 40}" for n in range(90)}
    return toy_data({f"q{n}": f"number {n}" for n in range(25)}, docs, {f"q{n}": {"d0": 1} for n in range(25)})


def wrapped(encoder: Any, folder: Path, **options: Any) -> Dense:
    return Dense(LocalEncoder(Adapter("letters", encoder, options, "test", "0" * 64)), folder)


def test_the_search_is_exact_and_shards_do_not_show(data: TaskData, tmp_path: Path) -> None:
    encoder = Letters()
    found = list(wrapped(encoder, tmp_path).search(data, 10))
    items = [data.corpus.item(doc_id) for doc_id in data.corpus]
    queries = encoder.encode_queries([data.queries.item(q) for q in data.queries], "")
    whole = list(search_exact("toy", list(data.queries), queries, list(data.corpus), encoder._rows(items), 10))
    for (query, ids, scores), (query2, ids2, scores2) in zip(found, whole, strict=True):
        assert (query, ids, scores.tolist()) == (query2, ids2, scores2.tolist())
    assert data.task.instruction in encoder.instructions
    assert encoder.documents == [8, 8, 4] * 4 + [8, 2]


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 7, 64, 500])
def test_blocks_do_not_show_even_where_everything_ties(block: int) -> None:
    draw = np.random.default_rng(2)
    documents = draw.integers(0, 2, (300, 4)).astype(np.float32)
    queries = draw.integers(0, 2, (70, 4)).astype(np.float32)
    names, asked = [f"d{n}" for n in range(300)], [f"q{n}" for n in range(70)]
    running = ExactSearch("t", asked, queries, 9)
    for first in range(0, 300, block):
        running.add(names[first : first + block], documents[first : first + block])
    wanted = [(q, ids, s.tolist()) for q, ids, s in search_exact("t", asked, queries, names, documents, 9)]
    assert [(q, ids, s.tolist()) for q, ids, s in running.results()] == wanted


def test_shards_are_searched_while_others_are_encoded(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = threading.Event()
    add = ExactSearch.add

    def noted(self: ExactSearch, doc_ids: Sequence[str], documents: Any) -> None:
        add(self, doc_ids, documents)
        searched.set()

    class Waits(Letters):
        def encode_documents(self, items: Sequence[Item]) -> Any:
            assert sum(self.documents) < 88 or searched.wait(60), "the last batch waits for the search of a shard"
            return super().encode_documents(items)

    monkeypatch.setattr(ExactSearch, "add", noted)
    assert len(list(wrapped(Waits(), tmp_path).search(data, 10))) == 25


def test_a_task_whose_vectors_exceed_the_disk_is_refused(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = 4 * WIDTH * (90 + 25)
    bounded = wrapped(encoder := Letters(), tmp_path)
    bounded.options = SearchOptions(max_disk=needed - 1)
    with pytest.raises(MRBError, match=r"task toy: its embeddings take .* and --max-disk allows"):
        list(bounded.search(data, 10))
    assert not encoder.documents  # the queries come first
    # 20 of 25 queries are written, and a file has a head of 128 bytes.
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed - 4 * WIDTH * 20 - 129))
    with pytest.raises(MRBError, match=r"task toy: its embeddings take .* are written and .* left; free some, or"):
        list(wrapped(encoder, tmp_path).search(data, 10))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=needed))
    bounded.options = SearchOptions(max_disk=needed)
    assert len(list(bounded.search(data, 10))) == 25


def test_a_stopped_search_encodes_only_what_is_missing(data: TaskData, tmp_path: Path) -> None:
    whole = make_candidates(data, wrapped(Letters(), tmp_path / "whole"), "letters", 10, "t")
    with pytest.raises(KeyboardInterrupt):
        list(wrapped(Letters(stop_after=50), tmp_path / "cut").search(data, 10))
    again = Letters()
    made = make_candidates(data, wrapped(again, tmp_path / "cut"), "letters", 10, "t")
    assert again.documents[0] == CHECKED
    assert sum(again.documents) == 90 - 40 + CHECKED  # two shards of 20 were whole
    assert made.sha256 == whole.sha256


def test_vectors_belong_to_one_encoder_and_one_table(data: TaskData, tmp_path: Path) -> None:
    list(wrapped(Letters(), tmp_path).search(data, 3))
    kept = Letters()
    list(wrapped(kept, tmp_path).search(data, 7))
    assert kept.documents == [CHECKED]
    newer = Letters()
    newer.version = "2"
    list(wrapped(newer, tmp_path).search(data, 3))
    assert sum(newer.documents) == 90
    other = Letters()
    list(wrapped(other, tmp_path, size="large").search(data, 3))
    assert sum(other.documents) == 90
    fewer = Letters()
    docs = {f"d{n}": "text" for n in range(30)}
    list(wrapped(fewer, tmp_path).search(toy_data({"q0": "a"}, docs, {"q0": {"d0": 1}}), 3))
    assert sum(fewer.documents) == 30


@pytest.mark.parametrize("change", [1.1, 0.9])
def test_kept_vectors_of_another_model_are_refused(data: TaskData, tmp_path: Path, change: float) -> None:
    class Other(Letters):
        def _rows(self, items: Sequence[Item]) -> Any:
            return super()._rows(items) * change

    first = make_candidates(data, wrapped(Letters(), tmp_path), "letters", 10, "t")
    with pytest.raises(AdapterError, match=r"queries: 'q0' has another vector now .*--fresh"):
        list(wrapped(Other(), tmp_path).search(data, 10))
    other = wrapped(Other(), tmp_path)
    other.fresh = True
    assert make_candidates(data, other, "letters", 10, "t").sha256 != first.sha256


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("change", [1.1, 0.9])
def test_a_kept_list_of_another_model_is_refused(data: TaskData, tmp_path: Path, fused: bool, change: float) -> None:
    class Other(Letters):
        def _rows(self, items: Sequence[Item]) -> Any:
            return super()._rows(items) * change

    def stage(encoder: Letters) -> Dense | Fusion:
        dense = wrapped(encoder, tmp_path / "vectors")
        return Fusion([BM25Retriever(), dense, wrapped(Looks(), tmp_path / "looks")]) if fused else dense

    made = make_candidates(data, stage(Letters()), "letters", 10, "t")
    path = tmp_path / "toy.parquet"
    write_parquet(made, path)
    manifest = make_manifest(data, made, stage(Letters()), {}, {})
    write_json(path.with_suffix(".manifest.json"), manifest)
    load = partial(load_kept_list, path, made.provenance)
    again, other = Letters(), stage(Other())
    kept = load(stage(again), {}, 0)
    assert kept is not None and kept.candidates.sha256 == made.sha256
    kept.verify(data, stage(again))
    assert again.documents == [CHECKED], "a few pairs are scored again, nothing else"
    kept = load(other, {}, 0)
    assert kept is not None
    with pytest.raises(AdapterError, match=r"query 'q0', document 'd.*' scored .* and scores .* --fresh"):
        kept.verify(data, other)
    again.version = "2"
    assert load(stage(again), {}, 0) is None
    again.version = "1"
    if fused:
        write_json(path.with_suffix(".manifest.json"), {k: v for k, v in manifest.items() if k != "sample"})
        assert load(stage(again), {}, 0) is None, "a list whose encoders cannot be verified is made again"


def test_discard_removes_what_was_used_and_nothing_else(data: TaskData, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    retriever = wrapped(Letters(), tmp_path)
    list(retriever.search(data, 3))
    assert len(list(tmp_path.glob("vectors-*/manifest.json"))) == 2
    retriever.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (lambda n: np.zeros((n, 2))[:-1], r"8 items gave vectors of shape \(7, 2\)"),
        (lambda n: np.zeros(n), r"8 items gave vectors of shape \(8,\)"),
        (lambda n: np.full((n, 2), np.nan), "the vector of 'd0' .* is not finite"),
        (lambda n: np.zeros((n, n)), "differ in width"),
        (lambda n: np.zeros((n, 5)), "queries are 32 wide, documents 5"),
    ],
)
def test_wrong_vectors_are_told_in_one_line(
    data: TaskData, tmp_path: Path, rows: Callable[[int], Any], wanted: str
) -> None:
    encoder = Letters()
    encoder.encode_documents = lambda items: rows(len(items))  # type: ignore[method-assign]
    with pytest.raises(AdapterError, match=wanted):
        list(wrapped(encoder, tmp_path).search(data, 3))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY damaged", b"PK"])
def test_a_damaged_shard_is_named(data: TaskData, tmp_path: Path, content: bytes) -> None:
    list(wrapped(Letters(), tmp_path).search(data, 3))
    shard = next(tmp_path.glob("vectors-*/000001.npy"))
    shard.write_bytes(content)
    with pytest.raises(MRBError, match=r"000001\.npy.*remove the file"):
        list(wrapped(Letters(), tmp_path).search(data, 3))


def test_options_of_several_say_whose_they_are() -> None:
    fused = load_first_stage("bm25+pixels", {"bm25.k1": "2"})
    assert isinstance(fused, Fusion)
    assert [getattr(part, "k1", None) for part in fused.retrievers] == [2.0, None]
    with pytest.raises(AdapterError, match=r"--set bm25\.k1=\.\.\. \(there are bm25, pixels\)"):
        load_first_stage("bm25+pixels", {"k1": "2"})
    with pytest.raises(AdapterError, match="say whose option it is"):
        load_first_stage("bm25+pixels", {"gallery.k1": "2"})


def test_costs_come_from_the_registry() -> None:
    def costs_text(tasks: list[Task], rates: dict[str, EncodingRate]) -> str:
        return format_estimate(estimate_lists(tasks, 100, rates), "items", "encoding")

    forty = list_suite_tasks(load_suite("mrb"))
    text = costs_text(forty, {task.type: EncodingRate(50.0, 50.0) for task in forty})
    items = sum(task.size.queries + task.size.documents for task in forty)
    assert f"65.2 GB to fetch and 27 tasks of unknown size, {items / 50 / 3600:,.1f} h of encoding" in text
    assert "634 MB" in text and " 0.0 GB" not in text
    nights = load_task("nights")
    apart = costs_text([nights], {"i2i": EncodingRate(10.0, 1000.0)})
    assert "10 / 1,000" in apart and "1 task: " in apart
    assert "4 min of encoding" in apart, "2,120 / 10 + 40,038 / 1,000 seconds"
    assert "encoding" not in costs_text([nights], {})


def test_the_rate_of_an_encoder_is_timed_for_queries_and_documents(
    data: TaskData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr("mrb.retrieval.probe.time", clock)

    class Timed(Letters):
        def encode_queries(self, items: Any, instruction: str) -> Any:
            clock.now += 0.1 * len(items)
            return super().encode_queries(items, instruction)

        def encode_documents(self, items: Any) -> Any:
            clock.now += 0.01 * len(items)
            return super().encode_documents(items)

    rate = probe_rate(wrapped(Timed(), tmp_path), data)
    assert (rate.queries, rate.documents) == pytest.approx((10.0, 100.0))
    assert not list(tmp_path.iterdir()), "vectors of a probe are not kept"


def test_the_rate_of_a_search_is_that_of_the_whole(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    class Searches:
        def search(self, part: TaskData, depth: int) -> Any:
            seen.append((len(part.queries), len(part.corpus)))
            return iter(())

    rate = probe_rate(Searches(), data)
    assert seen == [(min(4, len(data.queries)), 4), (len(data.queries), len(data.corpus))]
    assert rate.queries == rate.documents > 0


class Looks(Letters):
    """An encoder that has nothing to say of texts alone."""

    needs_images = True


def test_a_fusion_leaves_out_what_does_not_cover_a_task(data: TaskData, tmp_path: Path) -> None:
    looks, words = wrapped(Looks(), tmp_path / "looks"), BM25Retriever()
    with logged() as said:
        fused = list(Fusion([words, looks]).search(data, 5))
    assert said == [f"{data.task.id}: {looks.writer.name} does not cover the task; the fusion leaves it out"]
    alone = list(words.search(data, 5))
    assert [(query, ids, scores.tolist()) for query, ids, scores in fused] == [
        (query, ids, scores.tolist()) for query, ids, scores in alone
    ]
    assert not list(tmp_path.rglob("*.npy")), "nothing is encoded for it"
    pictures = toy_data({"q0": "a"}, {"d0": b"png", "d1": b"jpeg"}, {"q0": {"d0": 1}})
    assert (words.covers(pictures), looks.covers(pictures)) == (False, True)
    nothing = toy_data({"q0": ("", None)}, {"d0": "text"}, {"q0": {"d0": 1}})
    with pytest.raises(CandidatesError, match="none of the fused first stages covers it"):
        Fusion([words, looks]).search(nothing, 5)
