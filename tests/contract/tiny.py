"""Checkpoints of a few hundred thousand random weights: the museum's, and families that are not in it yet."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import museum
import torch
import transformers
from tokenizers import AddedToken, Tokenizer, pre_tokenizers

HIDDEN = museum.HIDDEN
TEXT = {
    "hidden_size": HIDDEN,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.12,
    "max_position_embeddings": 8192,
}
TOWERS = ("clip", "siglip")
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.5,
    "initializer_factor": 12.0,
}


def build(architecture: str, folder: Path) -> Path:
    """Write a checkpoint of `architecture`, with tokenizer and image processor, to `folder`."""
    if architecture.removesuffix(museum.RESAVED) in museum.exhibits():
        return museum.build(architecture, folder)
    torch.manual_seed(7)
    tok = tokenizer()
    if architecture not in TOWERS:
        tok.save_pretrained(folder)
    _BUILDERS[architecture](tok, folder)
    return folder


@cache
def tokenizer() -> Any:
    """The museum's tokenizer with a <bos>, as Gemma's has."""
    made = museum.qwen_tokenizer.__wrapped__()
    made.add_tokens([AddedToken("<bos>", special=True, normalized=False)], special_tokens=True)
    return made


def _gme(tok: Any, folder: Path) -> None:
    """As the Hub has it: remote code, and a head that is neither tied nor in the file."""
    museum.build("qwen2_vl", folder)
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = False
    config["architectures"] = ["GmeQwen2VLForVision2Seq"]
    config["auto_map"] = {"AutoConfig": "modeling.GmeQwen2VLConfig", "AutoModel": "modeling.GmeQwen2VL"}
    (folder / "config.json").write_text(json.dumps(config))


def _qwen2(tok: Any, folder: Path) -> None:
    transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**TEXT, vocab_size=len(tok))).save_pretrained(folder)


def _gemma(tok: Any, folder: Path) -> None:
    config = transformers.GemmaConfig(**TEXT, vocab_size=len(tok), head_dim=16)
    transformers.GemmaForCausalLM(config).save_pretrained(folder)


def _jina_m0(tok: Any, folder: Path) -> None:
    """As the Hub has it: Qwen2-VL's weights under a class of remote code, with a score head and no vocabulary head."""
    museum.build("qwen2_vl", folder)
    weights = museum.read_weights(folder) | {
        "score.0.weight": torch.randn(HIDDEN, HIDDEN) / 8,
        "score.0.bias": torch.randn(HIDDEN) / 8,
        "score.2.weight": torch.randn(1, HIDDEN) / 8,
        "score.2.bias": torch.randn(1),
    }
    museum.write_weights(folder, weights)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["JinaVLForRanking"]
    config["auto_map"] = {"AutoModel": "modeling.JinaVLForRanking"}
    (folder / "config.json").write_text(json.dumps(config))


def _mono_lora(tok: Any, folder: Path) -> None:
    """LoRA weights on a base that lies in a folder beside them."""
    from peft import LoraConfig, get_peft_model

    base = folder.parent / "mono_base"
    build("qwen2_vl", base)
    model = transformers.Qwen2VLForConditionalGeneration.from_pretrained(base, dtype=torch.float32)
    targets = r".*language_model.*\.(q_proj|v_proj|down_proj)"
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False))
    tuned.save_pretrained(folder)


def _clip(tok: Any, folder: Path) -> None:
    """With CLIP's own tokenizer, whose words end in </w>, of single letters and a few merges."""
    letters = [*pre_tokenizers.ByteLevel.alphabet()]
    pieces = [*letters, *(letter + "</w>" for letter in letters), "th", "the</w>", "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    own = transformers.CLIPTokenizer(vocab=vocab, merges=[("t", "h"), ("th", "e</w>")], model_max_length=77)
    own.save_pretrained(folder)
    text = TOWER | {"vocab_size": len(vocab), "eos_token_id": own.eos_token_id, "bos_token_id": own.bos_token_id}
    config = transformers.CLIPConfig(
        text_config=text | {"pad_token_id": own.pad_token_id, "projection_dim": 24},
        vision_config=TOWER | {"image_size": 48, "patch_size": 16, "projection_dim": 24},
        projection_dim=24,
        initializer_factor=12.0,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    size = {"size": {"shortest_edge": 48}, "crop_size": {"height": 48, "width": 48}}
    transformers.CLIPImageProcessorPil(**size).save_pretrained(folder)


def _siglip(tok: Any, folder: Path) -> None:
    """Its tokenizer ends a text by </s> and pads with it, as the real one, which needs sentencepiece."""
    from tokenizers import processors

    backend = Tokenizer.from_str(tok.backend_tokenizer.to_str())
    backend.add_special_tokens(["</s>"])
    end = backend.token_to_id("</s>")
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    own = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", pad_token="</s>", model_max_length=64
    )
    own.save_pretrained(folder)
    text = TOWER | {"vocab_size": len(own), "bos_token_id": None, "eos_token_id": end}
    config = transformers.SiglipConfig(
        text_config=text | {"max_position_embeddings": 64, "pad_token_id": end},
        vision_config=TOWER | {"image_size": 48, "patch_size": 16},
    )
    transformers.SiglipModel(config).save_pretrained(folder)
    transformers.SiglipImageProcessorPil(size={"height": 48, "width": 48}).save_pretrained(folder)


_BUILDERS: dict[str, Callable[[Any, Path], None]] = {
    "gme": _gme,
    "qwen2": _qwen2,
    "gemma": _gemma,
    "jina_m0": _jina_m0,
    "mono_lora": _mono_lora,
    "clip": _clip,
    "siglip": _siglip,
}
