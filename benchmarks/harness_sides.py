"""One side of the comparison with mteb, in a process of its own: `python harness_sides.py mrb text FOLDER SIZES`.

Both sides read the same tables, rerank the same lists, and call the same scorer: for texts the `predict` of one
sentence-transformers CrossEncoder, in batches of 32; for pictures a function that opens both and compares their
brightness, in batches of 32 too. What is spent inside the scorer is the model's, all else the harness's. Prints a line
of JSON.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from harness_data import TASKS, lists

BATCH = 32
IMPORTED = {
    "mrb": (
        "datasets",
        "mrb.evaluation.run",
        "mrb.evaluation.score",
        "mrb.data.load",
        "mrb.baselines.rerankers.cross_encoder",
    ),
    "mteb": ("datasets", "mteb", "mteb.abstasks.retrieval", "mteb.models.sentence_transformer_wrapper"),
}
"""Counted as start-up on both sides."""


class Clock:
    """CPU and wall time inside the scorer, of all threads."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self.pairs = 0

    def timed(self, function: Any) -> Any:
        """The same function, its time counted."""

        def call(pairs: Any, **options: Any) -> Any:
            cpu, wall = time.process_time(), time.perf_counter()
            found = function(pairs, **options)
            self.cpu += time.process_time() - cpu
            self.wall += time.perf_counter() - wall
            self.pairs += len(pairs)
            return found

        return call


def anonymous() -> int:
    """Memory of this process that is no file's, in kB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])


def brightness(pairs: Any, **options: Any) -> list[float]:
    """The scorer of pictures."""
    import numpy as np

    return [-abs(float(np.asarray(one).mean()) - float(np.asarray(other).mean())) for one, other in pairs]


def model_of(kind: str, folder: Path, clock: Clock) -> Any:
    """The scorer: the model on disk, or for pictures an object with `predict`."""
    import torch

    torch.set_num_threads(1)
    if kind == "images":
        return type("Brightness", (), {"predict": staticmethod(clock.timed(brightness))})()
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder / "checkpoint"), device="cpu", max_length=128)
    model.predict = clock.timed(model.predict)
    return model


def mrb_side(kind: str, folder: Path, model: Any, sizes: tuple[int, int, int]) -> float:
    """Load, plan, score into a journal, measure, write; nDCG@10."""
    from mrb.baselines.rerankers.cross_encoder import CrossEncoder as Shipped
    from mrb.candidates.lists import Provenance, build_candidates
    from mrb.data.items import DecodeCache
    from mrb.data.load import load_task_data
    from mrb.data.task import load_task
    from mrb.evaluation import environment
    from mrb.evaluation.journal import Journal, Record
    from mrb.evaluation.measure import measure
    from mrb.evaluation.outputs import write_task
    from mrb.evaluation.plan import list_unscored, make_plan, make_requests
    from mrb.evaluation.score import score_all
    from mrb.evaluation.score_key import make_header
    from mrb.rerankers.declaration import read_declarations
    from mrb.rerankers.plugins import Adapter

    class Pictures:
        def score(self, request):  # type: ignore[no-untyped-def]
            query = request.query.image.open()
            batches = (request.candidates[at : at + BATCH] for at in range(0, len(request.candidates), BATCH))
            return [score for b in batches for score in model.predict([(query, c.image.open()) for c in b])]

    task = load_task(TASKS[kind])
    data = load_task_data(task, decode_cache=DecodeCache(), root=folder)
    made = Provenance(
        task=task.id, list_hash=task.list_hash, revision=task.revision, first_stage="ring", track="test", depth=sizes[2]
    )
    falling = list(range(sizes[2], 0, -1))
    plan = make_plan(data, build_candidates(made, ((q, ids, falling) for q, ids in lists(*sizes))), sizes[2])
    if kind == "text":
        shipped = Shipped(path=str(folder / "checkpoint"), device="cpu", max_length=128, batch_size=BATCH)
        shipped._model = model
        reranker = read_declarations(Adapter("cross-encoder", shipped, {}, "benchmark", None))
    else:
        reranker = read_declarations(Adapter("brightness", Pictures(), {}, "benchmark", None))
    journal = folder / "run" / "journal"
    with Journal(journal).open(make_header(plan, reranker.info, environment.list_packages())) as writer:
        requests = make_requests(plan, list_unscored(plan, {}), reranker.info.kind, uses_first_stage=False)
        for item, scores in score_all(reranker, requests, task.id):
            writer.append(Record(item.entry.query_id, item.entry.first, scores))
    held = Journal(journal).scores
    measured = measure(plan, held, reranker.info)
    write_task(folder / "run", plan, held, measured)
    return measured.result.measures["nDCG@10"].mean


def mteb_side(kind: str, folder: Path, model: Any, sizes: tuple[int, int, int]) -> float:
    """mteb's own reranking, by its own wrapper; nDCG@10."""
    import datasets
    import mteb
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models.model_meta import ModelMeta
    from mteb.models.sentence_transformer_wrapper import CrossEncoderWrapper

    modality = "text" if kind == "text" else "image"
    tables = folder / TASKS[kind]

    class Synthetic(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="SyntheticReranking",
            description="synthetic",
            dataset={"path": "none/none", "revision": "0" * 40},
            type="Reranking",
            category="t2t" if kind == "text" else "i2i",
            modalities=[modality],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
        )

        def load_data(self, num_proc: int | None = None, **options: Any) -> None:
            def table(name: str) -> Any:
                found = datasets.Dataset.from_parquet(str(tables / name / "test.parquet"))
                return found.remove_columns("text") if kind == "images" else found

            judged = datasets.Dataset.from_parquet(str(tables / "qrels" / "test.parquet"))
            rows = zip(judged["query-id"], judged["corpus-id"], strict=True)
            split = {"corpus": table("corpus"), "queries": table("queries")}
            split["relevant_docs"] = {query_id: {doc_id: 1} for query_id, doc_id in rows}
            split["top_ranked"] = dict(lists(*sizes))
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    if kind == "text":
        wrapper = CrossEncoderWrapper(model)
    else:
        wrapper = object.__new__(CrossEncoderWrapper)  # its constructor takes a CrossEncoder alone
        wrapper.model = type("Pairs", (), {"predict": staticmethod(_of_parts(model.predict))})()
        meta = ModelMeta.create_empty({"name": "benchmark/brightness", "revision": "1", "modalities": ["image"]})
        wrapper.mteb_model_meta = meta
        wrapper.query_prefix = wrapper.passage_prefix = ""
        wrapper.fps = wrapper.max_frames = wrapper.num_frames = wrapper.target_sampling_rate = None
        wrapper.max_samples, wrapper.min_frames = None, 1
    found = mteb.evaluate(
        wrapper,
        Synthetic(),
        encode_kwargs={"batch_size": BATCH},
        cache=None,
        co2_tracker=False,
        show_progress_bar=False,
    )
    return float(found.task_results[0].scores["test"][0]["ndcg_at_10"])


def _of_parts(predict: Any) -> Any:
    """mteb hands a picture as a part of a message."""

    def call(pairs: Any, **options: Any) -> Any:
        return predict([(one["image"], other["image"]) for one, other in pairs])

    return call


def main() -> None:
    """Run one side and print what it took."""
    side, kind, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    sizes = tuple(map(int, sys.argv[4:7]))
    began = time.perf_counter()
    run = {"mrb": mrb_side, "mteb": mteb_side}[side]
    clock = Clock()
    for module in IMPORTED[side]:
        import_module(module)
    model = model_of(kind, folder, clock)
    ready, cpu = time.perf_counter(), time.process_time()
    first, peak, over = anonymous(), [0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            peak[0] = max(peak[0], anonymous())
            time.sleep(0.005)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    ndcg = run(kind, folder, model, (sizes[0], sizes[1], sizes[2]))
    spent, wall = time.process_time() - cpu, time.perf_counter() - ready
    over.set()
    print(
        json.dumps(
            {
                "pairs": clock.pairs,
                "ndcg": ndcg,
                "start_wall": ready - began,
                "wall": wall,
                "cpu": spent,
                "whole_cpu": time.process_time(),
                "model_cpu": clock.cpu,
                "growth_mb": (peak[0] - first) / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
