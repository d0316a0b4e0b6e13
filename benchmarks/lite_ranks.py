"""Does mrb-lite order models as the full suite does? Simulated, or computed from real runs.

    python benchmarks/lite_ranks.py                   # simulation: correlations of ranks, lite against full
    python benchmarks/lite_ranks.py --runs runs/*     # from runs of `mrb`, and those of `mrb-lite` if there are any

Simulated: a field of models has true means on the 40 sets, from a normal distribution with the spread that published
results have. Each set's sample of n of N queries then moves a model's mean by a normal error of variance
sd^2 (1/n - 1/N), where sd is the spread over queries. That errors of two models are independent is the worst case:
what moves all models alike moves no rank.

Real: the ranks by the averages of `mrb` runs, against those by runs of `mrb-lite` of the same rerankers. A model
without a lite run has the average over the same sample, taken from its values per query.

The spreads are from embeddings-benchmark/results, commit f4cc6c8b (20 August 2026), nDCG@10: the deviation of a model
on a set is split into one that the model has on all sets (`between`) and the rest (`within`), by analysis of variance.
Three fields: the 42 models with results on all of 23 image sets of MRB, the best 20 of them, and the best 20 of 193
models with results on the 13 BEIR sets; two sets correlate over these models by 0.34, 0.16 and 0.31. They are
retrievers: how rerankers differ over one list of candidates is not published.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mrb.data.sampling import choose_queries
from mrb.data.task import Task, list_suite_tasks, load_suite
from mrb.metrics.aggregation import average_queries
from mrb.results.run import Run, load_run

Float64 = npt.NDArray[np.float64]
MEASURE = "nDCG@10"
FULL, LITE = load_suite("mrb"), load_suite("mrb-lite")


@dataclass(frozen=True)
class Field:
    """A field of models: standard deviations, as fractions, of a model's common and of its remaining deviation."""

    name: str
    between: float
    within: float


FIELDS = (
    Field("42 models, 23 image sets", 0.072, 0.107),
    Field("their best 20", 0.038, 0.103),
    Field("best 20 of 193, 13 BEIR sets", 0.030, 0.053),
    Field("a closer field (assumed)", 0.010, 0.030),
)
MODELS = (10, 20, 55)
SPREADS = (("typical, 0.28", 0.28), ("bound, 0.50", 0.50))
"""Standard deviations over queries: docs/design/mrb-lite.md."""


def simulate(field: Field, models: int, sd: float, tasks: Sequence[Task], repeats: int, seed: int) -> Float64:
    """Return float64[repeats, 2]: Spearman's and Kendall's correlation of lite and full averages over types."""
    assert LITE.sample is not None
    rng = np.random.default_rng([seed, models])
    sizes = np.array([task.size.queries for task in tasks], float)
    taken = np.minimum(sizes, LITE.sample.queries)
    errors, shares = sd * np.sqrt(1 / taken - 1 / sizes), weigh_types(tasks)
    found = np.empty((repeats, 2))
    for repeat in range(repeats):
        means = rng.normal(0, field.between, (models, 1)) + rng.normal(0, field.within, (models, len(tasks)))
        lite = means + rng.normal(0, 1, means.shape) * errors
        found[repeat] = correlate(means @ shares, lite @ shares)
    return found


def weigh_types(tasks: Sequence[Task]) -> Float64:
    """Return the weight of each task in the average over types, which ranks models: each type counts once."""
    types = [task.type for task in tasks]
    return np.array([1 / len(set(types)) / types.count(name) for name in types])


def correlate(one: Float64, other: Float64) -> tuple[float, float]:
    """Return Spearman's rho and Kendall's tau-b of two series of at least two different values each."""
    rho = np.corrcoef(_rank(one), _rank(other))[0, 1]
    signs = [np.sign(np.subtract.outer(values, values))[np.triu_indices(len(values), 1)] for values in (one, other)]
    tau = float(signs[0] @ signs[1]) / float(np.sqrt(np.abs(signs[0]).sum() * np.abs(signs[1]).sum()))
    return float(rho), tau


def _rank(values: Float64) -> Float64:
    """Ranks from 1; equal values share the mean of theirs."""
    below = (values[:, None] > values).sum(axis=1)
    return np.asarray(below + ((values[:, None] == values).sum(axis=1) + 1) / 2, float)


def format_simulation(repeats: int, seed: int) -> Iterator[str]:
    """Yield the lines of the table: median, and in brackets the value that 95 % of repetitions exceed."""
    tasks = list_suite_tasks(FULL)
    yield f"{len(tasks)} sets, average over types, {repeats} repetitions, seed {seed}: median (95 % are above)"
    head = f"{'field of models':<30} {'between':>7} {'within':>7} {'models':>6}"
    yield f"{head} {'spread of queries':<17} Spearman       Kendall"
    for field in FIELDS:
        for models in MODELS:
            for name, sd in SPREADS:
                found = simulate(field, models, sd, tasks, repeats, seed)
                middle, low = np.median(found, axis=0), np.quantile(found, 0.05, axis=0)
                cells = "  ".join(f"{m:.3f} ({q:.3f})" for m, q in zip(middle, low, strict=True))
                yield f"{field.name:<30} {field.between:>7.3f} {field.within:>7.3f} {models:>6} {name:<17} {cells}"


def average(run: Run, tasks: Sequence[str], *, sampled: bool) -> float | None:
    """Return the average over the types of `tasks`, of the lite sample if `sampled`; None if the run lacks a task."""
    means = []
    for task_id in tasks:
        scores = run.tasks.get(task_id)
        if scores is None or MEASURE not in scores.values:
            return None
        rows = np.arange(len(scores.query_ids))
        if sampled:
            chosen, _ = choose_queries(scores.task, scores.query_ids, sample=LITE.sample, limit=None)
            places = {query_id: row for row, query_id in enumerate(scores.query_ids)}
            rows = np.array([places[query_id] for query_id in chosen])
        parts = None if scores.parts is None else [scores.parts[row] for row in rows]
        means.append(float(average_queries(scores.values[MEASURE][rows], parts)))
    return float(np.array(means) @ weigh_types([run.get_task(task_id) for task_id in tasks]))


def compare_runs(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the averages of each reranker by both suites, and the correlations of the ranks."""
    full = [run for run in runs if run.record.suite == FULL.id]
    lite = {_identify(run): run for run in runs if run.record.suite == LITE.id}
    tasks = [task_id for task_id in FULL.tasks if all(task_id in run.tasks for run in full)]
    rows: dict[str, tuple[float, float]] = {}
    for run in full:
        other = lite.get(_identify(run))
        found = average(run, tasks, sampled=False), average(other or run, tasks, sampled=other is None)
        if found[0] is not None and found[1] is not None:
            rows[f"{run.name}{'' if other else ' (its sample)'}"] = (found[0], found[1])
    yield from format_rows(rows, len(tasks))


def _identify(run: Run) -> str:
    return json.dumps(run.record.reranker.identity(), sort_keys=True)


def format_rows(rows: Mapping[str, tuple[float, float]], tasks: int) -> Iterator[str]:
    """Yield a line for each model and the correlations. SystemExit with fewer than three models."""
    if len(rows) < 3 or not tasks:
        raise SystemExit(f"{len(rows)} runs of {FULL.id} with {tasks} sets that all have: ranks need at least 3 models")
    yield f"{MEASURE} x 100, average over the types of the {tasks} sets that all runs have"
    width = max(map(len, rows))
    for name, (whole, sample) in sorted(rows.items(), key=lambda row: -row[1][0]):
        yield f"{name:<{width}}  full {100 * whole:6.2f}  lite {100 * sample:6.2f}"
    rho, tau = correlate(*np.array(list(rows.values())).T)
    yield f"{len(rows)} models: Spearman {rho:.3f}, Kendall {tau:.3f}"


def main() -> None:
    """Print the simulation, or what the runs say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, help="run folders of mrb, and of mrb-lite")
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    lines = compare_runs([load_run(path) for path in given.runs]) if given.runs else None
    for line in lines or format_simulation(given.repeats, given.seed):
        print(line)


if __name__ == "__main__":
    main()
