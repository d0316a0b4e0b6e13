"""Hash an adapter's source: its own file and the user's files that it imports."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from mrb._util.hashing import hash_file, hash_json

_OWN = "mrb"
"""The package whose imports are not followed, because a run records MRB's version."""


def hash_source(factory: Any, module: str) -> str | None:
    """Return the SHA-256 of the adapter's source, or None if it has no file (C code, an interactive session).

    `module` is the name of the module that the user asked for. The source is the file of that module, the file that
    defines `factory`, and what these import, directly or not, from the working folder, from the adapter's folder, or
    from the adapter's own package. For a single file it is the hash of the file.
    """
    made = factory if inspect.isclass(factory) or inspect.isfunction(factory) else type(factory)
    made = inspect.unwrap(made)
    try:
        file = inspect.getsourcefile(made)
    except (TypeError, OSError):  # OSError: a class of an interactive session
        return None
    if not file or not Path(file).is_file():
        return None
    starts = {made.__module__: Path(file).resolve()}
    asked = getattr(sys.modules.get(module), "__file__", None)
    if asked and asked.endswith(".py"):
        starts[module] = Path(asked).resolve()
    hashes = {name: hash_file(path) for name, path in _find_imports(starts).items()}
    return hash_json(hashes) if len(hashes) > 1 else next(iter(hashes.values()))


def _find_imports(starts: dict[str, Path]) -> dict[str, Path]:
    """Return {module name: file} of the modules in `starts` and of the user's modules that they import.

    Files are found by name, without importing them. Data files and modules imported by a computed name are not found.
    """
    found: dict[str, Path] = {}
    left = list(starts.items())
    while left:
        name, path = left.pop()
        if path in found.values():
            continue
        found[name] = path
        if name.partition(".")[0] != _OWN:
            left += [
                (other, file)
                for other in _list_imported_names(name, path)
                if (file := _find_module_file(other, starts)) is not None
            ]
    return found


def _find_module_file(name: str, starts: dict[str, Path]) -> Path | None:
    """Return the file of a user's module, or None for an installed or unknown module."""
    parts = name.split(".")
    if parts[0] == _OWN:
        return None
    for folder in _list_roots(parts[0], starts):
        for path in (folder.joinpath(*parts, "__init__.py"), folder.joinpath(*parts[:-1], f"{parts[-1]}.py")):
            if path.is_file():
                return path.resolve()
    return None


def _list_roots(package: str, starts: dict[str, Path]) -> Iterator[Path]:
    """Yield the folders that may hold the user's module or package."""
    installed = False
    for name, path in starts.items():
        depth = 0 if path.stem == name else name.count(".") + (path.name == "__init__.py")
        root = path.parents[depth]
        inside = {"site-packages", "dist-packages"} & set(root.parts)
        installed = installed or bool(inside)
        if not inside or name.partition(".")[0] == package:
            yield root
    if not installed:
        yield Path.cwd()


def _list_imported_names(module: str, path: Path) -> Iterator[str]:
    """Yield the names of all modules that a file may import, and of their parent packages."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # a file that does not parse cannot be imported
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            try:
                base = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue  # a relative import beyond the top package fails when it runs
            wanted = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in wanted:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
