"""An honest submission of two tasks, and copies of it that a test may change or have lie."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.evaluation.plan import Plan
from mrb.rerankers.declaration import load_reranker
from tests.builders.lies import IMAGES, TEXT, Lie, Scores, model_scores
from tests.builders.submissions import forge, submitted, trial_run


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve queries of two tasks, scored by `random`; not to be changed."""
    return submitted(
        trial_run(tmp_path_factory.mktemp("runs"), tasks=(TEXT, IMAGES)), tmp_path_factory.mktemp("honest")
    )


@pytest.fixture
def folder(honest: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(honest, tmp_path / "received" / honest.name))


@pytest.fixture
def lying(folder: Path) -> Callable[..., Path]:
    """`lying(lie, tasks)`: the submission with `lie(plan, query_id, honest scores)` in place of its scores."""
    model = load_reranker("random")

    def write(lie: Lie, tasks: tuple[str, ...] | None = None) -> Path:
        def scores(plan: Plan, query_id: str) -> Scores:
            return lie(plan, query_id, model_scores(model, plan, query_id))

        return forge(folder, scores, tasks)

    return write
