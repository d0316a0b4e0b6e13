"""Imports between rooms go one way: a room imports only rooms beneath it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP = ("baselines", "leaderboard")
LATE = {
    # A live model's weights are hashed by the engine, whose classes are adapters.
    ("rerankers", "engine"),
    # `mrb.evaluate(workers=N)` starts workers, which score plans.
    ("evaluation", "parallel"),
}
"""(room, room that it imports inside a function only): what is left of imports in both directions."""


def _find_room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def _list_imports() -> Iterator[tuple[str, str, bool, str]]:
    """Yield (room, imported room, whether inside a function, place) of each import between rooms."""
    for folder in ("mrb", *TOP):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if folder == "mrb" and parts[1] in ("tasks", *TOP):
                continue  # links
            room = folder if folder in TOP else parts[1]
            tree = ast.parse(path.read_text(encoding="utf-8"))
            inside = {
                id(node)
                for function in ast.walk(tree)
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
                for node in ast.walk(function)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    alone = node.module == "mrb"
                    modules = [f"mrb.{name.name}" for name in node.names] if alone else [node.module]
                elif isinstance(node, ast.Import):
                    modules = [name.name for name in node.names]
                else:
                    continue
                for module in modules:
                    other = _find_room(module)
                    if module.startswith("mrb.") and other != room:
                        yield room, other, id(node) in inside, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_rooms_import_one_way() -> None:
    beneath: dict[str, set[str]] = defaultdict(set)
    late = set()
    for room, other, inside, place in _list_imports():
        if (room, other) in LATE:
            assert inside, f"{place}: {room} imports {other} inside functions only"
            late.add((room, other))
        else:
            beneath[room].add(other)
    assert len(beneath) >= 15
    list(TopologicalSorter(beneath).static_order())  # CycleError names the rooms of a cycle
    assert late == LATE, "what is no longer imported leaves the list"


def test_only_the_command_line_imports_the_board_and_nothing_a_baseline() -> None:
    for room, other, _, place in _list_imports():
        assert other != "leaderboard" or room == "cli", place
        assert other != "baselines", place
