"""The engine on one GPU, measured in nine minutes without a network, a Hub or a checkpoint.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --only GMR-3B,search --minutes 3
    python benchmarks/gpu.py --cpu-smoke

Weights are random, made on the device, in the shapes of GMR-3B, Qwen3-VL-Reranker-2B, GME-2B, GMR-7B and
Nemotron-8B. No vocabulary is downloaded either: a stand-in of 4,096 tokens, learnt from the mini suite, fills the first
ids of the real one, so that a text has more tokens than with the real tokenizer. Texts and images are the mini suite's.
Nemotron-8B is measured on texts only.

Wheels to carry, with what they need: torch, transformers, accelerate, peft, datasets, numpy, pandas, pyarrow, pillow,
pydantic, jinja2, filelock, httpx2, pytrec-eval-terrier; beside them this repository. sentence-transformers and vllm are
measured where they are installed. Python 3.11 or later; written for torch 2.11 and transformers 5.17 as well as for the
versions of constraints.txt.

Printed: equality (the largest difference of a score from the plain loop's in float32, at most 1e-3; in bfloat16 the
error of the engine and that of the plain loop, both from the float32 scores; the engine's may be twice as large);
pairs a second of the engine, of the loop over single pairs, of sorted batches with logits_to_keep=1, of
sentence-transformers' CrossEncoder, of vLLM, and of the engine with dtype=float8; how far other scores are from the
engine's, and which share of the pairs of a query's documents they order otherwise; what the language model's products
reach of a large product's speed; the split of the engine's time; memory; exact search beside one matrix product; a
training step of the 3B recipe with LoRA.

Each part is a process with a time limit and is stopped at it; what it has printed by then stays, and is in --out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["HF_HUB_OFFLINE"] = "1"
# A process that has used CUDA cannot be forked: whether there is a GPU is asked of its driver.
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"

import torch
import transformers
from gpu_cases import (
    Figures,
    Setting,
    measure_embedding,
    measure_reranker,
    measure_search,
    measure_training,
)
from gpu_models import list_shapes

_RESERVE = 5.0
"""Seconds for a process that is stopped."""


@dataclass(frozen=True)
class Part:
    """A process. `weight` is its share of the time that is left when it starts."""

    name: str
    weight: float
    measure: Callable[[Setting], Iterator[Figures]]


def list_parts() -> list[Part]:
    """Return the parts in their order."""
    shapes = {shape.name: shape for shape in list_shapes()}
    weights = {"GMR-3B": 5, "GMR-7B": 5}
    parts = []
    for name, shape in shapes.items():
        kind = measure_embedding if shape.kind == "embedding" else measure_reranker
        parts.append(Part(name, weights.get(name, 3), lambda setting, s=shape, m=kind: m(s, setting)))
    parts.insert(1, Part("search", 1.5, measure_search))
    parts.insert(2, Part("training", 4, lambda setting: measure_training(shapes["GMR-3B"], setting)))
    return parts


def _run_child(part: Part, cpu: bool, seconds: float, pipe: Any) -> None:
    """Send each of a part's figures, and how it ended."""
    torch.set_num_threads(1 if cpu else os.cpu_count() or 1)
    device = torch.device("cpu" if cpu else "cuda")
    try:
        for figures in part.measure(Setting(device, cpu, seconds)):
            pipe.send(figures)
        pipe.send(None)
    except Exception as error:
        traceback.print_exc()
        pipe.send({"case": "failed", "error": f"{type(error).__name__}: {error}"[:300]})
        pipe.send(None)


def run_part(part: Part, cpu: bool, limit: float, keep: Callable[[Figures], None]) -> None:
    """Run a part in a process of its own for at most `limit` seconds; `keep` gets each of its figures."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    # A model has up to 18 rates, each with a warm-up; it takes as long again to be made and compared.
    process = context.Process(target=_run_child, args=(part, cpu, 0.01 if cpu else limit / 60, sender), daemon=False)
    process.start()
    sender.close()
    ends = time.monotonic() + limit
    try:
        while True:
            if not receiver.poll(max(0.0, ends - time.monotonic())):
                keep({"case": "stopped", "error": f"its time limit of {limit:.0f} s is over"})
                break
            figures = receiver.recv()
            if figures is None:
                break
            keep(figures)
    except EOFError:
        keep({"case": "failed", "error": "the process ended"})
    finally:
        process.terminate()
        process.join(_RESERVE)
        if process.is_alive():
            process.kill()
            process.join()


def format_figures(name: str, figures: Figures) -> str:
    """Return one line."""
    shown = [f"{name:21s} {figures['case']:42s}"]
    for key, value in figures.items():
        if key == "case":
            continue
        if isinstance(value, dict):
            value = "/".join(f"{part} {number:.2f}" for part, number in value.items() if number)
        elif isinstance(value, float):
            value = f"{value:.1e}" if value and abs(value) < 0.01 else f"{value:,.4g}"
        shown.append(f"{key.replace('_', ' ')} {value}")
    return "  ".join(shown)


def describe_machine(cpu: bool) -> dict[str, Any]:
    """Return what the figures were measured on."""
    # Not asked of torch here: a process that has used CUDA cannot be forked.
    card = "none: CPU, tiny shapes" if cpu else os.popen("nvidia-smi --query-gpu=name --format=csv,noheader").read()
    return {
        "card": card.strip(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": sys.version.split()[0],
    }


def main() -> None:
    """Measure, print, and write figures as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a JSON file, rewritten after each figure")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--only", help="parts, with commas between: " + ", ".join(part.name for part in list_parts()))
    parser.add_argument("--cpu-smoke", action="store_true", help="the same code on a CPU, with tiny shapes")
    asked = parser.parse_args()
    parts = [part for part in list_parts() if asked.only is None or part.name in asked.only.split(",")]
    if not parts:
        parser.error(f"--only {asked.only}: no such part")
    machine = describe_machine(asked.cpu_smoke)
    results: list[Figures] = []
    print(json.dumps(machine), flush=True)
    ends = time.monotonic() + 60 * asked.minutes
    for number, part in enumerate(parts):

        def keep(figures: Figures, name: str = part.name) -> None:
            results.append({"part": name, **figures})
            print(format_figures(name, figures), flush=True)
            if asked.out:
                asked.out.write_text(json.dumps({"machine": machine, "figures": results}, indent=1))

        left = ends - time.monotonic() - _RESERVE
        share = part.weight / sum(one.weight for one in parts[number:])
        run_part(part, asked.cpu_smoke, max(1.0, left * share), keep)
    unequal = [f"{row['part']}, {row['case']}" for row in results if row.get("equal") is False]
    failed = [f"{row['part']}: {row['error']}" for row in results if "error" in row]
    for line in (*(f"NOT EQUAL: {one}" for one in unequal), *failed):
        print(line)
    sys.exit(1 if unequal or failed else 0)


if __name__ == "__main__":
    main()
