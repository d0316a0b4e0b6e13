"""Find the weight files that are loaded from a checkpoint's folder, and refuse two sets of weights."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from mrb.errors import AdapterError, to_one_line

_LOG = logging.getLogger("mrb.engine")
SAFE, SAFE_INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLED, _PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_ADAPTER = "adapter_config.json"
_LORA, _LORA_PICKLED = "adapter_model.safetensors", "adapter_model.bin"


def find_weight_files(folder: Path) -> list[Path]:
    """Return the files that transformers loads a whole model from; empty if `folder` holds no whole model.

    transformers would silently prefer a single file over shards of another save, and LoRA weights over a whole model
    next to them: both are refused by name. Pickled weights next to safetensors are not loaded, which is logged. Raises
    AdapterError also for an index that cannot be read or that names an absent shard.
    """
    safe = _find_set(folder, SAFE, SAFE_INDEX)
    pickled = [] if safe else _find_set(folder, _PICKLED, _PICKLED_INDEX)
    found = safe or pickled
    if found and (folder / _ADAPTER).is_file():
        raise AdapterError(
            f"{folder}: holds {found[0].name}, a whole model, and {_ADAPTER}, LoRA weights on another: move one "
            "of them to a folder of its own"
        )
    if safe:
        for name in (_PICKLED, _PICKLED_INDEX):
            if (folder / name).is_file():
                _LOG.warning("%s: %s is loaded; %s in the same folder is not", folder, safe[0].name, name)
    return found


def check_lora_files(folder: Path) -> None:
    """Raise AdapterError if `folder` holds no LoRA weights; log if it holds pickled ones that are not loaded."""
    found = [name for name in (_LORA, _LORA_PICKLED) if (folder / name).is_file()]
    if not found:
        raise AdapterError(f"{folder}: holds {_ADAPTER} and no LoRA weights ({_LORA} or {_LORA_PICKLED})")
    if len(found) > 1:
        _LOG.warning("%s: %s is loaded; %s in the same folder is not", folder, *found)


def _find_set(folder: Path, single: str, index: str) -> list[Path]:
    """Return the single file, or the shards that the index names."""
    listed = _read_index(folder / index) if (folder / index).is_file() else None
    if not (folder / single).is_file():
        absent = [name for name in listed or () if not (folder / name).is_file()]
        if absent:
            raise AdapterError(f"{folder / index}: names {to_one_line(absent[0], 80)}, which is not there")
        return [folder / name for name in listed or ()]
    if listed is not None and listed != [single]:
        raise AdapterError(
            f"{folder}: holds {single} and {index} with shards, two sets of weights, of which only {single} would be "
            "loaded: remove the one that is not this model's"
        )
    return [folder / single]


def _read_index(path: Path) -> list[str]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
        return sorted({str(name) for name in content["weight_map"].values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterError(f"{path}: {to_one_line(f'{type(error).__name__}: {error}')}") from error
