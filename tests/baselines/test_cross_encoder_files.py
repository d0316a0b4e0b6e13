"""`cross-encoder` on folders as sentence-transformers of different years wrote them (museum)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from mrb.data.inputs import Inputs
from mrb.errors import AdapterError
from mrb.rerankers.declaration import load_reranker
from tests.builders.services import harness
from tests.builders.texts import TEXTS, make_items, make_requests

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("offline")]

TOLERANCE = 1e-4


@pytest.mark.parametrize("name", ["ms_marco", "ms_marco_2021", "ms_marco_bare"])
def test_a_bert_of_older_files_gives_the_logits_of_plain_transformers(name: str, tiny: Callable[[str], Path]) -> None:
    """MS MARCO MiniLM: segments of two kinds, and a file that still holds position_ids, which no model has today.

    Whatever activation its configuration states for sentence-transformers, or none: the score is the logit.
    """
    folder = tiny(name)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    expected = []
    for query in TEXTS[:3]:
        for document in TEXTS:
            q, d = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (query, document))
            while len(q) + len(d) + 3 > 60:
                (q if len(q) > len(d) else d).pop()
            ids = torch.tensor([[2, *q, 3, *d, 3]])  # [CLS] query [SEP] document [SEP]
            kinds = torch.tensor([[0] * (len(q) + 2) + [1] * (len(d) + 1)])
            with torch.inference_mode():
                expected.append(float(model(input_ids=ids, token_type_ids=kinds).logits[0, 0]))
    reranker = load_reranker("cross-encoder", {"path": str(folder), "max_length": "60"})
    found = harness(reranker, make_requests(make_items(TEXTS[:3]), make_items(TEXTS)))
    np.testing.assert_allclose(np.ravel([found[key] for key in range(3)]), expected, atol=TOLERANCE)
    assert np.std(expected) > 0.1


@pytest.mark.parametrize(("kind", "forged"), [("ms_marco", "a [SEP] b [MASK]"), ("bge_m3", "a</s></s>b <s> <unk>")])
def test_special_tokens_in_a_text_are_plain_text(kind: str, forged: str, tiny: Callable[[str], Path]) -> None:
    """The pair's own are added after. Each of the forged is put together from its letters, one by one here."""
    folder = tiny(kind)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    special = {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
    reranker = load_reranker("cross-encoder", {"path": str(folder), "max_length": "60"})
    spell = reranker.target._model.tokenizer
    ids = spell("red fox", forged)["input_ids"]
    frame = tokenizer("red fox", "b")["input_ids"]
    assert [token for token in ids if token in special] == [token for token in frame if token in special]
    assert spell.decode(ids, skip_special_tokens=True).replace(" ", "") == f"redfox{forged}".replace(" ", "").lower()
    for text in TEXTS:
        assert spell(text)["input_ids"] == tokenizer(text)["input_ids"]
    with torch.inference_mode():
        row = spell(["red fox"], [forged], return_tensors="pt")
        expected, as_tokens = (
            float(model(**r).logits) for r in (row, tokenizer("red fox", forged, return_tensors="pt"))
        )
    found = harness(reranker, make_requests(make_items(["red fox"]), make_items([forged])))[0][0]
    assert found == pytest.approx(expected, abs=TOLERANCE)
    assert abs(expected - as_tokens) > 10 * TOLERANCE


def test_a_language_model_with_logit_score_as_it_is_published(tiny: Callable[[str], Path]) -> None:
    """modules.json and 1_LogitScore as sentence-transformers 5.4 wrote them: the logit of Yes alone, at the last token
    of the folder's chat template, for rows of different length."""
    folder = tiny("zerank")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    (yes,) = tokenizer("Yes")["input_ids"]
    expected = []
    for document in TEXTS:
        turns = [{"role": "query", "content": TEXTS[2]}, {"role": "document", "content": document}]
        row = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            expected.append(float(model(**row).logits[0, -1, yes]))
    for batch_size in ("0", "3"):
        reranker = load_reranker("cross-encoder", {"path": str(folder), "batch_size": batch_size})
        assert reranker.info.inputs == Inputs.both("text")
        assert harness(reranker, make_requests(make_items(TEXTS[2:3]), make_items(TEXTS)))[0] == pytest.approx(
            expected, abs=TOLERANCE
        )
    # The adapter of this model writes the prompt itself.
    own = load_reranker("zerank-2", {"path": str(folder), "device": "cpu", "dtype": "float32"})
    assert harness(own, make_requests(make_items(TEXTS[2:3]), make_items(TEXTS)))[0] == pytest.approx(
        expected, abs=TOLERANCE
    )
    assert np.std(expected) > 0.1


def test_a_chain_of_modules_as_ettin_is_published(tiny: Callable[[str], Path]) -> None:
    """The first token's state through Dense, exact GELU, LayerNorm and Dense: the raw number. Padded rows as well."""
    folder = tiny("ettin")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    dense, norm, last = (load_file(folder / n / "model.safetensors") for n in ("2_Dense", "3_LayerNorm", "4_Dense"))
    expected = []
    for document in TEXTS:
        q, d = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (TEXTS[2], document))
        while len(q) + len(d) + 3 > 59:
            (q if len(q) > len(d) else d).pop()
        with torch.inference_mode():
            state = model(input_ids=torch.tensor([[1, *q, 2, *d, 2]])).last_hidden_state[0, 0]
            inner = torch.nn.functional.gelu(dense["linear.weight"] @ state)
            inner = torch.nn.functional.layer_norm(inner, inner.shape, norm["norm.weight"], norm["norm.bias"])
            expected.append(float(last["linear.weight"] @ inner + last["linear.bias"]))
    for name, options in (("ettin-reranker-17m", {}), ("cross-encoder", {"batch_size": "3"})):
        reranker = load_reranker(name, {"path": str(folder), "max_length": "59", **options})
        assert reranker.info.inputs == Inputs.both("text")
        found = harness(reranker, make_requests(make_items(TEXTS[2:3]), make_items(TEXTS)))[0]
        assert found == pytest.approx(expected, abs=TOLERANCE)
    assert np.std(expected) > 0.1


def test_a_weight_of_a_module_that_is_missing_is_refused(tiny: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("ettin"), tmp_path / "ettin"))
    (folder / "4_Dense" / "model.safetensors").unlink()
    with pytest.raises(AdapterError, match=r"^ettin-reranker-17m: .* cannot be loaded"):
        load_reranker("ettin-reranker-17m", {"path": str(folder)})


def test_a_bi_encoder_of_sentence_transformers_is_refused(tiny: Callable[[str], Path]) -> None:
    with pytest.raises(AdapterError, match="is it a checkpoint of this kind of model"):
        load_reranker("cross-encoder", {"path": str(tiny("minilm"))})
