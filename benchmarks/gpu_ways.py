"""Other ways than the engine's to run a model that is in memory on a device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import transformers
from engine_cases import INSTRUCTION
from engine_ways import JUDGE, Plain, Scores, Way

from mrb.data.items import Item
from mrb.rerankers.reranker import Request
from tests.builders import by_hand


class PlainPooled:
    """A bidirectional model one pair at a time, by transformers alone; the prompts' tokens are the engine's."""

    def __init__(self, engine: Any, model: Any) -> None:
        self._prompter, self._head, self._model = engine.prompter, engine.head, model

    @torch.inference_mode()
    def loop(self, requests: Sequence[Request]) -> Scores:
        """Score one pair at a time."""
        return {r.key: [self._score(r, d) for d in r.candidates] for r in requests}

    def _score(self, request: Request, document: Item) -> float:
        (prompt,) = self._prompter.prompts(request.instruction, [(request.query, document)])
        ids = torch.from_numpy(prompt.ids)[None].to(self._model.device)
        # A mask of four dimensions is taken as it is: nothing is hidden.
        seen = torch.zeros(1, 1, ids.shape[1], ids.shape[1], device=ids.device, dtype=self._model.dtype)
        states = self._model.language_model(input_ids=ids, attention_mask=seen, use_cache=False).last_hidden_state
        return float(self._head(states.float().mean(1))[0])


def cross_encoder(folder: Path, model: Any, size: int, device: torch.device) -> Way:
    """sentence-transformers' CrossEncoder with the model in memory, texts only."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.cross_encoder.modules import LogitScore, Transformer

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    # Set before the module is made, which asks then whether there is a template.
    tokenizer.chat_template = (
        f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n<Instruct>: {INSTRUCTION}<Query>:"
        '{{ messages | selectattr("role", "eq", "query") | map(attribute="content") | first }}\n<Document>:'
        '{{ messages | selectattr("role", "eq", "document") | map(attribute="content") | first }}'
        '<|im_end|>\n<|im_start|>assistant{{ "\\n" }}'
    )
    with (
        patch.object(transformers.AutoModelForCausalLM, "from_pretrained", lambda *given, **options: model),
        # The model's own processor has one for videos too, which needs torchvision.
        patch.object(transformers.AutoProcessor, "from_pretrained", lambda *given, **options: tokenizer),
    ):
        first = Transformer(str(folder), transformer_task="text-generation")
    score = LogitScore(*(tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no")))
    ranker = CrossEncoder(modules=[first, score], device=str(device))

    def run(requests: Sequence[Request]) -> Scores:
        pairs = [(r.query.text, d.text) for r in requests for d in r.candidates]
        values = ranker.predict(pairs, batch_size=size, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        left = iter(values.tolist())
        return {r.key: [next(left) for _ in r.candidates] for r in requests}

    return run


def vllm(folder: Path, plain: Plain) -> Way:
    """vLLM with weights of its own making: the time of a prefill and one token, without scores to compare."""
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=str(folder),
        load_format="dummy",
        dtype="bfloat16",
        enable_prefix_caching=True,
        max_model_len=4096,
        gpu_memory_utilization=0.4,
        limit_mm_per_prompt={"image": 0, "video": 0},
    )
    asked = SamplingParams(max_tokens=1, temperature=0.0, logprobs=2)

    def run(requests: Sequence[Request]) -> Scores:
        llm.reset_prefix_cache()
        llm.generate([plain.prompt(r, d) for r in requests for d in r.candidates], asked, use_tqdm=False)
        return {}

    return run


class OnDevice(by_hand.ByHand):
    """The documented use of a model on a device."""

    def inputs(self, instruction: str, q: Item, d: Item) -> dict[str, Any]:
        """Return the model's inputs, on its device."""
        return {key: value.to(self.model.device) for key, value in super().inputs(instruction, q, d).items()}
