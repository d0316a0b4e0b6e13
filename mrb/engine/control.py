"""Control tokens spelled in a request's text: detect them and tokenise them as plain characters."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from mrb.errors import AdapterError

Tokens = tuple[list[int], list[tuple[int, int]]]
"""Token ids of a text, and each token's characters (first, one past the last)."""
_UNLIKELY = -1e4


class ControlTokens:
    """The control tokens of a fast tokenizer.

    These are the special tokens (`<|im_end|>`) and those added to the finished vocabulary without being marked special
    (`<think>`, `<tool_call>` of Qwen3). An added token that is also in the vocabulary itself (Gemma's runs of line
    breaks) is ordinary text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._backend = tokenizer.backend_tokenizer
        own = self._backend.get_vocab(with_added_tokens=False)
        self.ids = {
            id: token.content
            for id, token in tokenizer.added_tokens_decoder.items()
            if token.content and (token.special or token.content not in own)
        }
        longest_first = sorted(self.ids.values(), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def found_in(self, text: str) -> bool:
        """Return whether `text` contains a control token."""
        return self._pattern is not None and self._pattern.search(text) is not None

    def tokenise_literally(self, texts: Sequence[str]) -> list[Tokens]:
        """Return each text's tokens, none of them a control token.

        Raises AdapterError if the vocabulary cannot spell a text.
        """
        encodings = self._literal.encode_batch(list(texts), add_special_tokens=False)
        for text, encoding in zip(texts, encodings, strict=True):
            if kept := self.ids.keys() & set(encoding.ids):
                spelled = self.ids[min(kept)]
                raise AdapterError(f"{spelled!r} in the text {text[:40]!r} cannot be read as plain characters")
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

    @cached_property
    def _literal(self) -> Any:
        """The tokenizer without its control tokens, built on first use."""
        from tokenizers import Tokenizer

        content = json.loads(self._backend.to_str())
        content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] not in self.ids]
        made = Tokenizer.from_str(json.dumps(content))
        made.no_padding()
        made.no_truncation()
        return made


def spell_special_tokens(tokenizer: Any) -> None:
    """Make the tokenizer read special tokens in a text (`[SEP]`, `</s>`) as plain characters.

    Tokens that it adds around texts stay. Other texts keep their ids.
    """
    tokenizer.split_special_tokens = True
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str())["model"] if backend is not None else {}
    if model.get("type") == "Unigram":
        from tokenizers.models import Unigram

        # XLM-RoBERTa's vocabulary lists them as pieces with the best score of all: make each worse than its letters.
        special = {*tokenizer.all_special_tokens}
        vocab = [(piece, _UNLIKELY if piece in special else score) for piece, score in model["vocab"]]
        backend.model = Unigram(vocab=vocab, unk_id=model["unk_id"], byte_fallback=model.get("byte_fallback", False))
