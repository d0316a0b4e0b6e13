"""First stages: the order of a list, exact search, fusion, and lists made under a task's rules."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from PIL import Image

from mrb._util.hashing import compute_tie_hash
from mrb.baselines.rerankers.bm25 import BM25Retriever
from mrb.baselines.retrievers.colour_words import ColourWords
from mrb.baselines.retrievers.colours import normalise
from mrb.baselines.retrievers.gallery import Gallery
from mrb.baselines.retrievers.lexical import tokenize
from mrb.baselines.retrievers.pixels import Pixels
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, CandidatesError
from mrb.retrieval import Fusion, RankedList, load_first_stage, make_candidates, search_exact, select_top_k
from mrb.retrieval.candidate_stats import measure_quality
from tests.builders.toy import encoded, toy_data, toy_table, toy_task

TEXTS = {
    "d1": "Strings are immutable in Python",
    "d2": "Lists are mutable sequences, and lists can hold strings",
    "d3": "The interpreter reads a file",
    "d4": "Immutable strings, immutable tuples: immutability everywhere",
    "d5": "Strings are immutable in Python",
}


class Fixed:
    """A first stage whose answers are written down."""

    def __init__(self, *answers: tuple[str, Sequence[str]]) -> None:
        self.answers = answers
        self.asked: list[int] = []

    def search(self, data: TaskData, depth: int) -> Iterator[RankedList]:
        self.asked.append(depth)
        for query_id, doc_ids in self.answers:
            kept = list(doc_ids)[:depth]
            yield query_id, kept, np.arange(len(kept), 0, -1, dtype=np.float32)


def plain_bm25(query: str, documents: dict[str, str], k1: float = 1.2, b: float = 0.75) -> dict[str, float]:
    """Lucene's BM25 straight from its formula."""
    counts = {doc_id: Counter(tokenize(text)) for doc_id, text in documents.items()}
    mean = sum(count.total() for count in counts.values()) / len(counts)
    scores = dict.fromkeys(documents, 0.0)
    for word in tokenize(query):
        df = sum(word in count for count in counts.values())
        idf = math.log(1 + (len(counts) - df + 0.5) / (df + 0.5))
        for doc_id, count in counts.items():
            scores[doc_id] += idf * count[word] / (count[word] + k1 * (1 - b + b * count.total() / mean))
    return {doc_id: score for doc_id, score in scores.items() if score > 0}


def flag(*colours: str, vertical: bool = False, size: tuple[int, int] = (60, 40)) -> bytes:
    """A picture of equal bands, from the top or from the left."""
    width, height = size
    image = Image.new("RGB", size)
    for place, colour in enumerate(colours):
        start, end = (n * (width if vertical else height) // len(colours) for n in (place, place + 1))
        image.paste(colour, (start, 0, end, height) if vertical else (0, start, width, end))
    return encoded(image)


def test_best_first_orders_by_score_then_by_the_fixed_hash() -> None:
    draw = random.Random(3)
    names = [f"d{n}" for n in range(200)]
    scores = np.array([draw.choice([0.5, 0.25, 0.125]) for _ in names], np.float32)
    wanted = sorted(zip(names, scores, strict=True), key=lambda pair: (-pair[1], compute_tie_hash("t", "q", pair[0])))
    for depth in (1, 7, 60, 200, 999):
        found, values = select_top_k("t", "q", names, scores, depth)
        assert found == [name for name, _ in wanted][:depth]
        assert values.dtype == np.float32
        assert values.tolist() == [score for _, score in wanted][:depth]
    order = draw.sample(range(200), 200)
    again, _ = select_top_k("t", "q", [names[n] for n in order], scores[order], 60)
    assert again == [name for name, _ in wanted][:60]


def test_best_first_of_nothing_and_of_what_is_no_number() -> None:
    assert select_top_k("t", "q", [], np.empty(0, np.float32), 5)[0] == []
    _, scores = select_top_k("t", "q", ["a", "b"], np.array([-0.0, 0.0], np.float32), 5)
    assert not np.signbit(scores).any()
    with pytest.raises(CandidatesError, match=r"query 'q'.*not finite"):
        select_top_k("t", "q", ["a", "b"], np.array([np.nan, 1], np.float32), 1)


def test_nearest_is_exact_and_ties_equal_vectors() -> None:
    generator = np.random.default_rng(5)
    queries = generator.normal(size=(300, 16)).astype(np.float32)
    documents = generator.normal(size=(50, 16)).astype(np.float32)
    queries, documents = normalise(queries), normalise(documents)
    documents[30] = documents[10]
    ids = [f"d{n}" for n in range(50)]
    found = list(search_exact("t", [f"q{n}" for n in range(300)], queries, ids, documents, 5))
    assert [query_id for query_id, _, _ in found] == [f"q{n}" for n in range(300)]
    twins = sorted(["d10", "d30"], key=lambda doc_id: compute_tie_hash("t", "q7", doc_id))
    _, whole, _ = next(search_exact("t", ["q7"], queries[7:8], ids, documents, 50))
    assert [name for name in whole if name in twins] == twins
    for row, (_, doc_ids, scores) in enumerate(found):
        exact = np.sort(queries[row].astype(float) @ documents.T.astype(float))[::-1][:5]
        assert scores == pytest.approx(exact, abs=2e-6)
        assert len(doc_ids) == 5


def test_nearest_does_not_depend_on_where_a_document_stands() -> None:
    generator = np.random.default_rng(6)
    queries, documents = (normalise(generator.normal(size=(n, 33)).astype(np.float32)) for n in (70, 400))
    names, asked = [f"d{n}" for n in range(400)], [f"q{n}" for n in range(70)]
    order = generator.permutation(400)
    straight = list(search_exact("t", asked, queries, names, documents, 20))
    shuffled = list(search_exact("t", asked, queries, [names[n] for n in order], documents[order], 20))
    for (_, doc_ids, scores), (_, others, other_scores) in zip(straight, shuffled, strict=True):
        assert doc_ids == others
        assert scores.tobytes() == other_scores.tobytes()


def test_bm25_is_the_formula() -> None:
    queries = {
        "q1": "Why are Python strings immutable?",
        "q2": "lists and the mutable strings",
        "q3": "zebra",
        "q4": "",
    }
    data = toy_data(queries, TEXTS, {q: {"d1": 1} for q in queries})
    for query_id, doc_ids, scores in BM25Retriever().search(data, 10):
        wanted = plain_bm25(queries[query_id], TEXTS)
        assert dict(zip(doc_ids, scores.tolist(), strict=True)) == pytest.approx(wanted, rel=1e-5)
    found = {query_id: doc_ids for query_id, doc_ids, _ in BM25Retriever().search(data, 10)}
    assert found["q3"] == found["q4"] == []
    twins = [doc_id for doc_id in found["q1"] if doc_id in ("d1", "d5")]
    assert twins == sorted(twins, key=lambda doc_id: compute_tie_hash("toy", "q1", doc_id))


def test_bm25_reads_the_side_table_where_documents_have_no_text() -> None:
    page = encoded(Image.new("L", (8, 8), 255))
    data = toy_data({"q": "lists"}, {"d1": page, "d2": page}, {"q": {"d1": 1}})
    with pytest.raises(CandidatesError, match="needs text"):
        list(BM25Retriever().search(data, 5))
    sided = TaskData(
        data.task,
        data.queries,
        data.corpus,
        data.qrels,
        data.counts,
        toy_table("side", {"d2": "of lists and sets", "d1": "none"}),
    )
    assert [doc_ids for _, doc_ids, _ in BM25Retriever().search(sided, 5)] == [["d2"]]


def test_analysis_is_fixed() -> None:
    assert tokenize("The QUICK foxes' running, in 3.11 Straße über café_au-lait") == (
        ["quick", "fox", "run", "3", "11", "straße", "über", "café_au", "lait"]
    )


def test_fusion_by_hand() -> None:
    data = toy_data({"q": "x"}, {f"d{n}": "x" for n in range(1, 5)}, {"q": {"d1": 1}})
    one, two = Fixed(("q", ["d1", "d2", "d3"])), Fixed(("q", ["d3", "d1"]))
    ((_, doc_ids, scores),) = Fusion([one, two]).search(data, 3)
    assert doc_ids == ["d1", "d3", "d2"]
    assert scores.tolist() == np.float32([1 / 61 + 1 / 62, 1 / 63 + 1 / 61, 1 / 62]).tolist()
    assert one.asked == [1000]
    ((_, top, _),) = Fusion([Fixed(("q", ["d1", "d3"])), two]).search(data, 1)
    assert top == sorted(["d1", "d3"], key=lambda doc_id: compute_tie_hash("toy", "q", doc_id))[:1]


def test_pixels_finds_the_same_drawing() -> None:
    corpus = {
        "bands": flag("red", "white", "blue"),
        "turned": flag("red", "white", "blue", vertical=True),
        "green": flag("green", "yellow", "green"),
        "text": "a document without picture",
    }
    queries = {
        "q1": flag("red", "white", "blue", size=(120, 90)),
        "q2": flag("green", "gold", "green"),
    }
    data = toy_data(queries, corpus, {"q1": {"bands": 1}, "q2": {"green": 1}})
    found = {query_id: doc_ids for query_id, doc_ids, _ in Pixels().search(data, 10)}
    assert found["q1"][0] == "bands"
    assert found["q2"][0] == "green"
    assert len(found["q1"]) == 3
    with pytest.raises(CandidatesError, match="image in every query"):
        Pixels().search(toy_data({"q": "words"}, corpus, {"q": {"bands": 1}}), 3)


def test_colour_words_both_ways() -> None:
    texts = {"t1": "three bands of red, white and blue", "t2": "a gold sun on green", "t3": "no hue is named"}
    images = {"i1": flag("red", "white", "blue"), "i2": flag("green", "yellow", "green")}
    there = toy_data(texts, images, {q: {"i1": 1} for q in texts})
    back = toy_data(images, texts, {q: {"t1": 1} for q in images})
    assert [doc_ids[0] for _, doc_ids, _ in ColourWords().search(there, 1)][:2] == ["i1", "i2"]
    assert [doc_ids[0] for _, doc_ids, _ in ColourWords().search(back, 1)] == ["t1", "t2"]
    forward = {(q, d): s for q, ids, scores in ColourWords().search(there, 9) for d, s in zip(ids, scores, strict=True)}
    for query_id, doc_ids, scores in ColourWords().search(back, 9):
        for doc_id, score in zip(doc_ids, scores, strict=True):
            assert forward[doc_id, query_id] == pytest.approx(score, abs=2e-6)
    with pytest.raises(CandidatesError, match="needs text on one side"):
        ColourWords().search(toy_data(texts, texts, {q: {"t1": 1} for q in texts}), 1)


def test_colour_words_of_two_sides_that_have_both_is_the_mean() -> None:
    red, green = flag("red"), flag("green")
    data = toy_data({"q": ("red", red)}, {"same": ("red", red), "half": ("red", green)}, {"q": {"same": 1}})
    ((_, doc_ids, scores),) = ColourWords().search(data, 2)
    assert doc_ids == ["same", "half"]
    assert scores[0] - scores[1] == pytest.approx(scores[0] / 2, abs=0.01)


def test_gallery_goes_by_image_then_by_words() -> None:
    red, blue = flag("red", "white"), flag("blue", "yellow", vertical=True)
    corpus = {
        "r-food": "bread and rice",
        "r-city": "the capital city",
        "b-food": "bread",
        "b-city": "a capital and a city",
    }
    side = toy_table("side", {"r-food": red, "r-city": red, "b-food": blue, "b-city": blue})
    queries = {"q": ("What is the capital city?", flag("red", "white", size=(90, 60)))}
    bare = toy_data(queries, corpus, {"q": {"r-city": 1}})
    data = TaskData(bare.task, bare.queries, bare.corpus, bare.qrels, bare.counts, side)
    ((_, doc_ids, scores),) = Gallery().search(data, 10)
    assert doc_ids == ["r-city", "r-food", "b-city", "b-food"]
    assert (np.diff(scores) < 0).all()
    ((_, top, _),) = Gallery().search(data, 3)
    assert top == doc_ids[:3]
    with pytest.raises(CandidatesError, match="gallery needs an image"):
        list(Gallery().search(bare, 3))


def test_self_matches_leave_before_the_list_is_cut() -> None:
    own, other = flag("red"), flag("blue")
    corpus = {"q1": other, "twin": own, "twin2": own, "d1": other, "d2": flag("green")}
    fixed = Fixed(("q1", ["twin", "q1", "twin2", "d1", "d2"]))

    def listed(depth: int, **rules: bool) -> list[str]:
        data = toy_data({"q1": own}, corpus, {"q1": {"d2": 1}}, toy_task(rules=rules))
        return make_candidates(data, fixed, "fixed", depth, "test").get("q1")[0]

    assert listed(2) == ["twin", "q1"]
    assert listed(2, drop_identical_ids=True) == ["twin", "twin2"]
    assert listed(2, drop_query_image_from_candidates=True) == ["q1", "d1"]
    assert listed(2, drop_identical_ids=True, drop_query_image_from_candidates=True) == ["d1", "d2"]
    assert fixed.asked == [2, 3, 4, 5]


def test_a_list_says_what_made_it_and_holds_no_injected_positive() -> None:
    data = toy_data({"q1": "immutable strings", "q2": "zebra"}, TEXTS, {"q1": {"d3": 1}, "q2": {"d3": 1}})
    made = make_candidates(data, BM25Retriever(), "bm25", 3, "standard")
    assert made.provenance.list_hash == data.task.list_hash
    assert made.provenance.revision == data.task.revision
    assert (made.provenance.first_stage, made.provenance.track, made.provenance.depth) == ("bm25", "standard", 3)
    assert "d3" not in made.get("q1")[0]
    assert "q2" not in made
    assert make_candidates(data, BM25Retriever(), "bm25", 3, "standard").sha256 == made.sha256


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([("q1", ["d1"])], "ended where query 'q2' is next"),
        ([("q2", ["d1"]), ("q1", ["d1"])], "answered query 'q2' where query 'q1' is next"),
        ([("q1", ["d1"]), ("q2", []), ("q3", [])], "answered 'q3' after the last"),
        ([("q1", ["d9"]), ("q2", [])], "document 'd9' is not in the corpus"),
        ([("q1", ["d1", "d1"]), ("q2", [])], "occurs twice"),
    ],
)
def test_a_first_stage_that_breaks_its_contract_is_named(answers: list[tuple[str, list[str]]], message: str) -> None:
    data = toy_data({"q1": "a", "q2": "b"}, TEXTS, {"q1": {"d1": 1}, "q2": {"d1": 1}})
    with pytest.raises(CandidatesError, match=message):
        make_candidates(data, Fixed(*answers), "fixed", 5, "test")


def test_names_of_first_stages() -> None:
    assert isinstance(load_first_stage("bm25"), BM25Retriever)
    fused = load_first_stage("bm25+colour-words")
    assert isinstance(fused, Fusion)
    assert [type(part) for part in fused.retrievers] == [BM25Retriever, ColourWords]
    with pytest.raises(AdapterError, match="names a retriever twice"):
        load_first_stage("bm25+bm25")
    with pytest.raises(AdapterError, match="nosuch"):
        load_first_stage("bm25+nosuch")


def test_quality_by_hand() -> None:
    queries = {"q1": "a", "q2": "b", "q3": "c"}
    data = toy_data(queries, TEXTS, {"q1": {"d2": 1}, "q2": {"d1": 1, "d2": 1}, "q3": {"d1": 1}})
    fixed = Fixed(("q1", ["d1", "d2", "d3"]), ("q2", ["d3", "d1"]), ("q3", []))
    found = measure_quality(make_candidates(data, fixed, "fixed", 5, "test"), data, 2)
    second = 1 / math.log2(3)
    assert found.ndcg == pytest.approx((second + second / (1 + second)) / 3)
    assert found.oracle == pytest.approx((1 + 1 / (1 + second)) / 3)
    assert found.recall == pytest.approx((1 + 0.5) / 3)
    assert found.cutoff == 2
