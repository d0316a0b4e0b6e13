"""Packages and weights that an adapter needs: a one-line error says what is missing and how to get it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from mrb.engine.checkpoint import RECOMPUTED, describe_both_meanings, refuse_dropped_quantization, refuse_untied
from mrb.engine.weight_files import find_weight_files
from mrb.errors import AdapterError, to_one_line

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Weights that may be unexpected: recomputed buffers, and pretraining heads.
_UNUSED = RECOMPUTED + r"|(^|\.)(pooler|cls|lm_head)\."


def import_or_refuse(adapter: str, module: str, install: str) -> Any:
    """Return the imported module. Raises AdapterError with the install command if that fails."""
    try:
        return import_module(module)
    except ImportError as error:
        raise AdapterError(f"{adapter}: {module} cannot be imported ({to_one_line(error, 120)}); {install}") from error


def check_model_path(adapter: str, path: str, option: str = "path") -> str:
    """Return `path`, which the user gives as `option`, if it can name weights.

    Raises AdapterError for a folder that does not exist or holds two sets of weights, and for ORGANISATION/NAME if a
    folder has that name too.
    """
    hub_id = _HUB_ID.fullmatch(path)
    if Path(path).is_dir():
        if hub_id and hub_id[1]:
            raise AdapterError(f"{adapter}: {describe_both_meanings(path, option, 'run in another folder')}")
        find_weight_files(Path(path))
        return path
    if hub_id:
        return path
    raise AdapterError(
        f"{adapter}: {option}={to_one_line(path, 120)}: there is no such folder, and a Hub id is NAME/MODEL"
    )


@contextmanager
def require_complete_weights(adapter: str, path: str, needed: bool = True) -> Iterator[list[Mapping[str, Any]]]:
    """Refuse models loaded inside the context that did not get every weight from their checkpoint.

    Yields a list, which holds the loading report of each model after the context. An empty one is refused, unless not
    `needed`: then nothing is known of the weights.

    transformers initialises missing weights randomly and only logs it; a random head gives plausible scores. Libraries
    that load a model for us do not pass on its loading report, so `from_pretrained` is wrapped here, and restored at
    the end. Raises AdapterError.
    """
    models = import_or_refuse(adapter, "transformers", "pip install 'mrb[models]'").PreTrainedModel
    original = models.__dict__["from_pretrained"]
    reports: list[Mapping[str, Any]] = []

    def reporting(cls: type[Any], /, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        kwargs["ignore_mismatched_sizes"] = True  # mismatched weights are in the report, and refused with the rest
        quantization = getattr(kwargs.get("config"), "quantization_config", None)
        model, report = original.__func__(cls, *args, output_loading_info=True, **kwargs)
        refuse_untied(path, model)
        refuse_dropped_quantization(path, quantization, model)
        reports.append(report)
        return (model, report) if output_loading_info else model

    log = logging.getLogger("transformers.modeling_utils")
    log.addFilter(_is_no_report)
    models.from_pretrained = classmethod(reporting)
    try:
        yield reports
    finally:
        models.from_pretrained = original
        log.removeFilter(_is_no_report)
    if not reports and needed:
        raise AdapterError(f"{adapter}: {path}: cannot tell whether all of its weights were loaded")
    for report in reports:
        refuse_incomplete(adapter, path, report)


def refuse_incomplete(adapter: str, path: str, report: Mapping[str, Any]) -> None:
    """Raise AdapterError if `report` (transformers' loading info) names a missing, mismatched or unexpected weight."""
    absent = sorted({*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])})
    if absent:
        raise AdapterError(
            f"{adapter}: {path}: {len(absent)} weights are not in the checkpoint, or of another shape, and would be "
            f"random, among them {to_one_line(absent[0], 80)}; is it a checkpoint of this kind of model?"
        )
    if left := sorted(key for key in report["unexpected_keys"] if not re.search(_UNUSED, key)):
        raise AdapterError(
            f"{adapter}: {path}: {len(left)} weights are not part of the model that its configuration describes, among "
            f"them {to_one_line(left[0], 80)}"
        )


def _is_no_report(record: logging.LogRecord) -> bool:
    """Filter out transformers' loading report, which is checked here."""
    return "LOAD REPORT" not in record.getMessage()
