"""A museum of real checkpoint shapes: folders laid out as the Hub has them, with a few hundred thousand random weights.

One JSON file a family holds the real configuration files and where they were read. The builder replaces dimensions,
token ids and the address of a LoRA's base, and nothing else: names, flags, forms and the layout of the weights stay the
published ones. `absent` are dimensions that the published file leaves to the class's defaults, which are not tiny. A
form that today's `save_pretrained` would not write is kept on purpose.

To add a family: write its JSON file as the others are, name a source for each file, list under `unconfirmed` what could
only be inferred.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken

from tests.builders.museum.small_tokenizers import write_small_tokenizer
from tests.builders.museum.vocabulary import tiny_vocabulary

HERE = Path(__file__).parent
HIDDEN = 64
# Scores must differ: random weights are larger than a new model's. The files keep the published 0.02.
SPREADS = {"towers": (0.5, 12.0), "sentences": (0.35, 1.0), "pairs": (0.35, 1.0)}
SPREAD = (0.12, 1.0)
_LOADERS = {
    "text": transformers.AutoModelForCausalLM,
    "towers": transformers.AutoModel,
    "sentences": transformers.AutoModel,
    "pairs": transformers.AutoModelForSequenceClassification,
}
RANK = 4
TEXT: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "max_window_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "mrope_section": [2, 3, 3],
}
VISION: dict[str, Any] = {
    "depth": 3,
    "embed_dim": 32,
    "hidden_size": 32,
    "out_hidden_size": HIDDEN,
    "num_heads": 2,
    "intermediate_size": 48,
    "fullatt_block_indexes": [1],
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1],
}
RESAVED = "@resaved"


@cache
def _families() -> dict[str, dict[str, Any]]:
    """Exhibit -> what its family's file holds."""
    files = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(HERE.glob("*.json"))}
    for family in files.values():
        if "files_of" in family:
            family |= {key: files[family["files_of"]].get(key, {}) for key in ("files", "absent")}
    return {name: family for family in files.values() for name in family.get("exhibits", {})}


def exhibits() -> list[str]:
    """The names that `build` takes, without those of re-saved forms."""
    return sorted(_families())


def build(name: str, folder: Path) -> Path:
    """Write the checkpoint `name` to `folder` and return it. `name@resaved` is the form that transformers 5 writes
    after loading the published one."""
    if name.endswith(RESAVED):
        return _resave(build(name.removesuffix(RESAVED), folder.parent / f"{folder.name}.published"), folder)
    family = _families()[name]
    exhibit = family["exhibits"][name]
    folder.mkdir(parents=True, exist_ok=True)
    if "base" in exhibit:
        return _build_lora(family, exhibit, folder)
    generation = family["tokenizer"]
    rows = write_tokenizer(generation, folder)
    sizes = family["sizes"] | {"vocab_size": rows} if "sizes" in family else TEXT | family.get("text_sizes", {})
    for file, content in (family["files"] | exhibit.get("files", {})).items():
        changes = {}
        if file == "config.json":
            changes = _merged(family.get("absent", {}), family.get("config", {}) | exhibit.get("config", {}))
        (folder / file).parent.mkdir(exist_ok=True)
        if isinstance(content, str):
            (folder / file).write_text(content, encoding="utf-8")
        else:
            whole = _merged(content, changes) if changes else content
            _write(folder / file, _shrink(whole, sizes, generation))
    dtype = getattr(torch, family.get("dtype", "bfloat16"))
    weights = _random_weights(folder, family["names"], exhibit["head"], dtype)
    for extra, shape in exhibit.get("extra_weights", family.get("extra_weights", {})).items():
        counted = torch.arange(sizes["max_position_embeddings"])[None] if shape == "arange" else None
        weights[extra] = torch.randn(shape) / 8 if counted is None else counted
    write_weights(folder, weights, exhibit["shards"])
    for file, shapes in exhibit.get("module_weights", {}).items():
        made = {name: torch.randn(shape) / 2 for name, shape in shapes.items()}
        save_file(made, folder / file, metadata={"format": "pt"})
    return folder


def _build_lora(family: Mapping[str, Any], exhibit: Mapping[str, Any], folder: Path) -> Path:
    """LoRA weights in `folder`, with the base's configuration and no tokenizer; the base lies beside it, in
    `mono_base`."""
    base = build(exhibit["base"], folder.parent / "mono_base")
    stated = family["files"]["adapter_config.json"] | exhibit.get("adapter", {})
    own = {"base_model_name_or_path": str(base), "r": RANK, "lora_alpha": RANK}
    _write(folder / "adapter_config.json", stated | own)
    (folder / "config.json").write_bytes((base / "config.json").read_bytes())
    torch.manual_seed(11)
    weights = {}
    targets = stated["target_modules"]
    for name, weight in read_weights(base).items():
        module = name.removesuffix(".weight")
        # peft takes a string as a pattern of whole module names, a list as their last parts.
        hit = re.fullmatch(targets, module) if isinstance(targets, str) else module.split(".")[-1] in targets
        if weight.ndim == 2 and name.startswith("model.layers.") and hit:
            start, (rows, columns) = f"base_model.model.{module}", weight.shape
            weights[f"{start}.lora_A.weight"] = torch.randn(RANK, columns) / 4
            weights[f"{start}.lora_B.weight"] = torch.randn(rows, RANK) / 4
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def _merged(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`content` with `changes`, tables inside it likewise."""
    out = deepcopy(dict(content))
    for key, value in changes.items():
        out[key] = _merged(out[key], value) if isinstance(value, dict) and key in out else value
    return out


def _shrink(content: Any, sizes: Mapping[str, Any], generation: str) -> Any:
    """A published configuration with tiny dimensions, and token ids counted from the end of the tiny vocabulary."""
    if isinstance(content, list):
        return [_shrink(entry, sizes, generation) for entry in content]
    if not isinstance(content, dict):
        return content
    out: dict[str, Any] = {}
    for key, value in content.items():
        if key == "vision_config" and "mrope_section" in sizes:
            # Qwen2-VL calls the tower's own width embed_dim, and hidden_size what it hands to the language model.
            vision = VISION | ({"hidden_size": HIDDEN} if "embed_dim" in value else {})
            if not value.get("deepstack_visual_indexes", True):
                vision.pop("deepstack_visual_indexes")
            out[key] = _shrink(value, vision, generation)
        elif key in sizes and not (key == "out_features" and value == 1):  # one score stays one
            out[key] = sizes[key]
        elif key == "vocab_size" or key.endswith("token_id"):
            ids = [shift_id(i, generation) for i in (value if isinstance(value, list) else [value])]
            out[key] = ids if isinstance(value, list) else ids[0]
        else:
            out[key] = _shrink(value, sizes, generation)
    return out


@cache
def _tokenizers() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((HERE / "qwen_tokenizers.json").read_text(encoding="utf-8"))
    return content


def shift_id(token_id: int | None, generation: str = "qwen3") -> int | None:
    """The id in the tiny vocabulary of what is counted from the end of the real one: 151,645 is the third token after
    it, 151,936 rows are 293 more than it has. Ids of label tokens are looked up by their text."""
    facts = _tokenizers()
    if token_id is not None and str(token_id) in facts["labels"]:
        return tiny_vocabulary()[0][facts["labels"][str(token_id)]]
    first = facts["generations"].get(generation, {}).get("first_id", facts["first_id"])
    return token_id - first + len(tiny_vocabulary()[0]) if token_id is not None and token_id >= first else token_id


@cache
def qwen_tokenizer(generation: str = "qwen3", vocabulary: Any = None) -> Any:
    """Qwen's tokenizer of a generation, with its added tokens and their special flags; `vocabulary` is (token -> id,
    merges), the tiny one unless given."""
    facts = _tokenizers()
    vocab, merges = vocabulary() if vocabulary is not None else tiny_vocabulary()
    kind = transformers.Qwen3_5Tokenizer if generation == "qwen3.5" else transformers.Qwen2Tokenizer
    made = kind(vocab=dict(vocab), merges=list(merges), eos_token="<|endoftext|>")
    added = facts["added_tokens"][: facts["generations"][generation]["added"]]
    made.add_tokens([AddedToken(text, special=special, normalized=False) for text, special in added])
    made.eos_token = facts["tokenizer_config"]["eos_token"]
    return made


def write_tokenizer(generation: str, folder: Path) -> int:
    """tokenizer.json, vocab.json, merges.txt and tokenizer_config.json as published; the number of tokens."""
    facts = _tokenizers()
    if generation not in facts["generations"]:
        return write_small_tokenizer(generation, folder)
    settings = {key: value for key, value in facts["generations"][generation].items() if key != "first_id"}
    plain = dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False)
    # Some tokens of Qwen3.5 stand in tokenizer_config.json alone, not in tokenizer.json.
    added = [*facts["added_tokens"][: settings.pop("added")], *settings.pop("only_in_config", [])]
    vocab, merges = tiny_vocabulary()
    table = {
        str(len(vocab) + n): {"content": text, **plain, "special": special} for n, (text, special) in enumerate(added)
    }
    special = [text for text, special in added[1:] if special]
    config = {"added_tokens_decoder": table, "additional_special_tokens": special, **facts["tokenizer_config"]}
    _write(folder / "tokenizer_config.json", config | settings)
    qwen_tokenizer(generation).backend_tokenizer.save(str(folder / "tokenizer.json"))
    _write(folder / "vocab.json", dict(vocab))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges), ""]))
    return len(vocab) + len(added)


def _random_weights(folder: Path, names: str, head: bool, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Weights of the class in `folder`'s config.json, named as in the published file."""
    torch.manual_seed(7)
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if names == "llama_nemotron_vl":
        return _draw_llama_nemotron(content, dtype)
    config = transformers.CONFIG_MAPPING[content["model_type"]].from_dict(content)
    for part in (config, config.get_text_config(), getattr(config, "vision_config", None)):
        if part is not None:
            part.initializer_range, part.initializer_factor = SPREADS.get(names, SPREAD)
    weights = _LOADERS.get(names, transformers.AutoModelForImageTextToText).from_config(config, dtype=torch.float32)
    weights = weights.state_dict()
    if not head:
        del weights["lm_head.weight"]
    return {_published_name(name, names): w.to(dtype).contiguous() for name, w in weights.items()}


def _draw_llama_nemotron(content: dict[str, Any], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Weights of a class that transformers does not have, named as published."""
    from mrb.engine.llama_nemotron_vl import LlamaNemotronVL, LlamaNemotronVLConfig

    config = LlamaNemotronVLConfig(**content)
    config.llm_config.initializer_range = SPREAD[0]
    weights = LlamaNemotronVL(config).state_dict()
    return {
        "model." + name.replace("vision_model.", "vision_model.vision_model.", 1): weight.to(dtype).contiguous()
        for name, weight in weights.items()
    }


def _published_name(name: str, names: str) -> str:
    """The weight's name in the published file: before transformers 4.52 there was no level `model` above both parts."""
    if names != "old":
        return name
    return name.replace("model.language_model.", "model.", 1).replace("model.visual.", "visual.", 1)


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All weights of a checkpoint, of one file or several."""
    return {name: w for path in sorted(folder.glob("*.safetensors")) for name, w in load_file(path).items()}


def write_weights(folder: Path, weights: Mapping[str, torch.Tensor], shards: int = 1) -> None:
    """model.safetensors, or so many shards with their index, in place of what is there."""
    for path in (*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")):
        path.unlink()
    if shards == 1:
        save_file(dict(weights), folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(weights)
    files = [f"model-{n:05}-of-{shards:05}.safetensors" for n in range(1, shards + 1)]
    place = {name: files[i * shards // len(names)] for i, name in enumerate(names)}
    for file in files:
        part = {name: weights[name] for name in names if place[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    size = sum(w.numel() * w.element_size() for w in weights.values())
    _write(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": place})


def _resave(source: Path, folder: Path) -> Path:
    """As a fine-tuning script of transformers 5 saves what it loaded: a nested configuration, one file of weights with
    new names, and the image processor's settings inside processor_config.json."""
    content = json.loads((source / "config.json").read_text(encoding="utf-8"))
    vision = "vision_config" in content
    loader = transformers.AutoModelForImageTextToText if vision else transformers.AutoModelForCausalLM
    loader.from_pretrained(source, local_files_only=True).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(folder)
    if vision:
        images = json.loads((source / "preprocessor_config.json").read_text(encoding="utf-8"))
        limits = {"shortest_edge": images.pop("min_pixels"), "longest_edge": images.pop("max_pixels")}
        nested = {"image_processor": images | {"size": limits}, "processor_class": images.pop("processor_class")}
        _write(folder / "processor_config.json", nested)
    return folder


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
