"""Tasks of the user's own: outside the registry, in a folder or in a Hub repository.

A process knows its own tasks by `register_task`, which `load_folder_task` and `read_task_file` call, and by the places
that the user names once: the environment variable MRB_TASKS (folders, separated like PATH) and packages with an entry
point in the group `mrb.tasks`. A definition holds no path. Where the data lies is known to this process only, and goes
to worker processes in `mrb.evaluation.spec.TaskSpec`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from pydantic import ValidationError

from mrb._util.files import parse_toml
from mrb._util.home import expand_user
from mrb._util.redact import redact
from mrb.data.folder_files import TASK_FILE, is_data_folder
from mrb.data.task import HEADLINE_MEASURE, Suite, Task, is_registered, load_task
from mrb.errors import DataError, TaskError, format_first_problem
from mrb.hub.address import is_address, parse_address

PLACES = "MRB_TASKS"
"""The environment variable: folders of task files, or data folders, separated by `os.pathsep`."""
GROUP = "mrb.tasks"
"""The entry-point group: each entry is a package, or a module, whose folder holds task files or data folders."""
NAME_FOLDER = f"name it with --data FOLDER or the environment variable {PLACES}"
"""What to do where the data of a task of one's own is not known; the end of an error."""
OWN_SUITE = "own"
"""The suite that a submission of own tasks names."""
MAX_DEFINITION_BYTES = 1024 * 1024

_tasks: dict[str, Task] = {}
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
    check_definition(task)
    _tasks[task.id] = task
    if folder is not None:
        _folders[task.id, task.revision] = folder.resolve()
    return task


def check_definition(task: Task) -> None:
    """Refuse a definition that cannot travel in a run's files.

    Raises:
        TaskError: The id is one of the registry's, the data would be looked for in the package, or a text has control
            characters, a private path or a secret.
    """
    if is_registered(task.id):
        raise TaskError(
            f"task {task.id!r} is one of the registry's; give your own another id (id = ... in {TASK_FILE})"
        )
    if task.source.kind == "embedded" or task.candidates is not None:
        raise TaskError(f"task {task.id}: only the registry's tasks have embedded data or a frozen list")
    stated = task.model_dump(mode="json")
    for text in _iterate_texts(stated):
        if any(not character.isprintable() and character != "\n" for character in text):
            raise TaskError(f"task {task.id}: the definition holds control characters: {text[:60]!a}")
    if redact(stated) != stated:
        changed = next((text for text in _iterate_texts(stated) if redact([text]) != [text]), "")
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
            raise ValueError(f"the definition of {task_id} is of task {task.id}")
        if task.qrels == "raw":
            raise ValueError(f"the definition of {task_id} has raw judgements, which a result states")
        try:
            check_definition(task)
        except TaskError as error:
            raise ValueError(str(error)) from error
    return definitions


def find_own_task(task_id: str) -> Task | None:
    """Return the task of the user's own with this id: one that was registered, else one of the user's places."""
    if task_id not in _tasks:
        for task in _iterate_places():
            if task.id == task_id:
                break
    return _tasks.get(task_id)


def find_task_folder(task: Task) -> Path | None:
    """Return the folder of an own task's data; None if this process does not know one with this very content."""
    key = (task.id, task.revision)
    if key not in _folders:
        find_own_task(task.id)
        if key not in _folders:
            for found in _iterate_places():
                if (found.id, found.revision) == key:
                    break
    return _folders.get(key)


def require_task_folder(task: Task) -> Path:
    """Return the folder of an own task's data.

    Raises:
        DataError: This process does not know it, or knows only one of another content.
    """
    folder = find_task_folder(task)
    if folder is not None:
        return folder
    other = next((where for (task_id, _), where in _folders.items() if task_id == task.id), None)
    if other is not None:
        raise DataError(
            f"task {task.id}: {other} holds other data (content {_tasks[task.id].revision[:12]}, not "
            f"{task.revision[:12]}); what was scored belongs to the data of then"
        )
    raise DataError(f"task {task.id}: its data is a folder that is not known here: {NAME_FOLDER}")


def list_own_tasks() -> list[Task]:
    """Return the tasks that this process knows and those of the user's places, sorted by id."""
    for _ in _iterate_places():
        pass
    return [_tasks[task_id] for task_id in sorted(_tasks)]


def resolve_task(name: str) -> Task:
    """Return the task that `--task` names: an id, or the path of a task file or a data folder.

    Raises:
        TaskError: There is no such task, or the file is malformed.
        DataError: The folder's data is wrong.
    """
    if name.endswith(".toml") or "/" in name or os.sep in name:
        path = expand_user(name)
        return load_folder_task(path) if path.is_dir() else read_task_file(path)
    return load_task(name)


def open_data(data: str | Path) -> Task:
    """Return the task of what `--data` names, and make it known to this process.

    Args:
        data: A data folder, or a Hub data set at a commit (`hf://datasets/ORG/NAME@COMMIT`).

    Raises:
        DataError: The data is wrong; names file, line and column. A Hub data set is named without a commit.
        TaskError: Its `task.toml` is malformed, or its id is one of the registry's.
    """
    if is_address(str(data)):
        from mrb.data.hub_task import make_hub_task

        return register_task(make_hub_task(parse_address(str(data))))
    return load_folder_task(expand_user(str(data)))


def read_task_file(path: Path) -> Task:
    """Return the task of a task file: one with a `[source]` on the Hub, or the `task.toml` of a data folder.

    Raises:
        TaskError: Names the file and the first invalid field.
    """
    try:
        if path.stat().st_size > MAX_DEFINITION_BYTES:
            raise TaskError(f"{path}: larger than {MAX_DEFINITION_BYTES} bytes")
        stated = parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TaskError(f"{path}: not valid TOML: {error}") from error
    if "source" not in stated:
        if path.name != TASK_FILE:
            raise TaskError(f"{path}: has no [source]; the file of a data folder is named {TASK_FILE} and lies in it")
        return load_folder_task(path.parent)
    defaults = {"schema_version": 1, "id": path.stem, "source_measure": HEADLINE_MEASURE}
    stated = {**defaults, "title": stated.get("id", path.stem), **stated}
    try:
        task = Task.model_validate(stated)
    except ValidationError as error:
        raise TaskError(f"{path}: {format_first_problem(error)}") from error
    if task.source.kind != "hub":
        raise TaskError(f"{path}: source.kind is {task.source.kind!r}; a task file of your own points to the Hub (hub)")
    return register_task(task)


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


def _iterate_places() -> Iterator[Task]:
    """Yield the tasks of MRB_TASKS and of packages; each is registered. TaskError names the place that is wrong."""
    for folder in _list_places():
        if not folder.is_dir():
            raise TaskError(f"{PLACES}: {folder} is no folder")
        if is_data_folder(folder):
            yield load_folder_task(folder)
            continue
        for path in sorted(folder.iterdir()):
            if path.suffix == ".toml" and path.is_file():
                yield read_task_file(path)
            elif path.is_dir() and is_data_folder(path):
                yield load_folder_task(path)


def _list_places() -> list[Path]:
    named = [expand_user(text) for text in os.environ.get(PLACES, "").split(os.pathsep) if text]
    for entry in entry_points(group=GROUP):
        try:
            module = entry.load()
        except Exception as error:
            raise TaskError(f"entry point {entry.name} of {GROUP}: cannot be imported: {error}") from error
        places = getattr(module, "__path__", None) or [str(Path(getattr(module, "__file__", "")).parent)]
        named += [Path(place) for place in places]
    return list(dict.fromkeys(path.resolve() for path in named))


def _iterate_texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _iterate_texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _iterate_texts(one)
