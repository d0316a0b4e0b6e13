"""Read and validate an adapter's declarations: `load_reranker` returns the built adapter with its `RerankerInfo`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from mrb._util.raised import to_adapter_error
from mrb._util.redact import redact, redact_text
from mrb.data.inputs import SIDES, Inputs
from mrb.data.task import MODALITIES, Modality, Task
from mrb.errors import AdapterError, format_first_problem, to_one_line
from mrb.rerankers.calling import guard_adapter_call
from mrb.rerankers.event_loop import EventLoop
from mrb.rerankers.plugins import RERANKERS, Adapter, close_adapter, load_adapter
from mrb.rerankers.reranker import KINDS
from mrb.results.schema import MAX_OPTION, RerankerInfo

DEFAULT_CONCURRENCY = 8


@dataclass(frozen=True)
class LoadedReranker:
    """A reranker that is ready to score: `target` is the adapter's object, `info` its declarations and identity.

    `loop` is the event loop of an async adapter, from the first request until `close`. An object that is not `owned`
    was given by the caller, who goes on using it.
    """

    target: Any
    info: RerankerInfo
    concurrency: int
    loop: EventLoop = field(default_factory=EventLoop, compare=False, repr=False)
    owned: bool = True

    def close(self) -> None:
        """Call the adapter's `close`, if it is owned and has one; it may be async. Raises AdapterError if it fails."""
        try:
            if self.owned:
                close_adapter(self.info.name, self.target, self.loop.run)
        finally:
            self.loop.close()


def load_reranker(spec: str, options: Mapping[str, str] | None = None) -> LoadedReranker:
    """Find and build a reranker and validate its declarations.

    Args:
        spec: The name, as after `--model`, of an adapter or of a model (`mrb.rerankers.model_address`).
        options: The options by name, as text.

    Returns:
        The reranker. The caller must `close` it.

    Raises:
        AdapterError: It is not found, cannot be built, or declares something invalid.
    """
    from mrb.rerankers.model_address import is_model_address, resolve_model

    if not is_model_address(spec):
        return read_declarations(load_adapter(spec, options or {}, RERANKERS))
    model = resolve_model(spec, options or {})
    return read_declarations(replace(load_adapter(model.adapter, model.options, RERANKERS), name=model.name))


def read_declarations(adapter: Adapter) -> LoadedReranker:
    """Read and validate the declarations of a built adapter.

    Raises:
        AdapterError: A declaration is invalid.
    """
    target, name = adapter.target, adapter.name
    kind = _check_choice(name, "kind", getattr(target, "kind", "pointwise"), KINDS)
    if kind == "listwise" and not callable(getattr(target, "rank", None)):
        raise AdapterError(f"{name}: declares kind = 'listwise' but has no method rank(request)")
    if kind != "listwise" and not any(
        callable(getattr(target, m, None)) for m in ("score", "score_stream", "__call__")
    ):
        raise AdapterError(f"{name}: has only rank(request); declare kind = 'listwise'")
    concurrency = getattr(target, "concurrency", DEFAULT_CONCURRENCY)
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise AdapterError(f"{name}: concurrency is {concurrency!r}, wanted a whole number from 1")
    try:
        info = RerankerInfo(
            name=re.sub(r"[^A-Za-z0-9._-]", ".", name),
            kind=kind,
            inputs=read_inputs(name, target),
            max_images=read_max_images(name, target),
            version=redact_text(_check_text(name, "version", getattr(target, "version", ""))),
            uses_first_stage=_read_flag(name, target, "uses_first_stage"),
            batch_invariant=_read_flag(name, target, "batch_invariant"),
            options=_list_plain_options(adapter),
            source=redact_text(adapter.source),
            source_sha256=adapter.source_sha256,
        )
    except ValidationError as error:
        raise AdapterError(f"{name}: {format_first_problem(error)}") from error
    return LoadedReranker(target, info, concurrency)


def describe_loaded(reranker: LoadedReranker) -> str:
    """Return what the adapter's `describe()` says it has loaded, on one line; empty if it has no such method.

    Raises:
        AdapterError: The method raises.
    """
    describe = getattr(reranker.target, "describe", None)
    if not callable(describe):
        return ""
    try:
        with guard_adapter_call():
            return to_one_line(redact_text(str(describe())), limit=200)
    except BaseException as error:  # an adapter's code may raise anything
        raise to_adapter_error(error, f"{reranker.info.name}: its describe() raised") from error


def find_uncovered_inputs(info: RerankerInfo, task: Task) -> str | None:
    """Return why a reranker with these inputs cannot score `task`, or None if it can."""
    if (uncovered := info.inputs.find_uncovered(task)) is not None:
        return uncovered
    most = find_uncovered_images(info.max_images, task)
    return f"{most}; the reranker declares max_images = {info.max_images}" if most else None


def find_uncovered_images(max_images: int | None, task: Task) -> str | None:
    """Return which side of `task` may have more images per item than `max_images` (None: any number), or None."""
    counts = {"queries": task.images.per_query, "documents": task.images.per_document}
    over = [f"{side} have up to {most} images" for side, most in counts.items() if max_images and most > max_images]
    return " and ".join(over) or None


def read_max_images(name: str, target: object) -> int | None:
    """Return how many images of one item an adapter or first stage takes; None for any number.

    Raises AdapterError if its `max_images` is not a whole number from 1 or None.
    """
    value = getattr(target, "max_images", 1)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise AdapterError(f"{name}: max_images is {value!r}, wanted a whole number from 1, or None for any number")
    return value


def read_inputs(name: str, target: Any) -> Inputs:
    """Return what an adapter takes, from its attribute `inputs`; without it everything. Raises as `parse_inputs`."""
    return parse_inputs(name, getattr(target, "inputs", MODALITIES))


def parse_inputs(name: str, stated: object) -> Inputs:
    """Return stated inputs: a collection of modalities, or one for each side. Raises AdapterError if they are neither.

    `name` is that of the adapter, for the message.
    """
    if not isinstance(stated, Mapping):
        both = _read_modalities(name, "inputs", stated)
        return Inputs(query=both, document=both)
    if set(stated) != set(SIDES):
        found = to_one_line(", ".join(map(repr, stated)) or "none", 80)
        raise AdapterError(f"{name}: inputs has the keys {found}, wanted 'query' and 'document'")
    taken = {side: _read_modalities(name, f"inputs[{side!r}]", stated[side]) for side in SIDES}
    return Inputs(query=taken["query"], document=taken["document"])


def _read_modalities(name: str, field: str, stated: object) -> tuple[Modality, ...]:
    if isinstance(stated, str):
        raise AdapterError(f"{name}: {field} is the text {stated!r}, wanted a collection such as ({stated!r},)")
    if isinstance(stated, Mapping) or not isinstance(stated, Iterable):
        raise AdapterError(f"{name}: {field} is {stated!r}, wanted a collection of {', '.join(MODALITIES)}")
    chosen = [_check_choice(name, field, value, MODALITIES) for value in stated]
    if not chosen:
        raise AdapterError(f"{name}: {field} is empty; it must take one of {', '.join(MODALITIES)}")
    return tuple(modality for modality in MODALITIES if modality in chosen)


def _check_choice(name: str, field: str, value: object, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise AdapterError(f"{name}: {field} is {value!r}, wanted one of {', '.join(allowed)}")
    return value


def _read_flag(name: str, target: Any, field: str) -> bool:
    value = getattr(target, field, False)
    if not isinstance(value, bool):
        raise AdapterError(f"{name}: {field} is {value!r}, wanted True or False")
    return value


def _check_text(name: str, field: str, value: object) -> str:
    if not isinstance(value, str):
        raise AdapterError(f"{name}: {field} is {value!r}, wanted a text")
    return value


def _list_plain_options(adapter: Adapter) -> dict[str, Any]:
    """Return the options as results store them, without secrets.

    Objects and lists become JSON text, and values without a JSON form become their `str`, without addresses in memory.
    Raises AdapterError for what is too long for a result.
    """
    plain = (bool, int, float, str, type(None))
    found: dict[str, Any] = {}
    for name, value in redact(adapter.options).items():
        found[name] = value if isinstance(value, plain) else _format_value(value)
        size = len(found[name]) if isinstance(found[name], str) else 0
        if size > MAX_OPTION:
            raise AdapterError(
                f"{adapter.name}: option {to_one_line(name, 80)!r} has {size:,} characters as results hold it, at most "
                f"{MAX_OPTION:,}: give the path of a file instead"
            )
    return found


def _format_value(value: object) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=_format_object)
    return _format_object(value)


def _format_object(value: object) -> str:
    return re.sub(" at 0x[0-9a-fA-F]+", "", redact_text(str(value)))
