"""A part of a run: the queries that one of several commands scores, which share nothing but the data."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from mrb.errors import MRBError
from mrb.evaluation.plan import Plan

MOST = 100_000


@dataclass(frozen=True)
class Part:
    """Part `number` (from 1) of `of`."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def folder(self) -> str:
        """The name of the folder that it is scored into."""
        return f"{self.number}-of-{self.of}"

    def of_plan(self, plan: Plan) -> Plan:
        """Every `of`th query of the plan, from query `number` on: neighbours, which cost alike, go to different parts,
        so that all take about as long."""
        return replace(plan, query_ids=plan.query_ids[self.number - 1 :: self.of])


def part_of(text: str | None) -> Part | None:
    """The part that `--shard I/N` names; MRBError if there is none such."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of <= MOST:
        raise MRBError(f"--shard {text}: wanted I/N, part I (from 1) of N parts")
    return Part(number, of)
