"""The guide for adapters: its Python runs, its packaging parses, its error messages are those of the code."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from mrb.evaluation.plan import Plan, make_plan, make_requests
from mrb.evaluation.score import WINDOW, score_all
from mrb.rerankers.declaration import load_reranker
from tests.builders.toy import encoded, toy_candidates, toy_data

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
NAMES = [re.match(r"# (\w+)\.py\n", block).group(1) for block in BLOCKS]  # type: ignore[union-attr]
OPTIONS = {
    "weighted": {"weight": "0.5", "case": "keep", "stop": '["the", "of"]'},
    "scaled": {"scale": "2"},
    "batched": {"batch": "7"},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder that holds every block of the guide under its own name."""
    path = list(sys.path)
    monkeypatch.chdir(tmp_path)
    for name, block in zip(NAMES, BLOCKS, strict=True):
        (tmp_path / f"{name}.py").write_text(block)
    yield
    sys.path[:] = path
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture
def plan() -> Plan:
    """A few more queries than a window, over documents of text, of pictures and of both."""
    corpus = {
        "a": "red green blue of the fox",
        "b": ("the red fox", encoded(Image.new("RGB", (4, 4), "red"))),
        "c": encoded(Image.new("RGB", (4, 4), "blue")),
    }
    queries = {f"q{n}": f"a red fox {n}" for n in range(WINDOW + 5)}
    data = toy_data(queries, corpus, {query: {"b": 1} for query in queries})
    plan: Plan = make_plan(data, toy_candidates({query: ["c", "a", "b"] for query in queries}), 10)
    return plan


def scores(name: str, plan: Plan, options: dict[str, str]) -> dict[str, list[float]]:
    reranker = load_reranker(name, options)
    requests = make_requests(plan, plan.entries(), reranker.info.kind, uses_first_stage=reranker.info.uses_first_stage)
    found = {item.entry.query_id: values.tolist() for item, values in score_all(reranker, requests, "toy")}
    reranker.close()
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_block_is_an_adapter_that_runs(name: str, plan: Plan) -> None:
    for options in ({}, OPTIONS.get(name, {})):
        found = scores(name, plan, options)
        assert len(found) == WINDOW + 5
        assert all(len(values) == 3 for values in found.values())
        assert any(len(set(values)) > 1 for values in found.values())  # it does tell candidates apart


def test_the_blocks_do_what_the_page_says(plan: Plan) -> None:
    # In first-stage order: the blue picture, the text, the text with the red picture.
    first: Callable[..., list[float]] = lambda name, **options: scores(name, plan, options)["q0"]  # noqa: E731
    assert first("words") == [0, 2, 2]
    assert first("redness") == [-127.5, 0, 255]
    assert first("shortest") == [3, 1, 2]
    assert first("blend") == pytest.approx([1 / 61, 2 + 1 / 62, 2 + 1 / 63])
    assert first("weighted", weight="0.5") == [0, 1, 1]
    assert first("scaled", scale="2") == [0, 50, 22]


def test_the_packaging_example_is_toml_with_our_group() -> None:
    (block,) = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    assert list(tomllib.loads(block)["project"]["entry-points"]) == ["mrb.rerankers"]
