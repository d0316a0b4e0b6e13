"""mrb-lite against all queries: the interval of a sample holds the full set's mean, and the stated bounds hold."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from mrb.cli.tasks import command
from mrb.data.task import load_suite, load_task

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GAINS = np.concatenate(([0.0], 1 / np.log2(np.arange(2, 12))))


@pytest.fixture(scope="module")
def lite() -> ModuleType:
    """benchmarks/lite_error.py, which is no package."""
    spec = importlib.util.spec_from_file_location("lite_error", ROOT / "benchmarks" / "lite_error.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["lite_error"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def one_positive(rate: float) -> np.ndarray:
    """nDCG@10 of queries with one relevant document: geometric ranks, as many zeros as the tail beyond 10 gives."""
    ranks = np.random.default_rng(1).geometric(rate, 4000)
    return GAINS[np.where(ranks > 10, 0, ranks)]


@pytest.mark.parametrize(
    "values", [one_positive(0.1), one_positive(0.6), np.array([0.0, 1.0])], ids=["hard", "easy", "halves"]
)
@pytest.mark.parametrize("queries", [4000, 50_000])
def test_the_interval_of_a_sample_covers_the_full_set(lite: ModuleType, values: np.ndarray, queries: int) -> None:
    drawn = lite.draw(values, queries, 2000, np.random.default_rng(queries))
    assert 0.93 <= lite.coverage(drawn) <= 0.97


@pytest.mark.parametrize("queries", [250, 500, 1000])
def test_it_is_too_wide_and_never_too_narrow_for_small_sets(lite: ModuleType, queries: int) -> None:
    drawn = lite.draw(one_positive(0.3), queries, 1000, np.random.default_rng(queries))
    assert lite.coverage(drawn) >= 0.95


def test_a_set_that_is_taken_whole_has_no_sampling_error(lite: ModuleType) -> None:
    drawn = lite.draw(one_positive(0.3), 150, 100, np.random.default_rng(1))
    assert drawn.samples.shape == (100, 150)
    assert np.abs(drawn.errors).max() < 1e-12


def test_the_simulated_error_is_that_of_sampling_theory(lite: ModuleType) -> None:
    values = one_positive(0.3)
    for queries in (300, 1000, 20_000):
        drawn = lite.draw(values, queries, 20_000, np.random.default_rng(queries))
        wanted = values.std() * np.sqrt((1 - 200 / queries) / 200)
        assert drawn.errors.std() == pytest.approx(wanted, rel=0.03)


def test_what_mrb_tasks_states_holds_for_the_widest_spread(lite: ModuleType) -> None:
    output = CliRunner().invoke(command, ["--suite", "mrb-lite"]).output
    words = " ".join(output.split())
    stated = re.search(
        r"measures within ([\d.]+) points .* over tasks within ([\d.]+) and over types within ([\d.]+)", words
    )
    assert stated is not None
    one, over_tasks, over_types = map(float, stated.groups())
    suite = load_suite("mrb-lite")
    tasks = [load_task(task_id) for task_id in suite.tasks]
    rng = np.random.default_rng(3)
    drawn = [lite.draw(lite.HALVES, task.size.queries, 1000, rng) for task in tasks]
    task_rate, type_rate, task_errors, type_errors = lite.average_coverage(tasks, drawn, resamples=500)
    largest = drawn[max(range(len(tasks)), key=lambda place: tasks[place].size.queries)]
    for errors, bound in ((largest.errors, one), (task_errors, over_tasks), (type_errors, over_types)):
        inside = float((np.abs(100 * errors) <= bound + 0.05).mean())  # the bound is printed to one place
        assert 0.93 <= inside <= 0.98
    assert task_rate >= 0.95 and type_rate >= 0.95
    text = (ROOT / "docs" / "design" / "mrb-lite.md").read_text(encoding="utf-8")
    for bound in (f"{one} points", f"{over_tasks} point ", f"{over_types} points"):
        assert bound in text


def test_a_suite_without_a_sample_states_no_sampling_error() -> None:
    assert "95 %" not in CliRunner().invoke(command, ["--suite", "mrb"]).output
