"""Make a reranker of a live Python object: a class, a function, an object with an adapter's methods, or a
`CrossEncoder` or `SentenceTransformer` of sentence-transformers.

An object has the name that `--model` would find it by, so that it and the command line continue each other's runs.
"""

from __future__ import annotations

import ast
import functools
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from mrb.errors import AdapterError
from mrb.rerankers.adapter_source import hash_source
from mrb.rerankers.calling import guard_adapter_call
from mrb.rerankers.declaration import LoadedReranker, read_declarations
from mrb.rerankers.plugins import (
    RERANKERS,
    Adapter,
    Factory,
    build_adapter,
    find_factory,
    format_distribution,
    list_fitting,
)

WRAPPERS = {
    "sentence_transformers.CrossEncoder": "cross-encoder",
    "sentence_transformers.SentenceTransformer": "bi-encoder",
}
"""Classes of other packages, and the installed adapter whose `from_model` wraps an object of each."""

_INSTALLED = {"site-packages", "dist-packages"}
_CONSTANT = (bool, int, float, complex, str, bytes, type(None), re.Pattern, Path)


def load_live_reranker(model: object, options: Mapping[str, object] | None = None) -> LoadedReranker:
    """Make a reranker of a live object and validate its declarations.

    Args:
        model: A class, which is built with the options; a function of a request; an object with an adapter's methods;
            or a model of sentence-transformers. `close` leaves objects that were given as they are.
        options: The options by name: those of the class, of the function after its request, or of the wrapper. A text
            is converted to the type in the signature; another value is passed as it is.

    Returns:
        The reranker. The version of a model of torch includes a hash of its weights as they are now.

    Raises:
        AdapterError: The object cannot score, does not take an option, or declares something invalid.
    """
    wrapper = _find_wrapper(model)
    if wrapper is not None:
        return _wrap(model, find_factory(wrapper), options or {})
    found = make_factory(model)
    if _is_plain_callable(model):
        if options:
            raise AdapterError(f"{found.name}: takes no options, because it is built already")
        adapter = Adapter(found.name, model, {}, found.source, hash_source(_unwrap(model), found.module))
    else:
        adapter = build_adapter(found, options or {})
    loaded = read_declarations(adapter)
    if inspect.isclass(model):
        return loaded
    loaded = replace(loaded, owned=False)
    modules = {} if _find_entry_point(type(model)) else _list_torch_modules(model)
    return _add_weights(loaded, modules) if modules else loaded


def make_factory(model: object) -> Factory:
    """Return how a live class, function or object is called: its entry point's name if it is installed, else the name
    of its module, with `:name` where the module holds several that fit."""
    thing = _unwrap(model)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        thing = type(thing)
    point = _find_entry_point(thing)
    if point is not None:
        return Factory(point.name, model, format_distribution(point), point.module)
    module, name = thing.__module__, thing.__qualname__
    if module == "__main__" or not is_importable(thing):
        word = thing.__name__ if thing.__name__.isidentifier() else "function"
        return Factory(word, model, "defined in Python, outside of a module", module)
    found = sys.modules[module]
    full = module if list_fitting(found, RERANKERS) == [name] else f"{module}:{name}"
    file = Path(getattr(found, "__file__", None) or module)
    own = "." not in module and file.suffix == ".py" and _INSTALLED.isdisjoint(file.parts)
    return Factory(full, model, file.name if own else module, module)


def is_importable(thing: object) -> bool:
    """Return whether another process can import the class or function by its module and name."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if module in (None, "__main__") or name is None:
        return False
    # By name, as a module that was imported again has other objects of the same names.
    found = getattr(sys.modules.get(module), name, None)
    return bool(getattr(found, "__qualname__", None) == name)


def describe_hidden_state(model: object, loaded: LoadedReranker, options: Mapping[str, object]) -> str | None:
    """Return why scores of an earlier call may be of another state of a live object, None if they are of the same.

    A class is built here, and the weights of a wrapped model are part of its version. Of other objects MRB knows the
    source only.
    """
    objects = [name for name, value in options.items() if not _is_plain(value)]
    if objects:
        return f"its option {min(objects)} is an object"
    if _find_wrapper(model) is not None:
        return None
    if loaded.info.source_sha256 is None:
        return "its code is in no file"
    if inspect.isclass(model):
        return None
    if inspect.isfunction(model):
        names = list_outside_values(model)
        return f"it uses {', '.join(names)}" if names else None
    if isinstance(model, functools.partial):
        return "it holds arguments"
    holder = getattr(model, "__self__", model)
    attributes = [*getattr(holder, "__dict__", ()), *getattr(type(holder), "__slots__", ())]
    return f"its attributes, such as {min(attributes)}, may have changed" if attributes else None


def list_outside_values(function: FunctionType) -> list[str]:
    """Return the names of values that a function uses and its source may not tell, sorted: of its closure and module,
    and defaults of its parameters. Those of the functions of its module that it calls count too."""
    return sorted(set(_iterate_outside_values(function, set())))


def _iterate_outside_values(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    seen.add(function)
    yield from function.__code__.co_freevars
    # Defaults of an inner function are of the call that made it.
    inner = "<locals>" in function.__qualname__
    for parameter in inspect.signature(function).parameters.values():
        if parameter.default is not parameter.empty and (inner or not _is_fixed(parameter.default)):
            yield parameter.name
    codes = [function.__code__]
    for code in codes:
        codes += [const for const in code.co_consts if isinstance(const, CodeType)]  # inner functions, comprehensions
    for name in {name for code in codes for name in code.co_names} & function.__globals__.keys():
        value = function.__globals__[name]
        if not _is_fixed(value) or not _is_as_written(function, name, value):
            yield name
        elif inspect.isfunction(value) and value.__module__ == function.__module__ and value not in seen:
            yield from _iterate_outside_values(value, seen)


def _is_as_written(function: FunctionType, name: str, value: object) -> bool:
    """Return whether a constant of a function's module is the one in the source, as far as the source spells it out."""
    module = sys.modules.get(function.__module__)
    try:
        tree = ast.parse(Path(getattr(module, "__file__", None) or "").read_bytes())
    except (OSError, SyntaxError, ValueError):
        return True
    stores = [one for one in ast.walk(tree) if isinstance(one, ast.Name | ast.alias) and _get_stored(one) == name]
    values = [
        line.value
        for line in tree.body
        if (isinstance(line, ast.Assign) and set(stores) & set(line.targets))
        or (isinstance(line, ast.AnnAssign) and line.target in stores)
    ]
    if len(stores) != 1 or not values or values[0] is None:
        return True
    try:
        stated = ast.literal_eval(values[0])
    except ValueError:  # computed
        return True
    return type(stated) is type(value) and bool(stated == value)


def _get_stored(node: ast.Name | ast.alias) -> str | None:
    if isinstance(node, ast.alias):
        return node.asname or node.name
    return node.id if isinstance(node.ctx, ast.Store) else None


def _is_plain(value: object) -> bool:
    """Return whether an option is written in results as it is."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str | Path | None)


def _is_fixed(value: object) -> bool:
    """Return whether a global value is part of the source: code, or a constant."""
    if isinstance(value, tuple | frozenset):
        return all(map(_is_fixed, value))
    code = inspect.ismodule(value) or inspect.isclass(value) or inspect.isroutine(value)
    return code or isinstance(value, _CONSTANT)


def _wrap(model: object, factory: Factory, options: Mapping[str, object]) -> LoadedReranker:
    try:
        with guard_adapter_call():
            target = factory.factory.from_model(model, **options)
    except TypeError as error:
        raise AdapterError(f"{factory.name}: {error}") from error
    digest = hash_source(factory.factory, factory.module)
    loaded = read_declarations(Adapter(factory.name, target, options, factory.source, digest))
    return _add_weights(loaded, {"model": model})


def _add_weights(loaded: LoadedReranker, modules: Mapping[str, Any]) -> LoadedReranker:
    """Add a hash of the weights to the version: weights of a live model change while it is trained."""
    from mrb.engine.identity import hash_live_models

    digest = hash_live_models(modules)
    version = f"{loaded.info.version}+weights {digest}" if loaded.info.version else f"weights {digest}"
    return replace(loaded, info=loaded.info.model_copy(update={"version": version}))


def _find_wrapper(model: object) -> str | None:
    """Return the adapter that wraps an object of this class; the object's package is not imported here."""
    if inspect.isclass(model):
        return None
    names = (f"{one.__module__.partition('.')[0]}.{one.__name__}" for one in type(model).__mro__)
    return next((WRAPPERS[name] for name in names if name in WRAPPERS), None)


def _find_entry_point(thing: Any) -> Any:
    where = f"{getattr(thing, '__module__', '')}:{getattr(thing, '__qualname__', '')}"
    return next((point for point in entry_points(group=RERANKERS) if point.value == where), None)


def _list_torch_modules(model: object) -> dict[str, Any]:
    """Return the torch modules that an object is or has as attributes, by name."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "nn"):
        return {}
    if isinstance(model, torch.nn.Module):
        return {"self": model}
    holder = getattr(model, "__self__", model)  # of a method its object
    attributes = getattr(holder, "__dict__", {})
    return {name: value for name, value in attributes.items() if isinstance(value, torch.nn.Module)}


def _unwrap(model: Any) -> Any:
    while isinstance(model, functools.partial):
        model = model.func
    return model.__func__ if inspect.ismethod(model) else model


def _is_plain_callable(model: object) -> bool:
    """Return whether the object is called with a request itself: a method, a `partial`, an object with `__call__`."""
    if inspect.isclass(model) or inspect.isfunction(model):
        return False
    return callable(model) and not any(
        callable(getattr(model, name, None)) for name in ("score", "score_stream", "rank")
    )
