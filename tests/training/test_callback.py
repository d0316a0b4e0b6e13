"""Evaluation during training, with the trainers of sentence-transformers and transformers on tiny models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from transformers import AutoTokenizer, BertForSequenceClassification, Trainer, TrainingArguments

import mrb
from mrb.training.callback import EvaluationCallback

pytestmark = [pytest.mark.torch, pytest.mark.slow]

TASK = "mini-faq-t2t"
KEY = f"mrb/{TASK}/nDCG@10"
PAIRS = [("red fox", "a fox that is red", 1.0), ("red fox", "an open door", 0.0)] * 8
Tiny = Callable[[str], Path]


def make_trainer(folder: Path, out: Path) -> CrossEncoderTrainer:
    torch.manual_seed(0)
    model = CrossEncoder(str(folder), device="cpu")
    rows = Dataset.from_dict(dict(zip(("query", "document", "label"), zip(*PAIRS, strict=True), strict=True)))
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(out),
        max_steps=4,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        seed=1,
    )
    return CrossEncoderTrainer(model=model, args=arguments, train_dataset=rows, loss=BinaryCrossEntropyLoss(model))


def test_a_cross_encoder_is_evaluated_while_it_is_trained(tiny: Tiny, tmp_path: Path) -> None:
    trainer = make_trainer(tiny("ms_marco"), tmp_path)
    callback = EvaluationCallback(trainer, tasks=TASK, steps=2, at_start=True, limit=20)
    trainer.add_callback(callback)
    trainer.train()
    logged = {row["step"]: row[KEY] for row in trainer.state.log_history if KEY in row}
    assert list(logged) == [0, 2, 4] == [step for step, _ in callback.runs]
    last = mrb.evaluate(trainer.model, tasks=TASK, limit=20)
    assert logged[4] == last[TASK].result.measures["nDCG@10"].mean
    assert logged[0] != logged[4]
    assert len({run.record.reranker.version for _, run in callback.runs}) == 3
    plain = make_trainer(tiny("ms_marco"), tmp_path)
    plain.train()
    for name, weight in plain.model.state_dict().items():
        assert torch.equal(weight, trainer.model.state_dict()[name]), name


class Logits:
    """A sequence classifier of transformers as a reranker."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model, tokenizer

    @torch.inference_mode()
    def score(self, request: mrb.Request) -> list[float]:
        texts = [candidate.text for candidate in request.candidates]
        rows = self.tokenizer(
            [request.query.text] * len(texts), texts, truncation=True, max_length=40, padding=True, return_tensors="pt"
        )
        scores: list[float] = self.model(**rows).logits[:, 0].tolist()
        return scores


def test_a_trainer_of_transformers_evaluates_when_it_evaluates(tiny: Tiny, tmp_path: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(tiny("ms_marco"))
    tokenizer = AutoTokenizer.from_pretrained(tiny("ms_marco"))
    rows = [{**tokenizer(query, text), "labels": label} for query, text, label in PAIRS]
    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=3,
        eval_strategy="steps",
        eval_steps=2,
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, eval_dataset=rows[:2])
    callback = EvaluationCallback(
        trainer, tasks=TASK, limit=5, measures=["MRR@10"], make_reranker=lambda model: Logits(model, tokenizer)
    )
    model.train()
    model.bert.embeddings.eval()
    modes = [part.training for part in model.modules()]
    callback.on_evaluate(arguments, trainer.state, trainer.control)
    assert [part.training for part in model.modules()] == modes
    callback.runs.clear()
    trainer.add_callback(callback)
    trainer.train()
    logged = [row for row in trainer.state.log_history if "mrb/average/MRR@10" in row]
    assert [row["step"] for row in logged] == [2, 3]
    assert logged[0]["mrb/average/MRR@10"] == logged[0][f"mrb/{TASK}/MRR@10"]
    assert KEY not in logged[0]
