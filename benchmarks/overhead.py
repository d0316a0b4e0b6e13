"""How much of a run's time the harness takes: `mrb run` over the mini suite with an adapter that only burns CPU time.

    python benchmarks/overhead.py --limit 8 --out overhead.json
    python benchmarks/overhead.py --limit 8 --ms-per-pair 1
    python benchmarks/overhead.py --limit 1 --real

The adapter reads the text and opens the image of every item, as a model's would, and then spins for `--ms-per-pair` of
CPU time for each candidate. Only the spinning is the adapter's; opening an image, with decoding, is the harness's.
What is left of the wall clock is overhead: start-up (interpreter, imports, checks, until the adapter is built), `data`
(before a task's first request: loading it, and measuring and writing the task before), `requests` (making requests,
images, checking answers, journal), `end` (measuring and writing the last task, averages, table).

Beside other work the spinning takes longer than its CPU time. The adapter is then taken to have had its CPU time only,
and the harness what it took on the busy machine, so that its share is an upper bound. How busy it was is printed, and
the share of CPU time, which other work hardly moves but which leaves out waiting for the disk.

`--real` runs a model in the adapter's place: the 110 million random parameters of benchmarks/engine_cases.py, in
Qwen2.5-VL's architecture, through MRB's engine with images of at most 256 tokens. The adapter's are then the CPU
seconds of the thread that scores, and those of loading the model; all others are the harness's, with what the engine's
own threads take to decode and resize images. So that share is an upper bound too.

The default, 150 ms, is what a model of 100 million parameters (BERT-base's shape, 85 million of them in its layers)
takes for a pair of 64 tokens on one core of an EPYC server in float32, in batches of 25, best of 3 (`--calibrate`
measures it). A page or picture is 200 tokens and more, so most pairs of the suite would take longer. A GPU is faster:
the last line has the same harness with faster models.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MRB = Path(sys.executable).with_name("mrb")
MS_PER_PAIR = 150.0
OTHERS = (150.0, 10.0, 1.0)
"""Milliseconds a pair of other models, for the last line."""
ADAPTER = """
import json, time

class Burner:
    batch_invariant = True

    def __init__(self, ms: float, log: str):
        self.ms, self.log = ms, log
        self.built, self.requests = time.monotonic(), []

    def score(self, request):
        begun = time.monotonic()
        scores = [self.looked_at(item) for item in (request.query, *request.candidates)][1:]
        spun = time.monotonic()
        cpu = time.thread_time()
        while time.thread_time() < cpu + self.ms / 1000 * len(scores):
            pass
        self.requests.append((begun, spun, time.monotonic(), len(scores), time.thread_time() - cpu))
        return scores

    def looked_at(self, item):
        if item.image is not None:
            item.image.open()
        return float(len(item.text))

    def close(self):
        with open(self.log, "w") as file:
            json.dump({"built": self.built, "requests": self.requests}, file)
"""

REAL = """
import json, time

from mrb.baselines.rerankers.yes_no import AnyYesNo

class Real(AnyYesNo):
    def __init__(self, path: str, log: str):
        begun = time.process_time()
        super().__init__(path=path, layout="gmr", max_pixels=256 * 28 * 28, device="cpu")
        self.loading, self.scoring, self.pulling, self.pairs, self.log = time.process_time() - begun, 0.0, 0.0, 0, log

    def score_stream(self, requests):
        answers = super().score_stream(self.pulled(requests))
        while True:
            begun, before = time.thread_time(), self.pulling
            answer = next(answers, None)
            self.scoring += time.thread_time() - begun - (self.pulling - before)
            if answer is None:
                return
            self.pairs += len(answer[1])
            yield answer

    def pulled(self, requests):
        requests = iter(requests)
        while True:
            begun = time.thread_time()
            request = next(requests, None)
            self.pulling += time.thread_time() - begun
            if request is None:
                return
            yield request

    def close(self):
        super().close()
        with open(self.log, "w") as file:
            json.dump({"loading": self.loading, "scoring": self.scoring, "pairs": self.pairs}, file)
"""

Row = dict[str, Any]


def measure(limit: int | None, ms_per_pair: float) -> Row:
    """One run in a process of its own: seconds of the whole and of its parts, and a row for each task."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "burner.py").write_text(ADAPTER)
        command = [str(MRB), "run", "--model", "burner", "--set", f"ms={ms_per_pair}", "--set", "log=log.json"]
        command += [] if limit is None else ["--limit", str(limit)]
        started = time.monotonic()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        ended = time.monotonic()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        log = json.loads((folder / "log.json").read_text())
        timings = json.loads((folder / "runs" / "burner" / "run.json").read_text())["timings"]
    tasks = rows(log, timings)
    spinning = sum(end - spun for _, spun, end, *_ in log["requests"])
    pairs = sum(row["pairs"] for row in tasks)
    harness = ended - started - spinning
    spun = sum(cpu for *_, cpu in log["requests"])
    return {
        "ms_per_pair": ms_per_pair,
        "limit": limit,
        "pairs": pairs,
        "wall": ended - started,
        "adapter": ms_per_pair / 1000 * pairs,
        "adapter_wall": spinning,
        "harness": harness,
        "harness_cpu": used.ru_utime + used.ru_stime - spun,
        "start_up": log["built"] - started,
        "end": ended - log["requests"][-1][2],
        "tasks": tasks,
        "overhead": share(harness, ms_per_pair, pairs),
        "overhead_without_start_up": share(harness - (log["built"] - started), ms_per_pair, pairs),
    }


def measure_real(limit: int | None) -> Row:
    """One run with a model of 110 million parameters: CPU seconds of the adapter and of all else."""
    from engine_cases import build

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "real.py").write_text(REAL)
        path = build("small", None, folder / "checkpoint", ["vl"])["vl"]
        command = [str(MRB), "run", "--model", "real:Real", "--set", f"path={path}", "--set", "log=log.json"]
        command += [] if limit is None else ["--limit", str(limit)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        log = json.loads((folder / "log.json").read_text())
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    harness = whole - log["loading"] - log["scoring"]
    return log | {"limit": limit, "whole": whole, "harness": harness, "overhead": harness / whole}


def share(harness: float, ms_per_pair: float, pairs: int) -> float:
    """The share of `harness` seconds in a run of `pairs` pairs."""
    return harness / (harness + ms_per_pair / 1000 * pairs)


def rows(log: Row, timings: dict[str, Row]) -> list[Row]:
    """Seconds of each task. The adapter is not told which task it scores; their order and numbers of pairs say it."""
    found, before = [], log["built"]
    requests = iter(log["requests"])
    for task_id, timing in timings.items():
        taken: list[list[float]] = []
        while sum(item[3] for item in taken) < timing["pairs"]:
            taken.append(next(requests))
        first, last = taken[0][0], taken[-1][2]
        spinning = sum(end - spun for _, spun, end, *_ in taken)
        found.append(
            {
                "task": task_id,
                "pairs": timing["pairs"],
                "adapter_wall": spinning,
                "data": first - before,
                "requests": last - first - spinning,
            }
        )
        before = last
    return found


def table(result: Row) -> str:
    """A row a task, what is not of one task, and the shares."""
    heads = (
        ("pairs", 6),
        ("adapter s", 10),
        ("data s", 7),
        ("requests s", 10),
        ("overhead", 9),
        ("harness ms/pair", 15),
    )
    lines = [f"{'task':<16} " + " ".join(f"{head:>{width}}" for head, width in heads)]
    speed, pairs, harness = result["ms_per_pair"], result["pairs"], result["harness"]
    for row in result["tasks"]:
        own = row["data"] + row["requests"]
        lines.append(
            f"{row['task']:<16} {row['pairs']:6} {speed / 1000 * row['pairs']:10.2f} {row['data']:7.2f} "
            f"{row['requests']:10.2f} {100 * share(own, speed, row['pairs']):7.2f} % {1000 * own / row['pairs']:15.2f}"
        )
    busy = result["adapter_wall"] / result["adapter"]
    lines.append(
        f"start-up {result['start_up']:.2f} s, end {result['end']:.2f} s; {pairs} pairs at {speed:g} ms; "
        f"spinning took {busy:.2f} times its CPU time"
    )
    whole, later = 100 * result["overhead"], 100 * result["overhead_without_start_up"]
    lines.append(
        f"overhead {whole:.2f} % (harness {harness:.1f} s, adapter {result['adapter']:.1f} s), without start-up "
        f"{later:.2f} %; "
        f"of CPU time {100 * share(result['harness_cpu'], speed, pairs):.2f} % ({result['harness_cpu']:.1f} s)"
    )
    cpu = result["harness_cpu"]
    others = ", ".join(f"{100 * share(cpu, other, pairs):.2f} % at {other:g} ms" for other in OTHERS)
    lines.append(f"the same CPU time of the harness with models of other speeds: {others} a pair")
    return "\n".join(lines)


def calibrate() -> str:
    """Milliseconds of CPU time that a model of 100 million parameters takes for a pair, by its length, on one core."""
    import torch
    from transformers import BertConfig, BertModel

    torch.set_num_threads(1)
    model = BertModel(BertConfig(vocab_size=19_000)).eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = [f"{parameters / 1e6:.0f} million parameters, one thread, float32, batches of 25"]
    for tokens in (64, 128, 256):
        ids = torch.randint(5, 19_000, (25, tokens))
        times = []
        with torch.inference_mode():
            model(ids)
            for _ in range(3):
                started = time.thread_time()
                model(ids)
                times.append(time.thread_time() - started)
        lines.append(f"{tokens:4} tokens: {1000 * min(times) / len(ids):6.0f} ms a pair")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ms-per-pair", type=float, default=MS_PER_PAIR)
    parser.add_argument("--limit", type=int, help="the first N queries of each task; default: all")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--calibrate", action="store_true", help="measure what the default stands for, with torch")
    parser.add_argument("--real", action="store_true", help="with a model, not with an adapter that burns time")
    asked = parser.parse_args()
    if asked.calibrate:
        print(calibrate())
        return
    if asked.real:
        result = measure_real(asked.limit)
        print(
            "{pairs} pairs: {whole:.1f} CPU s, of which the model scored for {scoring:.1f} and was loaded in "
            "{loading:.1f}; the harness {harness:.1f} s, {overhead:.2%}".format(**result)
        )
    else:
        result = measure(asked.limit, asked.ms_per_pair)
        print(table(result))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
