"""Ranks that are shared where no test separates: one for each run of a table, or why it has none."""

from __future__ import annotations

from dataclasses import dataclass

from mrb.leaderboard.cells import Shown, blank
from mrb.leaderboard.rows import Table


@dataclass(frozen=True)
class Rank:
    """The best and the worst place of a run's group, counted from 1; None where there is no rank, and `note` why."""

    best: int | None
    worst: int | None
    note: str = ""

    @property
    def shown(self) -> Shown:
        """The rank as a cell: "2", "1–3", or a blank that says why."""
        if self.best is None or self.worst is None:
            return blank(self.note)
        alone = self.best == self.worst
        return Shown(float(self.best), f"{self.best}" if alone else f"{self.best}–{self.worst}")


def ranks(table: Table) -> dict[str, Rank]:
    """Each run's rank by the headline's average over types."""
    return {run.name: Rank(None, None, "no values per query") for run in table.runs}
