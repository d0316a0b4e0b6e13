"""Gains over several first stages, where models of one suite were run on the lists of several candidate sets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mrb._util.hashing import hash_json
from mrb.data.task import load_suite
from mrb.errors import ResultError
from mrb.results.first_stages import FirstStageGains, GainRow, RerankerGains, check_gains, compute_gains, find_run_set
from mrb.results.run import Run


@dataclass(frozen=True)
class GainTable:
    """The gains of the runs of one suite (None: of single tasks). `left_out` are runs with the reason why."""

    suite: str | None
    gains: FirstStageGains
    left_out: tuple[tuple[str, str], ...]

    @property
    def id(self) -> str:
        """The id of its section, which is also the start of those of its tables."""
        return f"gains-{(self.suite or 'single').replace('.', '-')}-{'-'.join(map(str, self.gains.depths))}"

    @property
    def title(self) -> str:
        """The suite's title."""
        return "Tasks outside a suite" if self.suite is None else load_suite(self.suite).title

    @property
    def labels(self) -> tuple[str, ...]:
        """The averages that any model has, then the tasks."""
        averages = dict.fromkeys(row.label for one in self.gains.rerankers for row in one.averages if row.gains)
        return (*averages, *self.task_ids)

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The tasks that any model has."""
        return tuple(dict.fromkeys(row.label for one in self.gains.rerankers for row in one.tasks))

    def list_rows(self, label: str) -> list[tuple[RerankerGains, GainRow]]:
        """Return the models with a value in this row, the largest mean gain first, those without a mean last."""
        found = [(one, row) for one in self.gains.rerankers for row in one.rows if row.label == label and row.gains]
        return sorted(
            found,
            key=lambda pair: (pair[1].spread is None, -(pair[1].spread.mean if pair[1].spread else 0.0), pair[0].name),
        )

    def find_first_stages(self, label: str) -> dict[str, float]:
        """Return the mean of each set's first stage; of an average, as far as a model has all tasks."""
        return {gain.candidate_set: gain.first_stage for _, row in self.list_rows(label) for gain in row.gains}


def make_gain_tables(runs: Iterable[Run]) -> list[GainTable]:
    """Return a table for each suite, depth and choice of queries with runs on at least two candidate sets.

    A run that does not compare with the others of its table is left out of it, and the table says so; a run on several
    sets is left out of the tables of its suite.
    """
    mixed: dict[str | None, list[tuple[str, str]]] = {}
    groups: dict[tuple[str | None, tuple[tuple[int, str, str], ...]], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (-len(run.tasks), run.name)):
        results = [scores.result for scores in run.tasks.values()]
        sets = sorted({result.candidates.track for result in results})
        if len(sets) > 1:
            mixed.setdefault(run.record.suite, []).append((run.name, f"its lists belong to {', '.join(sets)}"))
        elif sets:
            alike = {(result.candidates.depth, result.data.selection, result.data.qrels) for result in results}
            groups.setdefault((run.record.suite, tuple(sorted(alike))), []).append(run)
    found = []
    for (suite, _), members in groups.items():
        kept, left_out = _keep_comparable(members)
        if len({find_run_set(run) for run in kept}) > 1:
            found.append(GainTable(suite, compute_gains(kept), (*left_out, *mixed.get(suite, ()))))
    return sorted(found, key=lambda table: (table.suite is None, table.id))


def _keep_comparable(runs: Iterable[Run]) -> tuple[list[Run], list[tuple[str, str]]]:
    """Return the runs that compare with those before, and the others with the reason; one run of a model a set."""
    kept: list[Run] = []
    left_out: list[tuple[str, str]] = []
    taken: dict[tuple[str, str], str] = {}
    for run in runs:
        place = hash_json(run.record.reranker.identity()), find_run_set(run)
        if place in taken:
            left_out.append((run.name, f"the same model on the same lists as {taken[place]}"))
            continue
        try:
            check_gains([*kept, run])
        except ResultError as error:
            left_out.append((run.name, str(error)))
            continue
        taken[place] = run.name
        kept.append(run)
    return kept, left_out
