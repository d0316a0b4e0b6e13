"""The models' documented use, written out: one pair at a time, plain transformers, the logits of the whole vocabulary.

Nothing here comes from MRB's layouts or engine; the prompts are typed again from the sources.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.image_utils import SizeDict

from mrb.data.items import Item

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the "
    'answer can only be "yes" or "no".'
)
APART = "\0"
LIMITS = {"min_pixels": 4 * 28 * 28, "max_pixels": 24 * 28 * 28}


def side(item: Item, empty: str = "") -> str:
    """Picture before text."""
    if item.image is None and not item.text:
        return empty
    return (IMAGE if item.image is not None else "") + item.text


def turn(user: str, system: str) -> str:
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


def gmr(instruction: str, q: Item, d: Item) -> str:
    instruction = instruction or "Given a web search query, retrieve relevant passages that answer the query"
    return turn(f"<Instruct>: {instruction}<Query>:{side(q)}\n<Document>:{side(d)}", JUDGE)


def qwen3_vl(instruction: str, q: Item, d: Item) -> str:
    instruction = instruction or "Given a search query, retrieve relevant candidates that answer the query."
    return turn(f"<Instruct>: {instruction}<Query>:{side(q, 'NULL')}\n<Document>:{side(d, 'NULL')}", JUDGE)


def qwen3(instruction: str, q: Item, d: Item) -> str:
    instruction = instruction or "Given a web search query, retrieve relevant passages that answer the query"
    body = f"<Instruct>: {instruction}\n<Query>: {q.text}\n<Document>: {d.text}"
    return turn(body, JUDGE) + "<think>\n\n</think>\n\n"


def monoqwen(instruction: str, q: Item, d: Item) -> str:
    ask = (
        "Assert the relevance of the previous image document to the following query, answer True or False. "
        "The query is: "
    )
    return turn(side(d) + ask + side(q), "You are a helpful assistant.")


def lamra(gap: str) -> Callable[[str, Item, Item], str]:
    ask = (
        f"I will provide you with a query and a candidate. Please evaluate whether the candidate{gap}meets the "
        "requirements of the query. If it does, respond with 'Yes'; if it doesn't, responed with 'No'."
    )

    def prompt(instruction: str, q: Item, d: Item) -> str:
        image = IMAGE if q.image is not None else ""
        own = " ".join(part for part in (instruction, q.text) if part)
        return turn(f"{ask}Query:{image}{own}Candidate:{side(d)}", "You are a helpful assistant.")

    return prompt


def mxbai(instruction: str, q: Item, d: Item) -> str:
    """With APART between the pieces that the authors tokenise by themselves."""
    ask = (
        "You are a search relevance expert who evaluates how well documents match search queries. For each "
        "query-document pair, carefully analyze the semantic relationship between them, then provide your binary "
        "relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:"
    )
    lead = f"instruction: {instruction}\n" if instruction else ""
    system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    pieces = ("", f"{lead}query: {q.text}", "\n", f"document: {d.text}", "\n", ask, "")
    return turn(APART.join(pieces), system)


def jina(instruction: str, q: Item, d: Item) -> str:
    return f"**Document**:\n{side(d)}\n**Query**:\n{side(q)}"


def gme(instruction: str, item: Item, _: Item) -> str:
    """Ends in the token at which the vector is read."""
    return turn(side(item), instruction or "You are a helpful assistant.") + "<|endoftext|>"


def qwen3_vl_embedding(instruction: str, item: Item, _: Item) -> str:
    return turn(side(item, "NULL"), instruction or "Represent the user's input.") + "<|endoftext|>"


class ByHand:
    """Scores pairs with the checkpoint in `folder`, as a script on a model card would."""

    def __init__(
        self, folder: Path, model: Any, prompt: Callable[[str, Item, Item], str], limits: dict[str, int]
    ) -> None:
        self.model = model.eval()
        self.prompt = prompt
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.processor = None
        if hasattr(model.config, "vision_config"):
            # The published files state limits of their own, which win over a `size` that is asked for on loading.
            self.processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
            self.processor.size = SizeDict(shortest_edge=limits["min_pixels"], longest_edge=limits["max_pixels"])

    def inputs(self, instruction: str, q: Item, d: Item) -> dict[str, Any]:
        text = self.prompt(instruction, q, d)
        pictures = [item.image.open() for item in self.order(q, d) if item.image is not None]
        more: dict[str, Any] = {}
        if pictures:
            assert self.processor is not None
            more = dict(self.processor(images=pictures, return_tensors="pt"))
            first, *rest = text.split("<|image_pad|>")
            assert len(rest) == len(pictures)
            for grid, part in zip(more["image_grid_thw"], rest, strict=True):
                first += "<|image_pad|>" * (int(grid.prod()) // 4) + part
            text = first
        ids = torch.tensor([self.ids(text)])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), **more}
        if self.processor is not None:
            inputs["mm_token_type_ids"] = (ids == self.tokenizer.convert_tokens_to_ids("<|image_pad|>")).int()
        return inputs

    def order(self, q: Item, d: Item) -> list[Item]:
        return [d, q] if self.prompt in (jina, monoqwen) else [q, d]

    def ids(self, text: str) -> list[int]:
        pieces = [self.tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in text.split(APART)]
        return [token for piece in pieces for token in piece]

    @torch.no_grad()
    def logits(self, instruction: str, q: Item, d: Item) -> torch.Tensor:
        """float32[vocabulary] at the last position."""
        return self.model(**self.inputs(instruction, q, d)).logits[0, -1].float()

    def token(self, label: str) -> int:
        found = self.tokenizer(label, add_special_tokens=False)["input_ids"]
        assert len(found) == 1, label
        return found[0]

    def difference(self, instruction: str, q: Item, d: Item, labels: tuple[str, str] = ("yes", "no")) -> float:
        z = self.logits(instruction, q, d)
        return float(z[self.token(labels[0])] - z[self.token(labels[1])])

    @torch.no_grad()
    def vector(self, instruction: str, item: Item) -> torch.Tensor:
        """float32[hidden] of length 1: the last hidden state of the prompt's last token."""
        hidden = self.model.model(**self.inputs(instruction, item, Item())).last_hidden_state[0, -1].float()
        return hidden / hidden.norm()

    @torch.no_grad()
    def flat_vector(self, instruction: str, item: Item) -> torch.Tensor:
        """As `vector`, with the decoder called without positions: it counts the tokens, an image's as any other."""
        inputs = self.inputs(instruction, item, Item())
        ids, decoder = inputs["input_ids"], self.model.model.language_model
        embeds = decoder.embed_tokens(ids)
        if "pixel_values" in inputs:
            seen = self.model.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"]).pooler_output
            embeds[ids == self.model.config.image_token_id] = torch.cat(tuple(seen))
        hidden = decoder(inputs_embeds=embeds, position_ids=None, use_cache=False).last_hidden_state[0, -1].float()
        return hidden / hidden.norm()
