"""docs/engine.md: its adapter runs, its table of options is the signature."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mrb.engine.yes_no import YesNo
from mrb.rerankers.declaration import load_reranker
from tests.builders.by_hand import ByHand
from tests.builders.requests import texts

pytestmark = pytest.mark.torch

PAGE = (Path(__file__).parents[2] / "docs/engine.md").read_text(encoding="utf-8")


def test_the_adapter_of_the_page(tiny: Callable[[str], Path], tmp_path: Path, monkeypatch: Any) -> None:
    from transformers import AutoModelForCausalLM

    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "mine.py").write_text(block)
    monkeypatch.chdir(tmp_path)
    folder = tiny("qwen3")
    reranker = load_reranker("mine:Mine", {"path": str(folder), "device": "cpu"})
    request = texts()[0]
    found = reranker.target.score(request)
    reranker.close()

    def prompt(_: str, q: Any, d: Any) -> str:
        shown = f"Query: {q.text}\nDocument: {d.text}\nRelevant?"
        return f"<|im_start|>user\n{shown}<|im_end|>\n<|im_start|>assistant\n"

    hand = ByHand(folder, AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), prompt, {})
    wanted = [hand.difference("", request.query, document) for document in request.candidates]
    assert found == pytest.approx(wanted, abs=1e-4)


def test_the_table_of_options_is_the_signature() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|", PAGE.partition("## What can be set")[2], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(inspect.signature(YesNo).parameters)
