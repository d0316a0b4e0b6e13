"""LoRA weights: find their base checkpoint, merge them into it, or refuse them by name.

The merged model must be the one that was trained. What peft only warns about is refused here, or logged.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb.engine.checkpoint import require, resolve_checkpoint
from mrb.engine.weight_files import check_lora_files
from mrb.errors import AdapterError, to_one_line

if TYPE_CHECKING:
    import torch

CONFIG_FILE = "adapter_config.json"
_LOG = logging.getLogger("mrb.engine")
# LoRA weights saved before transformers 4.52 use its old module names; today's names are left as they are.
_OLD_NAMES = {r"^model(?=\.layers\.)": "model.language_model", r"^visual(?=\.)": "model.visual"}
# peft warnings that mean another model than the trained one.
_OTHER_MODEL = re.compile(r"missing|mismatch|not initialized|not match|was matched", re.I)
# Advice on merging into tied embeddings, which `_untie` handles, and on options without effect on the model.
_HARMLESS = re.compile(r"tie_word_embeddings=True|no longer tied|no tied modules|exclude_modules|Unexpected keyword")


def read_adapter(folder: Path) -> dict[str, Any] | None:
    """Return the adapter_config.json of a folder with LoRA weights; None for a whole checkpoint."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path}: {to_one_line(error)}") from error
    if not isinstance(content, dict):
        raise AdapterError(f"{path}: not a JSON object")
    return content


def find_base(folder: Path, stated: Mapping[str, Any], base: str | None, revision: str | None) -> Path:
    """Return the folder of the base checkpoint of the LoRA weights in `folder`, whose configuration is `stated`.

    The user's options `base` and `revision` override the configuration. Raises AdapterError if the base is not found.
    """
    if base is not None:
        found = resolve_checkpoint(base, revision, option="base_revision", name="base")
    else:
        named, commit = stated.get("base_model_name_or_path"), stated.get("revision")
        where = f"{folder / CONFIG_FILE}: base_model_name_or_path"
        hint = "name the base: --set base=FOLDER or ORGANISATION/NAME"
        if not isinstance(named, str) or not named:
            raise AdapterError(f"{where} is not stated; {hint}")
        try:
            found = resolve_checkpoint(
                named, revision or (commit if isinstance(commit, str) else None), "base_revision", "base"
            )
        except AdapterError as error:
            raise AdapterError(f"{where}: {error}; {hint}") from error
    if (found / CONFIG_FILE).is_file():
        raise AdapterError(f"{found}: is the base of LoRA weights and holds LoRA weights itself ({CONFIG_FILE})")
    return found


def merge_adapter(model: Any, folder: Path, stated: Mapping[str, Any]) -> Any:
    """Merge the LoRA weights of `folder` into `model`; outputs equal those of peft's own model, up to rounding.

    AdapterError names the first weight that is missing, unexpected or of another shape, or a setting that the installed
    peft does not know.
    """
    tuned = attach_adapter(model, folder, stated)
    with _judge_peft(folder):
        _untie(tuned)
        merged = tuned.merge_and_unload()
    return merged.eval().requires_grad_(False)


def attach_adapter(model: Any, folder: Path, stated: Mapping[str, Any], config: Any = None) -> Any:
    """Return peft's model of `model` with the LoRA weights of `folder`, to be trained if `config` is given.

    `config` replaces the configuration of the folder. Raises AdapterError like `merge_adapter`.
    """
    require("this checkpoint", "peft", extra="train")
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights

    check_lora_files(folder)
    names = _OLD_NAMES if hasattr(model.model, "language_model") else None
    with _judge_peft(folder):
        tuned = PeftModel.from_pretrained(
            model, str(folder), config=config, is_trainable=config is not None, key_mapping=names
        )
        held = load_peft_weights(str(folder), device="cpu", key_mapping=names)
        # With the embeddings: peft saves them with an adapter that targets them.
        taken = get_peft_model_state_dict(tuned, save_embedding_layers=True)
        _refuse_settings(folder, stated, tuned.peft_config["default"])
        _refuse_weights(folder, held, taken)
    return tuned


@contextmanager
def _judge_peft(folder: Path) -> Iterator[None]:
    """Turn peft's errors, and its warnings of another model than the trained one, into AdapterError."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            yield
        except AdapterError:
            raise
        except Exception as error:
            said = to_one_line(f"{type(error).__name__}: {error}")
            raise AdapterError(f"{folder}: its LoRA weights cannot be loaded: {said}") from error
    _judge_warnings(
        folder, [str(w.message) for w in seen if not issubclass(w.category, (DeprecationWarning, FutureWarning))]
    )


def _refuse_settings(folder: Path, stated: Mapping[str, Any], config: Any) -> None:
    """Refuse settings unknown to this peft.

    peft ignores those of later releases, but one in use can change every score.
    """
    known = {field.name for field in dataclasses.fields(config)}
    if unknown := sorted(name for name, value in stated.items() if value and name not in known):
        from peft import __version__

        raise AdapterError(f"{folder / CONFIG_FILE}: peft {__version__} does not know {unknown[0]}; update peft")


def _refuse_weights(folder: Path, held: Mapping[str, torch.Tensor], taken: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that peft drops, or loads as a second value into one tied weight, without a warning."""
    if left := sorted(held.keys() - taken.keys()):
        raise AdapterError(f"{folder}: {left[0]} ({len(left)} such weights) belongs to no part of the model below it")
    for name, value in held.items():
        if not value.isfinite().all():
            raise AdapterError(f"{folder}: {name} holds NaN or infinite values")
        own = taken[name]
        if not own.equal(value.to(own.dtype)):
            raise AdapterError(
                f"{folder}: {name} has other values than the weight that the base ties it to; train it with a base "
                "whose config.json says tie_word_embeddings: false, or merge it there"
            )


def _untie(tuned: Any) -> None:
    """Give the head its own weights if the adapter changes the head or the input embeddings.

    The trained model added to only one of the two; merging into tied weights would add to both.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    def layer(module: Any) -> Any:
        return module.get_base_layer() if isinstance(module, BaseTunerLayer) else module

    own, embedding = tuned.get_output_embeddings(), tuned.get_input_embeddings()
    if not any(isinstance(module, BaseTunerLayer) for module in (own, embedding)):
        return
    head = layer(own)
    if head is not None and head.weight is layer(embedding).weight:
        head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)


def _judge_warnings(folder: Path, said: list[str]) -> None:
    for message in said:
        if _OTHER_MODEL.search(message):
            raise AdapterError(
                f"{folder}: peft warns: {to_one_line(message).rstrip('.')}; it would differ from the trained model"
            )
        if not _HARMLESS.search(message):
            _LOG.warning("%s: peft warns: %s", folder, to_one_line(message))
