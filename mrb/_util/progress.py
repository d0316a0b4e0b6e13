"""How far long work is: a line that is redrawn on a terminal, else a log line from time to time."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Self, TypeVar

from mrb._util.format import cut_to_width, format_duration, format_rate
from mrb.errors import to_one_line

logger = logging.getLogger(__name__)
T = TypeVar("T")

LOG_SECONDS = 30.0
"""Seconds between two log lines where standard error is no terminal."""
DRAW_SECONDS = 0.2
"""Seconds between two drawings on a terminal."""
FIRST_SECONDS = 0.5
"""What completes within this time after the first items of a part belongs to its first batch, which is not measured."""
TOGETHER_SECONDS = 0.05
"""Items with at most this time between them are of one batch."""

_shown: list[Progress] = []
"""The progress whose line is on the terminal, if any. Who prints to standard error calls `clear_line` before."""


class Progress:
    """Progress of work that has one or more parts, such as the tasks of a run.

    `begin` starts a part, and `advance` counts what it completes. The rate leaves out the time between parts (loading)
    and each part's first batch (compilation, empty caches). The time left is that of the part by its own rate, and that
    of what follows by the mean rate of all parts so far; it is an estimate, and unknown until something was measured.

    Args:
        unit: What is counted, in the plural: `pairs`.
        total: How many there are in all; None if nobody knows, then there is no time left to show.
    """

    def __init__(self, unit: str, total: int | None) -> None:
        self._unit = unit
        self._total = total or 0
        self._known = total is not None
        self._done = 0
        self._label = ""
        self._part_left = 0
        self._meter = _Meter()
        self._earlier = _Meter()
        self._terminal = sys.stderr.isatty()
        self._told = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        clear_line()

    def announce(self, text: str) -> None:
        """Show a text in place of the numbers while a part is prepared, on a terminal only."""
        if self._terminal:
            self._draw(text)

    def begin(self, label: str, size: int, done: int = 0, stated: int | None = None) -> None:
        """Start a part.

        Args:
            label: Its name, which is the first word of the line.
            size: How many items it has.
            done: How many of them were completed before; they count as done and not for the rate.
            stated: The size that `total` was made with, where it was an estimate.
        """
        self._earlier.add(self._meter)
        self._meter = _Meter()
        self._label = label
        self._total += size - (size if stated is None else stated)
        self._done += done
        self._part_left = size - done
        if self._terminal:
            self._draw(self.describe())

    def advance(self, count: int = 1) -> None:
        """Count items that are complete now, and show it if it is time."""
        now = time.monotonic()
        self._done += count
        self._part_left -= count
        self._meter.count(count, now)
        if now - self._told < (DRAW_SECONDS if self._terminal else LOG_SECONDS):
            return
        self._told = now
        if self._terminal:
            self._draw(self.describe())
        else:
            logger.info(self.describe())

    def describe(self) -> str:
        """Return the line: `task 3/9 mini-flag-t2i · 1,234/5,678 pairs · 210 pairs/s · about 12 min left`."""
        of = f"/{self._total:,}" if self._known else ""
        parts = [self._label, f"{self._done:,}{of} {self._unit}"]
        rate = self._meter.rate
        if rate is not None:
            parts.append(f"{format_rate(rate)} {self._unit}/s")
            if not self._known:
                return " · ".join(parts)
            seconds = round(self._estimate_seconds(rate))
            parts.append(f"about {format_duration(seconds)} left" if seconds >= 10 else "less than 10 s left")
        return " · ".join(part for part in parts if part)

    def _estimate_seconds(self, rate: float) -> float:
        whole = _Meter()
        whole.add(self._earlier)
        whole.add(self._meter)
        later = max(self._total - self._done - self._part_left, 0)
        return self._part_left / rate + later / (whole.rate or rate)

    def _draw(self, text: str) -> None:
        width = shutil.get_terminal_size().columns
        sys.stderr.write(f"\r\x1b[K{cut_to_width(to_one_line(text), width - 1)}")
        sys.stderr.flush()
        _shown[:] = [self]


def start_progress(label: str, unit: str, total: int) -> Progress:
    """Return the progress of work in one part, which has begun."""
    progress = Progress(unit, total)
    progress.begin(label, total)
    return progress


def track(items: Collection[T], label: str, unit: str) -> Iterator[T]:
    """Yield the items and show how many of them are done."""
    with start_progress(label, unit, len(items)) as progress:
        for item in items:
            yield item
            progress.advance()


class _Meter:
    """Counts items and the seconds that they took, from the end of the first batch on.

    Items of one batch arrive together, after the seconds that the batch took. A batch counts when the next one begins
    to arrive: until then only some of its items are here, but all of its seconds.
    """

    def __init__(self) -> None:
        self.items = 0
        self.seconds = 0.0
        self._first: float | None = None
        self._last = 0.0
        self._batch = (0, 0.0)

    def count(self, items: int, now: float) -> None:
        """Add items that are complete at the time `now`."""
        if self._first is None:
            self._first = now
        elif now - self._first > FIRST_SECONDS:
            count, seconds = self._batch
            if now - self._last > TOGETHER_SECONDS or seconds > FIRST_SECONDS:
                self.items, self.seconds = self.items + count, self.seconds + seconds
                count, seconds = 0, 0.0
            self._batch = (count + items, seconds + now - self._last)
        self._last = now

    def add(self, other: _Meter) -> None:
        """Add what another meter has measured."""
        count, seconds = other._batch
        self.items += other.items + count
        self.seconds += other.seconds + seconds

    @property
    def rate(self) -> float | None:
        """Items per second; None until a second batch has arrived."""
        return self.items / self.seconds if self.items and self.seconds > 0 else None


def clear_line() -> None:
    """Remove the line of progress from the terminal, so that something else can be printed. It is drawn again later."""
    if _shown:
        _shown.clear()
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
