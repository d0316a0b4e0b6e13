"""jina-reranker-v3.5 (July 2026, arXiv 2607.18152): jinaai/jina-reranker-v3.5 on Qwen3-0.6B.

CC-BY-NC-4.0: not for commercial use. Setwise: one prompt holds the query and up to 125 documents, in first-stage order.
The hidden states at `<|embed_token|>` after each document and at the last `<|rerank_token|>` after the query go through
one projector; a score is their cosine. With several prompts, the query's vectors are averaged, weighted by each
prompt's best score. Its remote code is not run and could not be read: prompt and formula are those on which two public
ports of the authors' files agree (a worker for its GGUF files and a Swift port); the limits of the query (1,024 tokens)
and a document (8,192) are those that a public note gives of its modeling.py. So the tests hold all by hand
(tests/baselines/test_jina_reranker_v35.py). The authors delete the markers from texts; MRB reads them as plain
characters. The task's instruction is not passed, as in mteb. Takes text. The commit is that which mteb 2.26 names.
Never run on its real weights here.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from mrb.engine.control import ControlTokens
from mrb.errors import AdapterError
from mrb.rerankers.model_card import make_engine_card
from mrb.rerankers.plugins import find_installed_name
from mrb.rerankers.reranker import Request

_LOG = logging.getLogger("mrb.engine")
_PROJECTOR = ("projector.0.weight", "projector.2.weight")
_DOCUMENT, _QUERY = "<|embed_token|>", "<|rerank_token|>"
_HEAD = (
    "<|im_start|>system\nYou are a search relevance expert who can determine a ranking of the passages based on how "
    "relevant they are to the query. If the query is a question, how relevant a passage is depends on how well it "
    "answers the question. If not, try to analyze the intent of the query and assess how well each passage satisfies "
    "the intent. If an instruction is provided, you should follow the instruction when determining the ranking."
    "<|im_end|>\n<|im_start|>user\nI will provide you with {count} passages, each indicated by a numerical identifier. "
    "Rank the passages based on their relevance to query: "
)
_TAIL = (
    "\n</query>\nPlease provide the ranking of all passages based on their relevance to the search query, in "
    "descending order of relevance, with each label enclosed in square brackets (e.g., [2] > [1] > [3] > [0])."
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)

Part = tuple[str, str, str]
"""What stands before a text, the text, and the marker after it."""


class JinaRerankerV35:
    """jinaai/jina-reranker-v3.5."""

    card = make_engine_card("0.6B", "CC-BY-NC-4.0: not for commercial use", "our own reading")
    model = "jinaai/jina-reranker-v3.5"
    revision = "cbe7fd34449cc1a036c2959fa3c9b1deca6730ed"
    kind = "setwise"
    inputs = ("text",)
    version = "1"

    def __init__(
        self,
        path: str | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        block_size: int = 125,
        max_query_length: int = 1024,
        max_doc_length: int = 8192,
        max_length: int = 131_072,
    ) -> None:
        """Load the model.

        Args:
            path: Local folder or ORGANISATION/NAME, instead of the adapter's own checkpoint.
            revision: Commit of `path`.
            device: auto, cpu, cuda(:n) or mps.
            dtype: auto (bfloat16 on a GPU, else float32), float32, bfloat16 or float16.
            block_size: Most documents of one prompt.
            max_query_length: Tokens of a query that are read.
            max_doc_length: Tokens of a document that are read.
            max_length: Tokens of texts in one prompt; a prompt is closed once no longest document fits.

        Raises:
            AdapterError: Something is missing or does not fit.
        """
        from mrb.engine import checkpoint
        from mrb.engine.identity import hash_checkpoint

        self.name = find_installed_name(type(self))
        limits = (block_size, max_query_length, max_doc_length, max_length - max_doc_length - 2 * max_query_length)
        if min(limits) < 1:
            raise AdapterError(
                f"{self.name}: block_size, max_query_length and max_doc_length are whole numbers from 1, and "
                "max_length is over max_doc_length + 2 x max_query_length"
            )
        self.block_size, self.max_query_length, self.max_doc_length, _ = limits
        self.max_length = max_length
        checkpoint.require(self.name, "torch", "transformers")
        commit = revision if path else revision or self.revision
        folder = checkpoint.resolve_checkpoint(path or self.model, commit)
        self.version = f"{self.version}+{hash_checkpoint(folder)}"
        import torch
        from transformers import AutoModelForCausalLM

        place = checkpoint.get_device(device)
        kind = checkpoint.get_dtype(dtype, place)
        # The head of the vocabulary is not used, and `read_weights` reads the projector.
        ignored = (r"^projector\.", r"^lm_head\.")
        self._model = checkpoint.load_model(folder, AutoModelForCausalLM, dtype=kind, ignored=ignored).to(place)
        weights = checkpoint.read_weights(folder, _PROJECTOR)
        self._first, self._second = (weights[name].to(place).float() for name in _PROJECTOR)
        self._tokenizer = checkpoint.load_tokenizer(folder)
        self._control = ControlTokens(self._tokenizer)
        self._markers = {mark: self._find_marker(mark) for mark in (_DOCUMENT, _QUERY)}
        self._torch = torch
        self.cut = 0
        _LOG.warning("%s: the weights' licence is CC-BY-NC-4.0: not for commercial use", self.name)

    def score(self, request: Request) -> Sequence[float]:
        """Return the cosine of each candidate with the query, all of them read together."""
        if not request.candidates:
            return []
        torch = self._torch
        query, length = self._cut(request.query.text, self.max_query_length)
        documents = [self._cut(candidate.text, self.max_doc_length) for candidate in request.candidates]
        found = [self._embed(query, block) for block in self._make_blocks(length, documents)]
        queries = torch.stack([asked for asked, _ in found])
        weights = torch.stack([(1 + _compare(read, asked)).max() / 2 for asked, read in found])
        merged = (queries * weights[:, None]).sum(dim=0) / weights.sum()
        scores: list[float] = _compare(torch.cat([read for _, read in found]), merged).tolist()
        return scores

    def describe(self) -> str:
        """Return the size, dtype and device of the loaded model."""
        from mrb.engine.identity import describe_model

        return describe_model(self._model)

    def close(self) -> None:
        """Log how many texts were truncated, and free the model's memory."""
        if self.cut:
            _LOG.warning("%s: %d texts were cut to max_query_length or max_doc_length", self.name, self.cut)
        self._model = None

    def _make_blocks(self, query_length: int, documents: Sequence[tuple[str, int]]) -> list[list[str]]:
        """Return the documents of each prompt, in order."""
        blocks: list[list[str]] = []
        room = 0
        for text, length in documents:
            if not blocks or len(blocks[-1]) >= self.block_size or room <= self.max_doc_length:
                blocks.append([])
                room = self.max_length - 2 * query_length
            blocks[-1].append(text)
            room -= length
        return blocks

    def _embed(self, query: str, documents: Sequence[str]) -> tuple[Any, Any]:
        """Return the projected query [size] and documents [documents, size] of one prompt, in float32."""
        torch = self._torch
        ids = torch.tensor([self._tokenize_prompt(query, documents)], device=self._model.device)
        with torch.inference_mode():
            hidden = self._model.model(input_ids=ids, use_cache=False).last_hidden_state[0]
            asked = hidden[ids[0] == self._markers[_QUERY]][-1:]
            states = torch.cat([asked, hidden[ids[0] == self._markers[_DOCUMENT]]]).float()
            vectors = (states @ self._first.T).relu() @ self._second.T
        return vectors[0], vectors[1:]

    def _tokenize_prompt(self, query: str, documents: Sequence[str]) -> list[int]:
        return [token for part in split_prompt(query, documents) for token in self._tokenize_part(part)]

    def _tokenize_part(self, part: Part) -> list[int]:
        before, text, mark = part
        ids: list[int]
        if self._control.found_in(text):
            ((literal, _),) = self._control.tokenise_literally([text])
            ids = self._tokenizer(before, add_special_tokens=False)["input_ids"] + literal
        else:
            ids = self._tokenizer(before + text, add_special_tokens=False)["input_ids"]
        return [*ids, self._markers[mark]] if mark else ids

    def _cut(self, text: str, tokens: int) -> tuple[str, int]:
        """Return the first `tokens` tokens of a text as text, and how many it has."""
        found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ends = found["offset_mapping"]
        if len(ends) <= tokens:
            return text, len(ends)
        self.cut += 1
        return text[: ends[tokens - 1][1]], tokens

    def _find_marker(self, mark: str) -> int:
        ids = self._tokenizer(mark, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise AdapterError(f"{self.name}: {mark} is not one token of this tokenizer but {len(ids)}")
        return int(ids[0])


def split_prompt(query: str, documents: Sequence[str]) -> list[Part]:
    """Return the prompt of one query and its documents in parts, each of which ends in a marker but the last."""
    parts = [(_HEAD.format(count=len(documents)), query, _QUERY)]
    before = "\n"
    for number, text in enumerate(documents):
        parts.append((f'{before}<passage id="{number}">\n', text, _DOCUMENT))
        before = "\n</passage>\n"
    return [*parts, (f"{before}<query>\n", query, _QUERY), (_TAIL, "", "")]


def _compare(documents: Any, query: Any) -> Any:
    """Return the cosine of each row of `documents` [n, size] with `query` [size]: [n]."""
    return documents @ query / (documents.norm(dim=-1) * query.norm())
