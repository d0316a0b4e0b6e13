"""What rerankers add to several first stages: the gain on each candidate set, its mean and its spread over the sets.

`mrb compare` compares runs on the same lists only. Here the lists differ on purpose, so only gains are put side by
side: each is the reranker's mean minus that of the list's own order, on the same queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from mrb._util.files import name_run
from mrb._util.hashing import hash_json
from mrb.data.task import load_suite
from mrb.errors import ResultError
from mrb.metrics.measures import HEADLINE
from mrb.results.compare import check_comparable
from mrb.results.run import Average, Run, TaskScores, average_over_tasks, average_over_types, list_averaged_tasks
from mrb.results.schema import Interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SetGain:
    """One candidate set: the means (fractions) of the first stage and of the reranker, which has an interval."""

    candidate_set: str
    first_stage: float
    own: Interval

    @property
    def gain(self) -> float:
        """The reranker's mean minus the first stage's."""
        return self.own.mean - self.first_stage


@dataclass(frozen=True)
class Spread:
    """The gain over several candidate sets: mean, standard deviation (n - 1), least and greatest, and how many sets."""

    mean: float
    sd: float
    low: float
    high: float
    sets: int


@dataclass(frozen=True)
class GainRow:
    """A task, or an average (then `type` is empty), of one reranker.

    `gains` are those of the sets that the reranker has, in the order of `FirstStageGains.sets`; `of` is the number of
    sets. `spread` is None unless all of two or more sets are there: there are no averages of incomplete sets.
    """

    label: str
    type: str
    gains: tuple[SetGain, ...]
    of: int

    @property
    def spread(self) -> Spread | None:
        """Mean and spread of the gain over the sets."""
        values = [one.gain for one in self.gains]
        if len(values) < max(2, self.of):
            return None
        return Spread(fmean(values), stdev(values), min(values), max(values), len(values))


@dataclass(frozen=True)
class RerankerGains:
    """The rows of one reranker: its tasks, then its averages. `runs` has the name of its run on each candidate set."""

    name: str
    runs: Mapping[str, str]
    tasks: tuple[GainRow, ...]
    averages: tuple[GainRow, ...]

    @property
    def rows(self) -> tuple[GainRow, ...]:
        """The tasks, then the averages."""
        return (*self.tasks, *self.averages)


@dataclass(frozen=True)
class FirstStageGains:
    """Gains of rerankers over the first stages of several candidate sets, by one measure."""

    measure: str
    sets: tuple[str, ...]
    depths: tuple[int, ...]
    selections: tuple[str, ...]
    rerankers: tuple[RerankerGains, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each reranker, task or average, and candidate set, then one of all sets together.

        Columns: `reranker`, `task`, `type`, `measure`, `candidate_set` (empty in the row of all sets); as fractions
        `first_stage`, `mean`, `low` and `high` (the reranker's, and its 95 % interval) and `gain`; of all sets `gain`
        (the mean), `sd`, `least`, `greatest` and the number of `sets`.
        """
        import pandas as pd

        return pd.DataFrame(list(list_gain_rows(self)), columns=list(GAIN_COLUMNS)).astype({"sets": "Int64"})

    def __str__(self) -> str:
        """Return the tables that `mrb compare --first-stages` prints."""
        from mrb.results.first_stages_table import format_gains

        return "\n".join(format_gains(self))

    def __repr__(self) -> str:
        return f"<{self.measure} gains of {len(self.rerankers)} rerankers over {', '.join(self.sets)}>"


GAIN_COLUMNS = (
    "reranker", "task", "type", "measure", "candidate_set", "first_stage", "mean", "low", "high", "gain",
    "sd", "least", "greatest", "sets",
)  # fmt: skip


def compute_gains(runs: Sequence[Run], measure: str = str(HEADLINE)) -> FirstStageGains:
    """Compute the gains of runs over their first stages.

    Args:
        runs: Each is of one candidate set. Runs of the same reranker, by its name, options and version, are one row.
        measure: The measure.

    Raises:
        ResultError: A run mixes candidate sets, a reranker has two runs on one set, results are not comparable
            (definition, data, queries, depth; within a set also the list), or a result lacks the measure.
    """
    if not runs:
        raise ResultError("gains over first stages need at least one run")
    by_reranker: dict[str, dict[str, Run]] = {}
    for run in runs:
        own, name = by_reranker.setdefault(hash_json(run.record.reranker.identity()), {}), find_run_set(run)
        if name in own:
            raise ResultError(
                f"{own[name].where} and {run.where}: both are runs of one reranker on candidate set {name}"
            )
        own[name] = run
    check_gains(runs, measure)
    sets = _list_sets(runs)
    tasks = _list_tasks(runs)
    results = [scores.result for run in runs for scores in run.tasks.values()]
    names = _name_rerankers(list(by_reranker.values()))
    return FirstStageGains(
        measure,
        sets,
        tuple(sorted({result.candidates.depth for result in results})),
        tuple(sorted({result.data.selection for result in results})),
        tuple(
            RerankerGains(
                name,
                {candidate_set: run.name for candidate_set, run in own.items()},
                tuple(_make_task_rows(own, sets, tasks, measure)),
                _make_averages(runs, own, sets, tasks, measure),
            )
            for name, own in zip(names, by_reranker.values(), strict=True)
        ),
    )


def find_run_set(run: Run) -> str:
    """Return the candidate set of a run's lists. ResultError if they are of several, or the run has no result."""
    sets = {scores.result.candidates.track for scores in run.tasks.values()}
    if len(sets) != 1:
        raise ResultError(
            f"{run.where}: its lists belong to {', '.join(sorted(sets)) or 'no candidate set'}; wanted one set"
        )
    return sets.pop()


def list_gain_rows(gains: FirstStageGains) -> Iterator[dict[str, object]]:
    """Yield {column: value} for each row of `FirstStageGains.to_frame`; numbers are fractions."""
    for reranker in gains.rerankers:
        for row in reranker.rows:
            about = {"reranker": reranker.name, "task": row.label, "type": row.type, "measure": gains.measure}
            for one in row.gains:
                yield {
                    **about, "candidate_set": one.candidate_set, "first_stage": one.first_stage, "mean": one.own.mean,
                    "low": one.own.low, "high": one.own.high, "gain": one.gain,
                }  # fmt: skip
            if (spread := row.spread) is not None:
                yield {
                    **about, "candidate_set": "", "gain": spread.mean, "sd": spread.sd, "least": spread.low,
                    "greatest": spread.high, "sets": spread.sets,
                }  # fmt: skip


def check_gains(runs: Sequence[Run], measure: str = str(HEADLINE)) -> None:
    """Refuse runs with results of a task that differ in more than the list, or on one set in the list too.

    Raises:
        ResultError: Names the task, the runs and the first difference.
    """
    by_task: dict[str, list[tuple[str, TaskScores]]] = {}
    for run in runs:
        for task_id, scores in run.tasks.items():
            by_task.setdefault(task_id, []).append((run.name, scores))
    for found in by_task.values():
        check_comparable([name for name, _ in found], [scores for _, scores in found], measure, lists=False)
        by_set: dict[str, list[tuple[str, TaskScores]]] = {}
        for name, scores in found:
            by_set.setdefault(scores.result.candidates.track, []).append((name, scores))
        for same in by_set.values():
            check_comparable([name for name, _ in same], [scores for _, scores in same], measure)


def _list_sets(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the sets that an average must cover: those of the runs' suite, and any others that a run is on."""
    suites = {run.record.suite for run in runs}
    known = load_suite(suite_id).candidate_sets if len(suites) == 1 and (suite_id := suites.pop()) is not None else ()
    return tuple(dict.fromkeys([*known, *sorted(find_run_set(run) for run in runs)]))


def _list_tasks(runs: Sequence[Run]) -> tuple[str, ...]:
    """Return the tasks that an average must cover: of the runs' suites, or those that any run without a suite has."""
    return tuple(dict.fromkeys(task_id for run in runs for task_id in list_averaged_tasks(run)))


def _name_rerankers(groups: Sequence[Mapping[str, Run]]) -> list[str]:
    """Return a name for each reranker: its run's, without the set; numbered where two are equal."""
    names = []
    for own in groups:
        name, run = next(iter(own.items()))
        suffix = name_run("", name)  # a submission's name is ORGANISATION__MODEL__VARIANT, which may be the set
        names.append(run.name.removesuffix(suffix).removesuffix(suffix.replace("--", "__", 1)) or run.name)
    return [
        name if (number := names[:place].count(name)) == 0 else f"{name} ({number + 1})"
        for place, name in enumerate(names)
    ]


def _make_task_rows(
    own: Mapping[str, Run], sets: Sequence[str], tasks: Sequence[str], measure: str
) -> Iterator[GainRow]:
    for task_id in tasks:
        having = {name: own[name].tasks[task_id] for name in sets if name in own and task_id in own[name].tasks}
        if not having:
            continue
        gains = tuple(
            SetGain(name, scores.result.first_stage[measure].mean, scores.result.measures[measure])
            for name, scores in having.items()
        )
        yield GainRow(task_id, next(iter(having.values())).task.type, gains, len(sets))


def _make_averages(
    runs: Sequence[Run], own: Mapping[str, Run], sets: Sequence[str], tasks: Sequence[str], measure: str
) -> tuple[GainRow, ...]:
    """Return the averages over tasks and over types, of the sets on which the reranker has every task."""
    # A run without a task may not know its definition: another has it.
    having = {task_id: run for run in runs for task_id in run.record.tasks}
    having |= {task_id: run for run in runs for task_id in run.tasks}
    types = {(having.get(task_id) or runs[0]).get_task(task_id).type for task_id in tasks}
    rows = []
    for over, average, count in (
        ("tasks", average_over_tasks, len(tasks)),
        ("types", average_over_types, len(types)),
    ):
        gains = []
        for name in sets:
            if name not in own or not own[name].tasks.keys() >= set(tasks):
                continue
            first: Average = average(own[name], tasks, measure, "first_stage")
            mean: Average = average(own[name], tasks, measure, "measures")
            if first.mean is not None and mean.interval is not None:
                gains.append(SetGain(name, first.mean, mean.interval))
        if count > 1:
            rows.append(GainRow(f"average over {count} {over}", "", tuple(gains), len(sets)))
    return tuple(rows)
