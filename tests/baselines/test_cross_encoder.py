"""`cross-encoder` and `bge-reranker-v2-m3` on tiny checkpoints loaded from disk.

Scores equal plain transformers, one pair at a time; what cannot be a reranker is refused; a text is never opened as a
picture.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoProcessor,
    AutoTokenizer,
    LlavaForConditionalGeneration,
)

from mrb.baselines._util.lazy_import import import_or_refuse
from mrb.cli.check import command as check_command
from mrb.data.inputs import Inputs
from mrb.data.items import Item
from mrb.errors import AdapterError
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from tests.builders.services import harness, llama, llava_cross_encoder, picture, xlm_roberta
from tests.builders.texts import TEXTS, make_items, make_requests

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("offline")]

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return xlm_roberta(tmp_path_factory.mktemp("xlm-roberta"))


@pytest.fixture(scope="module")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llava_cross_encoder(tmp_path_factory.mktemp("llava"))


def by_hand(folder: Path, query: str, document: str, max_length: int = 60) -> float:
    """The logit of one pair: its tokens put together here, one row, no padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    q, d = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (query, document))
    while len(q) + len(d) + 4 > max_length:  # the longer side loses its last token
        (q if len(q) > len(d) else d).pop()
    ids = torch.tensor([[0, *q, 2, 2, *d, 2]])  # <s> query </s> </s> document </s>
    with torch.inference_mode():
        return float(model(input_ids=ids).logits[0, 0])


@pytest.mark.parametrize("name", ["cross-encoder", "bge-reranker-v2-m3"])
@pytest.mark.parametrize("batch_size", ["3", "0"])
def test_scores_are_those_of_plain_transformers(checkpoint: Path, name: str, batch_size: str) -> None:
    reranker = load_reranker(name, {"path": str(checkpoint), "batch_size": batch_size, "max_length": "60"})
    assert reranker.info.inputs == Inputs.both("text")
    found = harness(reranker, make_requests(make_items(TEXTS), make_items(TEXTS)))
    expected = [[by_hand(checkpoint, query, document) for document in TEXTS] for query in TEXTS]
    got = [found[key] for key in range(len(TEXTS))]
    assert np.abs(np.subtract(got, expected)).max() < TOLERANCE
    assert np.std(expected) > 0.1  # far more than the tolerance
    assert np.abs(expected).max() > 1  # a sigmoid would show
    assert [row[0] for row in got] == pytest.approx([row[5] for row in got], abs=TOLERANCE)  # the same text twice


def test_the_same_pair_by_the_tokenizer_itself(checkpoint: Path) -> None:
    """`by_hand` puts the tokens together as the model's own tokenizer does, an empty side too."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    for query, document in (("red fox", ""), ("", "blue"), ("", ""), ("red", "blue hills " * 80)):
        row = tokenizer([query], text_pair=[document], truncation="longest_first", max_length=60, return_tensors="pt")
        with torch.inference_mode():
            assert float(model(**row).logits[0, 0]) == pytest.approx(by_hand(checkpoint, query, document), abs=1e-5)


def test_max_length_cuts_as_stated_and_no_request_sees_its_neighbours(checkpoint: Path) -> None:
    reranker = load_reranker("cross-encoder", {"path": str(checkpoint), "max_length": "16"})
    found = harness(reranker, make_requests(make_items(TEXTS[:3]), make_items(TEXTS)))
    for key, query in enumerate(TEXTS[:3]):
        assert found[key] == pytest.approx([by_hand(checkpoint, query, text, 16) for text in TEXTS], abs=TOLERANCE)
    order = random.Random(1).sample(range(len(TEXTS)), len(TEXTS))
    alone = harness(reranker, [Request("Find it.", Item(TEXTS[2]), [Item(TEXTS[n]) for n in order], 9)])[9]
    assert alone == pytest.approx([found[2][n] for n in order], abs=1e-5)


def test_bge_reranker_defaults_are_the_documented_model(monkeypatch: pytest.MonkeyPatch) -> None:
    import sentence_transformers

    seen: dict[str, Any] = {}

    def stand_in(path: str, **options: Any) -> None:
        seen.update(path=path, **options)
        raise OSError("not loaded here")

    monkeypatch.setattr(sentence_transformers, "CrossEncoder", stand_in)
    with pytest.raises(AdapterError, match="BAAI/bge-reranker-v2-m3 cannot be loaded: not loaded here"):
        load_reranker("bge-reranker-v2-m3")
    assert seen["path"] == "BAAI/bge-reranker-v2-m3"
    assert len(seen["revision"]) == 40
    assert (seen["max_length"], seen["trust_remote_code"]) == (1024, False)


def test_half_precision_is_asked_for_and_used(checkpoint: Path) -> None:
    reranker = load_reranker("cross-encoder", {"path": str(checkpoint), "dtype": "bfloat16"})
    found = harness(reranker, make_requests(make_items(TEXTS[:1]), make_items(TEXTS)))[0]
    expected = [by_hand(checkpoint, TEXTS[0], text) for text in TEXTS]
    assert 1e-4 < np.abs(np.subtract(found, expected)).max() < 0.3


def test_the_instruction_is_the_prompt_if_asked_for(checkpoint: Path) -> None:
    off = load_reranker("cross-encoder", {"path": str(checkpoint)})
    on = load_reranker("cross-encoder", {"path": str(checkpoint), "instruction": "true"})
    mixed = [
        Request(text, Item("red"), make_items(["blue", "hills"]), key) for key, text in enumerate(("what ", "the "))
    ]
    assert harness(off, mixed)[0] == harness(off, mixed)[1]
    found = harness(on, mixed)
    for key, instruction in enumerate(("what ", "the ")):
        expected = [by_hand(checkpoint, f"{instruction}red", text) for text in ("blue", "hills")]
        assert found[key] == pytest.approx(expected, abs=TOLERANCE)


# What is refused


def test_a_quantisation_that_is_not_applied_is_refused(tmp_path: Path) -> None:
    """transformers loads plain weights, or dequantises in bfloat16, and only warns."""
    stated = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    folder = edited(xlm_roberta(tmp_path), quantization_config=stated)
    with pytest.raises(AdapterError, match=r"quantization_config \(fp8\), which is not applied on this machine"):
        load_reranker("cross-encoder", {"path": str(folder)})


def edited(folder: Path, **fields: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    return folder


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: xlm_roberta(folder, num_labels=3), "gives 3 scores a pair"),
        (lambda folder: xlm_roberta(folder, headless=True), "4 weights are not in the checkpoint, or of another shape"),
        (
            lambda folder: edited(xlm_roberta(folder), num_hidden_layers=3),
            "would be random, among them roberta.encoder",
        ),
        (
            lambda folder: edited(xlm_roberta(folder), num_hidden_layers=1),
            "not part of the model that its configuration describes, among them roberta.encoder.layer.1",
        ),
        (lambda folder: edited(xlm_roberta(folder), vocab_size=50), "among them roberta.embeddings.word_embeddings"),
        (lambda folder: llama(folder), "no two tokens for yes and no"),
        (lambda folder: folder, "cannot be loaded"),
        (lambda folder: folder / "absent", "there is no such folder"),
    ],
    ids=[
        "three labels",
        "no head",
        "a layer too few",
        "a layer too many",
        "other sizes",
        "no yes and no",
        "empty folder",
        "no folder",
    ],
)
def test_what_is_no_reranker_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Path], Path], told: str
) -> None:
    with pytest.raises(AdapterError) as caught:
        load_reranker("cross-encoder", {"path": str(make(tmp_path))})
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "LOAD REPORT" not in caplog.text
    # What asked transformers for its report is gone again.
    model = AutoModelForSequenceClassification.from_pretrained(xlm_roberta(tmp_path / "good"))
    assert isinstance(model, torch.nn.Module)


def test_a_random_head_is_what_transformers_would_have_given(tmp_path: Path) -> None:
    """Without the refusal the headless checkpoint loads, and scores whatever the seed says."""
    folder = xlm_roberta(tmp_path, headless=True)
    torch.manual_seed(1)
    one = by_hand(folder, "red", "fox")
    torch.manual_seed(2)
    assert one != by_hand(folder, "red", "fox")


def test_remote_code_is_not_run_unless_typed(tmp_path: Path, checkpoint: Path) -> None:
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(checkpoint)).save_pretrained(str(tmp_path / "model"))
    modules = [{"idx": 0, "name": "0", "path": "", "type": "custom_code.Mine"}]
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "model" / "custom_code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(AdapterError, match="cannot be loaded"):
        load_reranker("cross-encoder", {"path": str(tmp_path / "model")})
    assert not (tmp_path / "ran").exists()


def test_options_and_packages() -> None:
    with pytest.raises(AdapterError, match="batch_size is -1"):
        load_reranker("cross-encoder", {"path": "x", "batch_size": "-1"})
    with pytest.raises(AdapterError, match=r"minilm: not_there_at_all cannot be imported .* pip install it"):
        import_or_refuse("minilm", "not_there_at_all", "pip install it")


# Language models that answer yes or no


def test_a_language_model_scores_by_yes_against_no(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }};{% endfor %}answer:"
    folder = llama(tmp_path, "yes", "no", template=template)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
    reranker = load_reranker("cross-encoder", {"path": str(folder), "batch_size": "4"})
    assert reranker.info.inputs == Inputs.both("text")
    texts = [text for text in TEXTS if len(text) < 200]
    found = harness(reranker, make_requests(make_items(texts[:2]), make_items(texts)))
    for key, query in enumerate(texts[:2]):
        for score, document in zip(found[key], texts, strict=True):
            row = tokenizer(f"query:{query};document:{document};answer:", return_tensors="pt", add_special_tokens=False)
            with torch.inference_mode():
                logits = model(**row).logits[0, -1]
            assert score == pytest.approx(float(logits[yes] - logits[no]), abs=TOLERANCE), (query, document)


# Pictures


def test_pictures_and_texts_on_both_sides(vision: Path) -> None:
    reranker = load_reranker("cross-encoder", {"path": str(vision), "batch_size": "3"})
    assert (reranker.info.inputs, reranker.info.max_images) == (Inputs.both("text", "image", "image+text"), None)
    sides = mixed_items()
    found = harness(reranker, make_requests(sides, sides))
    for key, query in enumerate(sides):
        expected = [vision_by_hand(vision, query, candidate) for candidate in sides]
        assert found[key] == pytest.approx(expected, abs=TOLERANCE)


def mixed_items() -> list[Item]:
    red, wide = picture(Image.new("RGB", (30, 40), "red")), picture(noise())
    tiny, huge = picture(Image.new("RGB", (2, 2), "blue")), picture(noise().resize((1500, 900)))
    return [
        Item("red fox"),
        Item("", red),
        Item("blue", wide),
        Item(""),
        Item("", wide),
        Item("", red),
        Item("", tiny),
        Item("huge", huge),
        Item("both", images=[wide, red]),
        Item("x " * 60),
    ]


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (35, 90, 3), dtype=np.uint8))


@cache
def llava(folder: Path) -> tuple[Any, Any]:
    return AutoProcessor.from_pretrained(folder), LlavaForConditionalGeneration.from_pretrained(folder).eval()


def vision_by_hand(folder: Path, query: Item, candidate: Item) -> float:
    processor, model = llava(folder)
    rendered = {"query": query, "document": candidate}
    text = "".join(f"{role}:{'<image>' * len(item.images)}{item.text};" for role, item in rendered.items())
    images = [image.open() for item in (query, candidate) for image in item.images]
    row = processor(text=f"{text}answer:", images=images or None, return_tensors="pt")
    yes, no = processor.tokenizer.convert_tokens_to_ids(["yes", "no"])
    with torch.inference_mode():
        logits = model(**row).logits[0, -1]
    return float(logits[yes] - logits[no])


def test_a_text_that_names_a_picture_stays_a_text(vision: Path, tmp_path: Path) -> None:
    """The library opens a bare text that looks like a picture's path or address; data may not make it do so."""
    secret = tmp_path / "secret.png"
    Image.new("RGB", (28, 28), "green").save(secret)
    reranker = load_reranker("cross-encoder", {"path": str(vision)})
    texts = [str(secret), "http://127.0.0.1:9/fox.jpg", "https://example.com/a.mp4"]
    for query in (Item("red"), Item(str(secret)), Item("", picture(Image.new("RGB", (28, 28), "red")))):
        found = harness(reranker, make_requests([query], make_items(texts)))[0]
        assert found == pytest.approx([vision_by_hand(vision, query, Item(text)) for text in texts], abs=TOLERANCE)
    shown = harness(reranker, make_requests([Item("red")], [Item("", picture(Image.open(secret)))]))[0]
    assert abs(shown[0] - harness(reranker, make_requests([Item("red")], make_items(texts)))[0][0]) > 10 * TOLERANCE


# `mrb check`, on texts in test_check_adapters


def test_check_holds_on_images(vision: Path) -> None:
    words = ["cross-encoder", "--set", f"path={vision}", "--task", "mini-flag-t2i", "--requests", "2"]
    done = CliRunner().invoke(check_command, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "cross-encoder holds what it declares" in done.stdout


def test_a_template_that_drops_a_side_ends_the_run(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m['role'] }};{% endfor %}answer:"
    reranker = load_reranker("cross-encoder", {"path": str(llama(tmp_path, "yes", "no", template=template))})
    with pytest.raises(AdapterError, match="chat template"):
        harness(reranker, make_requests(make_items(["a"]), make_items(["b"])))


def decoder(folder: Path, **tokens: Any) -> Path:
    """A Qwen2 with a classification head, whose configuration lacks `pad_token_id` as Qwen2Config's default does."""
    from transformers import Qwen2Config, Qwen2ForSequenceClassification

    llama(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = Qwen2Config(**sizes, num_key_value_heads=2, vocab_size=len(tokenizer), num_labels=1, **tokens)
    torch.manual_seed(3)
    for stale in folder.glob("*.safetensors"):
        stale.unlink()
    Qwen2ForSequenceClassification(config).save_pretrained(folder)
    return folder


def reranker_scores(reranker: Any, query: Item, documents: list[Item]) -> list[float]:
    return list(next(iter(reranker.score_stream([Request("", query, documents, 0)])))[1])


def test_a_decoder_without_pad_token_id_scores_batches(tmp_path: Path) -> None:
    """transformers refuses a batch of two such rows; one row at a time is the reference."""
    reranker = load_reranker("cross-encoder", {"path": str(decoder(tmp_path)), "device": "cpu"}).target
    query, documents = Item("red fox"), [Item("blue"), Item("over the hills and the blue stones"), Item("red")]
    together = reranker_scores(reranker, query, documents)
    alone = [reranker_scores(reranker, query, [one])[0] for one in documents]
    assert list(together) == pytest.approx(alone, abs=1e-5)


def test_padding_that_cannot_be_told_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="pad_token_id is 5, the tokenizer pads with"):
        load_reranker("cross-encoder", {"path": str(decoder(tmp_path / "other", pad_token_id=5))})
    folder = decoder(tmp_path / "none")
    stated = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(stated | {"pad_token": None}))
    with pytest.raises(AdapterError, match="its tokenizer has no pad_token"):
        load_reranker("cross-encoder", {"path": str(folder)})
