"""Start from random weights: a packaged shape, and a tokenizer trained on the texts of the groups.

The result is an ordinary checkpoint folder. It depends only on the recipe, its seed and the data.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mrb.errors import TrainingError
from mrb.training.data.prepare import Source
from mrb.training.memory_estimate import find_config_folder, load_config
from mrb.training.recipe import Recipe

SPECIALS = {
    "<|endoftext|>": "pad_token_id",
    "<|im_start|>": "bos_token_id",
    "<|im_end|>": "eos_token_id",
    "<|vision_start|>": "vision_start_token_id",
    "<|vision_end|>": "vision_end_token_id",
    "<|image_pad|>": "image_token_id",
    "<|video_pad|>": "video_token_id",
}
"""The special tokens of Qwen2.5-VL in use, and the configuration field that names each."""
_ROLES = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
_LABELS = ("yes", "no")


def make_random_start(folder: Path, recipe: Recipe, sources: Sequence[Source]) -> None:
    """Write a checkpoint with random weights into `folder`, by the recipe's shape, vocabulary and seed."""
    import torch
    from transformers import AutoModelForImageTextToText, Qwen2VLImageProcessorPil

    shape = find_config_folder(recipe)
    vocabulary = recipe.model.vocabulary
    if shape is None or vocabulary is None:
        raise TrainingError(f"model.shape {recipe.model.shape!r}: a random start needs a shape that ships")
    tokenizer = train_tokenizer(list_texts(sources), vocabulary)
    config = load_config(shape)
    text = config.get_text_config()
    text.vocab_size = len(tokenizer)
    for token, name in SPECIALS.items():
        number = tokenizer.convert_tokens_to_ids(token)
        for part in (config, text):
            if hasattr(part, name):
                setattr(part, name, number)
    torch.manual_seed(recipe.schedule.seed)
    model: Any = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    # Patch and merge sizes follow the vision tower; pixel limits are the recipe's.
    vision = config.vision_config
    Qwen2VLImageProcessorPil(
        patch_size=vision.patch_size,
        merge_size=vision.spatial_merge_size,
        temporal_patch_size=vision.temporal_patch_size,
    ).save_pretrained(folder)
    model.save_pretrained(folder)


def list_texts(sources: Sequence[Source]) -> list[str]:
    """Return the distinct texts of all groups, in order."""
    groups = (source.group(place) for source in sources for place in range(len(source)))
    return list(dict.fromkeys(one.item.text for group in groups for one in group.items if one.item.text))


def train_tokenizer(corpus: Sequence[str], vocabulary: int) -> Any:
    """Train a byte-level BPE tokenizer like Qwen2's on `corpus`, with at most `vocabulary` tokens.

    "yes" and "no" become one token each.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import Qwen2Tokenizer
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    learnt = Tokenizer(models.BPE())
    learnt.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PRETOKENIZE_REGEX), behavior="isolated")
    learnt.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    learnt.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Frequent enough that no other pair of letters is merged before theirs.
    labels = [word for word in _LABELS for _ in range(max(1000, len(corpus)))]
    learnt.train_from_iterator([*corpus, *labels], trainer)
    content = json.loads(learnt.to_str())["model"]
    merges: Any = [tuple(merge) for merge in content["merges"]]  # pairs, although the annotation says strings
    tokenizer = Qwen2Tokenizer(
        vocab=content["vocab"],
        merges=merges,
        **_ROLES,
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS], special_tokens=True)
    return tokenizer
