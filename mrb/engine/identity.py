"""What identifies a checkpoint's weights, whatever their format: scores of others never continue a run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from mrb._util.hashing import sha256_file, sha256_json
from mrb.engine.lora import read_adapter

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".npz", ".npy", ".onnx"}
_TOKENIZER = {".json", ".model", ".spm", ".tiktoken", ".jinja"}
_VOCABULARY = re.compile(r"(vocab|merges|added_tokens).*\.txt")
# What a trainer leaves beside the weights: it moves no score, and an optimizer's state is larger than the model.
_TRAINING = re.compile(r"(optimizer|scheduler|scaler|rng_state|training_args|trainer_state|random_states)[._-].*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def identity(path: Path) -> str:
    """16 hex digits: of the commit of a folder in the Hub's cache, else of a hash over names and contents.

    Hashed are the files of weights, configuration, tokenizer and model code, in the folder itself and in those that
    its modules.json names. `path` may be a single file of weights.
    """
    if path.is_file():
        return sha256_file(path)[:16]
    if path.parent.name == "snapshots" and _COMMIT.fullmatch(path.name):
        return path.name[:16]
    return sha256_json([[name, sha256_file(file)] for name, file in sorted(_files(path))])[:16]


def loaded_identity(path: str, revision: str | None) -> str:
    """The identity of what a library has loaded from a folder or a Hub repository, LoRA weights with their base.

    Of a repository that is not in the Hub's cache, because the library keeps its own, it is the revision as given.
    """
    from huggingface_hub import snapshot_download

    folder = Path(path)
    if not folder.exists():
        try:
            folder = Path(snapshot_download(path, revision=revision, local_files_only=True))
        except (OSError, ValueError):
            return revision or "unknown"
    own, stated = identity(folder), read_adapter(folder)
    if stated is None:
        return own
    return f"{own}+{loaded_identity(str(stated.get('base_model_name_or_path')), stated.get('revision'))}"


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name within the folder, file) of all that decides a score."""
    suffixes = _WEIGHTS | _TOKENIZER | ({".py"} if "auto_map" in _json(folder / "config.json") else set())
    for place in {folder, *_modules(folder)}:
        for file in place.iterdir():
            named = file.suffix in suffixes or _VOCABULARY.fullmatch(file.name)
            if named and file.is_file() and not _TRAINING.fullmatch(file.name):
                yield file.relative_to(folder).as_posix(), file


def _modules(folder: Path) -> Iterator[Path]:
    """The folders of the modules that sentence-transformers puts together."""
    for module in _json(folder / "modules.json"):
        place = folder / str(module.get("path", "")) if isinstance(module, dict) else folder
        if place.is_dir() and place.is_relative_to(folder):
            yield place


def _json(path: Path) -> list[object] | dict[str, object]:
    """The content of a file that the model's loader judges; nothing where it is no JSON."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return content if isinstance(content, list | dict) else []
