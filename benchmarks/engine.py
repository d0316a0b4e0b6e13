"""MRB's engine against other ways of scoring the same pairs with the same weights.

    python benchmarks/engine.py --out engine.json
    python benchmarks/engine.py --shape 3b --layers 2 --queries 2 --depth 4 --cases vl

Weights are random, in realistic proportions: "small" has 12 decoder layers and about 120M parameters, of which the
embeddings (shared with the head) are about 3 %; "3b" has the shape of Qwen2.5-VL-3B, cut to --layers. The ways:

    engine  MRB's adapter
    loop    one pair at a time, the logits of every position (as model cards show it)
    sorted  batches sorted by length, logits_to_keep=1, the best of several batch sizes
    st      sentence-transformers' CrossEncoder, the best of several batch sizes, where it runs
    mteb    mteb's reranking path with that CrossEncoder, for the encoder

A figure is CPU seconds of this process per pair, one thread, the least of --rounds rounds in which the ways take turns;
reading and resizing images is part of it. Ratios over 1 mean that the engine is faster. `difference` is the largest
difference of a score from the engine's. The engine's split of its time is in CPU seconds too; `peak share` is what its
language model's matrix products reach of one large product's speed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine_cases import Case, build, cases
from engine_ways import Plain, Scores, Way, engine, mteb, sentence_transformers

from mrb.engine.checkpoint import silence_transformers
from mrb.engine.stats import PARTS


def matmul_peak() -> float:
    """Billions of float32 operations a second that one matrix product reaches here: the best of several."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    best = 0.0
    for _ in range(8):
        started = time.process_time()
        for _ in range(4):
            a @ b
        best = max(best, 4 * 2 * 1024**3 / (time.process_time() - started) / 1e9)
    return best


def ways_of(case: Case, folder: Path, chosen: Sequence[str], sizes: Sequence[int]) -> tuple[dict[str, list[Way]], Any]:
    """For each way the functions to try (one for each batch size), and the engine's statistics."""
    run, stats = engine(case, folder)
    found: dict[str, list[Way]] = {"engine": [run]}
    plain = Plain(case, folder)
    if "loop" in chosen:
        found["loop"] = [plain.loop]
    if "sorted" in chosen:
        found["sorted"] = [plain.sorted(size) for size in sizes]
    if "st" in chosen and case.architecture != "vl":
        found["st"] = [*map(sentence_transformers(case, folder), sizes)]
    if "mteb" in chosen and case.architecture == "encoder":
        found["mteb"] = [*map(mteb(case, folder), sizes)]
    return found, stats


def timed(way: Way, case: Case) -> tuple[float, Scores]:
    """CPU seconds per pair, and the scores."""
    started = time.process_time()
    scores = way(case.requests)
    return (time.process_time() - started) / case.pairs, scores


def measure(case: Case, folder: Path, chosen: Sequence[str], sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    """All ways on one case, taking turns; of a way with several batch sizes the best counts."""
    ways, stats = ways_of(case, folder, chosen, sizes)
    seconds: dict[str, float] = {}
    batch: dict[str, int] = {}
    scores: dict[str, Scores] = {}
    for number in range(rounds):
        for name, functions in ways.items():
            if name == "engine" and stats is not None and number == rounds - 1:
                stats.__init__(clock=time.thread_time)  # the last round's figures alone
            for place, way in enumerate(functions):
                spent, scores[name] = timed(way, case)
                if spent < seconds.get(name, float("inf")):
                    seconds[name] = spent
                    batch |= {name: sizes[place]} if len(functions) > 1 else {}
    ours = scores["engine"]
    return {
        "case": case.name,
        "pairs": case.pairs,
        "seconds_per_pair": seconds,
        "batch": batch,
        "ratios": {name: spent / seconds["engine"] for name, spent in seconds.items() if name != "engine"},
        "difference": {n: _difference(s, ours) for n, s in scores.items() if n != "engine"},
        "spread": float(np.std(np.concatenate(list(ours.values())))),
        "engine": _profile(stats),
    }


def _difference(scores: Scores, ours: Scores) -> float:
    pairs = [(a, b) for key, found in scores.items() for a, b in zip(found, ours[key], strict=True)]
    return max(abs(a - b) for a, b in pairs)


def _profile(stats: Any) -> dict[str, Any]:
    if stats is None:
        return {}
    return {
        "seconds": {part: round(stats.seconds[part], 3) for part in PARTS},
        "tokens": stats.tokens,
        "padding_share": stats.padding_share,
        "shared_tokens": stats.shared,
        "cache_hits": stats.cache_hits,
        "cache_misses": stats.cache_misses,
    }


def decoder_flops(folder: Path, tokens: int) -> float:
    """Operations of the language model's matrix products for so many tokens (attention itself not counted)."""
    if not tokens:
        return 0.0
    config = json.loads((folder / "config.json").read_text())
    text = config.get("text_config", config)
    hidden, inner = text["hidden_size"], text["intermediate_size"]
    head = text.get("head_dim") or hidden // text["num_attention_heads"]
    heads = text["num_attention_heads"] * 2 + text["num_key_value_heads"] * 2
    return 2.0 * tokens * text["num_hidden_layers"] * (heads * head * hidden + 3 * hidden * inner)


def report(results: Sequence[dict[str, Any]]) -> str:
    """The tables as text."""
    lines = [f"{'case':26s} {'pairs':>5s} {'engine s/pair':>13s}  ratios over the engine's time (batch)"]
    for r in results:
        ratios = ", ".join(
            f"{name} {ratio:.2f}" + (f" ({r['batch'][name]})" if name in r["batch"] else "")
            for name, ratio in r["ratios"].items()
        )
        lines.append(f"{r['case']:26s} {r['pairs']:5d} {r['seconds_per_pair']['engine']:13.4f}  {ratios}")
    lines.append("")
    lines.append(
        f"{'case':26s} largest difference  decode/resize/tokens/vision/prefill/head s  padding spared  hits  peak share"
    )
    for r in results:
        profile = r["engine"]
        difference = f"{max(r['difference'].values(), default=0.0):.1e} of sd {r['spread']:.2f}"
        if not profile:
            lines.append(f"{r['case']:26s} {difference}")
            continue
        s = profile["seconds"]
        split = "/".join(f"{s[p]:.2f}" for p in PARTS)
        seen = profile["cache_hits"] + profile["cache_misses"]
        hits = f"{profile['cache_hits'] / seen:.0%}" if seen else "-"
        share = f"{r['flops'] / s['prefill'] / 1e9 / r['peak_gflops']:.0%}"
        spared = profile["shared_tokens"] / (profile["shared_tokens"] + profile["tokens"])
        lines.append(
            f"{r['case']:26s} {difference:18s}  {split:>40s}  {profile['padding_share']:7.1%}  {spared:5.0%}  "
            f"{hits:>4s}  {share}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=("small", "3b"), default="small")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--queries", type=int, default=3)
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--batches", default="2,4,8,16", help="sizes of which the other ways' best counts")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ways", default="loop,sorted,st,mteb")
    parser.add_argument("--cases", help="only cases of these architectures: vl, lm, encoder")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    chosen = arguments.ways.split(",")
    sizes = [int(size) for size in arguments.batches.split(",")]
    if "mteb" in chosen and importlib.util.find_spec("mteb") is None:
        print("mteb is not installed (pip install 'mrb[mteb]'): left out")
        chosen.remove("mteb")
    torch.set_num_threads(1)
    silence_transformers()
    with tempfile.TemporaryDirectory() as folder:
        wanted = (arguments.cases or "vl,lm,encoder").split(",")
        built = build(arguments.shape, arguments.layers, Path(folder), wanted)
        results = []
        for case in cases(arguments.queries, arguments.depth):
            if case.architecture in built:
                peak = matmul_peak()
                result = measure(case, built[case.architecture], chosen, sizes, arguments.rounds)
                tokens = result["engine"].get("tokens", 0)
                result |= {"peak_gflops": peak, "flops": decoder_flops(built[case.architecture], tokens)}
                results.append(result)
                print(f"{case.name}: {result['ratios']}", flush=True)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\nshape {arguments.shape}, layers {arguments.layers or 'all'}, torch {torch.__version__}, one thread")
    print(report(results))
    peaks = [result["peak_gflops"] for result in results]
    print(
        f"\nmatrix products reach {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s here, measured before each case; peak "
        f"resident memory {gigabytes:.1f} GB, all ways together"
    )
    if arguments.out:
        machine = {"processor": platform.processor(), "peak_resident_gb": gigabytes}
        arguments.out.write_text(json.dumps({"machine": machine, "cases": results}, indent=1))


if __name__ == "__main__":
    main()
