"""What an adapter declares of itself: read, checked, and each wrong word named."""

from __future__ import annotations

from typing import Any

import pytest

from mrb.data.inputs import Inputs
from mrb.errors import AdapterError
from mrb.rerankers.declaration import DEFAULT_CONCURRENCY, LoadedReranker, find_uncovered_inputs, read_declarations
from mrb.rerankers.plugins import Adapter
from tests.builders.adapters import toy_reranker
from tests.builders.toy import toy_task

TEXT_QUERIES = {"query": ("text",), "document": ("text", "image", "image+text")}


def make(options: dict[str, Any] | None = None, name: str = "toy", method: str = "score", **attributes: Any) -> Any:
    """An adapter of one method with these attributes."""
    target = type("Toy", (), {method: lambda self, request: [], **attributes})()
    return Adapter(name, target, options or {}, "test", None)


def loaded(**attributes: Any) -> LoadedReranker:
    return read_declarations(make(**attributes))


def refused(**attributes: Any) -> str:
    with pytest.raises(AdapterError) as caught:
        loaded(**attributes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_holds_when_nothing_is_declared() -> None:
    found = loaded()
    assert found.concurrency == DEFAULT_CONCURRENCY
    assert found.info.model_dump() == {
        "name": "toy",
        "kind": "pointwise",
        "inputs": ("text", "image", "image+text"),
        "version": "",
        "uses_first_stage": False,
        "batch_invariant": False,
        "options": {},
        "source": "test",
        "source_sha256": None,
    }


def test_what_is_declared_is_taken() -> None:
    found = loaded(
        kind="setwise",
        inputs={"image", "text"},
        version="2026-01",
        uses_first_stage=True,
        batch_invariant=True,
        concurrency=3,
    )
    assert (found.info.kind, found.info.inputs, found.info.version) == (
        "setwise",
        Inputs.both("text", "image"),
        "2026-01",
    )
    assert (found.info.uses_first_stage, found.info.batch_invariant, found.concurrency) == (True, True, 3)


def test_a_function_declares_by_attributes() -> None:
    def score(request: object) -> list[float]:
        return []

    score.kind = "setwise"  # type: ignore[attr-defined]
    assert toy_reranker(score).info.kind == "setwise"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("kind", "pairwise", "toy: kind is 'pairwise', wanted one of pointwise, setwise, listwise"),
        ("kind", None, "toy: kind is None"),
        ("kind", ["pointwise"], "toy: kind is ['pointwise']"),
        ("inputs", "text", "toy: inputs is the text 'text', wanted a collection such as ('text',)"),
        ("inputs", ("text", "audio"), "toy: inputs is 'audio', wanted one of text, image, image+text"),
        ("inputs", (), "toy: inputs is empty"),
        ("inputs", {}, "toy: inputs has the keys none, wanted 'query' and 'document'"),
        ("inputs", {"query": ("text",)}, "toy: inputs has the keys 'query', wanted 'query' and 'document'"),
        ("inputs", {"query": ("text",), "doc": ("text",)}, "toy: inputs has the keys 'query', 'doc', wanted"),
        ("inputs", {"query": ("text",), "document": ()}, "toy: inputs['document'] is empty; it must take one of text"),
        ("inputs", {"query": "text", "document": ("text",)}, "toy: inputs['query'] is the text 'text', wanted a"),
        ("inputs", {"query": ("text",), "document": ("audio",)}, "toy: inputs['document'] is 'audio', wanted one of"),
        ("inputs", {"query": {}, "document": ("text",)}, "toy: inputs['query'] is {}, wanted a collection of text"),
        ("inputs", 3, "toy: inputs is 3, wanted a collection"),
        ("version", 2, "toy: version is 2, wanted a text"),
        ("version", "a\nb", "toy: version: "),
        ("version", "x" * 201, "toy: version: "),
        ("uses_first_stage", 1, "toy: uses_first_stage is 1, wanted True or False"),
        ("batch_invariant", "yes", "toy: batch_invariant is 'yes', wanted True or False"),
        ("max_images", 0, "toy: max_images is 0, wanted a whole number from 1, or None for any number"),
        ("max_images", True, "toy: max_images is True"),
        ("max_images", "2", "toy: max_images is '2'"),
        ("concurrency", 0, "toy: concurrency is 0, wanted a whole number from 1"),
        ("concurrency", True, "toy: concurrency is True"),
        ("concurrency", 2.0, "toy: concurrency is 2.0"),
        ("options", {"weight": float("nan")}, "toy: options.weight"),
        ("options", {"weight": float("inf")}, "toy: options.weight"),
    ],
)
def test_a_wrong_declaration_is_named(field: str, value: Any, message: str) -> None:
    assert refused(**{field: value}).startswith(message)


def test_a_listwise_adapter_needs_rank_and_rank_needs_the_declaration() -> None:
    assert loaded(kind="listwise", method="rank").info.kind == "listwise"
    assert refused(kind="listwise") == "toy: declares kind = 'listwise' but has no method rank(request)"
    assert refused(method="rank") == "toy: has only rank(request); declare kind = 'listwise'"
    assert loaded(method="score_stream").info.kind == "pointwise"


def test_the_name_of_a_run_is_fit_for_a_folder() -> None:
    assert loaded(name="my_adapter:Small").info.name == "my_adapter.Small"
    assert loaded(name="package.module:Class").info.name == "package.module.Class"
    assert refused(name="x" * 97).startswith("xxx")


def test_options_are_recorded_as_json_holds_them() -> None:
    found = loaded(options={"a": 1, "b": 0.5, "c": True, "d": None, "e": "text", "f": [1, 2]})
    assert found.info.options == {"a": 1, "b": 0.5, "c": True, "d": None, "e": "text", "f": "[1, 2]"}
    assert [type(v) for v in found.info.options.values()] == [int, float, bool, type(None), str, str]


@pytest.mark.parametrize(
    ("inputs", "kind", "reason"),
    [
        (("text",), "t2t", None),
        (("text", "image"), "t2i", None),
        (("text", "image"), "t2vd", None),
        (("text", "image+text"), "t2it", None),
        (("text",), "t2i", "documents are image; the reranker takes text"),
        (("image",), "it2t", "queries are image+text and documents are text; the reranker takes image"),
        (("text", "image"), "it2it", "queries are image+text and documents are image+text; "),
        (TEXT_QUERIES, "t2it", None),
        (TEXT_QUERIES, "t2vd", None),
        (TEXT_QUERIES, "i2i", "queries are image; the reranker takes queries of text"),
        (
            TEXT_QUERIES | {"document": ("text", "image")},
            "it2it",
            "queries are image+text and documents are image+text; the reranker takes queries of text and documents of ",
        ),
    ],
)
def test_tasks_of_other_modalities_are_not_covered(inputs: Any, kind: str, reason: str | None) -> None:
    found = find_uncovered_inputs(loaded(inputs=inputs).info, toy_task(type=kind))
    assert found is None if reason is None else found is not None and found.startswith(reason)


@pytest.mark.parametrize(
    ("declared", "images", "reason"),
    [
        ({}, {}, None),
        ({}, {"per_document": 2}, "documents have up to 2 images; the reranker declares max_images = 1"),
        (
            {"max_images": 2},
            {"per_document": 3, "per_query": 4},
            "queries have up to 4 images and documents have up to 3",
        ),
        ({"max_images": 2}, {"per_document": 2, "per_query": 2}, None),
        ({"max_images": None}, {"per_document": 900}, None),
    ],
)
def test_tasks_of_more_images_than_declared_are_not_covered(
    declared: dict[str, Any], images: dict[str, int], reason: str | None
) -> None:
    found = find_uncovered_inputs(loaded(**declared).info, toy_task(images=images))
    assert found is None if reason is None else found is not None and found.startswith(reason)


def test_one_image_is_the_default_and_left_out_of_records() -> None:
    one, many = loaded().info, loaded(max_images=None).info
    assert (one.max_images, many.max_images) == (1, None)
    assert "max_images" not in one.model_dump(mode="json") and many.model_dump(mode="json")["max_images"] is None
    assert one.identity() == many.identity() and type(one).model_validate(many.model_dump()) == many


def test_close_is_called_once_and_may_be_async_or_absent() -> None:
    closed: list[str] = []

    async def later(self: object) -> None:
        closed.append("async")

    loaded(close=lambda self: closed.append("plain")).close()
    loaded(close=later).close()
    loaded().close()
    loaded(close="not a method").close()
    assert closed == ["plain", "async"]


def test_the_event_loop_is_closed_even_if_close_fails() -> None:
    def fails(self: object) -> None:
        raise ValueError("no")

    async def wait() -> None:
        pass

    found = loaded(close=fails)
    found.loop.run(wait())
    late = wait()
    with pytest.raises(AdapterError, match=r"toy: close\(\) raised ValueError: no \(test_declaration.py, line"):
        found.close()
    with pytest.raises(RuntimeError, match="Runner is closed"):
        found.loop.run(late)
    late.close()
