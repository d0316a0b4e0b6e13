"""What `plan.py` takes for granted and leaves out, measured on the embedded suite.

    python benchmarks/scale/measure.py makespan [--limit 15] [--model gmr-tiny] [--times 4]
    python benchmarks/scale/measure.py pages
    python benchmarks/scale/measure.py reuse [--limit 8]

`makespan` times each query of the suite in a run of a real model, and then runs the suite with 1, 2, 4 and 8 workers
that wait for so long, or for so many `--times` as long, as the model took for the query: as a worker waits for its GPU.
So the executors, the data and the files are real and the machine's few cores are not what is measured. Beside each run
stands the simulation, given the seconds of the queries alone; for the whole command, what the run with one worker took
to start, open and measure too. `spread` is the standard deviation of a task's seconds a query over their mean.

`pages` deals the queries of the tasks whose documents have pictures out to 1, 2, 4, ... workers, as `--shard` does, and
counts the distinct pictures of each one's candidates: what a vision tower has to look at if its worker keeps all that
it has seen. Beside it stands what `plan.py` takes, lists drawn at random.

`reuse` scores a few queries of each task with gmr-tiny and prints what its engine counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from cost import Cost
from simulate import Job, simulate
from workload import Cluster, Way, Work, pictures_seen, registered

from mrb.data.task import Task
from mrb.evaluation.plan import load_plan
from mrb.evaluation.spec import TaskSpec, select_tasks

MRB = Path(sys.executable).with_name("mrb")
WORKERS = (1, 2, 4, 8)
SUITE = select_tasks(None, (), (), None)
ADAPTER = """
import json, os, time

from mrb.rerankers.declaration import load_reranker


def key(request):
    image = request.query.image
    return json.dumps([request.instruction, request.query.text, image and image.sha256])


class Noted:
    batch_invariant = True

    def __init__(self):
        self.file = open(f"noted-{os.getpid()}", "a")

    def score(self, request):
        begun = time.monotonic()
        scores = self.scores(request)
        self.file.write(json.dumps([key(request), begun, time.monotonic()]) + "\\n")
        self.file.flush()
        return scores


class Real(Noted):
    def __init__(self, model: str):
        super().__init__()
        self.reranker = load_reranker(model, {}).target

    def scores(self, request):
        return list(self.reranker.score(request))


class Waits(Noted):
    def __init__(self):
        super().__init__()
        with open("seconds.json") as file:
            self.seconds = json.load(file)

    def scores(self, request):
        time.sleep(self.seconds[key(request)].pop(0))
        return [0.0] * len(request.candidates)
"""
Noted = Mapping[str, Sequence[tuple[float, float]]]
"""When queries began and ended, by what they are made of."""


@dataclass(frozen=True)
class Ran:
    """A run: when the command began, its seconds, those of scoring all tasks, and when each query began and ended."""

    begun: float
    wall: float
    scoring: float
    noted: Noted

    def queries(self, limit: int | None) -> dict[str, list[tuple[float, float]]]:
        """When each query of a task began and ended, in the plan's order; of equal queries in the order of time."""
        left = {name: sorted(found) for name, found in self.noted.items()}
        return {task.id: [left[key].pop(0) for key in keys(task, limit)] for task in SUITE.tasks}


def keys(task: Task, limit: int | None) -> list[str]:
    """What the adapter knows the task's queries by."""
    plan = load_plan(TaskSpec(task, SUITE.depth, None, limit, None))
    items = [plan.data.queries.item(query_id) for query_id in plan.query_ids]
    return [json.dumps([task.instruction, item.text, item.image and item.image.sha256]) for item in items]


def run(adapter: Sequence[str], workers: int, limit: int | None, seconds: Mapping[str, Sequence[float]]) -> Ran:
    """The suite in a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "adapter.py").write_text(ADAPTER)
        (folder / "seconds.json").write_text(json.dumps(seconds))
        command = [str(MRB), "run", "--name", "noted", *adapter, "--workers", str(workers)]
        command += ["--limit", str(limit)] if limit else []
        begun = time.monotonic()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        wall = time.monotonic() - begun
        timings = json.loads((folder / "runs" / "noted" / "run.json").read_text())["timings"]
        noted: dict[str, list[tuple[float, float]]] = {}
        for path in folder.glob("noted-*"):
            for line in path.read_text().splitlines():
                name, begin, end = json.loads(line)
                noted.setdefault(name, []).append((begin, end))
    return Ran(begun, wall, sum(timing["seconds"] for timing in timings.values()), noted)


def makespan(model: str, limit: int | None, times: float) -> None:
    """Real runs beside simulated ones."""
    real = run(("--model", "adapter:Real", "--set", f"model={model}"), 1, limit, {})
    print(f"{model}, one worker: {real.scoring:.1f} s of scoring")
    print(f"{'task':18} {'queries':>7} {'mean s':>8} {'spread':>7}")
    for task_id, found in real.queries(limit).items():
        costs = np.array([end - begin for begin, end in found])
        print(f"{task_id:18} {len(costs):7} {costs.mean():8.4f} {costs.std() / costs.mean():7.2f}")
    seconds = {name: [times * (end - begin) for begin, end in found] for name, found in real.noted.items()}
    entries = registered(replace(SUITE, limit=limit))
    jobs: list[Job] = []
    for entry in entries:
        left = {name: list(found) for name, found in seconds.items()}
        costs = np.array([left[name].pop(0) for name in keys(entry.task, limit)])
        jobs.append(Job(Work(entry, Cost(0.0)), costs, read=0.0, opened=0.0, finish=0.0))
    runs = {workers: run(("--model", "adapter:Waits"), workers, limit, seconds) for workers in WORKERS}
    print(f"waiting {times:g} times as long, {sum(job.costs.sum() for job in jobs):.1f} s in all")
    print("workers  scoring s  simulated  ratio  command s  simulated  ratio")
    start, whole = beside(runs[1], jobs, limit)
    for workers, ran in runs.items():
        scoring, command = simulated(jobs, workers, 0.0), simulated(whole, workers, start)
        cells = f"{ran.scoring:10.1f} {scoring:10.1f} {scoring / ran.scoring:6.3f}"
        print(f"{workers:7} {cells} {ran.wall:10.1f} {command:10.1f} {command / ran.wall:6.3f}")
    print(
        f"of the command with 1 worker: start-up {start:.1f} s, opening {sum(job.opened for job in whole):.1f} s, "
        f"measuring {sum(job.finish for job in whole):.1f} s"
    )


def simulated(jobs: Sequence[Job], workers: int, start: float) -> float:
    """Seconds of a run with local workers."""
    cluster = Cluster(workers, workers, start=start)
    return simulate(jobs, cluster, Way(1, workers, cluster=False), np.random.default_rng(0))


def beside(one: Ran, jobs: Sequence[Job], limit: int | None) -> tuple[float, list[Job]]:
    """What a run with one worker took beside scoring: its start, and the jobs with the seconds until they were opened,
    and until they were measured and the next could be opened."""
    opened = [open_seconds(task, limit) for task in SUITE.tasks]
    found = list(one.queries(limit).values())
    starts, ends = [min(queries)[0] for queries in found], [max(queries)[1] for queries in found]
    following = [*starts[1:], one.begun + one.wall]
    finish = [
        max(0.0, later - end - until) for end, later, until in zip(ends, following, [*opened[1:], 0.0], strict=True)
    ]
    whole = [replace(job, opened=o, finish=f) for job, o, f in zip(jobs, opened, finish, strict=True)]
    return starts[0] - one.begun - opened[0], whole


def open_seconds(task: Task, limit: int | None) -> float:
    """Seconds until the task's list and data are read."""
    begun = time.perf_counter()
    load_plan(TaskSpec(task, SUITE.depth, None, limit, None))
    return time.perf_counter() - begun


def pages() -> None:
    """Distinct pictures that each of several workers meets, in the embedded lists."""
    counts = (1, 2, 4, 8, 16, 32, 64)
    print("pictures that towers look at, % of the pairs: counted in the lists (lists drawn at random)")
    print(f"{'task':18} {'queries':>7} {'pictures':>8} {'pairs':>6}" + "".join(f"{f'{n} workers':>15}" for n in counts))
    for task in SUITE.tasks:
        if task.document_modality == "text":
            continue
        plan = load_plan(TaskSpec(task, SUITE.depth, None, None, None))
        lists = [plan.entry(query_id).doc_ids for query_id in plan.query_ids]
        corpus = plan.data.corpus
        hashes = {doc: image.sha256 for doc in corpus if (image := corpus.item(doc).image) is not None}
        pairs, cells = sum(map(len, lists)), ""
        for workers in counts:
            dealt = [lists[number::workers] for number in range(workers)]
            seen = sum(len({hashes[doc] for found in part for doc in found if doc in hashes}) for part in dealt)
            drawn = sum(pictures_seen(len(p), pairs / len(lists), len(corpus), len(corpus)) for p in dealt)
            cells += f"{f'{100 * seen / pairs:.1f} ({100 * drawn / pairs:.1f})':>15}"
        print(f"{task.id:18} {len(lists):7} {len(set(hashes.values())):8} {pairs:6}{cells}")


def reuse(limit: int) -> None:
    """What the engine of a real model spares on the embedded lists."""
    from mrb.baselines.gmr_tiny import GMRTiny
    from mrb.evaluation.plan import make_requests

    print("task                 pairs  tokens a pair  prefix spared  pictures hit")
    for task in SUITE.tasks:
        plan = load_plan(TaskSpec(task, SUITE.depth, None, limit, None))
        model = GMRTiny()
        requests = make_requests(plan, plan.entries(), "pointwise", uses_first_stage=False)
        for _ in model.score_stream(one.request for one in requests):
            pass
        stats = model.engine.stats
        looked = stats.cache_hits + stats.cache_misses
        whole = stats.tokens + stats.shared
        hits = f"{100 * stats.cache_hits / looked:11.1f} %" if looked else f"{'-':>13}"
        spared = 100 * stats.shared / whole
        print(f"{task.id:18} {stats.pairs:7} {whole / stats.pairs:14.1f} {spared:12.1f} % {hits}")
        model.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("makespan", "pages", "reuse"))
    parser.add_argument("--limit", type=int, help="only the first N queries of each task")
    parser.add_argument("--times", type=float, default=4.0, help="makespan waits so many times the model's seconds")
    parser.add_argument("--model", default="gmr-tiny", help="the reranker of the part makespan")
    asked = parser.parse_args()
    if asked.part == "makespan":
        makespan(asked.model, asked.limit, asked.times)
    elif asked.part == "pages":
        pages()
    else:
        reuse(asked.limit or 8)


if __name__ == "__main__":
    main()
