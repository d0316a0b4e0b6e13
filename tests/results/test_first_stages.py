"""Gains over several first stages: numbers by hand, what does not compare, and the command line's form of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner

import mrb
from mrb.candidates.lists import build_candidates, read_parquet, write_parquet
from mrb.candidates.load import find_candidates
from mrb.cli.main import cli
from mrb.data.task import load_suite, load_task
from mrb.errors import MRBError, ResultError
from mrb.results.export import format_csv
from mrb.results.export_table import make_table
from mrb.results.first_stages import compute_gains, list_gain_rows
from mrb.results.first_stages_table import format_gains, format_gains_csv, format_gains_latex, format_gains_markdown
from mrb.results.run import Average, Run, average_over_tasks, compute_suite_averages
from tests.builders.command import read_error

TASKS = ("mini-faq-t2t-dev", "mini-flag-t2i-dev")
SETS = ("early", "late", "mixed+up")


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder of lists for each set: the frozen lists turned by some places."""
    folder = tmp_path_factory.mktemp("sets")
    for task_id in TASKS:
        frozen = read_parquet(find_candidates(load_task(task_id), None))
        for turn, name in enumerate(SETS):
            made = frozen.provenance.model_copy(update={"track": name, "first_stage": f"turned-{turn}"})
            turned = [
                (query_id, doc_ids[3 * turn :] + doc_ids[: 3 * turn], [-float(n) for n in range(len(doc_ids))])
                for query_id, doc_ids, _ in frozen.lists()
            ]
            write_parquet(build_candidates(made, turned), folder / name / f"{task_id}.parquet")
    return folder


@pytest.fixture(scope="module")
def score(lists: Path) -> Callable[..., Run]:
    """`score(model, set)`: a run in memory of ten queries of each task."""

    def run(model: str, candidate_set: str, tasks: tuple[str, ...] = TASKS, limit: int = 10, depth: int = 20) -> Run:
        return mrb.evaluate(model, tasks=tasks, candidates=lists, candidate_set=candidate_set, limit=limit, depth=depth)

    return run


@pytest.fixture(scope="module")
def runs(score: Callable[..., Run]) -> list[Run]:
    return [score(model, name) for model in ("surface", "random") for name in SETS]


def test_gains_mean_and_spread_by_hand(runs: list[Run]) -> None:
    gains = compute_gains(runs)
    assert [reranker.name for reranker in gains.rerankers] == ["surface", "random"]
    assert runs[2].name == "surface--mixed-up"  # a folder's name has no plus
    assert gains.sets == tuple(sorted(SETS)) and gains.depths == (20,) and gains.selections == ("limit",)
    for reranker, own in zip(gains.rerankers, (runs[:3], runs[3:]), strict=True):
        by_set = {run.tasks[TASKS[0]].result.candidates.track: run for run in own}
        averages = dict.fromkeys(SETS, 0.0)
        for row, task_id in zip(reranker.tasks, TASKS, strict=True):
            values = []
            for one in row.gains:
                result = by_set[one.candidate_set].tasks[task_id].result
                first, mean = result.first_stage["nDCG@10"].mean, result.measures["nDCG@10"].mean
                assert (one.first_stage, one.own.mean) == (first, mean)
                values.append(mean - first)
                averages[one.candidate_set] += (mean - first) / len(TASKS)
            assert row.spread is not None
            centre = sum(values) / 3
            assert row.spread.mean == pytest.approx(centre)
            assert row.spread.sd == pytest.approx((sum((value - centre) ** 2 for value in values) / 2) ** 0.5)
            assert (row.spread.low, row.spread.high, row.spread.sets) == (min(values), max(values), 3)
        over_tasks, over_types = reranker.averages
        assert (over_tasks.label, over_types.label) == ("average over 2 tasks", "average over 2 types")
        assert {one.candidate_set: one.gain for one in over_tasks.gains} == pytest.approx(averages)
    assert len({one.first_stage for one in gains.rerankers[0].tasks[0].gains}) == 3


def test_no_mean_of_an_incomplete_set(runs: list[Run], score: Callable[..., Run]) -> None:
    gains = compute_gains([*runs[:3], runs[3], score("random", "late", TASKS[:1])])
    complete, partial = gains.rerankers
    assert all(row.spread is not None for row in complete.rows)
    assert all(row.spread is None for row in partial.rows)
    assert [one.candidate_set for one in partial.averages[0].gains] == ["early"]  # late lacks a task
    told = "\n".join(format_gains(gains))
    assert "no mean over the 3 sets: no results on mixed+up" in told
    assert "on late without a value: mini-flag-t2i-dev, average over 2 tasks, average over 2 types" in told


def test_what_does_not_compare_is_refused(runs: list[Run], score: Callable[..., Run]) -> None:
    assert "both are runs of one reranker on candidate set early" in read_error(
        ResultError, compute_gains, [runs[0], runs[0]]
    )
    shallow = score("surface", "late", depth=5)
    assert "candidates.depth is 20 and 5" in read_error(ResultError, compute_gains, [runs[0], shallow])
    told = read_error(ResultError, mrb.compare, runs[0], runs[1])
    assert "their candidate sets are early and late; `mrb compare --first-stages` compares the gains" in told
    mixed = replace(runs[0], tasks={**runs[0].tasks, TASKS[1]: runs[1].tasks[TASKS[1]]})
    assert "its lists belong to early, late; wanted one set" in read_error(ResultError, compute_gains, [mixed])


def test_there_is_no_average_over_several_sets(runs: list[Run]) -> None:
    mixed, other = (
        replace(mine, tasks={**mine.tasks, TASKS[1]: late.tasks[TASKS[1]]}, path=None, label=f"mixed-{place}")
        for place, (mine, late) in enumerate(((runs[0], runs[1]), (runs[3], runs[4])))
    )
    assert average_over_tasks(mixed, TASKS, "nDCG@10") == Average(None, None, 2, 2)
    found = compute_suite_averages(mixed, load_suite("mini-dev").model_copy(update={"tasks": TASKS}))
    assert found.tasks is None and found.types is None and found.of_types.keys() == {"t2t", "t2i"}
    assert mixed.table().count("candidate set, depth, queries or qrels differ") == 2
    assert [row.runs for row in make_table([mixed], "nDCG@10")[1]] == [{mixed.name: None}] * 2
    averages = [row for row in csv.DictReader(StringIO(format_csv(mixed))) if row["task"].startswith("average")]
    assert averages and not any(row["mean"] or row["low"] for row in averages)
    told = read_error(ResultError, mrb.compare, mixed, other)
    assert f"several candidate sets ({TASKS[0]}: early, {TASKS[1]}: late), over which there is no average" in told
    assert [one.task for one in mrb.compare(mixed, other, tasks=TASKS[0]).tasks] == [TASKS[0]]


def test_runs_with_different_own_tasks_have_no_average_of_each_other(runs: list[Run]) -> None:
    mine, other = runs[0], runs[3]
    own = other[TASKS[0]].task.model_copy(update={"id": "own-set"})
    result = other[TASKS[0]].result.model_copy(update={"task": "own-set"})
    record = other.record.model_copy(update={"tasks": ("own-set",), "definitions": {"own-set": own}})
    scores = {"own-set": replace(other[TASKS[0]], result=result, definition=own)}
    gains = compute_gains([mine, replace(other, record=record, tasks=scores)])
    assert [[row.label for row in one.tasks] for one in gains.rerankers] == [list(TASKS), ["own-set"]]
    assert [[row.label for row in one.averages] for one in gains.rerankers] == [
        ["average over 3 tasks", "average over 2 types"]
    ] * 2
    assert not any(row.gains for one in gains.rerankers for row in one.averages)


def test_lists_of_another_set_and_unknown_sets_are_refused(lists: Path) -> None:
    def evaluate(candidates: Path | None, candidate_set: str) -> object:
        return mrb.evaluate("random", tasks=TASKS[0], candidates=candidates, candidate_set=candidate_set, limit=1)

    told = read_error(MRBError, evaluate, lists / "early", "late")
    assert "belongs to candidate set 'early', not 'late'; a folder of lists holds one set" in told
    told = read_error(MRBError, evaluate, None, "late")
    assert told.startswith("task mini-faq-t2t-dev has no list in candidate set 'late' (1 such in all); it has lists in")
    run = mrb.evaluate("random", tasks=TASKS[0], candidate_set="standard", limit=1)
    assert run.name == "random--standard" and run.tasks[TASKS[0]].result.candidates.track == "standard"


def test_every_form_has_every_row(runs: list[Run]) -> None:
    gains = compute_gains(runs)
    rows = list(list_gain_rows(gains))
    assert len(rows) == 2 * 4 * 4  # rerankers, tasks and averages, three sets and all of them
    read = list(csv.DictReader(StringIO(format_gains_csv(gains))))
    assert [(row["reranker"], row["task"], row["candidate_set"]) for row in read] == [
        (row["reranker"], row["task"], row["candidate_set"]) for row in rows
    ]
    assert float(read[3]["gain"]) == rows[3]["gain"] and read[3]["sets"] == "3"
    frame = gains.to_frame()
    assert len(frame) == len(rows) and frame["sets"].sum() == 3 * 8
    assert format_gains_latex(gains).count(r"mean of 3 sets") == 8
    assert format_gains_markdown(gains).count("mean of 3 sets") == 8
    text = str(gains)
    assert max(map(len, text.splitlines()[1:])) <= 80 and text.count("mean of 3 sets") == 8


def test_one_command_runs_every_set_and_compares_them(lists: Path, tmp_path: Path) -> None:
    def invoke(*words: str) -> str:
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
        return done.output

    out = tmp_path / "runs"
    sets = [word for name in SETS[:2] for word in ("--candidate-set", name)]
    run = ("run", "--model", "surface", "--task", TASKS[0], "--limit", "5", "--depth", "20", "--out", str(out))
    said = invoke(*run, "--candidates", str(lists), *sets)
    folders = [str(out / f"surface--{name}") for name in SETS[:2]]
    assert all(f"results: {folder}" in said for folder in folders) and "mean of 2 sets" in said
    before = [(Path(folder) / TASKS[0] / "result.json").read_bytes() for folder in folders]
    assert "were scored before" in invoke(*run, "--candidates", str(lists), *sets)
    assert [(Path(folder) / TASKS[0] / "result.json").read_bytes() for folder in folders] == before
    shown = invoke("compare", "--first-stages", *folders)
    assert shown.strip() in said
    found = json.loads(invoke("compare", "--first-stages", "--json", *folders))
    assert found["sets"] == ["early", "late"] and len(found["rows"]) == 3
    table = invoke("export", "--first-stages", "--format", "markdown", *folders)
    assert table.count("mini-faq-t2t-dev") == 3
    twins = ("--candidate-set", "mixed+up", "--candidate-set", "mixed-up", "--fresh")
    for name in twins[1:4:2]:
        made = read_parquet(lists / "early" / f"{TASKS[0]}.parquet")
        named = made.provenance.model_copy(update={"track": name})
        write_parquet(build_candidates(named, made.lists()), tmp_path / "twins" / name / f"{TASKS[0]}.parquet")
    refused = CliRunner().invoke(cli, [*run, "--candidates", str(tmp_path / "twins"), *twins])
    assert "mixed+up and mixed-up: both would be run in a folder NAME--mixed-up" in str(refused.exception)
    assert not (out / "surface--mixed-up").exists()
    refused = CliRunner().invoke(cli, ["export", "--first-stages", "--format", "trec", folders[0]])
    assert "--first-stages is for --format csv, latex, markdown" in str(refused.exception)
