"""Positions by the average, rank bounds and the intervals of gains, as `mrb compare` computes them.

All are computed once over the whole table, so that filters do not change them. Bounds and intervals come from paired
values per query, and exist only if every query's value is available: nothing is estimated from means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from mrb.leaderboard.tables.cells import BLANK, RANK, CellText, make_blank
from mrb.leaderboard.tables.per_query_cache import compute_first_stage_values, explain_missing_values
from mrb.leaderboard.tables.rows import AVERAGE_TYPES, SEVERAL_SETS, Table
from mrb.metrics.measures import HEADLINE
from mrb.metrics.significance import Difference, PairedTests, RankBounds, bound_ranks
from mrb.metrics.statistics import TaskSample
from mrb.results.compare import sample_runs


@dataclass(frozen=True)
class Rank:
    """A run's rank: `position` by the average over types, which equal averages share, and the bounds of the test.

    `position` is None without an average, `bounds` without values per query; `note` says why there are no bounds.
    """

    bounds: RankBounds | None
    note: str = ""
    position: int | None = None

    @property
    def shown(self) -> CellText:
        """The rank as a cell: the position, and beside it the bounds or "not tested"; or a blank with its reason."""
        if self.position is None:
            return make_blank(self.note)
        small = "not tested" if self.bounds is None else str(self.bounds)
        return CellText(float(self.position), str(self.position), "", (("", small),), RANK)

    @property
    def shown_elsewhere(self) -> CellText:
        """The cell beside numbers of another measure, where it stands back."""
        return self.shown if self.position is None else self.shown._replace(kind=f"{RANK} {BLANK}")

    def as_json(self) -> list[int | None]:
        """Return the best and the worst rank."""
        return [None, None] if self.bounds is None else [self.bounds.best, self.bounds.worst]


@dataclass(frozen=True)
class Standing:
    """A table's ranks by run, and, for runs that have them, the gains over the first stage in the headline's average
    over types. `lead` is the difference of the first run to the second; None if one of them is not tested.
    """

    ranks: dict[str, Rank]
    gains: dict[str, Difference]
    lead: Difference | None = None

    @property
    def ranked(self) -> int:
        """The number of runs that have a rank."""
        return sum(rank.bounds is not None for rank in self.ranks.values())


def rank_runs(table: Table) -> Standing:
    """Return the ranks by the headline's average over types, which needs every task of a suite, and the gains."""
    task_ids = table.comparison.task_ids
    if table.comparison.suite is None:
        return Standing({run.name: Rank(None, "no average") for run in table.runs}, {})
    mixed = {run.name for run in table.runs if len({one.result.candidates.track for one in run.tasks.values()}) > 1}
    ranks = {
        run.name: Rank(None, SEVERAL_SETS if run.name in mixed else explain_missing_values(run, task_ids), position)
        for run, position in zip(table.runs, _find_positions(table), strict=True)
    }
    ranked = [run for run in table.runs if not ranks[run.name].note]
    if not ranked:
        return Standing(ranks, {})
    samples = sample_runs(ranked, task_ids, str(HEADLINE))
    with_first = _add_first_stage(table, samples)
    tests = PairedTests(with_first or samples, on_tasks=0)
    count = len(ranked)
    pairs = tests.test_average("types", list(combinations(range(count), 2)))
    # Pair (i, j) is j's mean minus i's, so that of the second and the first is turned round.
    lead = _turn(pairs[0, 1]) if count > 1 and ranked[:2] == list(table.runs[:2]) else None
    bounds = bound_ranks(count, pairs)
    ranks |= {run.name: replace(ranks[run.name], bounds=own) for run, own in zip(ranked, bounds, strict=True)}
    if with_first is None:
        return Standing(ranks, {}, lead)
    gains = tests.test_average("types", [(count, column) for column in range(count)])
    return Standing(ranks, dict(zip([run.name for run in ranked], gains.values(), strict=True)), lead)


def _turn(one: Difference) -> Difference:
    return replace(one, difference=-one.difference, low=-one.high, high=-one.low)


def _find_positions(table: Table) -> list[int | None]:
    """Return each run's position by the average over types, which equal averages share; None without an average."""
    means = [row.cells[AVERAGE_TYPES].mean for row in table.get_view(str(HEADLINE)).rows]
    return [None if mean is None else means.index(mean) + 1 for mean in means]


def _add_first_stage(table: Table, samples: Sequence[TaskSample]) -> list[TaskSample] | None:
    """Return the samples with the first stage as a last column; None if its values of any task are not available."""
    found = []
    for sample in samples:
        first = compute_first_stage_values(table.comparison, sample.task_id)
        if first is None:
            return None
        found.append(replace(sample, values=np.column_stack((sample.values, first))))
    return found
