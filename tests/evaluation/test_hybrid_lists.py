"""A list that mixes text, images and both, as a mixed corpus gives it: what a reranker gets, and who covers it."""

from __future__ import annotations

from pathlib import Path

import pytest

import mrb
from mrb.candidates.lists import read_parquet
from mrb.candidates.load import find_candidates
from mrb.data.own_tasks import open_data
from mrb.retrieval.own_lists import make_own_lists
from tests.builders.data_folders import write_beir, write_trec
from tests.builders.hub.repositories import pictures

LISTS = {"q1": ["page1", "doc2", "both", "doc1"], "q2": ["doc1", "page2", "doc2", "page1"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two texts, two images and one document with both; the list of each query mixes them."""
    folder = tmp_path_factory.mktemp("own") / "hybrid"
    corpus = {
        "doc1": {"title": "", "text": "a red boat"},
        "doc2": {"title": "", "text": "a green kettle"},
        "both": {"title": "", "text": "a blue ladder"},
        "page1": {"title": "", "text": ""},
        "page2": {"title": "", "text": ""},
    }
    queries = {"q1": "where is the red boat?", "q2": "where is the kettle?"}
    folder.mkdir()
    write_beir(folder, corpus=corpus, queries=queries, qrels={"q1": {"page1": 1, "doc1": 1}, "q2": {"doc2": 1}})
    (folder / "images").mkdir()
    for name, picture in zip(("both", "page1", "page2"), pictures(), strict=False):
        (folder / "images" / f"{name}.png").write_bytes(picture)
    write_trec(folder / "run.trec", LISTS)
    return folder


class Seen:
    """Scores a text by its length and an image by its width, and keeps what it was given."""

    def __init__(self, *documents: str) -> None:
        self.inputs = {"query": ("text",), "document": documents or ("text", "image", "image+text")}
        self.given: dict[str, list[tuple[str, bool]]] = {}

    def score(self, request: mrb.Request) -> list[float]:
        self.given[request.query.text] = [(item.text, item.image is not None) for item in request.candidates]
        return [len(item.text) + (item.image.size[0] if item.image else 0.0) for item in request.candidates]


def test_a_reranker_gets_texts_and_images_in_one_list(folder: Path) -> None:
    reranker = Seen()
    run = mrb.evaluate(reranker, data=folder)
    found = run["hybrid"]
    assert found.task.type == "t2it" and found.result.counts.pairs == 8
    assert sorted(reranker.given["where is the red boat?"]) == sorted(
        [("", True), ("a green kettle", False), ("a blue ladder", True), ("a red boat", False)]
    )
    assert sorted(reranker.given["where is the kettle?"]) == sorted(
        [("a red boat", False), ("", True), ("a green kettle", False), ("", True)]
    )
    assert run.tasks["hybrid"].result.candidates.first_stage == "bm25"


@pytest.mark.parametrize("documents", [("text",), ("image",), ("text", "image")], ids="+".join)
def test_a_reranker_without_one_of_the_modalities_does_not_cover_it(folder: Path, documents: tuple[str, ...]) -> None:
    reranker = Seen(*documents)
    run = mrb.evaluate(reranker, data=folder)
    assert not reranker.given and not run.tasks
    assert [item.task for item in run.record.not_covered] == ["hybrid"]


def test_a_fusion_makes_a_list_of_both(folder: Path) -> None:
    task = open_data(str(folder))
    made = make_own_lists([task], "bm25+colour-words", 4)
    found = read_parquet(find_candidates(task, made))
    lists = {query_id: doc_ids for query_id, doc_ids, _ in found.lists()}
    assert set(lists) == {"q1", "q2"}
    for doc_ids in lists.values():
        assert any(name.startswith("doc") for name in doc_ids) and any(name.startswith("page") for name in doc_ids)
