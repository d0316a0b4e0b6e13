"""Progress: the rate is that of what was measured, the time left covers what follows, and a pipe gets log lines."""

from __future__ import annotations

import io
import logging
import re
import time

import pytest

from mrb._util import progress as module
from mrb._util.progress import Progress, clear_line


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def complete(progress: Progress, clock: Clock, times: int, count: int, seconds: float) -> None:
    for _ in range(times):
        clock.now += seconds
        progress.advance(count)


def test_the_rate_leaves_out_loading_and_the_first_batch(clock: Clock) -> None:
    progress = Progress("pairs", 1000)
    progress.begin("task 1/1 t", 1000)
    clock.now += 60  # loading and compilation
    progress.advance(10)
    progress.advance(10)  # of the same batch
    assert progress.describe() == "task 1/1 t · 20/1,000 pairs"
    complete(progress, clock, 48, 10, 1.0)
    assert progress.describe() == "task 1/1 t · 500/1,000 pairs · 10 pairs/s · about 50 s left"


def test_the_time_left_takes_this_part_by_its_rate_and_others_by_the_mean(clock: Clock) -> None:
    progress = Progress("pairs", 700)
    progress.begin("a", 110)
    complete(progress, clock, 11, 10, 1.0)  # 100 pairs in 10 seconds are measured
    progress.begin("b", 110)
    complete(progress, clock, 6, 10, 10.0)  # 50 pairs in 50 seconds
    # The rest of b: 50 pairs at 1 a second. What follows: 480 pairs at 150 pairs in 60 seconds.
    assert progress.describe() == "b · 170/700 pairs · 1 pairs/s · about 4 min left"


def test_a_batch_of_which_only_the_first_items_are_here_is_not_measured(clock: Clock) -> None:
    progress = Progress("pairs", 4000)
    progress.begin("t", 4000)
    for _ in range(3):
        complete(progress, clock, 1, 25, 12.0)  # the batch takes 12 seconds,
        complete(progress, clock, 31, 25, 0.001)  # and its 32 requests arrive together
    complete(progress, clock, 1, 25, 12.0)
    assert "66 pairs/s" in progress.describe()


def test_what_was_done_before_counts_as_done_and_not_for_the_rate(clock: Clock) -> None:
    progress = Progress("pairs", 300)
    progress.begin("a", 80, done=80, stated=100)
    progress.begin("b", 200, done=100)
    assert progress.describe() == "b · 180/280 pairs"
    complete(progress, clock, 3, 20, 2.0)
    assert progress.describe() == "b · 240/280 pairs · 10 pairs/s · less than 10 s left"


def test_without_a_terminal_there_is_a_log_line_from_time_to_time(
    clock: Clock, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, logger="mrb")
    with Progress("files", None) as progress:
        progress.begin("board", 0)
        complete(progress, clock, 65, 1, 1.0)
    assert caplog.messages == ["board · 30 files · 1 files/s", "board · 60 files · 1 files/s"]
    assert "\r" not in capsys.readouterr().err, "a line that changes is for terminals"


def test_on_a_terminal_one_line_is_redrawn_and_removed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(module.shutil, "get_terminal_size", lambda: type("Size", (), {"columns": 30})())
    with Progress("pairs", 100) as progress:
        progress.announce("task 1/1 \x1b]0;title\x07evil · loading")
        progress.begin("task 1/1 a-task-with-a-long-name", 100)
        complete(progress, clock, 10, 1, 0.1)
        clear_line()
        assert screen.getvalue().endswith("\r\x1b[K")
    shown = re.split(r"\r\x1b\[K", screen.getvalue())
    assert "\n" not in screen.getvalue() and all(len(line) <= 29 for line in shown) and len(shown) > 5
    assert "\x1b" not in "".join(shown) and "\x07" not in "".join(shown)
