"""Frames and HTML tables of runs and comparisons hold what the files and the comparison hold; names are escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from mrb.results.compare import compare
from mrb.results.frames import COMPARISON_COLUMNS, RUN_COLUMNS
from mrb.results.run import Run, load_run
from tests.conftest import MakeRun

TASKS = ("nfcorpus", "scifact", "nights")
HOSTILE = "<img src=x onerror=alert(1)>&\"'\u202e\x1b[31m"


class Reader(HTMLParser):
    """Tags, attributes and cells of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}
        if tag in ("td", "th", "caption"):
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


def read_html(text: str) -> Reader:
    found = Reader()
    found.feed(text)
    return found


@pytest.fixture
def runs(make_run: MakeRun) -> tuple[Run, Run]:
    a, b = (make_run(name, skill, suite=None, tasks=TASKS) for name, skill in (("a", 0.2), ("b", 0.6)))
    return load_run(a), load_run(b)


def test_a_frame_has_a_row_for_each_task_and_measure(runs: tuple[Run, Run]) -> None:
    run = runs[0]
    frame = run.to_frame()
    assert tuple(frame.columns) == RUN_COLUMNS
    assert len(frame) == len(TASKS) * 8
    for row in frame.itertuples():
        result = run[row.task].result
        own = result.measures[row.measure]
        assert (row.mean, row.low, row.high) == (own.mean, own.low, own.high)
        assert (row.first_stage, row.oracle) == (
            result.first_stage[row.measure].mean,
            result.oracle[row.measure].mean,
        )
        assert row.gain == row.mean - row.first_stage
        assert (row.queries, row.depth, row.type) == (60, 25, run[row.task].task.type)


def test_values_per_query_average_to_the_mean(runs: tuple[Run, Run]) -> None:
    frame = runs[0]["scifact"].per_query()
    assert list(frame.columns[:2]) == ["query_id", "cluster"]
    assert frame["nDCG@10"].mean() == pytest.approx(runs[0]["scifact"].result.measures["nDCG@10"].mean)


def test_a_frame_of_a_comparison_has_tasks_then_averages(runs: tuple[Run, Run]) -> None:
    found = compare(runs)
    frame = found.to_frame()
    assert tuple(frame.columns) == COMPARISON_COLUMNS
    assert frame["task"].tolist() == [*TASKS, "average over tasks", "average over types"]
    for task, row in zip(found.tasks, frame.itertuples(), strict=False):
        (one,) = task.differences
        assert (row.base, row.run, row.base_mean, row.mean) == ("a", "b", *task.means)
        assert (row.gain, row.low, row.high, row.p) == (one.mean.difference, one.mean.low, one.mean.high, one.mean.p)
        assert (row.won, row.lost, row.tied) == (one.won, one.lost, one.tied)
    assert frame["gain"].iloc[-1] == found.over_types.differences[0].difference
    assert frame["won"].isna().tolist() == [False] * 3 + [True] * 2
    assert all(task in str(found) for task in TASKS) and repr(found) == "<nDCG@10 of a, b on 3 common tasks>"


def test_html_shows_points_and_escapes_every_text(runs: tuple[Run, Run]) -> None:
    own, other = (Run(Path("x") / name, run.record, run.tasks) for name, run in zip((HOSTILE, "b"), runs, strict=True))
    for text in (own._repr_html_(), compare([own, other])._repr_html_()):
        page = read_html(text)
        assert page.tags <= {"table", "caption", "tr", "td", "th"} and page.names <= {"colspan"}
        assert "alert(1)" in "".join(page.cells)
        assert not {"\u202e", "\x1b"} & set(text)
    cells = read_html(own._repr_html_()).cells
    assert f"{100 * own['scifact'].result.measures['nDCG@10'].mean:.2f}" in cells
    assert "average over 3 tasks" in cells


def test_a_task_of_a_run_is_shown_short(runs: tuple[Run, Run]) -> None:
    scores = runs[0]["scifact"]
    own = f"{100 * scores.result.measures['nDCG@10'].mean:.2f}"
    assert repr(scores) == f"<scifact of {scores.result.reranker.name}: nDCG@10 {own}>"
    cells = read_html(scores._repr_html_()).cells
    assert own in cells and set(scores.result.measures) <= set(cells)
