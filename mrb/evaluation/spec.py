"""The specification of a run: which tasks, queries and candidates are scored, by which reranker, into which folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mrb._util.files import name_run
from mrb.candidates.lists import read_provenance
from mrb.candidates.own_lists import find_own_list
from mrb.data.own_tasks import find_task_folder, note_folder, resolve_task
from mrb.data.task import TYPES, Sample, Suite, Task, is_registered, load_suite
from mrb.errors import MRBError, TaskError

DEFAULT_SUITE = "mini"
DEFAULT_DEPTH = 100
MAX_SHARDS = 100_000


@dataclass(frozen=True)
class TaskSpec:
    """What is scored of one task. Worker processes load the same plan from it as the run's process.

    `candidates` is a candidate list or a folder of lists, None for the frozen list or that of an own task's folder.
    `limit` takes only the first queries; `sample` is a suite's fixed sample. `folder` is where the data of an own task
    lies, which its definition must not say; it is filled in where the process knows it.
    """

    task: Task
    depth: int
    candidates: Path | None = None
    limit: int | None = None
    sample: Sample | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.folder is None and self.task.source.kind == "folder":
            object.__setattr__(self, "folder", find_task_folder(self.task))

    def make_known(self) -> None:
        """Tell this process, which may be a worker's, where an own task's data lies: `load_task_data` finds it."""
        if self.folder is not None:
            note_folder(self.task, self.folder)


@dataclass(frozen=True)
class Shard:
    """Shard `number` (from 1) of `of` shards of a run's queries."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def folder(self) -> str:
        """Name of the folder that the shard is written into."""
        return f"{self.number}-of-{self.of}"


@dataclass(frozen=True)
class RunSpec:
    """A run: the tasks in order, and the options of `mrb run`.

    `suite` is None if tasks were named singly. `candidate_set` names the set of the lists, where the run's folder is to
    be named after it too. `pulled` maps a task to the Hub address of the list that was pulled for
    it. With a `shard`, only its queries are scored, into a folder of their own.
    """

    tasks: tuple[Task, ...]
    suite: Suite | None
    depth: int
    candidates: Path | None = None
    limit: int | None = None
    model: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    out: Path = Path("runs")
    name: str | None = None
    pulled: Mapping[str, str] = field(default_factory=dict)
    candidate_set: str | None = None
    shard: Shard | None = None
    fresh: bool = False
    allow_failures: int = 0
    command: Sequence[str] = ()

    @property
    def sample(self) -> Sample | None:
        """The suite's sample of the queries, None for all queries."""
        return self.suite.sample if self.suite else None

    def choose_folder(self, reranker: str) -> Path:
        """Return the run's folder, named after the run or the reranker, and after the candidate set if one is named."""
        return self.out / name_run(self.name or reranker, self.candidate_set)

    def task_spec(self, task: Task) -> TaskSpec:
        """Return the specification of one of the tasks."""
        return TaskSpec(task, self.depth, self.candidates, self.limit, self.sample)


def select_tasks(
    suite_id: str | None,
    task_ids: Sequence[str],
    types: Sequence[str],
    depth: int | None,
    qrels: Literal["cleaned", "raw"] = "cleaned",
    own: Sequence[Task] = (),
) -> RunSpec:
    """Return a run of the tasks that `--suite`, `--task` and `--type` name; all else has its default.

    Args:
        suite_id: The suite; if None and no task is named, the suite `mini`.
        task_ids: Tasks, which must be in the suite if one is named; if empty, all tasks of the suite. An own task is
            named by its id or by the path of its file or folder.
        types: Keep only tasks of these types; if empty, all types.
        depth: The depth; if None, the suite's. Without a suite: the depth of `mini` for embedded tasks only, else 100,
            or that of the shallowest list of the own tasks' folders.
        qrels: Which judgements to use.
        own: Tasks of the user's own (`mrb.data.own_tasks`), besides those that are named.

    Raises:
        TaskError: A suite, task or type is unknown, a task is not in the suite, or no task is left.
    """
    unknown = [name for name in types if name not in TYPES]
    if unknown:
        raise TaskError(f"unknown task type {unknown[0]!r}; there are: {', '.join(TYPES)}")
    suite = load_suite(suite_id or DEFAULT_SUITE) if suite_id or not (task_ids or own) else None
    if suite is not None and own:
        raise TaskError(f"task {own[0].id!r} is your own and in no suite: give either --suite or --data")
    if suite is not None:
        outside = [task_id for task_id in task_ids if task_id not in suite.tasks]
        if outside:
            raise TaskError(
                f"task {outside[0]!r} is not in suite {suite.id!r}; `mrb tasks --suite {suite.id}` lists it"
            )
    wanted = list(dict.fromkeys(task_ids)) or list(suite.tasks if suite else ())
    found = [*map(resolve_task, wanted), *own]
    twice = next(
        (task.id for number, task in enumerate(found) if task.id in {other.id for other in found[:number]}), ""
    )
    if twice:
        raise TaskError(f"two tasks are named {twice!r}; give one of the folders another id (id = ... in task.toml)")
    tasks = tuple(task.with_qrels(qrels) for task in found if not types or task.type in types)
    if not tasks:
        raise TaskError(f"no task is left: none of {len(found)} has type {' or '.join(types)}")
    return RunSpec(tasks, suite, depth or _find_default_depth(suite, tasks))


def parse_shard(text: str | None) -> Shard | None:
    """Parse the value of `--shard I/N`; None stays None. MRBError if it is malformed or I is not in 1..N."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of <= MAX_SHARDS:
        raise MRBError(f"--shard {text}: wanted I/N, shard I (from 1) of N shards")
    return Shard(number, of)


def _find_default_depth(suite: Suite | None, tasks: Sequence[Task]) -> int:
    if suite is not None:
        return suite.depth
    depths = [
        read_provenance(path).depth
        for path in (find_own_list(task) for task in tasks if not is_registered(task.id))
        if path
    ]
    shipped = [task.id for task in tasks if task.source.kind == "embedded"]
    if shipped and len(shipped) < len(tasks) and any(not is_registered(task.id) for task in tasks):
        raise TaskError(
            f"{shipped[0]} and your own data have different depths by default; give --depth, or run two "
            "commands, each with a --name"
        )
    return load_suite(DEFAULT_SUITE).depth if shipped == [task.id for task in tasks] else min([DEFAULT_DEPTH, *depths])
