"""Mutated task, suite and recipe files: read, or refused in one line of the MRBError family."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrb.data.task import Suite, locate_task_folder, read_task, read_toml
from mrb.errors import MRBError
from mrb.training.recipe import load_recipe
from tests.fuzz.mutations import ACCEPTED, examples, put, spliced, splices

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TASKS = sorted(path for path in locate_task_folder().glob("*/*.toml") if path.parent.name not in ("suites", "tracks"))
SUITES = sorted(locate_task_folder().glob("suites/*.toml"))
RECIPES = sorted((ROOT / "mrb" / "training" / "recipes").glob("*.toml"))


def mutated(data: st.DataObject, paths: list[Path], room: Path) -> Path:
    """One of the files, changed, under its own name."""
    honest = data.draw(st.sampled_from(paths))
    text = honest.read_bytes()
    path = room / honest.name
    put(path, spliced(text, data.draw(splices(len(text)))))
    return path


@examples(80)
@given(st.data())
def test_tasks(room: Path, data: st.DataObject) -> None:
    path = mutated(data, TASKS, room)
    try:
        task = read_task(path)
    except MRBError as error:
        assert str(path) in str(error)
        ACCEPTED.append(False)
    else:
        ACCEPTED.append(True)
        assert task.id == path.stem and len(task.hash) == 64


@examples(40)
@given(st.data())
def test_suites(room: Path, data: st.DataObject) -> None:
    path = mutated(data, SUITES, room)
    try:
        assert read_toml(Suite, path).tasks
        ACCEPTED.append(True)
    except MRBError as error:
        assert str(path) in str(error)
        ACCEPTED.append(False)


@examples(40)
@given(st.data())
def test_recipes(room: Path, data: st.DataObject) -> None:
    path = mutated(data, RECIPES, room)
    try:
        assert len(load_recipe(str(path), ()).sha256) == 64
        ACCEPTED.append(True)
    except MRBError as error:
        assert str(error)
        ACCEPTED.append(False)
