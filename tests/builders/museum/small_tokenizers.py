"""Tokenizers of families other than Qwen's: each of its published kind and special ids, with a tiny vocabulary."""

from __future__ import annotations

import copy
import io
import json
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from tests.builders.museum.vocabulary import tiny_vocabulary

SENTENCE = (
    "what is the colour of a red fox that jumps over blue and green hills while seven dogs sleep in old stone houses "
    "yes no Yes No Query Document query document rank these passages from most to least relevant Ranking"
)
WORDS = SENTENCE.split()
LETTERS = [chr(code) for code in range(32, 127)]


def write_small_tokenizer(kind: str, folder: Path) -> int:
    """Write tokenizer.json and tokenizer_config.json of a kind to `folder`; the number of its tokens."""
    if kind == "siglip":  # no tokenizer.json: transformers reads the vocabulary alone
        sentencepiece = pytest.importorskip("sentencepiece")
        (folder / "spiece.model").write_bytes(siglip_vocabulary())
        pieces: int = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model")).get_piece_size()
        return pieces
    made = _KINDS[kind]()
    made.save_pretrained(folder)
    return len(made)


def clip_tokenizer() -> Any:
    """CLIP's own kind, whose words end in </w>, of single letters and a few merges; the end of a text has the highest
    id, as in the real one."""
    letters = [*pre_tokenizers.ByteLevel.alphabet()]
    pieces = [*letters, *(letter + "</w>" for letter in letters), "th", "the</w>", "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    return transformers.CLIPTokenizer(vocab=vocab, merges=[("t", "h"), ("th", "e</w>")], model_max_length=77)


@cache
def gemma_tokenizer() -> Any:
    """Gemma's: BPE over letters, a space is part of the word after it, an unknown letter falls back to its bytes."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    lines = [unicodedata.ucd_3_2_0.name(chr(c), "").lower() for c in range(32, 6000)]
    labels = ["Yes\nNo\n yes no A: B: Yes No"] * 400
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(
        vocab_size=1100,
        special_tokens=[*specials, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=[*LETTERS[1:], "▁", "\n"],
        show_progress=False,
    )
    trained.train_from_iterator([*lines, *labels], trainer)
    model = json.loads(trained.to_str())["model"]
    made = transformers.GemmaTokenizer(vocab=model["vocab"], merges=[tuple(pair) for pair in model["merges"]])
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    return made


def siglip2_tokenizer() -> Any:
    """SigLIP 2's: Gemma's with an end token and no start token."""
    made = copy.deepcopy(gemma_tokenizer())
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", pair="$A <eos> $B:1 <eos>:1", special_tokens=[("<eos>", 1)]
    )
    return made


def siglip_vocabulary() -> bytes:
    """A tiny spiece.model with SigLIP's ids: <pad> 0, </s> 1 (which ends a text and pads it), <unk> 2."""
    sentencepiece = pytest.importorskip("sentencepiece")
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([SENTENCE.lower()] * 50 + [letter for letter in LETTERS[1:] if not letter.isupper()]),
        model_writer=written,
        model_type="unigram",
        vocab_size=150,
        hard_vocab_limit=False,
        pad_id=0,
        pad_piece="<pad>",
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    return written.getvalue()


def xlm_roberta_tokenizer() -> Any:
    """XLM-RoBERTa's: <s> 0, <pad> 1, </s> 2, <unk> 3, the mask last."""
    pieces = [*dict.fromkeys([f"▁{word}" for word in WORDS] + LETTERS + ["▁"])]
    vocab = [(piece, 0.0) for piece in ("<s>", "<pad>", "</s>", "<unk>")]
    vocab += [(piece, -1.0 - n / 100) for n, piece in enumerate(pieces)]
    return transformers.XLMRobertaTokenizer(vocab=[*vocab, ("<mask>", 0.0)], model_max_length=60)


def bert_tokenizer() -> Any:
    """BERT's: [PAD] 0, then letters and words in lower case, a word's continuation with ##."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [letter for letter in LETTERS[1:] if not letter.isupper()]
    pieces = [*specials, *letters, *(f"##{letter}" for letter in letters), *(word.lower() for word in WORDS)]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    return transformers.BertTokenizer(vocab=vocab, model_max_length=60)


def modernbert_tokenizer() -> Any:
    """ModernBERT's kind: byte-level BPE, a pair is [CLS] a [SEP] b [SEP]; its special tokens are the first here."""
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    trained = Tokenizer(models.BPE(unk_token="[UNK]"))
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    trained.train_from_iterator([SENTENCE] * 9, trainer)
    trained.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    named = {f"{token[1:-1].lower()}_token": token for token in specials}
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=trained,
        model_max_length=60,
        model_input_names=["input_ids", "attention_mask"],
        **named,
    )


MISTRAL_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}"
    r"\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
MISTRAL_SPECIALS = (
    *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]"),
    *(
        "[/TOOL_RESULTS]",
        "[TOOL_CALLS]",
        "[IMG]",
        "<pad>",
        "[IMG_BREAK]",
        "[IMG_END]",
        "[PREFIX]",
        "[MIDDLE]",
        "[SUFFIX]",
    ),
)
LLAMA3_SPECIALS = (
    *("<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|eom_id|>", "<|eot_id|>", "<|python_tag|>", "<img>", "</img>", "<IMG_CONTEXT>"),
)


def _byte_level(vocab: dict[str, int], split: str, specials: tuple[str, ...], start: str) -> Tokenizer:
    """Byte-level BPE with these special tokens; `start` is set before a text."""
    made = Tokenizer(models.BPE(vocab=vocab, merges=tiny_vocabulary()[1], ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, made.token_to_id(start))]
    )
    return made


def mistral_tokenizer() -> Any:
    """Ministral 3's: special tokens first; NeMo's exporter adds a normalizer that takes the sign after [ and < away."""
    vocab = {text: number for number, text in enumerate(MISTRAL_SPECIALS)}
    vocab |= {text: number + len(MISTRAL_SPECIALS) for text, number in tiny_vocabulary()[0].items()}
    made = _byte_level(vocab, MISTRAL_SPLIT, MISTRAL_SPECIALS, "<s>")
    made.normalizer = normalizers.Sequence([normalizers.Replace(f"{sign}\u200c", sign) for sign in "[<"])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def llama3_tokenizer() -> Any:
    """Llama 3's, with the three tokens of an image after its own."""
    made = _byte_level(dict(tiny_vocabulary()[0]), LLAMA3_SPLIT, LLAMA3_SPECIALS, "<|begin_of_text|>")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        pad_token="<|finetune_right_pad_id|>",
        model_max_length=10_240,
    )


_KINDS: dict[str, Callable[[], Any]] = {
    "clip": clip_tokenizer,
    "gemma": gemma_tokenizer,
    "siglip2": siglip2_tokenizer,
    "xlm_roberta": xlm_roberta_tokenizer,
    "bert": bert_tokenizer,
    "modernbert": modernbert_tokenizer,
    "mistral": mistral_tokenizer,
    "llama3": llama3_tokenizer,
}
