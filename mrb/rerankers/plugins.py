"""Load the adapter that the value of `--model` names.

A value that ends in `.py` is the path of a file. Any other value is the name of an installed entry point (group
`mrb.rerankers`), of `NAME.py` in the working folder, or of an importable module. A name of both an entry point and a
file is refused. `NAME:Thing` and `PATH.py:Thing` select the class or function; without it the module must hold exactly
one suitable object. Names from results files are never loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial, update_wrapper
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from mrb._util.home import expand_user
from mrb._util.raised import to_adapter_error
from mrb._util.redact import SECRET, hide_secrets, is_secret_name, remember_secrets
from mrb.errors import AdapterError, suggest_names, to_one_line
from mrb.rerankers.adapter_source import hash_source
from mrb.rerankers.calling import guard_adapter_call

RERANKERS = "mrb.rerankers"
RETRIEVERS = "mrb.retrievers"
_METHODS = {RERANKERS: ("score", "score_stream", "rank"), RETRIEVERS: ("search", "encode_documents")}
_NOUN = {RERANKERS: "reranker", RETRIEVERS: "first stage"}
_SPEC = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_]*)?")
_FILE = re.compile(r"(?P<path>.*[^/]\.py)(:(?P<attribute>[A-Za-z_][A-Za-z0-9_]*))?")
_FROM_FILE = "_mrb_adapter_file"


@dataclass(frozen=True)
class Adapter:
    """A built adapter: its name, its object or function, the options it was built with, and its source.

    `source` is "package version" for an installed adapter and the file's name for a local one. `source_sha256` is the
    hash of its source (`mrb.rerankers.adapter_source`), None without a file.
    """

    name: str
    target: Any
    options: Mapping[str, Any]
    source: str
    source_sha256: str | None


@dataclass(frozen=True)
class Factory:
    """What an adapter is built from: a class, a function or a built object, with the name that finds it, its source
    (see `Adapter`) and its module."""

    name: str
    factory: Any
    source: str
    module: str


def load_adapter(spec: str, options: Mapping[str, str], group: str = RERANKERS) -> Adapter:
    """Find and build an adapter.

    Args:
        spec: The name of the adapter, a module or a file.
        options: The options as text; they are converted to the types in the adapter's signature.
        group: The entry-point group: `mrb.rerankers` or `mrb.retrievers`.

    Raises:
        AdapterError: It is not found, an option is unknown or invalid, or the adapter's code raises.
    """
    return build_adapter(find_factory(spec, group), options, group)


def build_adapter(found: Factory, options: Mapping[str, object], group: str = RERANKERS) -> Adapter:
    """Build an adapter that was found; options that are text are converted to the types in its signature.

    Raises AdapterError if an option is unknown or invalid, or the adapter's code raises.
    """
    remember_secrets(options)
    typed = _convert_options(found, options)
    target = _build_adapter(found, typed, group)
    return Adapter(found.name, target, typed, found.source, hash_source(found.factory, found.module))


def format_options(spec: str, options: Mapping[str, object] | None) -> dict[str, str]:
    """Return options given in Python as `--set` gives them: a text or path as it is, another value as JSON.

    Raises AdapterError if a value has no JSON form, or would stay text because the parameter of the adapter `spec` has
    no type.
    """
    from mrb.rerankers.model_address import is_model_address

    given = {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in (options or {}).items()
    }
    values = {name: value for name, value in given.items() if not isinstance(value, str)}
    if values and not is_model_address(spec):
        found = find_factory(spec)
        types = _read_option_types(found, list_parameters(found))
        untyped = [name for name in values if name in types and types[name] is None]
        if untyped:
            raise AdapterError(
                f"{found.name}: option {untyped[0]!r} has no type in the signature, so a value by the adapter's name "
                f"stays text: give it a type ({untyped[0]}: {type(values[untyped[0]]).__name__}), or give the class"
            )
    return {name: value if isinstance(value, str) else _dump_option(spec, name, value) for name, value in given.items()}


def _dump_option(spec: str, name: str, value: object) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise AdapterError(
            f"{to_one_line(spec, 120)}: option {name!r} is a {type(value).__name__}, which no text gives: "
            "give the class of the reranker, with workers=1"
        ) from error


def is_class_with(spec: str, method: str, group: str = RERANKERS) -> bool:
    """Return whether `spec` names a class with the method, without building it.

    Raises AdapterError as `load_adapter` does.
    """
    factory = find_factory(spec, group).factory
    return inspect.isclass(factory) and callable(getattr(factory, method, None))


def load_installed(name: str, group: str = RERANKERS) -> Factory:
    """Return an installed adapter, not built. Raises AdapterError if it cannot be imported."""
    return _load_entry_point(list(entry_points(group=group, name=name)), group)


def load_all_installed(group: str = RERANKERS) -> list[Factory]:
    """Return every installed adapter of a group, not built, by name. One that cannot be imported is left out."""
    points = entry_points(group=group)  # once: looking up what is installed reads many files
    found = []
    for name in sorted(points.names):
        with contextlib.suppress(AdapterError):
            found.append(_load_entry_point(list(points.select(name=name)), group))
    return found


def list_installed(group: str = RERANKERS) -> list[str]:
    """Return the names of the installed adapters of a group, sorted."""
    return sorted({point.name for point in entry_points(group=group)})


def close_adapter(name: str, target: Any, wait: Callable[[Coroutine[Any, Any, Any]], object] | None = None) -> None:
    """Call the adapter's `close`, if it has one; `wait` runs an async one. Raises AdapterError if it raises."""
    close = getattr(target, "close", None)
    if not callable(close):
        return
    try:
        with guard_adapter_call():
            ended = close()
            if wait is not None and inspect.iscoroutine(ended):
                wait(ended)
    except BaseException as error:
        raise to_adapter_error(error, f"{name}: close() raised") from error


def find_installed_name(factory: type, group: str = RERANKERS) -> str:
    """Return the entry-point name of a class, or the class's own name if it is not installed as an adapter."""
    where = f"{factory.__module__}:{factory.__qualname__}"
    return next((point.name for point in entry_points(group=group) if point.value == where), factory.__qualname__)


def find_factory(spec: str, group: str = RERANKERS) -> Factory:
    """Find what `spec` names, without building it. Raises AdapterError as `load_adapter` does."""
    if file := _FILE.fullmatch(spec):
        path = expand_user(file["path"]).absolute()
        if not path.is_file():
            raise AdapterError(f"{to_one_line(spec)!r} names a file, and there is no {path}")
        return _find_in_module(path.stem, path, file["attribute"], group)
    if not _SPEC.fullmatch(spec):
        raise AdapterError(
            f"{spec!r} is not a {_NOUN[group]} name: give NAME, MODULE:NAME or FILE.py; letters, digits, '_', '-', '.'"
        )
    module_name, _, attribute = spec.partition(":")
    path = Path.cwd() / f"{module_name}.py"
    if not attribute:
        points = list(entry_points(group=group, name=module_name))
        package = Path(module_name) / "__init__.py"
        if points and (path.is_file() or package.is_file()):
            here, spelled = (path.name, f"./{path.name}") if path.is_file() else (str(package), f"{module_name}:NAME")
            raise AdapterError(
                f"{module_name!r} is both {here} here and the installed {_NOUN[group]} {points[0].name} "
                f"({format_distribution(points[0])}): give {spelled} for the file, {points[0].value} for the other"
            )
        if points:
            return _load_entry_point(points, group)
    return _find_in_module(module_name, path, attribute, group)


def _find_in_module(module_name: str, path: Path, attribute: str | None, group: str) -> Factory:
    module, source = _import_module(module_name, path, group)
    name = attribute or _pick_only_fitting(module, group)
    factory = getattr(module, name, None)
    if factory is None:
        raise AdapterError(f"{source}: it has no {name!r}; it holds: {_format_names(list_fitting(module, group))}")
    return Factory(f"{module_name}:{name}" if attribute else module_name, factory, source, module_name)


def _load_entry_point(points: list[EntryPoint], group: str) -> Factory:
    if len({point.value for point in points}) > 1:
        origins = ", ".join(f"{point.value} ({format_distribution(point)})" for point in points)
        raise AdapterError(f"several installed packages offer the {_NOUN[group]} {points[0].name!r}: {origins}")
    point = points[0]
    try:
        with guard_adapter_call():
            return Factory(point.name, point.load(), format_distribution(point), point.module)
    except BaseException as error:
        what = f"{_NOUN[group]} {point.name!r} ({format_distribution(point)}) cannot be imported:"
        raise to_adapter_error(error, what) from error


def format_distribution(point: EntryPoint) -> str:
    """Return "package version" of an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "unknown package"


def _import_module(name: str, path: Path, group: str) -> tuple[ModuleType, str]:
    """Return (module, its name for messages): the file `path` if it exists, else the importable module `name`."""
    for folder in (str(path.parent), str(Path.cwd())):
        if folder not in sys.path:
            # Last, so that the adapter can import its neighbours but these do not hide installed packages.
            sys.path.append(folder)
    try:
        with guard_adapter_call():
            if path.is_file():
                return _import_file(name, path), path.name
            if importlib.util.find_spec(name) is not None:
                return importlib.import_module(name), name
    except SyntaxError as error:
        where = f"{Path(error.filename).name if error.filename else name}, line {error.lineno}"
        raise AdapterError(f"{where}: syntax error: {error.msg}") from error
    except AdapterError:
        raise
    except BaseException as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None:
            raise to_adapter_error(error, f"{name}: importing it fails:") from error
        if path.is_file() or not f"{name}.".startswith(f"{missing}."):
            raise AdapterError(f"{name}: needs the module {missing!r}, which is not installed") from error
    raise AdapterError(
        f"unknown {_NOUN[group]} {name!r}{suggest_names(name, list_installed(group))}: none of this name is installed "
        f"(`mrb models` lists them), no {name}.py in {Path.cwd()}, no importable module {name}"
    )


def _import_file(name: str, path: Path) -> ModuleType:
    known = sys.modules.get(name)
    own = known is None or hasattr(known, _FROM_FILE) or getattr(known, "__file__", None) == str(path)
    if not own:
        raise AdapterError(f"{path.name}: a module {name!r} that MRB itself uses has this name; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file always has a loader
    module = importlib.util.module_from_spec(spec)
    setattr(module, _FROM_FILE, True)
    # Registered before it runs, because dataclasses and pickle look up their module by name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _pick_only_fitting(module: ModuleType, group: str) -> str:
    fitting = list_fitting(module, group)
    if len(fitting) == 1:
        return fitting[0]
    methods = " or ".join(_METHODS[group])
    if not fitting:
        raise AdapterError(f"{module.__name__}: holds no class with a method {methods}, and no function of one request")
    raise AdapterError(
        f"{module.__name__}: holds several that fit: {_format_names(fitting)}; pick one: {module.__name__}:{fitting[0]}"
    )


def list_fitting(module: ModuleType, group: str) -> list[str]:
    """Return the suitable public names defined in the module: classes with the method, else functions of a request."""
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
    return [n for n, v in own.items() if inspect.isfunction(v) and _count_positional(v) == 1]


def _count_positional(function: Callable[..., Any]) -> int:
    """Return the number of positional arguments without a default."""
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is inspect.Parameter.empty for p in parameters)


def _convert_options(found: Factory, options: Mapping[str, object]) -> dict[str, Any]:
    """Convert texts to the types in the adapter's signature; without a type they stay text. Other values stay."""
    parameters = list_parameters(found)
    unknown = [name for name in options if name not in parameters]
    if unknown:
        known = ", ".join(parameters) or "none"
        close = suggest_names(unknown[0], list(parameters))
        raise AdapterError(f"{found.name} has no option {unknown[0]!r}{close}; it has: {known}")
    absent = [n for n, p in parameters.items() if p.default is inspect.Parameter.empty and n not in options]
    if absent:
        raise AdapterError(
            f"{found.name}: the option {absent[0]!r} must be given (--set {absent[0]}=..., or options= in Python)"
        )
    types = _read_option_types(found, parameters) if options else {}
    return {name: _convert_option(found.name, name, value, types[name] or str) for name, value in options.items()}


def list_parameters(found: Factory) -> dict[str, inspect.Parameter]:
    """Return the parameters that `--set` can name: all but a function's request, `*args` and `**kwargs`."""
    factory = found.factory
    if not (inspect.isclass(factory) or inspect.isfunction(factory)):
        return {}  # an object that is already built
    try:
        parameters = list(inspect.signature(factory).parameters.values())
    except (TypeError, ValueError):
        return {}  # a class in C may have no signature
    if inspect.isfunction(factory):
        parameters = parameters[1:]
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {parameter.name: parameter for parameter in parameters if parameter.kind in named}


def _read_option_types(found: Factory, parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the type of each parameter: the annotation, else the type of the default, else None."""
    callee = found.factory.__init__ if inspect.isclass(found.factory) else found.factory
    try:
        hints = get_type_hints(callee)
    except (NameError, AttributeError, TypeError) as error:
        raise AdapterError(f"{found.name}: its signature names an unknown type: {error}") from error
    plain = (bool, int, float)
    defaults = {n: type(p.default) for n, p in parameters.items() if isinstance(p.default, plain)}
    return {name: hints.get(name, defaults.get(name)) for name in parameters}


def _convert_option(adapter: str, name: str, text: object, wanted: Any) -> Any:
    """Convert a text to the wanted type, directly or, if that fails, as JSON (`null`, `[1, 2]`)."""
    if not isinstance(text, str):
        # 2 for 2.0 is the same reranker.
        return float(text) if wanted is float and type(text) is int else text
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    try:
        reader = TypeAdapter(wanted)
    except PydanticUserError as error:
        raise AdapterError(f"{adapter}: option {name!r} has the type {wanted}, which no text can give") from error
    try:
        return reader.validate_python(text, strict=False)
    except ValidationError as error:
        with contextlib.suppress(ValidationError):
            return reader.validate_json(text)
        problem = to_one_line(error.errors()[0]["msg"])
        shown = SECRET if is_secret_name(name) else to_one_line(repr(hide_secrets(text)), 80)
        raise AdapterError(f"{adapter}: option {name}={shown}: {problem}") from error


def _build_adapter(found: Factory, options: Mapping[str, Any], group: str) -> Any:
    factory = found.factory
    if inspect.isfunction(factory) and group == RERANKERS:
        # update_wrapper copies the declarations that are attributes of the function.
        return update_wrapper(partial(factory, **options), factory) if options else factory
    if inspect.isclass(factory):
        try:
            with guard_adapter_call():
                target = factory(**options)
        except AdapterError:
            raise
        except BaseException as error:
            raise to_adapter_error(error, f"{found.name}: building it fails:") from error
    else:
        target = factory
    if not any(callable(getattr(target, method, None)) for method in _METHODS[group]):
        raise AdapterError(f"{found.name}: has no method {' or '.join(_METHODS[group])}")
    return target


def _format_names(names: list[str]) -> str:
    return ", ".join(names) if names else "nothing that fits"
