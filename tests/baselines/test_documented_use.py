"""Each adapter on a tiny checkpoint of its own architecture gives what the model's documented use gives, to 1e-5."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from mrb.data.items import Item
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from tests.builders import by_hand, museum
from tests.builders.by_hand import LIMITS, ByHand
from tests.builders.requests import INSTRUCTION, LONG, mixed, texts

pytestmark = pytest.mark.torch

Score = Callable[[str, Item, Item], float]
Tiny = Callable[[str], Path]


def _difference(prompt: Any, load: Any, labels: tuple[str, str] = ("yes", "no")) -> Callable[[Path], Score]:
    def of(folder: Path) -> Score:
        hand = ByHand(folder, load.from_pretrained(folder, dtype=torch.float32), prompt, LIMITS)
        return lambda i, q, d: hand.difference(i, q, d, labels)

    return of


def _gmr_cl(folder: Path) -> Score:
    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    hand = ByHand(folder, model, by_hand.gmr, LIMITS)
    return lambda i, q, d: float(hand.logits(i, q, d)[hand.token("yes")])


def _mono(folder: Path) -> Score:
    """The published names are those of older module trees; each weight gets alpha / r times the product of its pair."""
    base = folder.parent / "mono_base"
    model = transformers.Qwen2VLForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    stated, pairs = json.loads((folder / "adapter_config.json").read_text()), museum.read_weights(folder)
    for name in (name for name in pairs if "lora_A" in name):
        own = name.removeprefix("base_model.model.").replace("model.layers.", "model.language_model.layers.")
        added = pairs[name.replace("lora_A", "lora_B")] @ pairs[name] * stated["lora_alpha"] / stated["r"]
        model.get_parameter(own.replace(".lora_A", "")).data += added
    hand = ByHand(base, model, by_hand.monoqwen, LIMITS)
    return lambda i, q, d: hand.difference(i, q, d, ("True", "False"))


def _bge_gemma(folder: Path) -> Score:
    model = transformers.GemmaForCausalLM.from_pretrained(folder).eval()
    tok = transformers.AutoTokenizer.from_pretrained(folder)
    ask = (
        "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a "
        "prediction of either 'Yes' or 'No'."
    )

    def score(_: str, q: Item, d: Item) -> float:
        def ids(text: str) -> list[int]:
            return tok(text, add_special_tokens=False)["input_ids"]

        line = ids("\n")
        whole = [
            tok.convert_tokens_to_ids("<bos>"),
            *ids(f"A: {q.text}"),
            *line,
            *ids(f"B: {d.text}"),
            *line,
            *ids(ask),
        ]
        with torch.no_grad():
            return float(model(input_ids=torch.tensor([whole])).logits[0, -1, ids("Yes")[0]])

    return score


def _jina(folder: Path) -> Score:
    """Document first, token 100 at the end, the two-layer head on the last hidden state, minus 2.65."""

    model = transformers.Qwen2VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    hand = ByHand(folder, model, by_hand.jina, LIMITS)
    w = museum.read_weights(folder)

    def score(i: str, q: Item, d: Item) -> float:
        inputs = hand.inputs(i, q, d)
        for name, value in (("input_ids", 100), ("attention_mask", 1), ("mm_token_type_ids", 0)):
            inputs[name] = torch.cat([inputs[name], torch.tensor([[value]])], dim=1)
        with torch.no_grad():
            hidden = model.model(**inputs).last_hidden_state[0, -1]
            inner = torch.relu(w["score.0.weight"] @ hidden + w["score.0.bias"])
            return float(w["score.2.weight"] @ inner + w["score.2.bias"]) - 2.65

    return score


VL = transformers.AutoModelForImageTextToText
LM = transformers.AutoModelForCausalLM
CASES: dict[str, tuple[str, Callable[[Path], Score], dict[str, str]]] = {
    "gmr-7b": ("lychee", _difference(by_hand.gmr, VL), {}),
    "gmr-3b": ("qwen2_5_vl_3b", _difference(by_hand.gmr, VL), {}),
    "gmr-7b cl": ("qwen2_5_vl", _gmr_cl, {"layout": "gmr-cl"}),
    "yes-no": ("qwen2_vl@resaved", _difference(by_hand.gmr, VL), {"layout": "gmr"}),
    "yes-no text": ("qwen2", _difference(by_hand.mxbai, LM, ("1", "0")), {"layout": "mxbai-rerank-v2"}),
    "qwen3-vl-reranker-2b": ("qwen3_vl", _difference(by_hand.qwen3_vl, VL), {}),
    "qwen3-vl-reranker-8b": ("qwen3_vl_8b", _difference(by_hand.qwen3_vl, VL), {}),
    "qwen3-reranker-0.6b": ("qwen3", _difference(by_hand.qwen3, LM), {}),
    "qwen3-reranker-4b": ("qwen3_head", _difference(by_hand.qwen3, LM), {}),
    "qwen3-reranker-8b": ("qwen3_8b", _difference(by_hand.qwen3, LM), {}),
    "monoqwen2-vl": ("mono_lora", _mono, {}),
    "jina-reranker-m0": ("jina_m0", _jina, {}),
    "lamra-rank": ("lamra", _difference(by_hand.lamra(" " * 24), VL, ("Yes", "No")), {}),
    "lamra-rank-qwen2.5": ("qwen2_5_vl", _difference(by_hand.lamra(" "), VL, ("Yes", "No")), {}),
    "bge-reranker-v2-gemma": ("gemma", _bge_gemma, {}),
    "mxbai-rerank-base-v2": ("qwen2", _difference(by_hand.mxbai, LM, ("1", "0")), {}),
    "mxbai-rerank-large-v2": ("qwen2", _difference(by_hand.mxbai, LM, ("1", "0")), {}),
}


def scores_of(name: str, folder: Path, requests: list[Request], **options: str) -> dict[int, list[float]]:
    """The adapter's scores by request, through the door that `mrb run` uses."""
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker(name, {"path": str(folder), "device": "cpu", **limits, **options})
    try:
        return {key: list(scores) for key, scores in reranker.target.score_stream(requests)}
    finally:
        reranker.close()


TEXT_ONLY = ("qwen2", "qwen3", "qwen3_head", "qwen3_8b", "gemma")


def asked_of(architecture: str) -> list[Request]:
    return texts() if architecture in TEXT_ONLY else [*texts(), *mixed()]


WHOLE = ("gmr-7b", "qwen3-vl-reranker-2b", "monoqwen2-vl", "qwen3-reranker-4b")
"""One of each kind of model, asked once more without shared prefixes."""


@pytest.mark.parametrize(("case", "share"), [*((case, "true") for case in CASES), *((case, "false") for case in WHOLE)])
def test_the_scores_are_those_of_the_documented_use(case: str, share: str, tiny: Tiny) -> None:
    architecture, make, options = CASES[case]
    folder = tiny(architecture)
    requests = asked_of(architecture)
    found = scores_of(case.partition(" ")[0], folder, requests, share_prefix=share, **options)
    score = make(folder)
    for request in requests:
        wanted = [score(request.instruction, request.query, document) for document in request.candidates]
        np.testing.assert_allclose(found[request.key], wanted, atol=1e-5, rtol=0)
    spread = np.std(np.concatenate([found[request.key] for request in requests]))
    assert spread > 0.01, "scores that hardly differ would agree whatever the prompt is"


@pytest.mark.parametrize("case", list(CASES))
def test_of_a_very_long_document_the_model_reads_the_beginning(case: str, tiny: Tiny) -> None:
    """What is left out is the document's end: the score is that of the longest document that fits."""
    architecture, make, options = CASES[case]
    folder = tiny(architecture)
    tok = transformers.AutoTokenizer.from_pretrained(
        folder if architecture != "mono_lora" else folder.parent / "mono_base"
    )
    query, words = Item("which one?"), LONG.split()
    ends = [end for _, end in tok(LONG * 8, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]]
    kept = len(tok(" ".join(words[:40]), add_special_tokens=False)["input_ids"])
    whole, shown = Item(LONG * 8), Item(LONG[: ends[kept - 1]])
    name = case.partition(" ")[0]
    limits = {key: str(value) for key, value in LIMITS.items()}
    reranker = load_reranker(name, {"path": str(folder), "device": "cpu", **limits, **options})
    length = len(reranker.target.engine.prompter.prompts(INSTRUCTION, [(query, shown)])[0].ids)
    reranker.close()
    found = scores_of(name, folder, [Request(INSTRUCTION, query, [whole], 1)], max_length=str(length), **options)
    wanted = make(folder)(INSTRUCTION, query, shown)
    np.testing.assert_allclose(found[1], [wanted], atol=1e-5, rtol=0)
