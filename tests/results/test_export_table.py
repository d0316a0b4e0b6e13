"""Several runs in one table: the numbers of their results, the best in bold, nothing that does not compare."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.errors import ResultError
from mrb.results.export_table import format_csv_runs, format_latex_runs, format_markdown_runs, make_table
from mrb.results.run import Run, average_over_types, load_run

MakeRun = Callable[..., Path]
MEASURE = "nDCG@10"
TASKS = ("mini-faq-t2t", "mini-flag-i2t")


@pytest.fixture
def runs(make_run: MakeRun) -> list[Run]:
    good, poor = make_run("good", 0.9), make_run("poor", 0.1, cover=TASKS)
    return [load_run(good), load_run(poor)]


def test_csv_has_a_column_for_each_run_and_blanks_where_one_lacks_a_task(runs: list[Run]) -> None:
    rows = {row["task"]: row for row in csv.DictReader(io.StringIO(format_csv_runs(runs, MEASURE, intervals=True)))}
    assert len(rows) == 9 + 2
    for run in runs:
        for task_id, scores in run.tasks.items():
            own = scores.result.measures[MEASURE]
            found = [float(rows[task_id][f"{run.name}{end}"]) for end in ("", " low", " high")]
            assert found == [own.mean, own.low, own.high]
    assert rows["mini-page-t2vd"]["poor"] == "" and rows["average over 9 tasks"]["poor"] == ""
    wanted = average_over_types(runs[0], runs[0].record.tasks, MEASURE).mean
    assert float(rows["average over 9 types"]["good"]) == wanted


def test_the_best_of_a_row_is_bold(runs: list[Run]) -> None:
    latex = {line.split(" & ")[0]: line for line in format_latex_runs(runs, MEASURE).splitlines()}
    own, other = (f"{100 * run.tasks[TASKS[0]].result.measures[MEASURE].mean:.2f}" for run in runs)
    assert rf"\textbf{{{own}}} & {other} &" in latex[TASKS[0]]
    assert latex["mini-page-t2vd"].count("textbf") == 1, "one run, better than the first stage"
    assert f"| **{own}** | {other} |" in format_markdown_runs(runs, MEASURE)


def test_names_of_runs_are_text_in_every_format(make_run: MakeRun) -> None:
    run = load_run(make_run("toy", suite=None, tasks=TASKS[:1]))
    hostile = Run(Path("a|b_*<script>[x]\x1b[2J"), run.record, run.tasks)
    assert r"a\|b\_\*\<script\>\[x\] \[2J" in format_markdown_runs([hostile], MEASURE)
    assert r"a|b\_*\textless{}script\textgreater{}[x] [2J" in format_latex_runs([hostile, run], MEASURE)
    assert "\x1b" not in format_csv_runs([hostile, run], MEASURE)


def test_runs_that_do_not_compare_get_no_table(make_run: MakeRun, runs: list[Run]) -> None:
    other = load_run(make_run("other", tasks=TASKS[:1], suite=None, candidates="cd" * 32))
    with pytest.raises(ResultError, match=r"candidates\.sha256"):
        make_table([runs[0], other], MEASURE)
    with pytest.raises(ResultError, match="given twice"):
        make_table([runs[0], runs[0]], MEASURE)
    with pytest.raises(ResultError, match="nDCG@7"):
        make_table(runs, "nDCG@7")
    part = load_run(make_run("part", tasks=TASKS[:1], suite=None, selection="limit"))
    assert "not all queries: limit" in format_markdown_runs([part], MEASURE)
