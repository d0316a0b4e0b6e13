"""Data made of a training task's data by a plug-in (entry points `mrb.derived_data`), such as `recoloured`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

from mrb._util.hashing import sha256_file
from mrb.data.task_data import TaskData
from mrb.errors import TrainingError

DERIVED = "mrb.derived_data"
Derive = Callable[[TaskData, int], TaskData]
"""Gives so many copies of each query of a task's data, in whatever way; the task itself stays as it is."""


def derive(name: str, data: TaskData, copies: int) -> TaskData:
    """The data that `name` makes of `data`, under a task id of their own and without the task's candidate list.

    TrainingError if nothing of that name is installed.
    """
    made = _maker(name)(data, copies)
    task = made.task.model_copy(update={"id": derived_id(data.task.id, name), "candidates": None})
    return replace(made, task=task)


def derived_id(task_id: str, name: str | None) -> str:
    """The id under which derived data are known; that of the task where `name` is None."""
    return task_id if name is None else f"{task_id}-{name}"


def made_by(name: str) -> dict[str, str]:
    """The hash of each Python file in the folder of what makes such data, by file name. TrainingError as `derive`."""
    module = sys.modules[_maker(name).__module__]
    assert module.__file__ is not None, "what was loaded by an entry point lies in a file"
    return {path.name: sha256_file(path) for path in sorted(Path(module.__file__).parent.glob("*.py"))}


def _maker(name: str) -> Derive:
    known = {point.name: point for point in entry_points(group=DERIVED)}
    if name not in known:
        raise TrainingError(f"data.tasks: derived {name!r}: wanted one of {', '.join(sorted(known))}")
    make: Derive = known[name].load()
    return make
