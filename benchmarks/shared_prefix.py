"""Training's forward and backward pass of one query's documents, with their shared prefix computed once and each time.

    python benchmarks/shared_prefix.py --documents 17

The model has random weights in the small shape of `engine.py`, LoRA's targets learn, and the vision tower does not. The
two ways take turns; a figure is the least CPU time on one thread. `difference` is the largest of any gradient, relative
to the largest gradient.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from engine_cases import MAX_PIXELS, Case, build, cases

from mrb.engine.backbone import Row, make_row
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request
from mrb.training.grad_cache import count_shared, split_families
from mrb.training.recipe import LANGUAGE_MODEL

TOKENS = 1_000_000
Gradients = dict[str, torch.Tensor]


def measure(case: Case, request: Request, folder: Path, rounds: int) -> str:
    """Return a line of the table."""
    options = {"path": str(folder), "device": "cpu", "layout": "gmr", "max_pixels": str(MAX_PIXELS)}
    engine = load_reranker("yes-no", options).target.engine
    model = engine.backbone.model
    for name, values in model.named_parameters():
        values.requires_grad_(re.fullmatch(LANGUAGE_MODEL, name.removesuffix(".weight")) is not None)
    pairs = [(request.query, document) for document in request.candidates]
    prompts = engine.prompter.prompts(request.instruction, pairs)
    images = {placed.image.content_hash: placed.image for prompt in prompts for placed in prompt.images}
    with torch.no_grad():
        features = engine.extractor.features(images.values()) if images else {}
    whole = [make_row(prompt, features) for prompt in prompts]
    shared = [replace(row, shared=count_shared(prompt)) for row, prompt in zip(whole, prompts, strict=True)]
    # In the order of their lengths, so that whole prompts are padded little: as training does.
    order = split_families(shared, TOKENS)[0]
    ways = {"whole": [whole[i] for i in order], "shared": [shared[i] for i in order]}
    seconds: dict[str, float] = {}
    gradients: dict[str, Gradients] = {}
    for _ in range(rounds):
        for name, rows in ways.items():
            spent, gradients[name] = step(model, engine.backbone, rows, features)
            seconds[name] = min(spent, seconds.get(name, spent))
    size = max(float(one.abs().max()) for one in gradients["whole"].values())
    difference = max(float((gradients["shared"][n] - one).abs().max()) for n, one in gradients["whole"].items()) / size
    tokens = sum(len(row.ids) for row in whole)
    kept = tokens - (len(shared) - 1) * shared[0].shared
    return (
        f"{case.name:22s} {tokens:7,d} {kept:7,d} {seconds['whole']:8.1f} {seconds['shared']:8.1f} "
        f"{seconds['whole'] / seconds['shared']:6.2f} {difference:12.1e}"
    )


def step(model: torch.nn.Module, backbone: object, rows: Sequence[Row], features: object) -> tuple[float, Gradients]:
    """Return the CPU seconds of a forward and backward pass, and the gradients."""
    model.zero_grad()
    started = time.process_time()
    hidden = backbone.forward(rows, features)  # type: ignore[attr-defined]
    hidden.float().tanh().sum().backward()
    spent = time.process_time() - started
    return spent, {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


def main() -> None:
    """Measure a text query and a query with an image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=17)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = build("small", None, Path(name), ["vl"])["vl"]
        heads = (f"{name:>8s}" for name in ("whole s", "shared s"))
        print(f"{'query and documents':22s} {'tokens':>7s} {'shared':>7s} {' '.join(heads)}  ratio   difference")
        for case in cases(1, given.documents):
            if case.name in ("text x text", "image query x text"):
                print(measure(case, case.requests[0], folder, given.rounds), flush=True)


if __name__ == "__main__":
    main()
