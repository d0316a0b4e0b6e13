"""Attention of packed rows behind one prefix is the attention of each row alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode

from mrb.data.items import Item
from mrb.engine import packed_attention
from mrb.engine.packed_attention import Packed, attend_packed, choose_kernel
from mrb.rerankers.reranker import Request
from tests.builders import by_hand
from tests.builders.by_hand import LIMITS, ByHand
from tests.builders.requests import INSTRUCTION, LONG, picture

pytestmark = pytest.mark.torch

LENGTHS = (5, 1, 9)
LAYER = SimpleNamespace(layer_idx=0)


def make_states(heads: int, tokens: int, seed: int) -> torch.Tensor:
    return torch.randn(1, heads, tokens, 16, generator=torch.Generator().manual_seed(seed))


def attend_alone(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, prefix: Any, causal: bool) -> Any:
    """torch's own attention of each row, with the prefix written before it."""
    out = []
    for q, k, v in zip(*(states.split(LENGTHS, 2) for states in (query, key, value)), strict=True):
        before = 0
        if prefix is not None:
            before = prefix[0].shape[2]
            k, v = torch.cat([prefix[0], k], 2), torch.cat([prefix[1], v], 2)
        seen = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool)
        if causal:
            seen = seen.tril(before)
        out.append(scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=0.3, enable_gqa=True))
    return torch.cat(out, 2).transpose(1, 2)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shared", [0, 1, 40])
@pytest.mark.parametrize("kernel", ["cpu", "plain", "flash", "memory-efficient"])
def test_each_row_attends_as_if_alone(kernel: str, shared: int, causal: bool, stand_ins: None) -> None:
    query, key, value = (make_states(heads, sum(LENGTHS), seed) for heads, seed in ((6, 1), (2, 2), (2, 3)))
    prefix = (make_states(2, shared, 4), make_states(2, shared, 5)) if shared else None
    packed = Packed(LENGTHS, causal, kernel, None if prefix is None else {0: prefix})
    found, _ = attend_packed(LAYER, query, key, value, None, packed=packed, scaling=0.3)
    torch.testing.assert_close(found, attend_alone(query, key, value, prefix, causal), atol=2e-6, rtol=0)


@pytest.fixture
def stand_ins(monkeypatch: Any) -> None:
    """The operators of CUDA on a CPU, with the shapes that torch's own fake tensors state for them."""

    def attend(q: Any, k: Any, v: Any, causal: bool, scale: float) -> Any:
        k, v = (states.repeat_interleave(q.shape[1] // k.shape[1], 1) for states in (k, v))
        logits = q @ k.mT * scale
        if causal:
            logits = logits.masked_fill(torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
        return logits.softmax(-1) @ v, logits.logsumexp(-1)

    def flash(
        q: Any,
        k: Any,
        v: Any,
        ends: Any,
        _: Any,
        most: int,
        __: int,
        drop: float,
        causal: bool,
        *rest: Any,
        scale: float,
    ) -> Any:
        if ends is None:  # [1, tokens, heads, head size]
            out, sums = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), causal, scale)
            return out.transpose(1, 2), sums, None, None, None
        assert most == max(LENGTHS)
        assert ends.dtype == torch.int32
        rows = [
            attend(*(states[a:b].transpose(0, 1)[None] for states in (q, k, v)), causal, scale)
            for a, b in zip(ends.tolist(), ends.tolist()[1:], strict=False)
        ]
        outs, sums = zip(*rows, strict=True)
        return torch.cat(outs, 2)[0].transpose(0, 1), torch.cat(sums, 2)[0], None, None, None

    def efficient(q: Any, k: Any, v: Any, bias: Any, wanted: bool, drop: float, causal: bool, *, scale: float) -> Any:
        assert q.shape[1] == k.shape[1]
        assert wanted
        out, sums = attend(q, k, v, causal, scale)
        return out, torch.nn.functional.pad(sums, (0, -sums.shape[-1] % 32)), None, None

    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", flash)
    monkeypatch.setattr(torch.ops.aten, "_scaled_dot_product_efficient_attention", efficient)


def test_a_kernel_that_fails_on_its_device_is_replaced_and_named(caplog: Any, monkeypatch: Any) -> None:
    def wrong(q: Any, k: Any, v: Any, causal: bool, scale: float) -> Any:
        out, sums = packed_attention._attend_plainly(q, k, v, causal, scale)
        return out, sums + causal

    cpu = torch.device("cpu")
    assert choose_kernel(cpu, torch.float32, 64) == "cpu"
    assert choose_kernel(cpu, torch.bfloat16, 36) == "cpu"
    # On a CPU the operator of a GPU has no implementation.
    assert "_flash_attention_forward" in packed_attention.try_kernel("flash", cpu, torch.float32, 64)
    assert packed_attention.try_kernel("memory-efficient", cpu, torch.float32, 64)
    monkeypatch.setitem(packed_attention.KERNELS, "cpu", wrong)
    assert choose_kernel(cpu, torch.float32, 64) == "plain"
    assert "attention: cpu is not used on cpu: its results differ by" in caplog.text


def test_the_plain_kernel_bears_float16_products_that_overflow_before_they_are_scaled() -> None:
    query, key, value = (100 * make_states(2, sum(LENGTHS), seed) for seed in (1, 2, 3))
    assert (query @ key.mT).abs().max() > torch.finfo(torch.float16).max
    query, key, value = query.half(), key.half(), value.half()
    found, _ = attend_packed(LAYER, query, key, value, None, packed=Packed(LENGTHS, True, "plain"), scaling=0.3)
    wanted = attend_alone(query.float(), key.float(), value.float(), None, True)
    torch.testing.assert_close(found.float(), wanted, atol=0.2, rtol=1e-3)


def test_under_autocast_it_attends_in_the_precision_of_autocast() -> None:
    # Positions are turned in float32: queries and keys come in another precision than values.
    query, key = make_states(6, sum(LENGTHS), 1), make_states(2, sum(LENGTHS), 2)
    value, prefix = make_states(2, sum(LENGTHS), 3).bfloat16(), (make_states(2, 40, 4), make_states(2, 40, 5))
    wanted = attend_alone(query, key, value.float(), prefix, True)
    for kernel in ("cpu", "plain"):
        kept: Any = {}
        with torch.autocast("cpu", torch.bfloat16):
            packed = Packed(LENGTHS, True, kernel, {0: tuple(states.bfloat16() for states in prefix)}, kept)
            found, _ = attend_packed(LAYER, query, key, value, None, packed=packed, scaling=0.3)
            assert choose_kernel(torch.device("cpu"), torch.bfloat16, 64) == "cpu"
        assert {found.dtype, *(states.dtype for states in kept[0])} == {torch.bfloat16}
        torch.testing.assert_close(found.float(), wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize("given", [{"softcap": 30.0}, {"sliding_window": 8}, {"s_aux": torch.zeros(4)}])
def test_what_it_does_not_know_is_refused(given: dict[str, Any]) -> None:
    states = make_states(2, 3, 1)
    with pytest.raises(ValueError, match=f"packed attention takes no {next(iter(given))}"):
        attend_packed(LAYER, states, states, states, None, packed=Packed((3,), True, "plain"), **given)


Tiny = Callable[[str], Path]
LAYOUTS = {
    "gmr-7b": ("qwen2_5_vl", transformers.Qwen2_5_VLForConditionalGeneration, by_hand.gmr),
    "qwen3-vl-reranker-2b": ("qwen3_vl", transformers.Qwen3VLForConditionalGeneration, by_hand.qwen3_vl),
    "qwen3-reranker-4b": ("qwen3", transformers.Qwen3ForCausalLM, by_hand.qwen3),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("pictured", [False, True])
def test_a_shared_prefix_scores_as_the_plain_loop(name: str, pictured: bool, tiny: Tiny, load: Any) -> None:
    architecture, model, prompt = LAYOUTS[name]
    if pictured and architecture == "qwen3":
        pytest.skip("a model of texts")
    folder = tiny(architecture)
    query = Item(LONG, picture(200, 160, 3)) if pictured else Item(LONG)
    documents = [Item(f"document {i} {LONG[: 40 * i]}") for i in range(6)]
    documents += [Item("", picture(120, 90, 4))] if architecture != "qwen3" else []
    reranker = load(name, folder)
    ((_, found),) = reranker.target.score_stream([Request(INSTRUCTION, query, documents, 1)])
    assert reranker.target.engine.stats.shared > 4 * 200
    hand = ByHand(folder, model.from_pretrained(folder, dtype=torch.float32), prompt, LIMITS)
    wanted = [hand.difference(INSTRUCTION, query, one) for one in documents]
    np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=0)


def test_a_prefix_is_never_copied_for_each_row(tiny: Tiny, load: Any) -> None:
    """The largest tensor that an attention makes holds the tokens of the rows, however long the prefix."""
    largest: dict[int, int] = {}

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for one in out if isinstance(out, tuple) else (out,):
                if isinstance(one, torch.Tensor):
                    largest[words] = max(largest.get(words, 0), one.numel())
            return out

    backbone = load("qwen3-reranker-4b", tiny("qwen3")).target.engine.backbone
    rows = [packed_row(7)] * 20
    for words in (50, 1000):
        prefix = backbone.prefix(packed_row(words), {})
        with Watch():
            backbone.pool_hidden(rows, {}, prefix)
    assert largest[50] == largest[1000]


def packed_row(tokens: int) -> Any:
    from mrb.engine.backbone import Row

    return Row(np.arange(tokens, dtype=np.int64) % 50, (), np.tile(np.arange(tokens), (3, 1)))
