"""What a request shows of its pair, in which order, and what it hides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mrb.errors import DataError
from mrb.evaluation.plan import Plan, make_requests
from mrb.rerankers.reranker import Request
from tests.builders.adapters import score_plan
from tests.builders.toy import encoded, toy_candidates, toy_data, toy_plan


def test_images_are_decoded_only_when_used() -> None:
    from mrb.evaluation.plan import make_plan

    docs = {"a": encoded(Image.new("RGB", (4, 4), "red")), "b": b"not an image at all"}
    data = toy_data({"q": "a red thing"}, docs, {"q": {"a": 1}})
    plan = make_plan(data, toy_candidates({"q": ["a", "b"]}), 10)

    class Blind:
        def score(self, request: Request) -> list[float]:
            assert all(item.image is not None for item in request.candidates)
            return [0.0 for _ in request.candidates]

    class Sees:
        def score(self, request: Request) -> list[float]:
            return [item.image.open().getpixel((0, 0))[0] for item in request.candidates if item.image]

    assert score_plan(Blind(), plan) == {"q": [0.0, 0.0]}
    with pytest.raises(DataError, match="corpus, 'b': not an image"):
        score_plan(Sees(), plan)


def texts_seen(plan: Plan, kind: str) -> dict[str, list[str]]:
    seen = make_requests(plan, plan.entries(), kind, uses_first_stage=False)  # type: ignore[arg-type]
    return {item.entry.query_id: [c.text for c in item.request.candidates] for item in seen}


def test_pointwise_order_is_the_hash_order_whatever_the_first_stage_says() -> None:
    from mrb._util.hashing import compute_tie_hash
    from mrb.evaluation.plan import make_plan

    docs = {f"d{n}": f"text {n}" for n in range(20)}
    data = toy_data({"q": "query"}, docs, {"q": {"d0": 1}})
    there = make_plan(data, toy_candidates({"q": list(docs)}), 20)
    back = make_plan(data, toy_candidates({"q": list(docs)[::-1]}), 20)
    by_hash = [docs[d] for d in sorted(docs, key=lambda d: compute_tie_hash("toy", "q", d))]
    assert texts_seen(there, "pointwise") == texts_seen(back, "pointwise") == {"q": by_hash}
    for kind in ("setwise", "listwise"):
        assert texts_seen(there, kind) == {"q": list(docs.values())}
        assert texts_seen(back, kind) == {"q": list(docs.values())[::-1]}


def test_minus_the_position_gives_back_nothing_of_the_first_stage() -> None:
    class Position:
        def score(self, request: Request) -> list[float]:
            return [-float(n) for n, _ in enumerate(request.candidates)]

    scores = score_plan(Position(), toy_plan(n_queries=200, n_docs=10))
    correlations = [np.corrcoef(values, -np.arange(10))[0, 1] for values in scores.values()]
    assert abs(float(np.mean(correlations))) < 0.1  # the standard error is 0.024


def test_first_stage_is_shown_only_when_declared() -> None:
    plan = toy_plan()
    for kind in ("pointwise", "setwise", "listwise"):
        for item in make_requests(plan, plan.entries(), kind, uses_first_stage=False):  # type: ignore[arg-type]
            assert item.request.first_stage is None
        for item in make_requests(plan, plan.entries(), kind, uses_first_stage=True):  # type: ignore[arg-type]
            shown = item.request.first_stage
            assert shown is not None
            for candidate, rank, score in zip(item.request.candidates, shown.ranks, shown.scores, strict=True):
                doc_id = item.entry.doc_ids[rank - 1]
                assert plan.data.corpus.item(doc_id).text == candidate.text
                assert score == float(np.float32(1.0 - 0.001 * (rank - 1)))


def public_words(value: Any, seen: set[int]) -> Iterator[str]:
    """Every text that can be reached from `value` without an underscore: repr, attributes, items."""
    if id(value) in seen or isinstance(value, int | float | type(None)) or callable(value):
        return
    seen.add(id(value))
    if isinstance(value, str):
        yield value
        return
    if isinstance(value, bytes):
        yield value.decode("latin-1")
        return
    yield repr(value)
    if isinstance(value, list | tuple | dict):
        yield from (w for part in value for w in public_words(part, seen))
        return
    if isinstance(value, Image.Image):
        yield from (w for k, v in value.info.items() for w in (*public_words(k, seen), *public_words(v, seen)))
        yield str(getattr(value, "filename", ""))
        return
    names = [name for name in (*dir(value), *getattr(value, "__dict__", {})) if not name.startswith("_")]
    for name in names:
        part = getattr(value, name)
        if callable(part):
            part = part() if name == "open" else None
        yield from public_words(part, seen)


def test_a_request_shows_no_id_no_path_and_no_file_name() -> None:
    from mrb.evaluation.plan import make_plan

    picture = encoded(Image.new("RGB", (4, 4), "red"))
    docs = {"secret-doc-1": ("first words", picture), "secret-doc-2": ("more words", None)}
    data = toy_data({"secret-query": ("asked words", picture)}, docs, {"secret-query": {"secret-doc-1": 1}})
    plan = make_plan(data, toy_candidates({"secret-query": list(docs)}), 10)
    (item,) = make_requests(plan, plan.entries(), "pointwise", uses_first_stage=False)
    words = "\n".join(public_words(item.request, set()))
    assert (
        "asked words" in words and "first words" in words and "more words" in words
    )  # the walk does see what is shown
    assert not re.search(r"secret|corpus|queries|toy|/tmp|\.parquet", words)
