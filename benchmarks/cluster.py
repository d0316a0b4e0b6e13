"""Two workers on a Ray cluster of this machine against one, with a reranker that computes on one thread.

    python benchmarks/cluster.py [--rounds 5] [--seconds 20] [--ways ray,local]

Each round runs one worker and two, in turn, on the same cluster, which is there before: starting it is not measured.
The reranker computes a key derivation for each pair: a fixed amount of work, in C, on one thread. The time is that of
scoring alone, from run.json. Where other programs use the machine, the share of a core that each worker has had is
printed, and ratios are of runs that follow each other. Exit code 1 if any two runs end in different bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MRB = Path(sys.executable).with_name("mrb")
TASK = "mini-faq-t2t"
PAIRS = 4146
FINAL = ("result.json", "scores.parquet", "per_query.parquet")
ADAPTER = """
import hashlib, os, time


class Derive:
    batch_invariant = True

    def __init__(self, rounds: int):
        self.rounds = rounds

    def score(self, request):
        query = request.query.text.encode()
        return [self.derived(query, document.text.encode()) for document in request.candidates]

    def derived(self, query, document):
        return int.from_bytes(hashlib.pbkdf2_hmac("sha256", document, query, self.rounds)[:2], "big") / 65536

    def close(self):
        with open(f"cpu-{os.getpid()}", "w") as file:
            file.write(str(time.process_time()))
"""


@dataclass(frozen=True)
class Done:
    """One run: seconds of scoring, seconds of the whole command, CPU seconds of its workers, the bytes it ended in."""

    scoring: float
    wall: float
    cpu: float
    workers: int
    files: tuple[bytes, ...]


def measure(way: str, workers: int, rounds: int, address: str) -> Done:
    """One run in a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "derive.py").write_text(ADAPTER)
        command = [str(MRB), "run", "--model", "derive", "--task", TASK, "--set", f"rounds={rounds}"]
        command += ["--workers", str(workers)]
        command += ["--executor", "ray", "--address", address] if way == "ray" else []
        started = time.monotonic()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        wall = time.monotonic() - started
        run = folder / "runs" / "derive"
        scoring = json.loads((run / "run.json").read_text())["timings"][TASK]["seconds"]
        spent = [float(path.read_text()) for path in folder.glob("cpu-*")]
        files = tuple((run / TASK / name).read_bytes() for name in FINAL)
    return Done(scoring, wall, sum(spent), workers, files)


def calibrated(seconds: float) -> int:
    """Rounds of the derivation with which all pairs take about so many seconds of CPU time."""
    import hashlib

    started = time.process_time()
    hashlib.pbkdf2_hmac("sha256", b"document", b"query", 100_000)
    return max(1, int(100_000 * seconds / PAIRS / (time.process_time() - started)))


def row(way: str, one: Done, two: Done) -> str:
    """A round of a way, one worker against two."""
    had = [100 * done.cpu / (done.scoring * done.workers) for done in (one, two)]
    return (
        f"{way:6} {one.scoring:9.1f} {two.scoring:9.1f} {one.scoring / two.scoring:7.2f} {one.wall:9.1f} "
        f"{two.wall:9.1f} {had[0]:9.0f} % {had[1]:7.0f} %"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds of the reranker in a run, about")
    parser.add_argument("--ways", default="ray,local")
    asked = parser.parse_args()
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    os.environ.update(RAY_raylet_start_wait_time_s="300", RAY_agent_register_timeout_ms="300000")
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=2**27, log_to_driver=False)
    address = ray.get_runtime_context().gcs_address
    rounds = calibrated(asked.seconds)
    ways = asked.ways.split(",")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {PAIRS} pairs, {rounds} rounds of sha256 a pair")
    print(
        f"{'':6} {'1 worker':>9} {'2 workers':>9} {'ratio':>7} {'wall 1':>9} {'wall 2':>9} {'a core, 1':>11} {'2':>9}"
    )
    ratios: dict[str, list[float]] = {way: [] for way in ways}
    files = set()
    for number in range(asked.rounds):
        for way in ways:
            order = (1, 2) if number % 2 == 0 else (2, 1)
            found = {workers: measure(way, workers, rounds, address) for workers in order}
            files |= {done.files for done in found.values()}
            ratios[way].append(found[1].scoring / found[2].scoring)
            print(row(way, found[1], found[2]), flush=True)
    for way in ways:
        print(f"{way}: two workers are {statistics.median(ratios[way]):.2f} times one (median of {asked.rounds})")
    print(f"load {os.getloadavg()[0]:.1f}; " + ("identical bytes" if len(files) == 1 else "THE RUNS DIFFER"))
    ray.shutdown()
    return 0 if len(files) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
