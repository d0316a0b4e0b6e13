"""Supervised or contrastive weights, supervised or contrastive direction: arms that differ in nothing else.

    python docs/experiments/weights/experiment.py run --out training/weights --processes 2
    python docs/experiments/weights/experiment.py report --out training/weights
    python docs/experiments/weights/experiment.py pilot --scale encoder --out training/encoder

`run` trains in two stages: every arm with several learning rates, scored on development tasks only; then every arm with
the rate that was best for it, with other seeds, scored on test tasks only. It can be killed at any moment and goes on;
at its end it writes `rows.csv` into --out. `report` writes `report.md` from `rows.csv` alone. `pilot` trains two arms
with three further seeds, adds their rows, and says whether `run` would see the difference that it is for; the exit code
is 1 if not. `--scale tiny` is a small model from random weights, `--scale encoder` MiniLM with LoRA on text.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from weights_design import PILOT_ARM, PILOT_SEEDS, REFERENCE, SCALES, Run, Scale
from weights_report import COLUMNS, Row, find_best_rate, judge_pilot, write_report, write_rows

from mrb._util.files import read_json, write_json
from mrb.training.record import read_training_record

CPU_FILE = "cpu.json"


def list_pilot(scale: Scale) -> list[Run]:
    """Return the runs of the pilot: two arms with the middle learning rate."""
    clip, rate = next(iter(scale.seeds)), scale.rates[len(scale.rates) // 2]
    return [Run("pilot", arm, clip, rate, seed) for seed in PILOT_SEEDS for arm in (REFERENCE, PILOT_ARM)]


def list_development(scale: Scale) -> list[Run]:
    """Return the runs that choose a learning rate, all arms of one seed first."""
    return [
        Run("development", arm, clip, rate, seed)
        for clip, (seeds, _) in scale.seeds.items()
        for seed in seeds
        for arm, rate in itertools.product(scale.arms, scale.rates)
    ]


def list_test(scale: Scale, rows: Sequence[Row]) -> list[Run]:
    """Return the runs on test tasks, each arm with its own best learning rate."""
    best = {(arm, clip): find_best_rate(rows, arm, clip) for arm, clip in itertools.product(scale.arms, scale.seeds)}
    return [
        Run("test", arm, clip, best[arm, clip], seed)
        for clip, (_, seeds) in scale.seeds.items()
        for seed in seeds
        for arm in scale.arms
    ]


def train_run(run: Run, scale_name: str, out: Path, more: Sequence[str]) -> Run:
    """Train one run in this process on one thread, and keep its record, its log and its CPU time."""
    import torch

    from mrb.training.recipe import load_recipe
    from mrb.training.run import train

    torch.set_num_threads(1)
    scale, folder, started = SCALES[scale_name], out / run.folder, time.process_time()
    train(load_recipe(scale.recipe, run.list_changes(scale, more)), folder, fresh=False, command=(sys.argv[0], "run"))
    write_json(folder / CPU_FILE, round(time.process_time() - started, 1))
    for name in ("model", "start"):  # several megabytes a run
        shutil.rmtree(folder / name, ignore_errors=True)
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    return run


def read_rows(out: Path, runs: Sequence[Run]) -> Iterator[Row]:
    """Yield a row for each task of each finished run."""
    for run in runs:
        folder = out / run.folder
        record = read_training_record(folder)
        if record is None or not record.finished:
            continue
        share = _find_clipped_share(folder / "log.csv", run.clip)
        cpu = read_json(folder / CPU_FILE) if (folder / CPU_FILE).is_file() else ""
        for result in record.results:
            values = (run.stage, run.arm, run.clip, run.rate, run.seed, result.task, result.value, share, cpu)
            yield {name: str(value) for name, value in zip(COLUMNS, values, strict=True)}


def _find_clipped_share(path: Path, clip: float) -> str:
    """Return the share of logged steps whose gradient was longer than `clip`."""
    with path.open(encoding="utf-8") as file:
        norms = [float(row["grad_norm"]) for row in csv.DictReader(file) if row["grad_norm"]]
    return f"{sum(norm > clip for norm in norms) / len(norms):.3f}" if clip and norms else ""


def run_stage(runs: Sequence[Run], scale_name: str, out: Path, processes: int, more: Sequence[str]) -> list[Row]:
    """Train the runs that are not finished, `processes` at a time, and return the rows of all runs."""
    left = [run for run in runs if not any(read_rows(out, [run]))]
    print(f"{runs[0].stage}: {len(runs) - len(left)} of {len(runs)} runs are finished", flush=True)
    started = time.monotonic()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(train_run, run, scale_name, out, more) for run in left]
        for number, done in enumerate(as_completed(waiting), start=1):
            each = (time.monotonic() - started) / number
            print(
                f"{done.result().folder}: {number} of {len(left)}, {60 / each:.2f} a minute, "
                f"{each * (len(left) - number) / 60:.0f} min left",
                flush=True,
            )
    return list(read_rows(out, runs))


def main() -> int:
    """Run the experiment or its pilot, or write its report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["pilot", "run", "report"])
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--set", action="append", default=[], help="a setting of all runs, as section.name=value")
    given = parser.parse_args()
    scale = SCALES[given.scale]
    if given.command == "report":
        write_report(given.out, scale)
        return 0
    how = (given.scale, given.out, given.processes, [*scale.prepare(given.out), *given.set])
    if given.command == "pilot":
        rows = run_stage(list_pilot(scale), *how)
        write_rows(given.out / "rows.csv", rows)
        go, lines = judge_pilot(rows, scale)
        print("\n".join(lines))
        return 0 if go else 1
    rows = run_stage(list_development(scale), *how)
    rows += run_stage(list_test(scale, rows), *how)
    write_rows(given.out / "rows.csv", [*read_rows(given.out, list_pilot(scale)), *rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
