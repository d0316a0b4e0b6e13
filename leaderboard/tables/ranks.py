"""Rank bounds and the intervals of gains, from paired values per query, as `mrb compare` computes them.

Both are computed once over the whole table, so that filters do not change them, and only if every query's value is
available: nothing is estimated from means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from mrb.leaderboard.tables.cells import CellText, make_blank
from mrb.leaderboard.tables.per_query_cache import compute_first_stage_values, explain_missing_values
from mrb.leaderboard.tables.rows import Table
from mrb.metrics.measures import HEADLINE
from mrb.metrics.significance import Difference, PairedTests, RankBounds, bound_ranks
from mrb.metrics.statistics import TaskSample
from mrb.results.compare import sample_runs


@dataclass(frozen=True)
class Rank:
    """A run's rank bounds; None if there is no rank, with the reason in `note`."""

    bounds: RankBounds | None
    note: str = ""

    @property
    def shown(self) -> CellText:
        """The rank as a cell: "2", "1–3", or a blank with its reason."""
        return make_blank(self.note) if self.bounds is None else CellText(float(self.bounds.best), str(self.bounds))

    def as_json(self) -> list[int | None]:
        """Return the best and the worst rank."""
        return [None, None] if self.bounds is None else [self.bounds.best, self.bounds.worst]


@dataclass(frozen=True)
class Standing:
    """A table's ranks by run, and, for runs that have them, the gains over the first stage in the headline's average
    over types.
    """

    ranks: dict[str, Rank]
    gains: dict[str, Difference]

    @property
    def ranked(self) -> int:
        """The number of runs that have a rank."""
        return sum(rank.bounds is not None for rank in self.ranks.values())


def rank_runs(table: Table) -> Standing:
    """Return the ranks by the headline's average over types, which needs every task of a suite, and the gains."""
    task_ids = table.comparison.task_ids
    if table.comparison.suite is None:
        return Standing({run.name: Rank(None, "no average") for run in table.runs}, {})
    ranks = {run.name: Rank(None, explain_missing_values(run, task_ids)) for run in table.runs}
    ranked = [run for run in table.runs if not ranks[run.name].note]
    if not ranked:
        return Standing(ranks, {})
    samples = sample_runs(ranked, task_ids, str(HEADLINE))
    with_first = _add_first_stage(table, samples)
    tests = PairedTests(with_first or samples)
    count = len(ranked)
    bounds = bound_ranks(count, tests.test_average("types", list(combinations(range(count), 2))))
    ranks |= {run.name: Rank(own) for run, own in zip(ranked, bounds, strict=True)}
    if with_first is None:
        return Standing(ranks, {})
    gains = tests.test_average("types", [(count, column) for column in range(count)])
    return Standing(ranks, dict(zip([run.name for run in ranked], gains.values(), strict=True)))


def _add_first_stage(table: Table, samples: Sequence[TaskSample]) -> list[TaskSample] | None:
    """Return the samples with the first stage as a last column; None if its values of any task are not available."""
    found = []
    for sample in samples:
        first = compute_first_stage_values(table.comparison, sample.task_id)
        if first is None:
            return None
        found.append(replace(sample, values=np.column_stack((sample.values, first))))
    return found
