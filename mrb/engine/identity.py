"""Identity of a checkpoint's weights in any format, so that scores of other weights never continue a run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from mrb._util.hashing import hash_file, hash_json
from mrb.engine.lora import read_adapter

_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".npz", ".npy", ".onnx"}
_TOKENIZER = {".json", ".model", ".spm", ".tiktoken", ".jinja"}
_VOCABULARY = re.compile(r"(vocab|merges|added_tokens).*\.txt")
# Files a trainer leaves next to the weights: no score depends on them, and an optimizer's state is larger than the
# model.
_TRAINING = re.compile(r"(optimizer|scheduler|scaler|rng_state|training_args|trainer_state|random_states)[._-].*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def hash_checkpoint(path: Path) -> str:
    """Return 16 hex digits: the commit of a folder in the Hub's cache, else a hash over file names and contents.

    The hash covers weights, configuration, tokenizer and model code, in the folder and in those that its modules.json
    names. `path` may be a single weight file.
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


def _list_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name within the folder, file) of every file that can affect a score."""
    suffixes = _WEIGHTS | _TOKENIZER | ({".py"} if "auto_map" in _read_json(folder / "config.json") else set())
    for place in {folder, *_list_module_folders(folder)}:
        for file in place.iterdir():
            named = file.suffix in suffixes or _VOCABULARY.fullmatch(file.name)
            if named and file.is_file() and not _TRAINING.fullmatch(file.name):
                yield file.relative_to(folder).as_posix(), file


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
