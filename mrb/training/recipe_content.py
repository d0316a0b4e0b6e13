"""Read a recipe's TOML file, with the recipe that it extends, and apply settings of the command line.

A recipe may extend another one (key `extends`), in its folder or packaged, and then holds only what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mrb._util.files import parse_toml
from mrb.errors import TrainingError, to_one_line

RECIPES = Path(__file__).parent / "recipes"
"""The folder of the packaged recipes, with the shapes and sweeps that they name."""
_LONGEST_NAME = 100


def load_content(path: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the tables of a recipe's file, merged into those of the recipe that it extends.

    `seen` are the files that extend this one. Raises TrainingError, which names the file.
    """
    if path in seen:
        raise TrainingError(f"recipe {path}: extends itself")
    try:
        content = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"recipe {path}: {to_one_line(error)}") from error
    base = content.pop("extends", None)
    if base is None:
        return content
    if not isinstance(base, str) or len(base) > _LONGEST_NAME:
        raise TrainingError(f"recipe {path}: extends {to_one_line(repr(base), 80)}, which is no name of a recipe")
    beside = path.parent / f"{base}.toml"
    below = beside if beside.is_file() else RECIPES / f"{base}.toml"
    if not below.is_file():
        raise TrainingError(f"recipe {path}: extends {base!r}, and there is no such recipe")
    return _merge(load_content(below, (*seen, path)), content)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `over` merged into `base`: tables are merged, other values replaced.

    A loss with a name replaces the whole table, since the settings of another loss do not apply to it. `paper` extends
    the base's list.
    """
    merged = dict(base)
    for key, value in over.items():
        if key == "paper":
            merged[key] = [*base.get(key, ()), *value]
        elif key == "loss" and "name" in value:
            merged[key] = value
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = _merge(base[key], value)
        else:
            merged[key] = value
    return merged


def apply_change(content: dict[str, Any], change: str) -> str:
    """Apply `section.name=value` and return the setting's name. The value is TOML, or else plain text."""
    name, equals, text = change.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section.isidentifier() and key.isidentifier()):
        raise TrainingError(f"--set {to_one_line(change, 60)}: wanted SECTION.NAME=VALUE, such as schedule.steps=100")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text
    table = content.setdefault(section, {})
    if not isinstance(table, dict):
        raise TrainingError(f"--set {name}: {section} is not a section of a recipe")
    if name == "loss.name":
        table.clear()
    if value == "none":  # TOML has no null, but an optional setting must be removable
        table.pop(key, None)
    else:
        table[key] = value
    return name
