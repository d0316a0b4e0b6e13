"""Identity of a checkpoint's weights in any format, so that scores of other weights never continue a run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mrb._util.hashing import dump_canonical_json, hash_file, hash_json
from mrb.engine.lora import read_adapter
from mrb.errors import AdapterError, to_one_line

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".npz", ".npy", ".onnx"}
_TOKENIZER = {".json", ".model", ".spm", ".tiktoken", ".jinja"}
_VOCABULARY = re.compile(r"(vocab|merges|added_tokens).*\.txt")
# Files a trainer leaves next to the weights: no score depends on them, and an optimizer's state is larger than the
# model.
_TRAINING = re.compile(r"(optimizer|scheduler|scaler|rng_state|training_args|trainer_state|random_states)[._-].*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def hash_checkpoint(path: Path) -> str:
    """Return 16 hex digits: the commit of a folder in the Hub's cache, else a hash over file names and contents.

    The hash covers weights, configuration, tokenizer, chat templates and model code, in the folder and in those that
    its modules.json names. `path` may be a single weight file.
    """
    if path.is_file():
        return hash_file(path)[:16]
    if path.parent.name == "snapshots" and _COMMIT.fullmatch(path.name):
        return path.name[:16]
    return hash_json([[name, hash_file(file)] for name, file in sorted(_list_files(path))])[:16]


def hash_loaded_checkpoint(path: str, revision: str | None) -> str:
    """Return the identity of what a library loaded from a folder or Hub repository; for LoRA weights, with their base.

    For a repository outside the Hub's cache (some libraries keep their own) it is the given revision, else "unknown".
    """
    from huggingface_hub import snapshot_download

    folder = Path(path)
    if not folder.exists():
        try:
            folder = Path(snapshot_download(path, revision=revision, local_files_only=True))
        except (OSError, ValueError):
            return revision or "unknown"
    own, stated = hash_checkpoint(folder), read_adapter(folder)
    if stated is None:
        return own
    return f"{own}+{hash_loaded_checkpoint(str(stated.get('base_model_name_or_path')), stated.get('revision'))}"


_SETTINGS = ("max_seq_length", "prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim")
"""Attributes of sentence-transformers' models that decide scores and are in no configuration of transformers."""
_UNRELATED = ("_name_or_path", "transformers_version")


def hash_live_models(models: Mapping[str, Any]) -> str:
    """Return 16 hex digits over the weights of torch modules as they are now, their configurations and tokenizers.

    Args:
        models: The modules by name.

    Raises:
        AdapterError: A weight is not in memory (a meta tensor).
    """
    digest = hashlib.sha256()
    for name, model in sorted(models.items()):
        digest.update(dump_canonical_json([name, _list_settings(model)]))
        for key, value in model.state_dict().items():
            if not hasattr(value, "detach"):  # extra state of a module, which has any form
                digest.update(dump_canonical_json([key, to_one_line(repr(value), 10_000)]))
                continue
            digest.update(dump_canonical_json([key, str(value.dtype), list(value.shape)]))
            digest.update(_read_bytes(f"{name}.{key}", value))
    return digest.hexdigest()[:16]


def _read_bytes(name: str, tensor: Any) -> Any:
    import torch

    if tensor.is_meta:
        raise AdapterError(f"the weight {name} is not in memory, so the model cannot be told from others")
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()


def _list_settings(model: Any) -> object:
    """Return what decides scores beside the weights, as JSON values."""
    # The order of modules without weights, such as a normalisation, is in no configuration.
    found: list[object] = [[type(part).__qualname__ for part in model.children()]]
    for part in model.modules():
        config: Any = getattr(part, "config", None)
        if hasattr(config, "to_dict"):
            found.append({key: value for key, value in config.to_dict().items() if key not in _UNRELATED})
        if callable(getattr(part, "get_config_dict", None)):  # a module of sentence-transformers
            found.append([type(part).__qualname__, part.get_config_dict()])
        processor = getattr(part, "processor", None)
        if processor is not None:
            images = getattr(processor, "image_processor", None)
            found.append([getattr(processor, "chat_template", None), images.to_dict() if images is not None else None])
    found.append({name: getattr(model, name, None) for name in _SETTINGS})
    found.append(_list_tokens(getattr(model, "tokenizer", None)))
    return json.loads(json.dumps(found, sort_keys=True, default=str))


def _list_tokens(tokenizer: Any) -> object:
    """Return what a tokenizer does, as JSON values; of one without a backend of its own, its class and vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        # Truncation and padding are those of the last call.
        return {**json.loads(backend.to_str()), "truncation": None, "padding": None}
    words = tokenizer.get_vocab() if callable(getattr(tokenizer, "get_vocab", None)) else None
    return [type(tokenizer).__qualname__, words, getattr(tokenizer, "init_kwargs", None)]


def describe_model(model: Any) -> str:
    """Return one line on a loaded torch module: `2,213M parameters, bfloat16 on cuda:0 (NVIDIA H200)`."""
    parameters = list(model.parameters())
    millions = sum(parameter.numel() for parameter in parameters) / 1e6
    size = f"{millions:,.0f}M" if millions >= 10 else f"{millions:.2g}M"
    kinds = ", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters}))
    devices = sorted({str(parameter.device) for parameter in parameters})
    gpu = ""
    if any(device.startswith("cuda") for device in devices):
        import torch

        gpu = f" ({torch.cuda.get_device_name(devices[0])})"
    return f"{size} parameters, {kinds} on {', '.join(devices)}{gpu}"


def _list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name within the folder, file) of every file that can affect a score."""
    suffixes = _WEIGHTS | _TOKENIZER | ({".py"} if "auto_map" in _read_json(folder / "config.json") else set())
    for place in {folder, *_list_module_folders(folder), *_find_template_folder(folder)}:
        for file in place.iterdir():
            named = file.suffix in suffixes or _VOCABULARY.fullmatch(file.name)
            if named and file.is_file() and not _TRAINING.fullmatch(file.name):
                yield file.relative_to(folder).as_posix(), file


def _find_template_folder(folder: Path) -> list[Path]:
    """Return the folder in which transformers keeps chat templates that have a name, if there is one."""
    named = folder / "additional_chat_templates"
    return [named] if named.is_dir() else []


def _list_module_folders(folder: Path) -> Iterator[Path]:
    """Yield the module folders of a sentence-transformers model."""
    for module in _read_json(folder / "modules.json"):
        place = folder / str(module.get("path", "")) if isinstance(module, dict) else folder
        if place.is_dir() and place.is_relative_to(folder):
            yield place


def _read_json(path: Path) -> list[object] | dict[str, object]:
    """Return a JSON file's content, empty if it is unreadable: the model's loader reports that."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return content if isinstance(content, list | dict) else []
