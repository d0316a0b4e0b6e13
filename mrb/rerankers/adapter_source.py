"""The hash of an adapter's source: its own file and the files of the user's that it imports."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from mrb._util.hashing import sha256_file, sha256_json

_OWN = "mrb"
"""Imports of MRB itself are not followed: a run states MRB's version."""


def source_hash(factory: Any, module: str) -> str | None:
    """The SHA-256 of the adapter's source; None where it has no file (made in C, or typed in).

    `module` is the name of the module that the user asked for. The source is the file of that module, the file that
    defines `factory`, and what these import, directly or not, from the working folder, from the adapter's folder, or
    from the adapter's own package. Of one file it is the hash of the file.
    """
    made = factory if inspect.isclass(factory) or inspect.isfunction(factory) else type(factory)
    made = inspect.unwrap(made)
    try:
        file = inspect.getsourcefile(made)
    except TypeError:
        return None
    if not file or not Path(file).is_file():
        return None
    starts = {made.__module__: Path(file).resolve()}
    asked = getattr(sys.modules.get(module), "__file__", None)
    if asked and asked.endswith(".py"):
        starts[module] = Path(asked).resolve()
    hashes = {name: sha256_file(path) for name, path in _imported(starts).items()}
    return sha256_json(hashes) if len(hashes) > 1 else next(iter(hashes.values()))


def _imported(starts: dict[str, Path]) -> dict[str, Path]:
    """Module name -> file, of the modules in `starts` and of the user's modules that they import.

    Files are found by name, without an import. Data that a module reads and modules that it imports by a computed name
    are not seen.
    """
    found: dict[str, Path] = {}
    left = list(starts.items())
    while left:
        name, path = left.pop()
        if path in found.values():
            continue
        found[name] = path
        if name.partition(".")[0] != _OWN:
            left += [(other, file) for other in _names(name, path) if (file := _file(other, starts)) is not None]
    return found


def _file(name: str, starts: dict[str, Path]) -> Path | None:
    """The file of a module of the user's; None for an installed or unknown one."""
    parts = name.split(".")
    if parts[0] == _OWN:
        return None
    for folder in _roots(parts[0], starts):
        for path in (folder.joinpath(*parts, "__init__.py"), folder.joinpath(*parts[:-1], f"{parts[-1]}.py")):
            if path.is_file():
                return path.resolve()
    return None


def _roots(package: str, starts: dict[str, Path]) -> Iterator[Path]:
    """The folders in which the user's module or package may lie."""
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


def _names(module: str, path: Path) -> Iterator[str]:
    """The names of all modules that a file may import, with the packages around them."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # never imported as it is
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            try:
                base = resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:
                continue  # reaches above its package: it fails where it is run
            wanted = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in wanted:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
