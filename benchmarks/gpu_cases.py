"""The measurements of benchmarks/gpu.py: each yields its figures as dictionaries, one as soon as it is known."""

from __future__ import annotations

import copy
import csv
import inspect
import itertools
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine import decoder_flops
from engine_cases import Case, cases
from engine_ways import Plain, Scores, Way
from gpu_models import EmbeddingInMemory, InMemory, PooledInMemory, Shape, make_model, save_small_files
from gpu_ways import OnDevice, PlainPooled, cross_encoder, vllm

from mrb.engine.backbone import find_decoder
from mrb.engine.checkpoint import silence_transformers
from mrb.engine.factory import LoadedModel, Options, wire_embedder, wire_engine
from mrb.engine.float8 import quantize_linears
from mrb.engine.stats import PARTS
from mrb.engine.yes_no import YesNo
from mrb.errors import AdapterError
from mrb.rerankers.reranker import Request
from tests.builders import by_hand

Figures = dict[str, Any]
MAX_PIXELS = 1280 * 28 * 28
TOLERANCE = 1e-3
"""Largest difference of a float32 score from the plain loop's."""
NOISE = 2.0
"""In bfloat16 the engine's error may be so many times the plain loop's; both are measured from the float32 scores."""


@dataclass(frozen=True)
class Setting:
    """Where and how large everything is. `seconds` is the time for one rate; `batches` are the other ways' sizes."""

    device: torch.device
    tiny: bool
    seconds: float

    @property
    def batches(self) -> tuple[int, ...]:
        """Batch sizes of which the other ways' best counts."""
        return (4,) if self.tiny else (16, 64)

    def make_cases(self) -> list[Case]:
        """Return the cases of modality, whose pages are cut to few requests."""
        made = cases(2, 4, 64) if self.tiny else cases(4, 100, 896)
        return [Case(c.name, c.architecture, c.requests[:8]) for c in made if c.architecture == "vl"]


def make_options() -> Options:
    """Return an adapter's usual options, with a limit for images."""
    usual = {name: one.default for name, one in inspect.signature(YesNo.__init__).parameters.items()}
    return Options.select(usual, max_pixels=MAX_PIXELS)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_matmul(device: torch.device, dtype: torch.dtype, tiny: bool) -> float:
    """Return the operations a second that one large matrix product reaches: the best of several."""
    side = 256 if tiny else 8192
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(6):
        _synchronise(device)
        started = time.perf_counter()
        for _ in range(4):
            a @ b
        _synchronise(device)
        best = max(best, 4 * 2 * side**3 / (time.perf_counter() - started))
    return best


def _take(requests: Sequence[Request], pairs: int) -> list[Request]:
    """Return the first so many pairs, as requests."""
    found: list[Request] = []
    for r in requests:
        if pairs <= 0:
            break
        found.append(Request(r.instruction, r.query, r.candidates[:pairs], r.key))
        pairs -= len(r.candidates)
    return found


def _sample(case: Case, setting: Setting) -> list[Request]:
    depth = 3 if setting.tiny else 8
    return [Request(r.instruction, r.query, r.candidates[:depth], r.key) for r in case.requests[:2]]


def _flatten(scores: Scores, requests: Sequence[Request]) -> np.ndarray:
    return np.concatenate([np.asarray(scores[r.key]) for r in requests])


def _measure_rate(way: Way, case: Case, setting: Setting) -> float:
    """Return pairs a second over about so much time, after a warm-up that also tells how many pairs that is."""
    sample = _sample(case, setting)
    way(sample)
    started = time.perf_counter()
    way(sample)
    one = (time.perf_counter() - started) / sum(len(r.candidates) for r in sample)
    requests = _take(case.requests, max(6, int(setting.seconds / one)))
    started = time.perf_counter()
    way(requests)
    return sum(len(r.candidates) for r in requests) / (time.perf_counter() - started)


def measure_reranker(shape: Shape, setting: Setting) -> Iterator[Figures]:
    """Yield a reranker's figures: what was made, equality for each case, then rates for each case."""
    with _make(shape, setting) as (folder, model, figures):
        yield figures
        peak = measure_matmul(setting.device, torch.bfloat16, setting.tiny)
        yield {"case": "matmul", "tflops": peak / 1e12}
        chosen = setting.make_cases()[: 1 if shape.kind == "pooled" else None]
        exact = copy.deepcopy(model).float()
        for case in chosen:
            yield _compare(case, shape, folder, model, exact, setting)
        del exact
        rates = {}
        for case in chosen:
            for figures in _measure_case(case, shape, folder, model, setting, peak):
                rates.setdefault(case.name, figures["pairs_per_second"])
                yield figures
        first = chosen[0]
        engine = _wire(shape, folder, model)
        scores = _engine_way(engine)(_sample(first, setting))
        engine.close()
        rate = rates[first.name]
        yield _measure_others("float8", lambda: [_reduce(shape, folder, model)], first, setting, rate, scores)
        if shape.kind == "yes-no":  # last: it takes a minute to start
            plain = Plain(first, folder, model, MAX_PIXELS)
            yield _measure_others("vllm", lambda: [vllm(folder, plain)], first, setting, rate)


@contextmanager
def _make(shape: Shape, setting: Setting) -> Iterator[tuple[Path, Any, Figures]]:
    """Give a folder of small files, the model made from it, and how long that took."""
    silence_transformers()
    torch.backends.cudnn.allow_tf32 = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_small_files(shape, folder, tiny=setting.tiny)
        started = time.perf_counter()
        model = make_model(shape, folder, setting.device, torch.bfloat16)
        _synchronise(setting.device)
        figures: Figures = {
            "case": "model",
            "parameters": sum(p.numel() for p in model.parameters()),
            "seconds": time.perf_counter() - started,
        }
        yield folder, model, figures


def _wire(shape: Shape, folder: Path, model: Any) -> Any:
    adapter = PooledInMemory() if shape.kind == "pooled" else InMemory()
    loaded = LoadedModel(model, folder, folder, "random")
    return wire_engine(adapter, loaded, make_options())


def _engine_way(engine: Any) -> Way:
    def run(requests: Sequence[Request]) -> Scores:
        if engine.extractor is not None:
            engine.extractor.forget()
        return {key: list(scores) for key, scores in engine.score_stream(requests)}

    return run


def _plain(case: Case, shape: Shape, folder: Path, model: Any, engine: Any) -> Any:
    return PlainPooled(engine, model) if shape.kind == "pooled" else Plain(case, folder, model, MAX_PIXELS)


def _compare(case: Case, shape: Shape, folder: Path, model: Any, exact: Any, setting: Setting) -> Figures:
    """Return how far the engine is from the plain loop, in float32 and in bfloat16."""
    sample = _sample(case, setting)
    found: dict[str, np.ndarray] = {}
    for kind, of in (("exact", exact), ("half", model)):
        engine = _wire(shape, folder, of)
        found[f"loop {kind}"] = _flatten(_plain(case, shape, folder, of, engine).loop(sample), sample)
        found[f"engine {kind}"] = _flatten(_engine_way(engine)(sample), sample)
        attention = engine.backbone.kernel
        engine.close()
    reference = found["loop exact"]
    difference = float(np.abs(found["engine exact"] - reference).max())
    engine_noise, loop_noise = (
        float(np.sqrt(np.mean((found[f"{way} half"] - reference) ** 2))) for way in ("engine", "loop")
    )
    return {
        "case": f"{case.name}: equality",
        "spread": float(reference.std()),
        "float32_difference": difference,
        "bfloat16_noise_engine": engine_noise,
        "bfloat16_noise_loop": loop_noise,
        "equal": difference <= TOLERANCE and engine_noise <= NOISE * loop_noise + TOLERANCE,
        "attention": attention,
    }


def _measure_case(
    case: Case, shape: Shape, folder: Path, model: Any, setting: Setting, peak: float
) -> Iterator[Figures]:
    """Yield pairs a second of the engine, with its split of time (warm-up included), and of each other way."""
    engine = _wire(shape, folder, model)
    if setting.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(setting.device)
    way = _engine_way(engine)
    sample = _sample(case, setting)
    scores = way(sample)
    rate = _measure_rate(way, case, setting)
    seconds = dict(engine.stats.seconds)
    flops = decoder_flops(folder, engine.stats.tokens)
    yield {
        "case": f"{case.name}: engine",
        "pairs_per_second": rate,
        "seconds": {part: round(seconds[part], 4) for part in PARTS},
        "tokens": engine.stats.tokens,
        "shared_tokens": engine.stats.shared,
        "peak_share": flops / seconds["prefill"] / peak,
        "batch_tokens": engine.batch_tokens,
        "memory_gb": _read_memory(setting.device),
        "attention": engine.backbone.kernel,
    }
    plain = _plain(case, shape, folder, model, engine)
    ways: dict[str, Callable[[], Sequence[Way]]] = {"loop": lambda: [plain.loop]}
    if shape.kind == "yes-no":
        ways["sorted"] = lambda: [plain.sorted(size) for size in setting.batches]
        if not any(item.images for r in case.requests for item in (r.query, *r.candidates)):
            ways["sentence-transformers"] = lambda: [
                cross_encoder(folder, model, size, setting.device) for size in setting.batches
            ]
    for name, build in ways.items():
        yield _measure_others(name, build, case, setting, rate, scores)
    engine.close()


def _measure_others(
    name: str,
    build: Callable[[], Sequence[Way]],
    case: Case,
    setting: Setting,
    rate: float,
    scores: Scores | None = None,
) -> Figures:
    """Return the best rate of other ways, how many times as fast the engine's `rate` is, and how scores differ."""
    figures: Figures = {"case": f"{case.name}: {name}"}
    sample = _sample(case, setting)
    try:
        ways = build()
        best = max(_measure_rate(one, case, setting) for one in ways)
        if scores is not None:
            found = ways[0](sample)
            figures["difference"] = float(np.abs(_flatten(found, sample) - _flatten(scores, sample)).max())
            figures["inverted"] = _measure_inverted(found, scores)
        return figures | {"pairs_per_second": best, "engine_ratio": rate / best}
    except (ImportError, AdapterError, RuntimeError, ValueError, TypeError, AttributeError, OSError) as error:
        return figures | {"left_out": f"{type(error).__name__}: {str(error).partition(chr(10))[0][:150]}"}


def _reduce(shape: Shape, folder: Path, model: Any) -> Way:
    """Return the engine with the model's matrix products in 8-bit floats; the model keeps them."""
    quantize_linears(find_decoder(model))
    return _engine_way(_wire(shape, folder, model))


def _measure_inverted(found: Scores, reference: Scores) -> float:
    """Return the share of the pairs of a query's documents that `found` orders otherwise than `reference`."""
    signs = [np.sign([np.subtract.outer(own[key], own[key]) for own in (found, reference)]) for key in reference]
    return float(sum((a * b < 0).sum() for a, b in signs) / sum(a.size - len(a) for a, _ in signs))


def _read_memory(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def measure_embedding(shape: Shape, setting: Setting) -> Iterator[Figures]:
    """Yield an embedding model's figures: what was made, and for passages and pages equality and rates."""
    with _make(shape, setting) as (folder, model, figures):
        yield figures
        exact = copy.deepcopy(model).float()
        made = {case.name: case.requests for case in setting.make_cases()}
        passages = [d for r in made["text x text"] for d in r.candidates]
        pages = list(made["text x shared pages"][0].candidates)
        limits = {"min_pixels": 4 * 28 * 28, "max_pixels": MAX_PIXELS}
        for kind, items in (("passages", passages), ("pages", pages)):
            vectors = {}
            for precision, of in (("exact", exact), ("half", model)):
                adapter = EmbeddingInMemory()
                embedder = wire_embedder(adapter, LoadedModel(of, folder, folder, "random"), make_options())
                hand = OnDevice(folder, of, by_hand.gme, limits)
                vectors[f"loop {precision}"] = np.stack([hand.flat_vector("", d).cpu().numpy() for d in items[:4]])
                vectors[f"engine {precision}"] = embedder.embed("", items[:4])
                started = time.perf_counter()
                if precision == "half":
                    embedder.embed("", items)
                rate = len(items) / (time.perf_counter() - started)
                embedder.close()
            reference = vectors["loop exact"]
            difference = float(np.abs(vectors["engine exact"] - reference).max())
            noise = [float(np.linalg.norm(vectors[f"{w} half"] - reference, axis=1).max()) for w in ("engine", "loop")]
            yield {
                "case": f"{kind}: engine",
                "vectors_per_second": rate,
                "float32_difference": difference,
                "bfloat16_noise_engine": noise[0],
                "bfloat16_noise_loop": noise[1],
                "equal": difference <= TOLERANCE and noise[0] <= NOISE * noise[1] + TOLERANCE,
                "memory_gb": _read_memory(setting.device),
            }


def measure_search(setting: Setting) -> Iterator[Figures]:
    """Yield the rate of exact search, and of one matrix product of the same vectors in float32 on the device."""
    from mrb.retrieval.exact_search import search_exact

    queries, documents, width = (32, 2000, 64) if setting.tiny else (1024, 200_000, 1536)
    rng = np.random.default_rng(0)
    asked, held = (rng.standard_normal((n, width), np.float32) for n in (queries, documents))
    for vectors in (asked, held):
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    a, b = (torch.from_numpy(vectors).to(setting.device) for vectors in (asked, held))
    a @ b.T
    _synchronise(setting.device)
    started = time.perf_counter()
    a @ b.T
    _synchronise(setting.device)
    product = queries * documents / (time.perf_counter() - started)
    yield {"case": "one matrix product", "pairs_per_second": product}
    names = [f"d{i}" for i in range(documents)]
    started = time.perf_counter()
    found = list(search_exact("benchmark", [f"q{i}" for i in range(queries)], asked, names, held, 100, backend="torch"))
    rate = queries * documents / (time.perf_counter() - started)
    best = [names[i] for i in (asked[:4] @ held.T).argmax(1)]
    yield {
        "case": "exact search",
        "pairs_per_second": rate,
        "share_of_product": rate / product,
        "equal": best == [ids[0] for _, ids, _ in found[:4]],
    }


def measure_training(shape: Shape, setting: Setting) -> Iterator[Figures]:
    """Yield the seconds of a step of the 3B recipe with LoRA, the first step (with its warm-up) left out."""
    from mrb.training.recipe import load_recipe
    from mrb.training.run import train

    with _make(shape, setting) as (folder, model, _), tempfile.TemporaryDirectory() as out:
        model.save_pretrained(folder)
        del model
        changes = [
            f"model.path={folder}",
            "model.revision=none",
            'data.tasks=[{ task = "mini-flag-t2it-train" }]',
            "evaluation.tasks=[]",
            "schedule.steps=3",
            f"schedule.queries={2 if setting.tiny else 16}",
            *(["sampling.negatives=2", "model.max_pixels=6272"] if setting.tiny else []),
            "output.save_every=0",
        ]
        train(load_recipe("gmr-3b-sft", changes), Path(out) / "run", fresh=True, command=["benchmarks/gpu.py"])
        with (Path(out) / "run" / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        steps = [float(b["seconds"]) - float(a["seconds"]) for a, b in itertools.pairwise(rows)]
        yield {
            "case": "training step, LoRA",
            "seconds_per_step": min(steps),
            "tokens_per_second": float(rows[-1]["tokens"]) / steps[-1],
            "memory_gb": _read_memory(setting.device),
        }
