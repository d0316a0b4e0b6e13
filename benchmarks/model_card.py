"""The results on the cards of gmr-tiny and mini-panel: one table from run folders, in Markdown.

    python benchmarks/model_card.py --found runs/as_found --model runs/gmr-tiny --seed runs/seed-1 --seed runs/seed-2 \
        --other surface=runs/surface --other linear=benchmarks/runs/linear_pairs

`--model` is the one that ships, `--seed` are runs of the same recipe with other seeds; the table's first model has the
name of `--model`'s folder. All are of the suite `mini`, or all of `mini-dev`; `--other` need not have all tasks. Gains
are over the first stage, query by query, with 95 % intervals over queries.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from mrb.data.task import load_task
from mrb.metrics.measures import HEADLINE
from mrb.metrics.statistics import MeanInterval, compute_interval, derive_task_seed
from mrb.results.schema import read_result

Float64 = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--found", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seed", type=Path, action="append", default=[])
    parser.add_argument("--other", action="append", default=[], metavar="NAME=FOLDER")
    given = parser.parse_args()
    others = {name: Path(folder) for name, _, folder in (text.partition("=") for text in given.other)}
    for line in table(given.found, given.model, given.seed, others):
        sys.stdout.write(f"{line}\n")


def table(found: Path, model: Path, seeds: Sequence[Path], others: Mapping[str, Path]) -> Iterator[str]:
    """The table's lines: a row for each task of the model's run."""
    runs = [model, *seeds]
    spread = [f"{len(runs)} seeds, lowest to highest"] if seeds else []
    yield _row(["task", "type", "first stage", model.name, "gain", *spread, *others, "best order"])
    yield _row(["---"] * (6 + len(spread) + len(others)))
    tasks = sorted(
        (path.parent.name for path in model.glob("*/result.json")), key=lambda task: (load_task(task).type, task)
    )
    clear = 0
    for task in tasks:
        result = read_result(model / task / "result.json")
        own = result.measures[str(HEADLINE)]
        gain = _gain(model / task, found / task, task)
        clear += gain.low > 0
        values = [_mean(run / task) for run in runs]
        cells = [f"`{task}`", load_task(task).type, _hundred(result.first_stage[str(HEADLINE)].mean)]
        cells.append(f"{_hundred(own.mean)} [{_hundred(own.low)}, {_hundred(own.high)}]")
        cells.append(f"{100 * gain.mean:+.2f} [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]")
        cells += [f"{_hundred(min(values))} to {_hundred(max(values))}"] if seeds else []
        cells += [
            _hundred(_mean(folder / task)) if (folder / task / "result.json").exists() else ""
            for folder in others.values()
        ]
        yield _row([*cells, _hundred(result.oracle[str(HEADLINE)].mean)])
    yield ""
    yield f"{HEADLINE} x 100. The gain's interval lies above zero on {clear} of {len(tasks)} tasks."


def _gain(folder: Path, found: Path, task: str) -> MeanInterval:
    own, clusters = _per_query(folder)
    first, same = _per_query(found)
    assert clusters == same
    return compute_interval(own - first, clusters, seed=derive_task_seed(task))


def _per_query(folder: Path) -> tuple[Float64, list[str]]:
    """The headline measure and the cluster of each query."""
    held = pq.read_table(folder / "per_query.parquet")
    clusters = [str(cluster) for cluster in held.column("cluster").to_pylist()]
    return held.column(str(HEADLINE)).to_numpy(), clusters


def _mean(folder: Path) -> float:
    return read_result(folder / "result.json").measures[str(HEADLINE)].mean


def _hundred(value: float) -> str:
    return f"{100 * value:.2f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
