"""Estimate size and time of a run from the registry's numbers, for tasks whose data is not read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mrb._util.format import format_duration, format_rate, format_size, format_table, format_tasks
from mrb.data.task import Task
from mrb.data.task_filter import queries_taken
from mrb.evaluation.selection import Selection


@dataclass(frozen=True)
class Registered:
    """The registry's numbers for a task. `gigabytes` is the download: None if unknown, 0 for embedded data."""

    task: Task
    queries: int
    pairs: int
    gigabytes: float | None


@dataclass(frozen=True)
class Speed:
    """Lowest and highest speed, in pairs per second."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """Geometric mean of the two."""
        return math.sqrt(self.low * self.high)

    def time(self, pairs: int) -> str:
        """Return the time for `pairs` as text: a range unless both ends are the same."""
        best, worst = format_duration(pairs / self.high), format_duration(pairs / self.low)
        return worst if self.low == self.high else f"{best} - {worst}"

    def __str__(self) -> str:
        return format_rate(self.low) if self.low == self.high else f"{format_rate(self.low)} - {format_rate(self.high)}"


def registered(tasks: Iterable[Task], selection: Selection, limit: int | None) -> tuple[Registered, ...]:
    """Return the registry's numbers for `tasks`, at the selection's depth and sample and the value of `--limit`."""
    return tuple(_registered(task, selection, limit) for task in tasks)


def registered_text(entries: Sequence[Registered], speeds: Mapping[str, Speed]) -> str:
    """Return a table with the numbers of each task and its time at the speed of its type (`-` without a speed), and a
    line with the sums."""
    rows = [("task", "type", "queries", "pairs", "to fetch", "candidates", "pairs/s", "time")]
    for entry in entries:
        task, speed = entry.task, speeds.get(entry.task.type)
        here = task.source.kind == "embedded"
        rows.append(
            (
                task.id,
                task.type,
                f"{entry.queries:,}",
                f"{entry.pairs:,}",
                "-" if here else format_size(entry.gigabytes),
                "frozen" if task.candidates else "none yet",
                "-" if speed is None else str(speed),
                "-" if speed is None else speed.time(entry.pairs),
            )
        )
    return "\n".join([*format_table(rows, left=2), _sums(entries, speeds)])


def _sums(entries: Sequence[Registered], speeds: Mapping[str, Speed]) -> str:
    known = [entry.gigabytes for entry in entries if entry.gigabytes is not None]
    unknown = len(entries) - len(known)
    timed = [(entry.pairs, speeds[entry.task.type]) for entry in entries if entry.task.type in speeds]
    best, worst = sum(pairs / speed.high for pairs, speed in timed), sum(pairs / speed.low for pairs, speed in timed)
    time = format_duration(worst) if best == worst else f"{format_duration(best)} - {format_duration(worst)}"
    return (
        f"{format_tasks(len(entries))}: {sum(e.queries for e in entries):,} queries, "
        f"{sum(e.pairs for e in entries):,} pairs, {format_size(sum(known))} to fetch"
        + (f" and {format_tasks(unknown)} of unknown size" if unknown else "")
        + (f", {time} of scoring" if timed else "")
        + (f" for {len(timed)} of {len(entries)}" if 0 < len(timed) < len(entries) else "")
    )


def _registered(task: Task, selection: Selection, limit: int | None) -> Registered:
    queries = min(queries_taken(task, selection.sample), limit or task.size.queries)
    pairs = queries * min(selection.depth, task.size.documents)
    return Registered(task, queries, pairs, 0.0 if task.source.kind == "embedded" else task.size.gigabytes)
