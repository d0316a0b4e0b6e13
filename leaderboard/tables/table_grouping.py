"""Group runs into tables of comparable results.

Two results of a task compare if task definition, data, candidate list, depth and queries are the same. Runs that differ
in a task that both have go into separate tables, and the page says how they differ. Numbers in one column always
compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from mrb._util.hashing import hash_json
from mrb.candidates.candidate_sets import STANDARD_SET
from mrb.data.task import TYPES, Suite, Task, list_sub_suites, load_suite, load_task
from mrb.errors import MRBError, ResultError
from mrb.results.run import Run, TaskScores, find_conditions
from mrb.results.sub_suites import restrict_run

SAME = 1e-9
_WORDS = {
    "qrels": "whether judgements outside the corpus count (raw) or not (cleaned)",
    "task_hash": "the task's definition",
    "revision": "the data's revision",
    "candidates": "the candidate list",
    "depth": "the depth",
    "selection": "which queries are taken",
    "queries": "the queries",
}


@dataclass(frozen=True)
class Identity:
    """What two results of one task must have in common to share a column. `queries` is a hash over the query ids."""

    task_hash: str
    revision: str
    candidates: str
    depth: int
    selection: str
    queries: str
    qrels: str


@dataclass(frozen=True)
class TableGroup:
    """One table: columns are `tasks`, grouped by type, rows are `runs`.

    `suite` is None for tasks named one by one; there are no averages then, because no suite fixes the list.
    `identities` and `reference` hold the tasks that at least one run covers; `reference` is any run's result, since
    first stage and oracle are the same in all. `differences` says why these runs are not in an earlier table of the
    same suite. `packs` is the folder of judgement packs that the board was built with.
    """

    suite: Suite | None
    tasks: tuple[Task, ...]
    runs: tuple[Run, ...]
    identities: dict[str, Identity]
    reference: dict[str, tuple[Run, TaskScores]]
    differences: tuple[str, ...] = ()
    packs: Path | None = None

    @cached_property
    def task_ids(self) -> tuple[str, ...]:
        """The columns' ids."""
        return tuple(task.id for task in self.tasks)

    @property
    def title(self) -> str:
        """The suite with its version, and the candidate set where the suite has several."""
        if self.suite is None:
            own = any(scores.definition is not None for _, scores in self.reference.values())
            return "Own data" if own else "Tasks outside a suite"
        sets = f", {' and '.join(self.tracks)}" if self.suite.candidate_sets else ""
        return f"{self.suite.title} {self.suite.version}{sets}"

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths that occur; one, unless a run mixed them."""
        return tuple(sorted({identity.depth for identity in self.identities.values()}))

    @property
    def tracks(self) -> tuple[str, ...]:
        """The candidate sets of the lists."""
        return tuple(sorted({scores.result.candidates.track for _, scores in self.reference.values()}))

    @property
    def selections(self) -> tuple[str, ...]:
        """Which queries were scored: "all", "sample", "limit"."""
        return tuple(sorted({identity.selection for identity in self.identities.values()}))

    @property
    def qrels(self) -> tuple[str, ...]:
        """Which judgements count: "cleaned", "raw"."""
        return tuple(sorted({identity.qrels for identity in self.identities.values()}))


@dataclass
class _Draft:
    """A table while runs are being assigned to tables."""

    suite: Suite | None
    runs: list[Run] = field(default_factory=list)
    identities: dict[str, Identity] = field(default_factory=dict)
    conditions: set[tuple[str | int, ...]] = field(default_factory=set)

    def takes(self, run: Run, suite: Suite | None, found: dict[str, Identity]) -> bool:
        if suite is not None and suite != self.suite and not _is_part(suite, self.suite):
            return False
        if suite is None and self.suite is not None and not set(run.record.tasks) <= set(self.suite.tasks):
            return False
        if found and self.identities and _list_conditions(run, self.suite) != self.conditions:
            return False
        return all(self.identities.get(task_id, identity) == identity for task_id, identity in found.items())


def group_runs(runs: Iterable[Run]) -> list[TableGroup]:
    """Return the tables that `runs` need, the largest suite first, of each the most rows; independent of their order.

    Runs of tasks named one by one join a suite's table if they fit. Raises ResultError if a run's suite is not this
    version's, or if two runs disagree on the first stage or the oracle of the same list.
    """
    drafts: list[_Draft] = []
    # Complete runs come first, so that a partial run joins the most complete table; a sub-suite's joins its suite's.
    known = [(run, _load_run_suite(run)) for run in runs]
    for run, suite in sorted(
        known, key=lambda one: (one[1] is None, one[1] is not None and one[1].part_of is not None, _count_first(one[0]))
    ):
        found = identities(run)
        home = next((draft for draft in drafts if draft.takes(run, suite, found)), None)
        if home is None:
            home = _Draft(suite)
            drafts.append(home)
        home.runs.append(run)
        home.identities |= found
        home.conditions |= _list_conditions(run, home.suite)
    drafts.sort(key=_place_draft)
    finished: list[TableGroup] = []
    for draft in drafts:
        table = _make_group(draft)
        finished.append(replace(table, differences=_find_differences(table, finished)))
    return finished


def list_sub_groups(group: TableGroup) -> list[TableGroup]:
    """Return the table of each sub-suite of the table's suite, with the runs that have a result in it."""
    parts = () if group.suite is None else list_sub_suites(group.suite)
    made = []
    for part in parts:
        runs = [restrict_run(run, part) for run in group.runs if not run.tasks.keys().isdisjoint(part.tasks)]
        if not runs:
            continue
        made.append(
            replace(
                group,
                suite=part,
                tasks=tuple(task for task in group.tasks if task.id in part.tasks),
                runs=tuple(runs),
                identities={i: identity for i, identity in group.identities.items() if i in part.tasks},
                reference={i: found for i, found in group.reference.items() if i in part.tasks},
            )
        )
    return made


def make_table_ids(comparisons: Sequence[TableGroup]) -> list[str]:
    """Return each table's id in addresses, e.g. `mrb-100`: suite, depth, and whatever differs from the defaults.

    An id does not depend on what else is on the board. Only if tables differ in nothing but hashes (another list or
    revision), all but the one with this version's definitions get a hash of their columns appended.
    """
    words = [_describe_group(table) for table in comparisons]
    ids: list[str] = []
    for table, name in zip(comparisons, words, strict=True):
        rivals = [other for other, word in zip(comparisons, words, strict=True) if word == name]
        if rivals and table is not min(rivals, key=lambda one: (not _is_current(one), _hash_columns(one))):
            name += f"-{_hash_columns(table)[:8]}"
        ids.append(name)
    return ids


def _place_draft(draft: _Draft) -> tuple[int, str, int]:
    suite = draft.suite
    return -len(suite.tasks) if suite else 1, suite.id if suite else "", -len(draft.runs)


def _count_first(run: Run) -> tuple[int, str]:
    return -len(run.tasks), run.name


def _is_part(suite: Suite, other: Suite | None) -> bool:
    return other is not None and (suite.part_of, suite.version) == (other.id, other.version)


def _describe_group(table: TableGroup) -> str:
    usual = "all" if table.suite is None or table.suite.sample is None else "sample"
    parts = [table.suite.id if table.suite else "single", *map(str, table.depths)]
    parts += [track for track in table.tracks if track != (table.suite.track if table.suite else STANDARD_SET)]
    parts += [selection for selection in table.selections if selection != usual]
    parts += ["raw"] if "raw" in table.qrels else []
    return "-".join(re.sub(r"[^a-z0-9]+", "-", part.lower()).strip("-") for part in parts)


def _is_current(table: TableGroup) -> bool:
    """Return whether every column has this version's definitions and data."""
    columns = {task.id: task for task in table.tasks}
    return all(
        (identity.task_hash, identity.revision) == (task.hash, task.revision)
        for task_id, identity in table.identities.items()
        for task in (columns[task_id].with_qrels("raw" if identity.qrels == "raw" else "cleaned"),)
    )


def _hash_columns(table: TableGroup) -> str:
    return hash_json({task_id: asdict(identity) for task_id, identity in sorted(table.identities.items())})


def identities(run: Run) -> dict[str, Identity]:
    """Return the identity of each task that the run covers."""
    return {task_id: _read_identity(scores) for task_id, scores in run.tasks.items()}


def _read_identity(scores: TaskScores) -> Identity:
    result = scores.result
    return Identity(
        task_hash=result.task_hash,
        revision=result.data.revision,
        candidates=result.candidates.sha256,
        depth=result.candidates.depth,
        selection=result.data.selection,
        queries=scores.queries,
        qrels=result.data.qrels,
    )


def _list_conditions(run: Run, suite: Suite | None) -> set[tuple[str | int, ...]]:
    """Return the conditions of the run's results; single tasks, which have no average, may be of several sets."""
    found = (find_conditions(scores.result) for scores in run.tasks.values())
    return {conditions if suite is not None else conditions[1:] for conditions in found}


def _load_run_suite(run: Run) -> Suite | None:
    record = run.record
    if record.suite is None:
        return None
    try:
        suite = load_suite(record.suite)
    except MRBError as error:
        raise ResultError(f"{run.folder}: {error}") from error
    if suite.version != record.suite_version:
        raise ResultError(
            f"{run.folder}: ran suite {suite.id} {record.suite_version}, this version of MRB has {suite.version}; "
            "run it again, or build its board with the version that ran it"
        )
    outside = set(record.tasks) - set(suite.tasks)
    if outside:
        raise ResultError(f"{run.folder}: task {min(outside)!r} is not in suite {suite.id}, which the run names")
    return suite


def _make_group(draft: _Draft) -> TableGroup:
    # Types have a fixed order, in which families are adjacent too.
    listed = draft.suite.tasks if draft.suite else sorted({i for run in draft.runs for i in run.record.tasks})
    reference: dict[str, tuple[Run, TaskScores]] = {}
    for run in draft.runs:
        for task_id, scores in run.tasks.items():
            earlier = reference.setdefault(task_id, (run, scores))
            _check_same_list(earlier, (run, scores), task_id)
    # A run that covers the task comes first: two runs may define an own task differently where one does not cover it.
    having = {task_id: run for run in reversed(draft.runs) for task_id in run.record.tasks}
    having |= {task_id: run for task_id, (run, _) in reference.items()}
    columns = [having[i].get_task(i) if i in having else load_task(i) for i in listed]
    tasks = sorted(columns, key=lambda task: TYPES.index(task.type))
    return TableGroup(draft.suite, tuple(tasks), tuple(draft.runs), draft.identities, reference)


def _check_same_list(one: tuple[Run, TaskScores], other: tuple[Run, TaskScores], task_id: str) -> None:
    """Check that the same list on the same queries has one first-stage score and one oracle, whoever reranked it."""
    for row in ("first_stage", "oracle"):
        mine, theirs = getattr(one[1].result, row), getattr(other[1].result, row)
        for measure in mine.keys() & theirs.keys():
            if abs(mine[measure].mean - theirs[measure].mean) > SAME:
                raise ResultError(
                    f"{other[0].folder}: {row} {measure} of {task_id} is {theirs[measure].mean}, but "
                    f"{mine[measure].mean} in {one[0].folder}, on the same list and queries; one of the two is wrong"
                )


def _find_differences(table: TableGroup, earlier: list[TableGroup]) -> tuple[str, ...]:
    """Return how `table` differs from the first earlier one of the same suite, a phrase per field."""
    first = next((one for one in earlier if one.suite == table.suite), None)
    if first is None:
        return ()
    found: dict[str, list[str]] = {}
    shared = [task_id for task_id in table.task_ids if task_id in table.identities and task_id in first.identities]
    for task_id in shared:
        for name, value in asdict(table.identities[task_id]).items():
            if value != getattr(first.identities[task_id], name):
                found.setdefault(name, []).append(task_id)
    if "selection" in found:
        found.pop("queries", None)
    if "qrels" in found:  # the definition's hash and the judged queries follow from it
        found.pop("task_hash", None)
        found.pop("queries", None)
    return tuple(f"{words} ({_list_some(found[name], len(shared))})" for name, words in _WORDS.items() if name in found)


def _list_some(task_ids: list[str], of: int) -> str:
    if len(task_ids) == of > 1:
        return f"all {of} shared tasks"
    return ", ".join(task_ids) if len(task_ids) <= 3 else f"{', '.join(task_ids[:2])} and {len(task_ids) - 2} more"
