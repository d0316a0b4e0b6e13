"""From the word after `--model` to a reranker that can be run.

Looked for in this order: an installed entry point of that name (group `mrb.rerankers`), `NAME.py` in the working
folder, an importable module `NAME`. `NAME:Thing` picks the class or function; without it the module must hold just one
that fits. Nothing is guessed from a name's spelling, and nothing from a results file ever comes here.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, update_wrapper
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from mrb.errors import AdapterError, one_line
from mrb.hashing import sha256_file

RERANKERS = "mrb.rerankers"
RETRIEVERS = "mrb.retrievers"
_METHODS = {RERANKERS: ("score", "score_stream", "rank"), RETRIEVERS: ("search",)}
_NOUN = {RERANKERS: "reranker", RETRIEVERS: "first stage"}
_SPEC = re.compile(r"^[A-Za-z_][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_]*)?$")


@dataclass(frozen=True)
class Adapter:
    """A built adapter: the object (or function), its name, the options it was built with, and where it came from.

    `source` is "package version" for an installed adapter and the file's name for a local one; `source_sha256` is the
    hash of the source file (None where there is no file).
    """

    name: str
    target: Any
    options: Mapping[str, Any]
    source: str
    source_sha256: str | None


@dataclass(frozen=True)
class _Found:
    name: str
    factory: Any
    source: str


def load_adapter(spec: str, options: Mapping[str, str], group: str = RERANKERS) -> Adapter:
    """The adapter that `spec` names, built with `options` (text, typed against its signature).

    AdapterError says where it was looked for, what the module holds, or which option does not fit.
    """
    found = _find(spec, group)
    typed = _typed_options(found, options)
    target = _build(found, typed, group)
    source_file = inspect.getsourcefile(inspect.unwrap(found.factory))
    digest = sha256_file(Path(source_file)) if source_file and Path(source_file).is_file() else None
    return Adapter(found.name, target, typed, found.source, digest)


def installed(group: str = RERANKERS) -> list[str]:
    """The names of the installed adapters of a group, sorted."""
    return sorted({point.name for point in entry_points(group=group)})


def _find(spec: str, group: str) -> _Found:
    if not _SPEC.match(spec):
        raise AdapterError(
            f"{spec!r} is no {_NOUN[group]} name: give NAME or MODULE:NAME, letters, digits, '_', '-', '.'"
        )
    module_name, _, attribute = spec.partition(":")
    if not attribute:
        points = list(entry_points(group=group, name=module_name))
        if points:
            return _from_entry_point(points, group)
    module, source = _module(module_name, group)
    name = attribute or _only_fitting(module, group)
    factory = getattr(module, name, None)
    if factory is None:
        raise AdapterError(f"{source}: there is no {name!r} in it; it holds: {_listed(_fitting(module, group))}")
    return _Found(f"{module_name}:{name}" if attribute else module_name, factory, source)


def _from_entry_point(points: list[EntryPoint], group: str) -> _Found:
    if len({point.value for point in points}) > 1:
        origins = ", ".join(f"{point.value} ({_distribution(point)})" for point in points)
        raise AdapterError(f"several installed packages offer the {_NOUN[group]} {points[0].name!r}: {origins}")
    point = points[0]
    try:
        return _Found(point.name, point.load(), _distribution(point))
    except ImportError as error:
        raise AdapterError(
            f"{_NOUN[group]} {point.name!r} ({_distribution(point)}) cannot be imported: {error}"
        ) from error


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown package"


def _module(name: str, group: str) -> tuple[ModuleType, str]:
    """The module and the words for where it is: `NAME.py` of the working folder before anything importable."""
    path = Path.cwd() / f"{name}.py"
    try:
        if path.is_file():
            return _module_from_file(name, path), path.name
        if importlib.util.find_spec(name) is not None:
            return importlib.import_module(name), name
    except SyntaxError as error:
        where = f"{Path(error.filename).name if error.filename else name}, line {error.lineno}"
        raise AdapterError(f"{where}: syntax error: {error.msg}") from error
    except ModuleNotFoundError as error:
        if error.name and not name.startswith(error.name):
            raise AdapterError(f"{name}: needs the module {error.name!r}, which is not installed") from error
    except Exception as error:
        raise AdapterError(f"{name}: importing it fails{_last_line(error)}: {_said(error)}") from error
    known = ", ".join(installed(group)) or "none"
    raise AdapterError(
        f"unknown {_NOUN[group]} {name!r}: no installed one of that name ({known}), no {name}.py in {Path.cwd()}, "
        f"no importable module {name}"
    )


def _module_from_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file always has a loader
    module = importlib.util.module_from_spec(spec)
    # Registered before it runs: dataclasses and pickling look their module up by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _only_fitting(module: ModuleType, group: str) -> str:
    fitting = _fitting(module, group)
    if len(fitting) == 1:
        return fitting[0]
    methods = " or ".join(_METHODS[group])
    if not fitting:
        raise AdapterError(f"{module.__name__}: holds no class with a method {methods}, and no function of one request")
    raise AdapterError(
        f"{module.__name__}: holds several that fit: {_listed(fitting)}; pick one: {module.__name__}:{fitting[0]}"
    )


def _fitting(module: ModuleType, group: str) -> list[str]:
    """Public names defined in the module itself that can serve: classes with the method, else plain functions."""
    own = {
        n: v
        for n, v in vars(module).items()
        if not n.startswith("_") and getattr(v, "__module__", None) == module.__name__
    }
    classes = [
        n for n, v in own.items() if inspect.isclass(v) and any(callable(getattr(v, m, None)) for m in _METHODS[group])
    ]
    if classes or group != RERANKERS:
        return classes
    return [n for n, v in own.items() if inspect.isfunction(v) and _positional(v) == 1]


def _positional(function: Callable[..., Any]) -> int:
    """How many arguments a function needs beyond its keyword-only and defaulted ones."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)


def _typed_options(found: _Found, options: Mapping[str, str]) -> dict[str, Any]:
    """`--set` values as the types that the adapter's signature states; text where it states none."""
    from pydantic import TypeAdapter, ValidationError

    if not options:
        return {}
    parameters = _option_parameters(found.factory)
    callee = found.factory.__init__ if inspect.isclass(found.factory) else found.factory
    try:
        hints = get_type_hints(callee)
    except NameError as error:
        raise AdapterError(f"{found.name}: its signature names an unknown type: {error}") from error
    typed: dict[str, Any] = {}
    for name, text in options.items():
        if name not in parameters:
            raise AdapterError(f"{found.name} has no option {name!r}; it has: {_listed(list(parameters))}")
        try:
            typed[name] = TypeAdapter(hints.get(name, str)).validate_python(text, strict=False)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise AdapterError(f"{found.name}: option {name}={text!r}: {problem}") from error
    return typed


def _option_parameters(factory: Any) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(factory).parameters)
    if inspect.isfunction(factory):
        parameters.pop(next(iter(parameters), ""), None)  # a function's first argument is the request
    return parameters


def _build(found: _Found, options: Mapping[str, Any], group: str) -> Any:
    factory = found.factory
    if inspect.isfunction(factory) and group == RERANKERS:
        # update_wrapper carries the declarations that are set on the function itself.
        return update_wrapper(partial(factory, **options), factory) if options else factory
    if inspect.isclass(factory):
        try:
            target = factory(**options)
        except AdapterError:
            raise
        except Exception as error:
            raise AdapterError(f"{found.name}: building it fails{_last_line(error)}: {_said(error)}") from error
    else:
        target = factory
    if not any(callable(getattr(target, method, None)) for method in _METHODS[group]):
        raise AdapterError(f"{found.name}: has no method {' or '.join(_METHODS[group])}")
    return target


def _listed(names: list[str]) -> str:
    return ", ".join(names) if names else "nothing that fits"


def _said(error: BaseException) -> str:
    return one_line(f"{type(error).__name__}: {error}")


def _last_line(error: BaseException) -> str:
    """` (file.py, line 7)`: where in the adapter's own code an error arose."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
