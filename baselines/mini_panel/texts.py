"""Texts: all-MiniLM-L6-v2 in four bits with a smaller vocabulary, and BM25 with the training texts' statistics."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mrb.baselines.mini_panel.four_bits import unpack_weight
from mrb.baselines.retrievers.lexical import K1, B, tokenize

LENGTH = 256
"""Tokens of a text that are read, as all-MiniLM-L6-v2 was made for."""
WIDTH = 384
SHAPE: dict[str, Any] = {"num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PACKED, SCALES = ".packed", ".scales"
_AT_ONCE = 32


class TextEncoder:
    """Texts to vectors of length 1, float32[n, 384]: mean pooling over the tokens.

    Args:
        weights: Tensors by their names in transformers' BertModel; those in four bits as NAME.packed and NAME.scales.
        vocabulary: Word pieces, SPECIAL first.
    """

    def __init__(self, weights: Mapping[str, Tensor], vocabulary: Sequence[str]) -> None:
        from transformers import BertConfig, BertModel

        self._tokenizer = make_tokenizer(vocabulary)
        config = BertConfig(vocab_size=len(vocabulary), hidden_size=WIDTH, pad_token_id=0, **SHAPE)
        self._model: Any = BertModel(config, add_pooling_layer=False).eval()
        self._model.load_state_dict(unpack_weights(weights))

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors. Texts of about one length are read together."""
        rows = [[2, *encoding.ids[: LENGTH - 2], 3] for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        vectors = torch.empty(len(rows), WIDTH)
        for start in range(0, len(order), _AT_ONCE):
            some = order[start : start + _AT_ONCE]
            vectors[some] = self.embed([rows[row] for row in some])
        return vectors

    def embed(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return the vectors of rows of tokens."""
        longest = max(map(len, rows))
        tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        mask = (tokens != 0).long()
        states = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state
        shares = mask.unsqueeze(-1).float()
        return functional.normalize((states * shares).sum(1) / shares.sum(1), dim=1)


def unpack_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return all weights in float32."""
    plain = {name: tensor.float() for name, tensor in weights.items() if not name.endswith((PACKED, SCALES))}
    packed = [name.removesuffix(PACKED) for name in weights if name.endswith(PACKED)]
    return plain | {name: unpack_weight(weights[name + PACKED], weights[name + SCALES]) for name in packed}


def make_tokenizer(vocabulary: Sequence[str]) -> Any:
    """Return BERT's uncased tokenizer. Special tokens in a text are plain characters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    pieces = models.WordPiece({piece: row for row, piece in enumerate(vocabulary)}, unk_token="[UNK]")  # noqa: S106
    tokenizer = Tokenizer(pieces)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


@dataclass(frozen=True)
class WordStatistics:
    """How many of `documents` training documents have a stemmed word, for words of at least two; their mean length."""

    documents: int
    length: float
    counts: Mapping[str, int]

    @classmethod
    def count(cls, texts: Sequence[str]) -> WordStatistics:
        """Count the words of texts."""
        split = [tokenize(text) for text in texts]
        counts = Counter(word for words in split for word in set(words))
        kept = {word: count for word, count in sorted(counts.items()) if count > 1}
        return cls(len(split), round(sum(map(len, split)) / max(len(split), 1), 2), kept)

    @classmethod
    def read(cls, path: Path) -> WordStatistics:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))

    def write(self, path: Path) -> None:
        """Write JSON."""
        held = {"documents": self.documents, "length": self.length, "counts": dict(self.counts)}
        path.write_text(json.dumps(held, ensure_ascii=False, separators=(",", ":")), "utf-8")

    def compute_match(self, query: Sequence[str], document: Sequence[str]) -> float:
        """Return BM25 of a document's words as a share, 0 to 1, of what a document can reach with the query's words."""
        weights = {word: self._compute_idf(word) for word in set(query)}
        counts = Counter(document)
        norm = K1 * (1 - B + B * len(document) / self.length)
        found = math.fsum(weights[word] * counts[word] / (counts[word] + norm) for word in query if word in counts)
        return found / max(math.fsum(weights[word] for word in query), 1e-9)

    def _compute_idf(self, word: str) -> float:
        count = self.counts.get(word, 1)
        return math.log(1 + (self.documents - count + 0.5) / (count + 0.5))


class KindHead(nn.Module):
    """How well a text answers the kind of question that another asks: a bilinear form on their vectors."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.question = nn.Linear(WIDTH, width, bias=False)
        self.answer = nn.Linear(WIDTH, width, bias=False)

    def forward(self, questions: Tensor, answers: Tensor) -> Tensor:
        """Return float32[n, m] of float32[n, 384] and float32[m, 384]: -1 to 1."""
        one = functional.normalize(self.question(questions), dim=1)
        return one @ functional.normalize(self.answer(answers), dim=1).T
