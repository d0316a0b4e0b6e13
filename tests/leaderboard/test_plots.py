"""Plots of averages: who stands on the front, what may share a plot, where labels stand, and why a plot is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest

from mrb.data.task import load_suite
from mrb.leaderboard.charts.axes import BOTTOM, WIDTH, Point, make_date_axis, place_labels
from mrb.leaderboard.charts.scatter import explain_missing, make_scatters
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables.board import Board
from mrb.leaderboard.tables.runs import read_entries

Make = Callable[..., Path]
MINI = load_suite("mini").tasks


def _board(*folders: Path) -> Board:
    (board,) = make_site(read_entries(folders)).boards.values()
    return board


def _timed(seconds: float, gpu: str = "A", day: str | None = None) -> dict[str, object]:
    own = {"seconds": seconds, "pairs": 100} | ({"day": day} if day else {})
    return {"environment": {"gpu": gpu}, "timings": dict.fromkeys(MINI, own)}


def test_the_front_is_those_that_no_faster_model_exceeds(make_run: Make) -> None:
    speed, *_ = make_scatters(_board(make_run("weak", 0.1), make_run("strong", 0.8)))
    assert {point.key for point in speed.points if point.front} == {"strong"}, "as fast, and better"
    assert speed.id == "mini-25-speed" and speed.lines == ()


def test_different_hardware_never_shares_a_plot_and_unknown_has_none(make_run: Make) -> None:
    runs = {"fast": (0.1, 1.0, "A"), "slow": (0.8, 9.0, "A"), "other": (0.9, 2.0, "B"), "unknown": (0.5, 1.0, "")}
    board = _board(*[make_run(name, skill, record=_timed(s, gpu)) for name, (skill, s, gpu) in runs.items()])
    (speed,) = make_scatters(board)
    assert speed.title == "Score against speed on A" and {point.key for point in speed.points} == {"fast", "slow"}
    assert {point.key for point in speed.points if point.front} == {"fast", "slow"}
    alone = _board(*[make_run(name, 0.5, record=_timed(1.0, gpu)) for name, gpu in (("one", "A"), ("two", "B"))])
    notes = explain_missing(alone, make_scatters(alone))
    assert [note.split(":")[0] for note in notes] == [
        f"No plot of score against {x}" for x in ("size", "speed", "date")
    ]


def test_the_best_so_far_is_a_step_of_those_with_a_date(make_run: Make) -> None:
    days = {"first": (0.3, "2026-01-05"), "worse": (0.1, "2026-02-05"), "better": (0.8, "2026-03-05")}
    runs = [make_run(name, skill, record=_timed(1.0, day=day)) for name, (skill, day) in days.items()]
    runs.append(make_run("undated", 0.9, record=_timed(1.0)))
    _, dates = make_scatters(_board(*runs))
    at = {point.key: point for point in dates.points}
    assert {key for key, point in at.items() if point.front} == {"first", "better"}
    assert [name for name, _ in dates.beside] == ["undated"] and at["worse"].x_text == "2026-02-05"
    ((_, path),) = dates.lines
    assert path == f"M{at['first'].x} {at['first'].y}H{at['better'].x}V{at['better'].y}H{at['better'].x}"


def _boxes(points: Sequence[Point]) -> list[tuple[float, float, float, float]]:
    named = [(one, *one.label) for one in points if one.named]
    return [
        (x if end == "start" else x - 6 * len(one.short), y - 8, x if end == "end" else x + 6 * len(one.short), y + 2)
        for one, x, y, end in named
    ]


def test_no_label_stands_on_another_on_a_point_or_outside() -> None:
    crowd = [
        Point(f"model-{n}", f"a-long-name-{n}", 30.0 + 37 * n % 360, 5.0 + 53 * n % 240, "", "") for n in range(40)
    ]
    placed = place_labels(crowd)
    boxes = _boxes(placed)
    assert [one.key for one in placed] == [one.key for one in crowd] and len(boxes) > 5
    for place, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and right <= WIDTH and top >= 0 and bottom <= BOTTOM + 5
        assert not any(left < r and x < right and top < b and y < bottom for x, y, r, b in boxes[place + 1 :])
        assert not any(left < one.x < right and top < one.y < bottom for one in placed)
    best = place_labels(
        [Point("front", "front", 200.0, 200.0, "", "", front=True), Point("top", "top", 201.0, 199.0, "", "")]
    )
    assert best[0].named, "the front's labels come first"


@pytest.mark.parametrize("last", ["2026-01-05", "2026-04-01", "2031-12-31"])
def test_dates_have_few_ticks_at_the_start_of_months(last: str) -> None:
    days = [float(date.fromisoformat(day).toordinal()) for day in ("2026-01-05", last)]
    place, ticks = make_date_axis(days)
    assert 1 <= len(ticks) <= 6 and 36 < place(days[0]) <= place(days[1]) < 392
