"""Training data derived from a task's data by a plug-in (entry points `mrb.derived_data`), such as `recoloured`."""

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
"""Returns so many variants of each query of a task's data; the task itself is unchanged."""


def derive(name: str, data: TaskData, copies: int) -> TaskData:
    """Return the data that plug-in `name` derives from `data`, with a task id of its own and without candidate list.

    Raises TrainingError if no plug-in of that name is installed.
    """
    made = _maker(name)(data, copies)
    task = made.task.model_copy(update={"id": derived_id(data.task.id, name), "candidates": None})
    return replace(made, task=task)


def derived_id(task_id: str, name: str | None) -> str:
    """Return the id of derived data; the task's id if `name` is None."""
    return task_id if name is None else f"{task_id}-{name}"


def made_by(name: str) -> dict[str, str]:
    """Return the hash of each Python file in the plug-in's folder, by file name. Raises TrainingError like `derive`."""
    module = sys.modules[_maker(name).__module__]
    assert module.__file__ is not None, "what was loaded by an entry point lies in a file"
    return {path.name: sha256_file(path) for path in sorted(Path(module.__file__).parent.glob("*.py"))}


def _maker(name: str) -> Derive:
    known = {point.name: point for point in entry_points(group=DERIVED)}
    if name not in known:
        raise TrainingError(f"data.tasks: derived {name!r}: wanted one of {', '.join(sorted(known))}")
    make: Derive = known[name].load()
    return make
