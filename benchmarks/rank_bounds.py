"""How often rank bounds hold the true rank, and how wide they are: simulated boards of 100 models on the suite's tasks.

    python benchmarks/rank_bounds.py --out /tmp/bounds --boards 200

Each board is a line in a file of its field, so that a killed command goes on where it was. `--boards 0` only prints.

Simulated: a model's true mean on a task is the task's level, plus a deviation that the model has on all tasks, plus one
of its own; their spreads are those of a published field (`lite_ranks.py`). A query's value is the nDCG@10 of one
relevant document, whose rank is geometric with that mean. In a share `KEPT` of queries a model draws its rank from the
query's luck, which all models have in common, else from its own. This makes the values of two models correlate by about
0.5: between runs of TREC Web 2010 to 2013, nDCG@20 per query correlates by 0.55, 0.52, 0.38 and 0.48 on average over
the pairs (computed from the data of github.com/julian-urbano/sigir2019-statistical, commit dc9f891). These runs search
a whole collection; how rerankers correlate over one list of candidates is not published. Assumed: levels of tasks (mean
0.55, deviation 0.15), no clusters, and at most `--queries` queries of a task.

The oracle knows the variance of every difference. Its width counts the models whose observed average lies within the
critical value: 1.96 standard errors for a single pair, or what the largest of all pairs of equally good models stays
below in 95 % of boards. No test that holds for all pairs at once can be much narrower than the second.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from lite_ranks import FIELDS, FULL, Field, weigh_types

from mrb._util.progress import Progress
from mrb.data.task import Task, list_suite_tasks
from mrb.metrics.significance import PairedTests, bound_ranks
from mrb.metrics.statistics import TaskSample

Float64 = npt.NDArray[np.float64]
GAINS = np.concatenate((1 / np.log2(np.arange(2, 12)), [0.0]))
"""nDCG@10 of a query with one relevant document: by its rank from 1, and 0 from rank 11 on."""
KEPT = 0.72
LEVEL, LEVEL_SPREAD = 0.55, 0.15
SINGLE = 1.96


@dataclass(frozen=True)
class Simulated:
    """A board's values (float64[queries, models] of each task), the true averages over types, and the true standard
    errors of their differences, float64[models, models]."""

    values: list[Float64]
    averages: Float64
    errors: Float64


@dataclass(frozen=True)
class Outcome:
    """A board: whether the bounds hold each model's true rank, the numbers of ranks in the bounds, the oracle's widths
    with and without correction for all pairs, and the mean correlation of values between models."""

    seed: int
    models: int
    queries: int
    inside: list[bool]
    widths: list[int]
    oracle: list[int]
    single: list[int]
    correlation: float


def find_rates(means: Float64) -> Float64:
    """Return the rate of the geometric rank at which nDCG@10 has these means."""
    rates = np.linspace(0.01, 0.99, 2000)
    return np.asarray(np.interp(means, compute_means(rates), rates))


def compute_means(rates: Float64) -> Float64:
    """Return the mean nDCG@10 of a geometric rank."""
    return np.asarray(sum(gain * rates * (1 - rates) ** rank for rank, gain in enumerate(GAINS[:-1])))


def draw_values(luck: Float64, rates: Float64) -> Float64:
    """Return nDCG@10 where the geometric rank has the quantile `luck`, uniform in (0, 1)."""
    ranks = np.minimum(np.ceil(np.log(luck) / np.log(1 - rates)), len(GAINS))
    return np.asarray(GAINS[ranks.astype(np.int64) - 1])


def simulate(field: Field, models: int, tasks: Sequence[Task], queries: Sequence[int], seed: int) -> Simulated:
    """Draw a board."""
    rng = np.random.default_rng([seed, models, FIELDS.index(field)])
    means = rng.normal(LEVEL, LEVEL_SPREAD, len(tasks)) + rng.normal(0, field.between, (models, 1))
    rates = find_rates(np.clip(means + rng.normal(0, field.within, means.shape), 0.02, 0.98))
    grid = (np.arange(2000) + 0.5)[:, np.newaxis] / 2000
    weights = weigh_types(tasks)
    values, variances = [], np.zeros((models, models))
    for of_task, weight, count in zip(rates.T, weights, queries, strict=True):
        own = rng.random((count, models)) > KEPT
        values.append(draw_values(np.where(own, rng.random((count, models)), rng.random((count, 1))), of_task))
        drawn = draw_values(grid, of_task)
        shared = drawn.T @ drawn / len(grid) - np.outer(drawn.mean(axis=0), drawn.mean(axis=0))
        # Two models have a query's luck in common if both draw from it.
        apart = np.add.outer(np.diag(shared), np.diag(shared)) - 2 * KEPT**2 * shared
        variances += weight**2 * apart / count
    return Simulated(values, compute_means(rates) @ weights, np.sqrt(variances))


def find_critical_value(models: int) -> float:
    """Return what the largest standardised difference of equally good models stays below in 95 % of boards."""
    drawn = np.random.default_rng(0).normal(size=(20_000, models))
    return float(np.quantile(np.ptp(drawn, axis=1), 0.95) / np.sqrt(2))


def run_board(field: Field, models: int, tasks: Sequence[Task], most: int, seed: int) -> Outcome:
    """Simulate a board and test it as the board does."""
    queries = [min(most, task.size.queries or most) for task in tasks]
    board = simulate(field, models, tasks, queries, seed)
    samples = [TaskSample(f"{seed}-{task.id}", task.type, own) for task, own in zip(tasks, board.values, strict=True)]
    bounds = bound_ranks(models, PairedTests(samples, on_tasks=0).test_average("types"))
    places = (board.averages[np.newaxis] > board.averages[:, np.newaxis]).sum(axis=1) + 1
    observed = np.array([own.mean(axis=0) for own in board.values]).T @ weigh_types(tasks)
    distances = np.abs(np.subtract.outer(observed, observed))
    np.fill_diagonal(board.errors, 1.0)
    oracle, single = ((distances < z * board.errors).sum(axis=1) for z in (find_critical_value(models), SINGLE))
    pairs = np.triu_indices(models, 1)
    with np.errstate(invalid="ignore"):  # on few queries a model's values can all be equal
        correlation = np.nanmean([np.nanmean(np.corrcoef(own.T)[pairs]) for own in board.values])
    return Outcome(
        seed,
        models,
        sum(queries),
        [own.best <= place <= own.worst for own, place in zip(bounds, places.tolist(), strict=True)],
        [own.worst - own.best + 1 for own in bounds],
        oracle.tolist(),
        single.tolist(),
        float(correlation),
    )


def read_outcomes(path: Path, models: int, queries: int) -> dict[int, Outcome]:
    """Return the boards of this size in the file, by seed; a line that a kill cut off is no board."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            one = Outcome(**json.loads(line))
        except ValueError:
            continue
        if (one.models, one.queries) == (models, queries):
            found[one.seed] = one
    return found


def format_outcomes(name: str, outcomes: Sequence[Outcome]) -> list[str]:
    """Return a row of the table."""
    shares = [float(np.mean(one.inside)) for one in outcomes]
    whole = float(np.mean([all(one.inside) for one in outcomes]))
    cells = [name, str(len(outcomes)), f"{100 * np.mean(shares):.2f} %", f"{100 * min(shares):.0f} %"]
    cells.append(f"{100 * whole:.0f} %")
    for key in ("widths", "oracle", "single"):
        low, middle, high = np.quantile([width for one in outcomes for width in getattr(one, key)], (0.25, 0.5, 0.75))
        cells.append(f"{middle:.0f} ({low:.0f}–{high:.0f})")
    return [*cells, f"{np.nanmean([one.correlation for one in outcomes]):.2f}"]


def format_table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a Markdown table; widths are medians with quartiles."""
    head = ["field of models", "boards", "bounds hold the rank", "fewest on a board", "boards that hold all"]
    head += ["width", "oracle's width", "oracle's, single pairs", "correlation"]
    yield f"| {' | '.join(head)} |\n|---|{'---|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def main() -> None:
    """Simulate what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder of the boards' files")
    parser.add_argument("--boards", type=int, default=200)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--queries", type=int, default=200, help="at most this many of each task (default 200)")
    parser.add_argument("--field", type=int, nargs="*", choices=range(len(FIELDS)), default=list(range(len(FIELDS))))
    parser.add_argument("--seed", type=int, default=0, help="the first board's seed")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    tasks = list_suite_tasks(FULL)
    queries = sum(min(given.queries, task.size.queries or given.queries) for task in tasks)
    seeds = range(given.seed, given.seed + given.boards)
    rows = []
    with Progress("boards", None) as progress:
        for field in (FIELDS[number] for number in given.field):
            path = given.out / f"field-{FIELDS.index(field)}.jsonl"
            done = read_outcomes(path, given.models, queries)
            missing = [seed for seed in seeds if seed not in done]
            progress.begin(field.name, len(seeds), len(seeds) - len(missing))
            for seed in missing:
                done[seed] = run_board(field, given.models, tasks, given.queries, seed)
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"\n{json.dumps(asdict(done[seed]))}")
                progress.advance()
            if done:
                rows.append(format_outcomes(field.name, list(done.values())))
    print(f"{given.models} models, {len(tasks)} tasks, {queries:,} queries; widths are medians (quartiles)\n")
    print("\n".join(format_table(rows)))


if __name__ == "__main__":
    main()
