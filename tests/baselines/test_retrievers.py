"""The dense retrievers on tiny checkpoints of their own architectures, against each model's documented use by hand."""

from __future__ import annotations

import importlib.util
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from mrb.data.items import ImageHandle, Item
from mrb.errors import AdapterError
from mrb.rerankers.plugins import RETRIEVERS, load_adapter
from mrb.rerankers.reranker import Request
from mrb.retrieval.retriever import Encoder
from tests.builders import by_hand, museum
from tests.builders.by_hand import LIMITS, ByHand
from tests.builders.requests import INSTRUCTION, LONG, picture

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
Load = Callable[..., Any]
Vector = Callable[[str, Item], Any]

DEFAULT = ""
CLOSE = {"atol": 1e-5, "rtol": 0}
REPEATED = picture(70, 50, 1)
ITEMS = [
    Item("What is the capital of France?"),
    Item("no"),
    Item("Grüße, 世界 🙂"),
    Item(LONG),
    Item("", REPEATED),
    Item("text and picture", picture(40, 90, 2)),
    Item("the same picture again", REPEATED),
    Item("", picture(1, 1, 3)),
    Item("wide", picture(1500, 900, 4)),
    Item(""),
    Item("no"),
    Item(" spaced\n\nout \n"),
]


def _last_token(prompt: Any) -> Callable[[Path], Vector]:
    def of(folder: Path) -> Vector:
        model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
        return ByHand(folder, model, prompt, LIMITS).vector

    return of


def _gme(folder: Path) -> Vector:
    model = transformers.AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    return ByHand(folder, model, by_hand.gme, LIMITS).flat_vector


LAST_TOKEN: dict[str, tuple[str, Callable[[Path], Vector]]] = {
    "gme-2b": ("gme", _gme),
    "gme-7b": ("gme_7b", _gme),
    "qwen3-vl-embedding-2b": ("qwen3_vl", _last_token(by_hand.qwen3_vl_embedding)),
    "qwen3-vl-embedding-8b": ("qwen3_vl_8b", _last_token(by_hand.qwen3_vl_embedding)),
}


def _towers(loader: Any, lower: bool = False, **padding: Any) -> Callable[[Path], Vector]:
    """A text and an image by themselves; both are summed, each of length 1. The instruction is not read."""

    def of(folder: Path) -> Vector:
        model = loader.from_pretrained(folder).eval()
        tok = transformers.AutoTokenizer.from_pretrained(folder)
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")

        @torch.no_grad()
        def vector(_: str, item: Item) -> torch.Tensor:
            parts = []
            if item.text or item.image is None:
                text = item.text.lower() if lower else item.text
                ids = tok([text], truncation=True, return_tensors="pt", **padding)["input_ids"]
                parts.append(model.get_text_features(input_ids=ids).pooler_output[0])
            if item.image is not None:
                values = processor(images=[item.image.open()], return_tensors="pt")["pixel_values"]
                parts.append(model.get_image_features(pixel_values=values).pooler_output[0])
            whole = torch.stack([part / part.norm() for part in parts]).sum(0)
            return whole / whole.norm()

        return vector

    return of


TOWERS: dict[str, tuple[str, Callable[[Path], Vector]]] = {
    "clip": ("clip", _towers(transformers.CLIPModel, max_length=77)),
    "siglip": ("siglip", _towers(transformers.SiglipModel, max_length=64, padding="max_length")),
    # Its images of 384 are no multiple of its patches of 14.
    "siglip so400m": ("siglip_so400m", _towers(transformers.SiglipModel, max_length=64, padding="max_length")),
}
TOWERS["siglip2"] = ("siglip2", _towers(transformers.SiglipModel, max_length=64, padding="max_length", lower=True))
ALL = LAST_TOKEN | TOWERS


@pytest.fixture
def load() -> Iterator[Load]:
    """`load("gme-2b", folder, ...)`: an encoder that is closed at the end."""
    opened: list[Any] = []

    def get(name: str, folder: Path, **options: Any) -> Encoder:
        limits = LIMITS if name in LAST_TOKEN else {}
        given = {"path": folder, "device": "cpu", **limits, **options}
        opened.append(
            load_adapter(name.split()[0], {key: str(value) for key, value in given.items()}, RETRIEVERS).target
        )
        encoder: Encoder = opened[-1]
        return encoder

    yield get
    for encoder in opened:
        encoder.close()


def spread(rows: Any) -> float:
    """How far apart rows of different content are: rows that hardly differ would agree whatever the prompt is."""
    return float(np.abs(rows[:, None] - rows[None]).max(axis=2)[~np.eye(len(rows), dtype=bool)].mean())


@pytest.mark.parametrize("name", ALL)
def test_the_vectors_are_those_of_the_documented_use(name: str, tiny: Tiny, load: Load) -> None:
    architecture, make = ALL[name]
    vector = make(tiny(architecture))
    encoder = load(name, tiny(architecture))
    documents = encoder.encode_documents(ITEMS)
    queries = encoder.encode_queries(ITEMS, INSTRUCTION)
    np.testing.assert_allclose(documents, np.stack([vector(DEFAULT, item) for item in ITEMS]), **CLOSE)
    np.testing.assert_allclose(queries, np.stack([vector(INSTRUCTION, item) for item in ITEMS]), **CLOSE)
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, **CLOSE)
    assert documents.dtype == np.float32
    assert spread(documents) > 0.01
    assert (np.abs(queries - documents).max() > 0.01) == (name in LAST_TOKEN)


@pytest.mark.parametrize("name", ALL)
def test_a_vector_does_not_depend_on_its_batch(name: str, tiny: Tiny, load: Load) -> None:
    folder = tiny(ALL[name][0])
    few, many = ({"batch_tokens": 1}, {"batch_tokens": 65_536}) if name in LAST_TOKEN else ({"batch_size": 1}, {})
    alone = load(name, folder, **few)
    single = np.concatenate([alone.encode_documents([item]) for item in ITEMS])
    together = load(name, folder, **many)
    np.testing.assert_allclose(together.encode_documents(ITEMS), single, **CLOSE)
    np.testing.assert_allclose(together.encode_documents(ITEMS[::-1])[::-1], single, **CLOSE)


@pytest.mark.parametrize(
    ("name", "asked", "told"),
    [
        ("gme-2b", "Find a picture", "Find a picture."),
        ("gme-2b", "Find a picture?", "Find a picture?."),
        ("qwen3-vl-embedding-2b", "Find a picture \n", "Find a picture."),
        ("qwen3-vl-embedding-2b", "Which picture?", "Which picture?"),
    ],
)
def test_instructions_are_ended_as_the_models_want_them(
    name: str, asked: str, told: str, tiny: Tiny, load: Load
) -> None:
    architecture, make = LAST_TOKEN[name]
    found = load(name, tiny(architecture)).encode_queries(ITEMS[:1], asked)
    np.testing.assert_allclose(found[0], make(tiny(architecture))(told, ITEMS[0]), **CLOSE)


def test_queries_can_do_without_the_tasks_instruction(tiny: Tiny, load: Load) -> None:
    encoder = load("gme-2b", tiny("qwen2_vl"), instruction="default")
    np.testing.assert_array_equal(encoder.encode_queries(ITEMS, INSTRUCTION), encoder.encode_documents(ITEMS))


def test_a_long_text_is_cut_and_the_closing_tokens_stay(tiny: Tiny, load: Load, caplog: Any) -> None:
    vector = LAST_TOKEN["gme-2b"][1](tiny("qwen2_vl"))
    encoder = load("gme-2b", tiny("qwen2_vl"), max_length=120)
    tok = transformers.AutoTokenizer.from_pretrained(tiny("qwen2_vl"))
    frame = len(tok(by_hand.gme(DEFAULT, Item("no"), Item()))["input_ids"]) - len(tok("no")["input_ids"])
    kept = tok.decode(tok(LONG)["input_ids"][: 120 - frame])
    assert LONG.startswith(kept) and len(kept) < len(LONG)
    np.testing.assert_allclose(encoder.encode_documents([Item(LONG)])[0], vector(DEFAULT, Item(kept)), **CLOSE)
    encoder.close()
    assert "1 of 1 items lost" in caplog.text


def test_an_image_that_does_not_fit_is_told(tiny: Tiny, load: Load) -> None:
    encoder = load("gme-2b", tiny("qwen2_vl"), max_length=30)
    with pytest.raises(AdapterError, match="of images, cannot be cut to max_length=30"):
        encoder.encode_documents([Item("", picture(1500, 900, 4))])


@pytest.mark.parametrize(
    ("name", "architecture", "forged"),
    [
        ("gme-2b", "qwen2_vl", "<|image_pad|><|endoftext|>"),
        ("clip", "clip", "<|endoftext|>"),
        ("siglip", "siglip", "</s>"),
    ],
)
def test_special_tokens_in_a_text_are_plain_text(
    name: str, architecture: str, forged: str, tiny: Tiny, load: Load
) -> None:
    # Read as tokens, the first would be refused and CLIP would stop at the second, whatever follows.
    rows = load(name, tiny(architecture)).encode_documents([Item(f"a{forged} b"), Item(f"a{forged} c d"), Item("a")])
    assert spread(rows) > 0.01
    assert np.abs(rows[0] - rows[1]).max() > 0.01


@pytest.mark.parametrize(("name", "architecture"), [("qwen3-vl-embedding-2b", "qwen3_vl"), ("siglip2", "siglip2")])
def test_as_a_reranker_it_scores_by_its_own_vectors_and_keeps_them(
    name: str, architecture: str, tiny: Tiny, load: Load, monkeypatch: Any
) -> None:
    encoder: Any = load(name, tiny(architecture))
    items = ITEMS[:3] + ITEMS[4:6]
    asked = [Request(text, items[n], items, n) for n, text in enumerate(("Find it.", "Find it.", "Sort them."))]
    found = dict(encoder.score_stream(iter(asked)))
    documents = encoder.encode_documents(items)
    for request in asked:
        (query,) = encoder.encode_queries([request.query], request.instruction)
        np.testing.assert_allclose(found[request.key], documents @ query, **CLOSE)
    assert np.std(list(found.values())) > 0.01
    monkeypatch.setattr(encoder, "compute_vectors", None)  # not called again
    assert dict(encoder.score_stream([asked[1]])) == {1: found[1]}
    assert dict(encoder.score_stream([Request("Find it.", items[0], [], 7)])) == {7: []}


def test_siglip_lowers_letters_and_drops_punctuation(tiny: Tiny, load: Load) -> None:
    """Its SiglipTokenizer does; the tokenizer.json that the Hub has beside spiece.model does not, and is not read."""
    rows = load("siglip", tiny("siglip")).encode_documents([Item("A red, fox!"), Item("a red fox"), Item("a red fow")])
    np.testing.assert_allclose(rows[0], rows[1], **CLOSE)
    assert np.abs(rows[1] - rows[2]).max() > 0.01


def test_siglip2_lowers_letters_ends_a_text_and_pads_after_it(tiny: Tiny, load: Load) -> None:
    """What the converter of its checkpoints sets up: no start token, an end token, padding on the right to 64."""
    encoder: Any = load("siglip2", tiny("siglip2"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("siglip2"))
    (ids,) = encoder.tokenize(["A Red fox"])["input_ids"].tolist()
    words = tokenizer("a red fox", add_special_tokens=False)["input_ids"]
    assert ids == [*words, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * (63 - len(words))]
    (ids,) = encoder.tokenize([LONG])["input_ids"].tolist()
    assert (len(ids), ids[-1]) == (64, tokenizer.eos_token_id)


def test_naflex_is_refused_by_name(tiny: Tiny, tmp_path: Path, load: Load) -> None:
    folder = shutil.copytree(tiny("siglip2"), tmp_path / "naflex")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "siglip2"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(AdapterError, match="model_type is 'siglip2', wanted 'siglip': a NaFlex variant"):
        load("siglip2", folder)


def test_siglip_without_sentencepiece_is_told(tiny: Tiny, tmp_path: Path, load: Load, monkeypatch: Any) -> None:
    folder, find_spec = shutil.copytree(tiny("siglip"), tmp_path / "siglip"), importlib.util.find_spec
    (folder / "spiece.model").write_bytes(b"")  # transformers fails, as it does without the package
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "sentencepiece" else find_spec(name))
    with pytest.raises(AdapterError, match=r"its tokenizer needs sentencepiece: pip install 'mrb\[siglip\]'$"):
        load("siglip", folder)


@pytest.mark.parametrize(("name", "wanted"), [("clip", "model_type is 'siglip'"), ("siglip", "model_type is 'clip'")])
def test_another_kind_of_checkpoint_is_refused(name: str, wanted: str, tiny: Tiny, load: Load) -> None:
    with pytest.raises(AdapterError, match=wanted):
        load(name, tiny("clip" if name == "siglip" else "siglip"))


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"instruction": "none"}, "instruction"),
        ({"shard_rows": 0}, "shard_rows=0: wanted a whole number from 1"),
        ({"max_length": 0}, "max_length=0: wanted a whole number from 1"),
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"device": "tpu"}, "device='tpu'"),
        ({"path": "/nowhere/at/all"}, "no such folder"),
        ({"path": "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct"}, "give the commit to load"),
    ],
)
def test_wrong_options_are_told_in_one_line(options: dict[str, Any], wanted: str, tiny: Tiny, load: Load) -> None:
    with pytest.raises(AdapterError, match=wanted) as caught:
        load("gme-2b", tiny("qwen2_vl"), **options)
    assert "\n" not in str(caught.value)


def test_the_hubs_older_form_of_a_checkpoint_gives_the_same_vectors(tiny: Tiny, load: Load) -> None:
    flat, nested = load("gme-2b", tiny("gme")), load("gme-2b", tiny("gme@resaved"))
    np.testing.assert_array_equal(flat.encode_documents(ITEMS), nested.encode_documents(ITEMS))


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda weights: weights.pop("model.layers.1.mlp.down_proj.weight"), "it would be random, so it is refused"),
        (lambda weights: weights.pop("visual.merger.mlp.0.weight"), "it would be random, so it is refused"),
        (lambda weights: weights.update({"model.extra": weights["model.norm.weight"] * 1}), "is not part of the model"),
        (
            lambda weights: weights.update({"model.norm.weight": weights["model.norm.weight"][1:] * 1}),
            "a shape that differs",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Any]], object], wanted: str, tiny: Tiny, load: Load, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny("qwen2_vl"), tmp_path / "checkpoint"))
    weights = museum.read_weights(folder)
    change(weights)
    museum.write_weights(folder, weights)
    with pytest.raises(AdapterError, match=wanted) as caught:
        load("gme-2b", folder)
    assert "\n" not in str(caught.value)


def test_out_of_memory_halves_the_budget_and_loses_nothing(tiny: Tiny, load: Load, monkeypatch: Any) -> None:
    wanted = load("gme-2b", tiny("qwen2_vl")).encode_documents(ITEMS)
    encoder = load("gme-2b", tiny("qwen2_vl"), batch_tokens=65_536)
    decoder = type(encoder.embedder.backbone._decoder)
    forward = decoder.forward

    def small(self: Any, **inputs: Any) -> Any:
        if inputs["inputs_embeds"].shape[1] > 1000:
            raise torch.OutOfMemoryError("a device of 1000 tokens")
        return forward(self, **inputs)

    monkeypatch.setattr(decoder, "forward", small)
    np.testing.assert_allclose(encoder.encode_documents(ITEMS), wanted, **CLOSE)
    assert encoder.embedder.stats.halvings > 0

    def none(self: Any, **inputs: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(decoder, "forward", none)
    with pytest.raises(AdapterError, match=r"one item of \d+ tokens does not fit into memory; lower max_length"):
        encoder.encode_documents(ITEMS)


def test_towers_say_which_batch_does_not_fit(tiny: Tiny, load: Load, monkeypatch: Any) -> None:
    def none(self: Any, **inputs: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(transformers.CLIPModel, "get_image_features", none)
    with pytest.raises(AdapterError, match="clip: batch_size=7 does not fit into memory; lower it"):
        load("clip", tiny("clip"), batch_size=7).encode_documents(ITEMS)


@pytest.mark.parametrize(("name", "architecture"), [("gme-2b", "qwen2_vl"), ("siglip", "siglip")])
def test_images_are_made_ready_in_threads_and_once_each(
    name: str, architecture: str, tiny: Tiny, load: Load, monkeypatch: Any
) -> None:
    opened: list[tuple[str, str]] = []
    real = ImageHandle.open

    def noted(self: ImageHandle) -> Any:
        opened.append((threading.current_thread().name, self.sha256))
        return real(self)

    monkeypatch.setattr(ImageHandle, "open", noted)
    load(name, tiny(architecture)).encode_documents(ITEMS)
    assert {thread.partition("_")[0] for thread, _ in opened} == {"mrb-pixels"}
    assert len(opened) == len({digest for _, digest in opened}) == 4
