"""Checkpoints with random weights in realistic proportions, and the requests of each case."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

from mrb.data.items import ImageHandle, Item
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.rerankers.reranker import Request

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
INSTRUCTION = "Given a question, retrieve the passage or picture that answers it."
MAX_PIXELS = 256 * 28 * 28


@dataclass(frozen=True)
class Case:
    """Requests for one architecture ("vl", "lm" or "encoder")."""

    name: str
    architecture: str
    requests: Sequence[Request]

    @property
    def pairs(self) -> int:
        """Pairs in all."""
        return sum(len(request.candidates) for request in self.requests)


def cases(queries: int, depth: int, side: int = 448) -> list[Case]:
    """The four cases of modality, and the text one on a text model and on an encoder; pages of `side` pixels."""
    faq = load_task_data(load_task("mini-faq-t2t"))
    many = [faq.queries.item(q).text for q in list(faq.queries)[: 6 * queries]]
    asked = many[:queries]
    passages = _passages(faq)
    pages = _pictures("mini-page-t2vd", max(2, depth // 4), side)
    flags = _pictures("mini-flag-t2i", queries + depth, min(side, 448))

    def request(key: int, query: Item, documents: Sequence[Item]) -> Request:
        return Request(INSTRUCTION, query, documents, key)

    def window(n: int) -> list[str]:
        return [passages[(n * depth + i) % len(passages)] for i in range(depth)]

    text = [request(n, Item(q), [Item(p) for p in window(n)]) for n, q in enumerate(asked)]
    image_query = [request(n, Item("", flags[n]), [Item(p) for p in window(n)]) for n in range(queries)]
    # Each page is in the lists of many queries.
    shared_pages = [request(n, Item(q), [Item("", page) for page in pages]) for n, q in enumerate(many)]
    both = [
        request(n, Item(q, flags[n]), [Item(p, flags[queries + i]) for i, p in enumerate(window(n))])
        for n, q in enumerate(asked)
    ]
    return [
        Case("text x text", "vl", text),
        Case("image query x text", "vl", image_query),
        Case("text x shared pages", "vl", shared_pages),
        Case("both x both", "vl", both),
        Case("text x text, text model", "lm", text),
        Case("text x text, encoder", "encoder", text),
    ]


def _passages(faq: Any) -> list[str]:
    """Passages of 30 to 100 words, of real answers put one after another."""
    words = " ".join(faq.corpus.item(d).text for d in faq.corpus).split()
    passages, at = [], 0
    while at + 100 < len(words):
        length = 30 + (at * 7919) % 71
        passages.append(" ".join(words[at : at + length]))
        at += length
    return passages


def _pictures(task: str, count: int, side: int) -> list[ImageHandle]:
    """Distinct pictures of a task, resized to `side` pixels square, so that their tokens can be counted."""
    import io

    data = load_task_data(load_task(task))
    found = []
    for doc_id in list(data.corpus)[:count]:
        picture = data.corpus.item(doc_id).image
        assert picture is not None
        buffer = io.BytesIO()
        picture.open().resize((side, side), Image.Resampling.BICUBIC).save(buffer, "PNG")
        content = buffer.getvalue()
        found.append(ImageHandle(lambda content=content: content, where=f"{task} {doc_id}"))
    return found


def build(shape: str, layers: int | None, root: Path, wanted: Sequence[str]) -> dict[str, Path]:
    """Save a checkpoint for each wanted architecture that the shape has; folder by architecture.

    "small": about 120M parameters, 12 decoder layers; "3b": the shape of Qwen2.5-VL-3B, cut to `layers` layers in the
    language model and in the vision tower.
    """
    made = {}
    for architecture in ("vl", "lm", "encoder") if shape == "small" else ("vl",):
        if architecture not in wanted:
            continue
        folder = root / architecture
        torch.manual_seed(3)
        tok = make_tokenizer(4096 if shape == "small" else 151_936)
        tok.save_pretrained(folder)
        {"vl": _vl, "lm": _lm, "encoder": _encoder}[architecture](tok, folder, shape, layers)
        made[architecture] = folder
    return made


def _text_shape(shape: str, layers: int | None) -> dict[str, Any]:
    if shape == "small":
        sizes = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_key_value_heads": 2}
        return sizes | {"num_hidden_layers": layers or 12, "vocab_size": 4096}
    sizes = {"hidden_size": 2048, "intermediate_size": 11008, "num_attention_heads": 16, "num_key_value_heads": 2}
    return sizes | {"num_hidden_layers": layers or 36, "vocab_size": 151_936}


def _vl(tok: Any, folder: Path, shape: str, layers: int | None) -> None:
    text = _text_shape(shape, layers)
    head = text["hidden_size"] // text["num_attention_heads"]
    section = [head // 8, head * 3 // 16, head * 3 // 16]
    text["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": section}
    # A quarter of the decoder's parameters, as in the 3B model.
    small = {"hidden_size": 384, "depth": 12, "num_heads": 6, "intermediate_size": 1280}
    small["fullatt_block_indexes"] = [2, 5, 8, 11]
    large = {"hidden_size": 1280, "depth": layers or 32, "num_heads": 16, "intermediate_size": 3420}
    vision = (small if shape == "small" else large) | {"out_hidden_size": text["hidden_size"]}
    ids = {
        "image_token_id": tok.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tok.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tok.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tok.convert_tokens_to_ids("<|vision_end|>"),
    }
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    transformers.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    transformers.Qwen2VLImageProcessorPil().save_pretrained(folder)


def _lm(tok: Any, folder: Path, shape: str, layers: int | None) -> None:
    tok.chat_template = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
        f"<Instruct>: {INSTRUCTION}\n"
        '<Query>: {{ messages | selectattr("role", "eq", "query") | map(attribute="content") | first }}\n'
        '<Document>: {{ messages | selectattr("role", "eq", "document") | map(attribute="content") | first }}'
        # Jinja drops a template's last line break.
        '<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n{{ "\\n" }}'
    )
    tok.save_pretrained(folder)
    config = transformers.Qwen3Config(**_text_shape(shape, layers), head_dim=64, tie_word_embeddings=True)
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)


def _encoder(tok: Any, folder: Path, shape: str, layers: int | None) -> None:
    sizes = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12, "num_hidden_layers": 12}
    config = transformers.BertConfig(**sizes, vocab_size=4096, num_labels=1, pad_token_id=tok.pad_token_id)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"model_max_length": 512}))


def make_tokenizer(vocabulary: int) -> Any:
    """A byte-level BPE tokenizer of 4,096 tokens, its ids the first of a vocabulary of the wanted size."""
    faq = load_task_data(load_task("mini-faq-t2t"))
    texts = [faq.corpus.item(d).text for d in faq.corpus] + ["yes\nno\n"] * 500
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tok.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tok.decoder = decoders.ByteLevel()
    size = 4096 - len(SPECIALS)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tok.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False))
    model = json.loads(tok.to_str())["model"]
    made = transformers.Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    made.add_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS], special_tokens=True)
    assert len(made) <= vocabulary
    return made
