"""The experiment on weights and directions: its runs, a run of two steps, and a report that tells what was put in."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from mrb.training.recipe import load_recipe

pytestmark = pytest.mark.torch

SCRIPT = Path(__file__).parents[2] / "docs" / "experiments" / "weights" / "experiment.py"


@pytest.fixture
def experiment() -> Iterator[Any]:
    made = importlib.util.spec_from_file_location("weights_experiment", SCRIPT)
    assert made is not None and made.loader is not None
    module: ModuleType = importlib.util.module_from_spec(made)
    sys.modules["weights_experiment"] = module
    made.loader.exec_module(module)
    yield module
    del sys.modules["weights_experiment"]


def make_rows(experiment: Any, shift: float, seeds: dict[str, range]) -> list[dict[str, str]]:
    """Scores that are best at 3e-4, and `shift` higher for the weights of CL; seeds and tasks have their own level."""
    made = np.random.default_rng(0)
    rows = []
    for stage, clip in itertools.product(("development", "test"), experiment.CLIPS):
        for seed in seeds[stage]:
            level = made.normal(50, 5)
            for (arm, (weight, _, _)), rate in itertools.product(experiment.ARMS.items(), experiment.RATES):
                if stage == "test" and rate != 3e-4:
                    continue
                for task in experiment.TASKS[stage]:
                    value = level + shift * (weight == "cl") - 4 * (rate != 3e-4) + made.normal(0, 0.5)
                    found = (stage, arm, clip, rate, seed, task, value / 100, "1.000" if clip else "")
                    rows.append({name: str(cell) for name, cell in zip(experiment.COLUMNS, found, strict=True)})
    return rows


def test_rates_are_chosen_on_development_alone_and_tested_with_other_seeds(experiment: Any) -> None:
    development = experiment.list_development(list(experiment.ARMS), experiment.CLIPS)
    rows = make_rows(experiment, 0, {"development": range(3), "test": range(0)})
    tested = experiment.list_test(rows, list(experiment.ARMS), experiment.CLIPS)
    assert {run.rate for run in tested} == {3e-4}
    assert {run.seed for run in tested}.isdisjoint(run.seed for run in development)
    assert sum(run.clip == 1 for run in tested) == 20 * len(experiment.ARMS)
    everything = [*development, *tested]
    assert len({run.folder for run in everything}) == len(everything)
    for run in everything:
        tasks = load_recipe("tiny-arm", run.list_changes()).recipe.evaluation.tasks
        assert {task.endswith("-dev") for task in tasks} == {run.stage == "development"}


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_report_finds_the_effect_that_is_there(experiment: Any, tmp_path: Path, shift: float) -> None:
    rows = make_rows(experiment, shift, {"development": range(3), "test": range(100, 120)})
    experiment.write_rows(tmp_path, rows)
    experiment.write_report(tmp_path)
    for name, wanted in (("cl weight - sft weight", shift), ("cl direction - sft direction", 0)):
        lines = [line for line in (tmp_path / "report.md").read_text().splitlines() if line.startswith(f"| {name} |")]
        assert len(lines) == len(experiment.CLIPS)
        for line in lines:
            low, high = map(float, line.split("|")[3].split(" to "))
            assert low - 0.2 < wanted < high + 0.2
            assert (low > 0) == (wanted > 0)


def test_a_difference_is_described_by_students_t(experiment: Any) -> None:
    # Student's t of 4 degrees of freedom: 2.776 and 0.941, from printed tables.
    assert experiment.describe_differences([1.0, 2.0, 3.0, 4.0, 5.0]) == ["+3.00", "+1.04 to +4.96", "1.58", "2.63"]


@pytest.mark.slow
def test_a_run_leaves_its_record_and_is_not_repeated(experiment: Any, tmp_path: Path) -> None:
    run = experiment.list_development(["cl weight scaled, sft direction"], [1.0])[0]
    more = ["schedule.steps=2", "output.log_every=1", "evaluation.depth=2"]
    experiment.train_run(run, tmp_path, more)
    rows = list(experiment.read_rows(tmp_path, [run]))
    assert [row["task"] for row in rows] == list(experiment.TASKS["development"])
    assert all(0 <= float(row["clipped_share"]) <= 1 for row in rows)
    assert not (tmp_path / run.folder / "model").exists()
