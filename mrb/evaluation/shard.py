"""Shards: each of N independent commands scores one shard of a run's queries; `mrb merge` unites them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mrb.errors import MRBError
from mrb.evaluation.plan import Plan

MOST = 100_000


@dataclass(frozen=True)
class Part:
    """Shard `number` (from 1) of `of` shards."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def folder(self) -> str:
        """Name of the folder that the shard is written into."""
        return f"{self.number}-of-{self.of}"

    def of_plan(self, plan: Plan) -> Plan:
        """Return the plan with every `of`th query, starting at query `number`.

        Neighbouring queries cost about the same. They go to different shards, so all shards take about as long.
        """
        return replace(plan, query_ids=plan.query_ids[self.number - 1 :: self.of])


def part_of(text: str | None) -> Part | None:
    """Parse the value of `--shard I/N`; None stays None. MRBError if it is malformed or I is not in 1..N."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of <= MOST:
        raise MRBError(f"--shard {text}: wanted I/N, part I (from 1) of N parts")
    return Part(number, of)
