"""Tasks of the user's own: outside the registry, in a folder or in a Hub repository.

A process knows its own tasks by `register_task`, which `load_folder_task` and `read_task_file` call, and by the places
that the user names once: the environment variable MRB_TASKS (folders, separated like PATH) and packages with an entry
point in the group `mrb.tasks`. A definition holds no path. Where the data lies is known to this process only, and goes
to worker processes in `mrb.evaluation.spec.TaskSpec`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mrb._util.home import expand_user
from mrb._util.redact import redact, redact_shapes
from mrb.data.folder_files import TASK_FILE, is_data_folder, is_folder
from mrb.data.task import HEADLINE_MEASURE, Suite, Task, is_registered, load_task, read_toml_values
from mrb.errors import DataError, MRBError, TaskError, format_first_problem
from mrb.hub.address import is_address, parse_address

PLACES = "MRB_TASKS"
"""The environment variable: folders of task files, or data folders, separated by `os.pathsep`."""
GROUP = "mrb.tasks"
"""The entry-point group: each entry is a package, or a module, whose folder holds task files or data folders."""
NAME_FOLDER = f"give --data FOLDER, or name it in the environment variable {PLACES}"
"""What to do where the data of a task of one's own is not known; the end of an error."""
OWN_SUITE = "own"
"""The suite that a submission of own tasks names."""

_tasks: dict[str, Task] = {}
"""The tasks that were registered, by id."""
_placed: dict[str, Task] = {}
"""The tasks that were found in the user's places, by id. A registered task of the same id counts before them."""
_folders: dict[tuple[str, str], Path] = {}
"""Folder of the data by (task id, content hash)."""


def load_folder_task(folder: Path) -> Task:
    """Return the task of a data folder, and make it known to this process (`register_task`).

    Args:
        folder: The folder: BEIR's layout, the Hub's parquet tables, CSV or TSV, or images (docs/own-data.md).

    Returns:
        The task, with the hash of the folder's content. Its type follows from the content.

    Raises:
        DataError: A file is missing, or a row is wrong; names file, line and column.
        TaskError: `task.toml` is malformed, or the id is one of the registry's.
    """
    from mrb.data.folder_task import make_folder_task  # it reads tables, which commands that list tasks do not need

    return register_task(make_folder_task(folder), folder)


def register_task(task: Task, folder: Path | None = None) -> Task:
    """Make a task of the user's own known to this process: `load_task` finds it by its id, a later one of the same id
    in its place; `load_task_data` finds its data in `folder`.

    Args:
        task: The task; its source is a folder or the Hub.
        folder: The folder of its data, None for a task on the Hub.

    Returns:
        The task.

    Raises:
        TaskError: The id is one of the registry's, or the definition cannot be published (`check_definition`).
    """
    _check_publishable(task)
    _tasks[task.id] = task
    if folder is not None:
        note_folder(task, folder)
    return task


def note_folder(task: Task, folder: Path) -> None:
    """Note where the data of a task lies. Which task has the id stays as it is: a run that is read may hold another
    definition than the user's."""
    _folders[task.id, task.revision] = folder.resolve()


def check_definition(task: Task) -> None:
    """Refuse a definition that cannot travel in a run's files. The answer is the same on every machine.

    Raises:
        TaskError: The id is one of the registry's, the data would be looked for in the package, a rule does not fit
            the parts, or a text has control characters, or looks like a private path or a secret.
    """
    if is_registered(task.id):
        raise TaskError(
            f"task {task.id!r} is one of the registry's; give your own another id (id = ... in {TASK_FILE})"
        )
    if task.source.kind == "embedded" or task.candidates is not None:
        raise TaskError(f"task {task.id}: only the registry's tasks have embedded data or a frozen list")
    if task.rules.average_over_parts and not task.source.parts[0].name:
        raise TaskError(f"task {task.id}: rules.average_over_parts needs parts with names, and there is one without")
    for text in _iterate_texts(task.model_dump(mode="json")):
        if any(not character.isprintable() and character != "\n" for character in text):
            raise TaskError(f"task {task.id}: the definition holds control characters: {text[:60]!a}")
    _check_shown(task, redact_shapes)


def _check_publishable(task: Task) -> None:
    """Refuse what `check_definition` refuses, and a definition that names this machine or a secret known here."""
    check_definition(task)
    _check_shown(task, redact)


def _check_shown(task: Task, hide: Callable[[Any], Any]) -> None:
    """Raise TaskError if `hide` would change a text of the definition."""
    stated = task.model_dump(mode="json")
    if hide(stated) != stated:
        changed = next((text for text in _iterate_texts(stated) if hide([text]) != [text]), "")
        raise TaskError(
            f"task {task.id}: a definition is published with its runs, and {changed!r} looks like a path or a secret; "
            "write it in other words"
        )


def collect_definitions(tasks: Iterable[Task]) -> dict[str, Task]:
    """Return the definitions that a run of `tasks` writes: of those that are not in the registry, by id."""
    return {task.id: task.with_qrels("cleaned") for task in tasks if not is_registered(task.id)}


def check_definitions(definitions: Mapping[str, Task]) -> Mapping[str, Task]:
    """Return the definitions that a file states, by id, if each may stand there.

    Raises:
        ValueError: A definition is refused by `check_definition`, is of raw judgements, or has another id.
    """
    for task_id, task in definitions.items():
        if task.id != task_id:
            raise ValueError(f"the definition named {task_id} defines {task.id}")
        if task.qrels == "raw":
            raise ValueError(f"the definition of {task_id} has raw judgements, which a result states")
        try:
            check_definition(task)
        except TaskError as error:
            raise ValueError(str(error)) from error
    return definitions


def find_own_task(task_id: str) -> Task | None:
    """Return the task of the user's own with this id: one that was registered, else one of the user's places.

    Raises:
        TaskError: Two places define it differently, or none does and one of them cannot be read.
        DataError: Its data is wrong.
    """
    if task_id not in _tasks and task_id not in _placed:
        _load_places(task_id)
    return _tasks.get(task_id) or _placed.get(task_id)


def find_task_folder(task: Task) -> Path | None:
    """Return the folder of an own task's data; None if this process does not know one with this very content."""
    key = (task.id, task.revision)
    if key not in _folders:
        _load_places(task.id)
    return _folders.get(key)


def require_task_folder(task: Task) -> Path:
    """Return the folder of an own task's data.

    Raises:
        DataError: This process does not know it, or knows only one of another content.
    """
    folder = find_task_folder(task)
    if folder is not None:
        return folder
    other = next(((where, revision) for (task_id, revision), where in _folders.items() if task_id == task.id), None)
    if other is not None:
        raise DataError(
            f"task {task.id}: {other[0]} holds other data (content {other[1][:12]}, not {task.revision[:12]}): it has "
            "changed since the run, which needs the data that it scored"
        )
    raise DataError(f"task {task.id}: its data was not given: {NAME_FOLDER}")


def list_own_tasks() -> list[Task]:
    """Return the tasks that this process knows and those of the user's places, sorted by id."""
    found = {**_load_places(), **_tasks}
    return [found[task_id] for task_id in sorted(found)]


def resolve_task(name: str) -> Task:
    """Return the task that `--task` names: an id, or the path of a task file or a data folder.

    Raises:
        TaskError: There is no such task, or the file is malformed.
        DataError: The folder's data is wrong.
    """
    if name.endswith(".toml") or "/" in name or os.sep in name:
        path = expand_user(name)
        return load_folder_task(path) if is_folder(path) else read_task_file(path)
    return load_task(name)


def open_data(data: str | Path, split: str | None = None, instruction: str = "") -> Task:
    """Return the task of what `--data` names, and make it known to this process.

    Args:
        data: A data folder, or a Hub data set at a commit (`hf://datasets/ORG/NAME@COMMIT`).
        split: The split of the judgements; None is `test`. Only of a Hub data set: a folder states it in its task.toml.
        instruction: The instruction; that of the data, or a general one, if empty.

    Raises:
        DataError: The data is wrong; names file, line and column. A Hub data set is named without a commit.
        TaskError: Its `task.toml` is malformed, or its id is one of the registry's.
    """
    if is_address(str(data)):
        from mrb.data.hub_task import make_hub_task

        address = parse_address(str(data))
        task = register_task(make_hub_task(address) if split is None else make_hub_task(address, split))
    elif split is not None:
        raise DataError(f"{data}: a folder states the split of its judgements: split = {split!r} in {TASK_FILE}")
    else:
        task = load_folder_task(expand_user(str(data)))
    if instruction:
        task = register_task(
            Task.model_validate({**task.model_dump(), "instruction": instruction}), find_task_folder(task)
        )
    return task


def read_task_file(path: Path) -> Task:
    """Return the task of a task file: one with a `[source]` on the Hub, or the `task.toml` of a data folder.

    Raises:
        TaskError: Names the file and the first invalid field.
    """
    stated = read_toml_values(path)
    if "source" not in stated and path.name == TASK_FILE:
        return load_folder_task(path.parent)
    return register_task(_make_task(path, stated))


def _make_task(path: Path, stated: dict[str, Any]) -> Task:
    """Return the task of what a task file states."""
    defaults = {"schema_version": 1, "id": path.stem, "source_measure": HEADLINE_MEASURE}
    stated = {**defaults, "title": stated.get("id", path.stem), **stated}
    if "source" not in stated:
        raise TaskError(f"{path}: has no [source]; the file of a data folder is named {TASK_FILE} and lies in it")
    try:
        task = Task.model_validate(stated)
    except ValidationError as error:
        raise TaskError(f"{path}: {format_first_problem(error)}") from error
    if task.source.kind != "hub":
        raise TaskError(f"{path}: source.kind is {task.source.kind!r}; a task file of your own points to the Hub (hub)")
    return task


def make_own_suite(definitions: Mapping[str, Task]) -> Suite:
    """Return the suite of own tasks, sorted by id: a submission of them has no suite of the registry."""
    return Suite(
        schema_version=1,
        id=OWN_SUITE,
        version="1.0",
        title="Tasks of one's own",
        description="Tasks that are not in the registry; the submission holds their definitions.",
        depth=1,
        track=OWN_SUITE,
        tasks=tuple(sorted(definitions)),
    )


def _load_places(task_id: str | None = None) -> dict[str, Task]:
    """Load the tasks of the user's places, or only the one of this id, and return them by id.

    Raises:
        TaskError: Two tasks have one id; a place cannot be read (not if the wanted task is in another one).
        DataError: The data of a task that is wanted is wrong.
    """
    found: dict[str, tuple[Task, Path]] = {}
    broken: MRBError | None = None
    for place, path in _iterate_places():
        try:
            if task_id not in (None, _read_id(path)):
                continue
        except MRBError as error:
            broken = broken or type(error)(f"{place}: {error}")
            continue
        try:
            task = _read_task(path)
        except MRBError as error:
            raise type(error)(f"{place}: {error}") from error
        other, where = found.setdefault(task.id, (task, path))
        if other.hash != task.hash:
            raise TaskError(
                f"{place}: two tasks are named {task.id!r}: {where} and {path}; give one another id (id = ... in "
                f"{TASK_FILE})"
            )
    if broken is not None and task_id not in found:
        raise broken if task_id is None else TaskError(f"unknown task {task_id!r}, but {broken}")
    _placed.update((task.id, task) for task, _ in found.values())
    return {task.id: task for task, _ in found.values()}


def _read_id(path: Path) -> str:
    """Return the id of the task of a data folder or a task file. No data is read."""
    if path.is_dir():
        from mrb.data.folder_task import name_folder_task, read_folder_definition

        return name_folder_task(path, read_folder_definition(path))
    return str(read_toml_values(path).get("id", path.stem))


def _read_task(path: Path) -> Task:
    """Return the task of a data folder or a task file of a place; it is not registered."""
    if path.is_dir():
        from mrb.data.folder_task import make_folder_task

        task = make_folder_task(path)
        note_folder(task, path)
    else:
        task = _make_task(path, read_toml_values(path))
    _check_publishable(task)
    return task


def _iterate_places() -> Iterator[tuple[str, Path]]:
    """Yield (name of the place, data folder or task file)."""
    for place, folder in _list_places():
        if not is_folder(folder):
            raise TaskError(f"{place}: {folder} is no folder")
        if is_data_folder(folder):
            yield place, folder
            continue
        for path in sorted(folder.iterdir()):
            if (path.suffix == ".toml" and path.is_file()) or (path.is_dir() and is_data_folder(path)):
                yield place, path


def _list_places() -> list[tuple[str, Path]]:
    named = [(PLACES, expand_user(text)) for text in os.environ.get(PLACES, "").split(os.pathsep) if text]
    for entry in entry_points(group=GROUP):
        name = f"entry point {entry.name} of {GROUP}"
        try:
            module = entry.load()
        except Exception as error:
            raise TaskError(f"{name}: cannot be imported: {error}") from error
        places = getattr(module, "__path__", None) or [str(Path(getattr(module, "__file__", "")).parent)]
        named += [(name, Path(place)) for place in places]
    return list({path.resolve(): (place, path.resolve()) for place, path in named}.values())


def _iterate_texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _iterate_texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _iterate_texts(one)
