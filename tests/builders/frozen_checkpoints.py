"""The checkpoints on which authors' own code was run (authors/*.json): frozen, as another weight or token would change
those numbers. All other tests take their checkpoints from tests/builders/museum."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken

from tests.builders.museum.vocabulary import train_vocabulary

SPECIALS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<bos>",
)
VOCABULARY = 1200
HIDDEN = 64
TEXT = {
    "hidden_size": HIDDEN,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.12,
    "max_position_embeddings": 8192,
}
PAGE_TEMPLATE = (
    "<|im_start|>user\n{% for message in messages %}{{ message.role }}: {% if message.content is string %}"
    "{{ message.content }}{% else %}{% for part in message.content %}{% if part.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}\n"
    "{% endfor %}<|im_end|>\n<|im_start|>assistant\n"
)
THREE_D = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}


def build(architecture: str, folder: Path) -> Path:
    """Save a checkpoint of `architecture`, with tokenizer and image processor, to `folder`."""
    torch.manual_seed(7)
    tok = tokenizer()
    tok.save_pretrained(folder)
    _BUILDERS[architecture](tok, folder)
    return folder


@cache
def tokenizer() -> Any:
    """A byte-level BPE tokenizer of the Qwen kind, trained on Unicode's names, with yes, no, True, False, 1, 0."""
    # As in the real tokenizer, a sign and the line breaks after it are one token: what is joined where shows.
    ends = [f"a{sign}\nb{sign}\n\nc\n\n" for sign in ".!?;:)"]
    vocabulary, merges = train_vocabulary(VOCABULARY - len(SPECIALS), *ends)
    made = transformers.Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    made.add_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS], special_tokens=True)
    return made


def _ids(tok: Any) -> dict[str, int]:
    return {
        "image_token_id": tok.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tok.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": tok.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": tok.convert_tokens_to_ids("<|vision_end|>"),
    }


def _image_processor(folder: Path, patch: int = 14) -> None:
    transformers.Qwen2VLImageProcessorPil(patch_size=patch).save_pretrained(folder)


def _qwen2_vl(tok: Any, folder: Path) -> None:
    config = transformers.Qwen2VLConfig(
        text_config=dict(TEXT, vocab_size=len(tok), rope_parameters=THREE_D),
        vision_config={"embed_dim": 32, "hidden_size": HIDDEN, "depth": 2, "num_heads": 2, "initializer_range": 0.12},
        tie_word_embeddings=True,
        **_ids(tok),
    )
    transformers.Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    _image_processor(folder)


def _gme(tok: Any, folder: Path) -> None:
    """As the Hub has it: a flat configuration with remote code, the old names of weights, no vocabulary head."""
    from safetensors.torch import load_file, save_file

    _qwen2_vl(tok, folder)
    weights = load_file(folder / "model.safetensors")
    assert {name.split(".")[0] for name in weights} == {"model", "visual"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    text = config.pop("text_config")
    rope = text.pop("rope_parameters")
    text.pop("layer_types")
    config |= text | {"rope_theta": rope["rope_theta"], "model_type": "qwen2_vl", "tie_word_embeddings": False}
    config["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    config["vision_config"] = {k: v for k, v in config["vision_config"].items() if k != "rope_parameters"}
    config["architectures"] = ["GmeQwen2VLForVision2Seq"]
    config["auto_map"] = {"AutoConfig": "modeling.GmeQwen2VLConfig", "AutoModel": "modeling.GmeQwen2VL"}
    (folder / "config.json").write_text(json.dumps(config))


def _qwen2_5_vl(tok: Any, folder: Path) -> None:
    config = transformers.Qwen2_5_VLConfig(
        text_config=dict(TEXT, vocab_size=len(tok), rope_parameters=THREE_D),
        vision_config={
            "hidden_size": 32,
            "out_hidden_size": HIDDEN,
            "depth": 3,
            "num_heads": 2,
            "intermediate_size": 48,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.12,
        },
        tie_word_embeddings=False,
        **_ids(tok),
    )
    transformers.Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    _image_processor(folder)


def _qwen3_vl(tok: Any, folder: Path) -> None:
    config = transformers.Qwen3VLConfig(
        text_config=dict(TEXT, vocab_size=len(tok), head_dim=16, rope_parameters=THREE_D),
        vision_config={
            "hidden_size": 32,
            "out_hidden_size": HIDDEN,
            "depth": 3,
            "num_heads": 2,
            "intermediate_size": 48,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.12,
        },
        tie_word_embeddings=True,
        **_ids(tok),
    )
    transformers.Qwen3VLForConditionalGeneration(config).save_pretrained(folder)
    _image_processor(folder, patch=16)


def _qwen3_5(tok: Any, folder: Path) -> None:
    config = transformers.Qwen3_5Config(
        text_config=dict(
            TEXT,
            vocab_size=len(tok),
            num_hidden_layers=4,
            head_dim=32,
            rope_parameters=THREE_D | {"mrope_section": [2, 1, 1], "partial_rotary_factor": 0.25},
            linear_key_head_dim=16,
            linear_value_head_dim=16,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            layer_types=["linear_attention", "linear_attention", "linear_attention", "full_attention"],
        ),
        vision_config={
            "hidden_size": 32,
            "out_hidden_size": HIDDEN,
            "depth": 2,
            "num_heads": 2,
            "intermediate_size": 48,
            "num_position_embeddings": 64,
            "initializer_range": 0.12,
        },
        tie_word_embeddings=True,
        **_ids(tok),
    )
    transformers.Qwen3_5ForConditionalGeneration(config).save_pretrained(folder)
    limits = {"shortest_edge": 32 * 32, "longest_edge": 128 * 128}
    half = [0.5] * 3
    processor = transformers.Qwen2VLImageProcessorPil(patch_size=16, size=limits, image_mean=half, image_std=half)
    processor.save_pretrained(folder)
    stated = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(stated | {"processor_class": "Qwen3VLProcessor"}))
    facts = json.loads((Path(__file__).parent / "museum" / "chat_templates.json").read_text(encoding="utf-8"))
    (folder / "chat_template.jinja").write_text(facts["templates"]["qwen3_5_nothink"], encoding="utf-8")


def _lighton_pw(tok: Any, folder: Path) -> None:
    """In the layout of a CrossEncoder, with a template of our own: the published one could not be read."""
    _qwen3_5(tok, folder)
    (folder / "chat_template.jinja").write_text(PAGE_TEMPLATE, encoding="utf-8")
    files = json.loads((Path(__file__).parent / "museum" / "qwen3_5.json").read_text(encoding="utf-8"))
    for name, content in files["exhibits"]["lighton_pw"]["files"].items():
        (folder / name).parent.mkdir(exist_ok=True)
        if name.endswith(".json"):
            (folder / name).write_text(json.dumps(content))
    yes, no = (tok(label)["input_ids"][0] for label in ("Yes", "No"))
    (folder / "1_LogitScore" / "config.json").write_text(json.dumps({"true_token_id": yes, "false_token_id": no}))


def _qwen3(tok: Any, folder: Path) -> None:
    config = transformers.Qwen3Config(**TEXT, vocab_size=len(tok), head_dim=16, tie_word_embeddings=True)
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)


def _qwen2(tok: Any, folder: Path) -> None:
    transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**TEXT, vocab_size=len(tok))).save_pretrained(folder)


def _gemma(tok: Any, folder: Path) -> None:
    config = transformers.GemmaConfig(**TEXT, vocab_size=len(tok), head_dim=16)
    transformers.GemmaForCausalLM(config).save_pretrained(folder)


def _jina_m0(tok: Any, folder: Path) -> None:
    """As the Hub has it: Qwen2-VL's weights under a class of remote code, with a score head and no vocabulary head."""
    from safetensors.torch import load_file, save_file

    _qwen2_vl(tok, folder)
    weights = load_file(folder / "model.safetensors")
    weights |= {
        "score.0.weight": torch.randn(HIDDEN, HIDDEN) / 8,
        "score.0.bias": torch.randn(HIDDEN) / 8,
        "score.2.weight": torch.randn(1, HIDDEN) / 8,
        "score.2.bias": torch.randn(1),
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["JinaVLForRanking"]
    config["auto_map"] = {"AutoModel": "modeling.JinaVLForRanking"}
    (folder / "config.json").write_text(json.dumps(config))


def _mono_lora(tok: Any, folder: Path) -> None:
    """LoRA weights on a base that lies in a folder beside them."""
    from peft import LoraConfig, get_peft_model

    base = folder.parent / "mono_base"
    build("qwen2_vl", base)
    model = transformers.Qwen2VLForConditionalGeneration.from_pretrained(base)
    targets = r".*language_model.*\.(q_proj|v_proj|down_proj)"
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False))
    tuned.save_pretrained(folder)


_BUILDERS: dict[str, Callable[[Any, Path], None]] = {
    "qwen2_vl": _qwen2_vl,
    "gme": _gme,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "qwen3": _qwen3,
    "qwen3_5": _qwen3_5,
    "lighton_pw": _lighton_pw,
    "qwen2": _qwen2,
    "gemma": _gemma,
    "jina_m0": _jina_m0,
    "mono_lora": _mono_lora,
}
