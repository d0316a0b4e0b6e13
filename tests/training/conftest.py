"""What tests of training steps share: a file of groups, and a recipe with its parts and a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.builders.training import toy_groups

    return toy_groups(tmp_path_factory.mktemp("groups"))


@pytest.fixture
def made(tmp_path: Path, tiny: Callable[[str], Path], groups: Path) -> Callable[..., Any]:
    """`made(changes)`: a recipe, its parts and a batch of three groups."""
    from tests.builders.training import batch_of, parts_of_recipe, recipe_of

    def make(*changes: str, architecture: str = "qwen2_5_vl", rows: Sequence[int] = (0, 1, 3)) -> Any:
        recipe = recipe_of(tmp_path, tiny(architecture), groups, changes).recipe
        parts = parts_of_recipe(recipe)
        return recipe, parts, batch_of(recipe, parts, rows)

    return make
