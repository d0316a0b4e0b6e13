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
from mrb.results.run import load_run
from tests.builders.run_folders import write_run_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GAINS = np.concatenate(([0.0], 1 / np.log2(np.arange(2, 12))))


def load_script(name: str) -> ModuleType:
    """A script of benchmarks/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lite() -> ModuleType:
    return load_script("lite_error")


@pytest.fixture(scope="module")
def ranks() -> ModuleType:
    return load_script("lite_ranks")


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


def test_correlations_are_scipys(ranks: ModuleType) -> None:
    from scipy import stats

    rng = np.random.default_rng(3)
    for one, other in (rng.normal(size=(2, 15)), rng.integers(0, 4, (2, 15))):
        wanted = (stats.spearmanr(one, other).statistic, stats.kendalltau(one, other).statistic)
        assert ranks.correlate(one, other) == pytest.approx(wanted)


def test_the_docs_print_what_the_simulation_says(ranks: ModuleType) -> None:
    """Fewer repetitions than the page: the medians of its second row, to a hundredth."""
    tasks = ranks.list_suite_tasks(ranks.FULL)
    found = np.median(ranks.simulate(ranks.FIELDS[1], 20, 0.28, tasks, 300, 1), axis=0)
    page = (ROOT / "docs" / "design" / "mrb-lite.md").read_text()
    (row,) = re.findall(r"^\| their best 20 .*$", page, re.MULTILINE)
    spearman, kendall = re.findall(r"(0\.\d+) \(", row)[:2]
    assert found == pytest.approx([float(spearman), float(kendall)], abs=0.01)


def test_real_runs_are_paired_with_their_lite_runs(ranks: ModuleType, tmp_path: Path) -> None:
    tasks = ["fiqa", "nfcorpus", "nights"]
    for place, skill in enumerate((0.2, 0.5, 0.8)):
        info = {"name": f"m{place}"}
        write_run_folder(tmp_path / f"m{place}", skill, suite="mrb", tasks=tasks, queries=250, reranker=info)
    write_run_folder(tmp_path / "lite", 0.9, suite="mrb-lite", tasks=tasks, queries=50, reranker={"name": "m0"})
    runs = [load_run(path) for path in sorted(tmp_path.iterdir())]
    *rows, last = ranks.compare_runs(runs)
    assert [row.split()[0] for row in rows[1:]] == ["m2", "m1", "m0"]
    assert "(its sample)" in rows[1] and "(its sample)" not in rows[3], "m0 has a lite run, which is far better"
    lite = ranks.average(runs[0], tasks, sampled=False)
    assert f"lite {100 * lite:6.2f}" in rows[3] and last == "3 models: Spearman -0.500, Kendall -0.333"
    with pytest.raises(SystemExit, match="ranks need at least 3 models"):
        list(ranks.compare_runs(runs[:2]))
