"""Imports between rooms go one way: a room imports only rooms beneath it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP = ("baselines", "leaderboard")
LEFT = {
    # A live model's weights are hashed by the engine, whose classes are adapters.
    ("mrb/rerankers/live.py", "engine"),
    # A checkpoint's chat template is compared with the engine's prompt templates.
    ("mrb/rerankers/recognition.py", "engine"),
    # `mrb.evaluate(workers=N)` starts workers, which score plans.
    ("mrb/evaluation/live.py", "parallel"),
}
"""(module, room above its own that it imports): what is left of imports in both directions."""


def _list_imports() -> Iterator[tuple[str, str, str]]:
    """Yield (module's path, its room, imported room) of each import between rooms."""
    for folder in ("mrb", *TOP):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if folder == "mrb" and parts[1] in ("tasks", *TOP):
                continue  # links
            room = folder if folder in TOP else parts[1]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = []
                if isinstance(node, ast.ImportFrom) and node.module:
                    modules = [f"mrb.{name.name}" for name in node.names] if node.module == "mrb" else [node.module]
                elif isinstance(node, ast.Import):
                    modules = [name.name for name in node.names]
                for module in modules:
                    if module.startswith("mrb.") and (other := module.split(".")[1]) != room:
                        yield path.relative_to(ROOT).as_posix(), room, other


def test_rooms_import_one_way() -> None:
    beneath: dict[str, set[str]] = defaultdict(set)
    left = set()
    for path, room, other in _list_imports():
        if (path, other) in LEFT:
            left.add((path, other))
        else:
            beneath[room].add(other)
    assert len(beneath) >= 15
    list(TopologicalSorter(beneath).static_order())  # CycleError names the rooms of a cycle
    assert left == LEFT, "what is no longer imported leaves the list"


def test_only_the_command_line_imports_the_board_and_nothing_a_baseline() -> None:
    for path, room, other in _list_imports():
        assert other != "leaderboard" or room == "cli", path
        assert other != "baselines", path
