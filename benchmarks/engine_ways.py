"""The ways of scoring that are compared: MRB's engine, and what others do with the same checkpoint.

Each way is a function from requests to scores by request.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from engine_cases import INSTRUCTION, MAX_PIXELS, Case

from mrb.data.items import Item
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.reranker import Request

Scores = dict[int, list[float]]
Way = Callable[[Sequence[Request]], Scores]
IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)


def engine(case: Case, folder: Path) -> tuple[Way, Any]:
    """MRB's adapter of the architecture, its cache emptied before every run, and its statistics."""
    name, options = {
        "vl": ("yes-no", {"layout": "gmr", "max_pixels": str(MAX_PIXELS)}),
        "lm": ("yes-no", {"layout": "qwen3-reranker"}),
        "encoder": ("cross-encoder", {}),
    }[case.architecture]
    reranker = load_reranker(name, {"path": str(folder), "device": "cpu", **options})

    def run(requests: Sequence[Request]) -> Scores:
        held = getattr(reranker.target, "engine", None)
        if held is not None and held.extractor is not None:
            held.extractor.forget()
        return {key: list(scores) for key, scores in reranker.target.score_stream(requests)}

    return run, getattr(getattr(reranker.target, "engine", None), "stats", None)


class Plain:
    """transformers as model cards use it: the processor's inputs, `model(**inputs).logits`."""

    def __init__(self, case: Case, folder: Path, model: Any = None, max_pixels: int = MAX_PIXELS) -> None:
        """Load the model in float32, unless it is given."""
        self.case = case
        loader = {
            "vl": transformers.AutoModelForImageTextToText,
            "lm": transformers.AutoModelForCausalLM,
            "encoder": transformers.AutoModelForSequenceClassification,
        }[case.architecture]
        self.model = loader.from_pretrained(folder, dtype=torch.float32).eval() if model is None else model
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.tokenizer.padding_side = "left" if case.architecture != "encoder" else "right"
        if case.architecture == "vl":
            size = {"shortest_edge": 4 * 28 * 28, "longest_edge": max_pixels}
            self.images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", size=size)
            self.merged = int(self.images.merge_size) ** 2
        self.yes, self.no = (self.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))

    def loop(self, requests: Sequence[Request]) -> Scores:
        """One pair at a time, the logits of every position over the whole vocabulary."""
        return {r.key: [self._batch([(r, d)], full=True)[0] for d in r.candidates] for r in requests}

    def sorted(self, size: int) -> Way:
        """Batches of `size` pairs sorted by length, `logits_to_keep=1`."""

        def run(requests: Sequence[Request]) -> Scores:
            pairs = [(r, i) for r in requests for i in range(len(r.candidates))]
            pairs.sort(key=lambda p: -self._length(p[0], p[0].candidates[p[1]]))
            found: Scores = {r.key: [0.0] * len(r.candidates) for r in requests}
            for at in range(0, len(pairs), size):
                chunk = pairs[at : at + size]
                values = self._batch([(r, r.candidates[i]) for r, i in chunk], full=False)
                for (r, i), value in zip(chunk, values, strict=True):
                    found[r.key][i] = value
            return found

        return run

    def _length(self, request: Request, document: Item) -> int:
        images = sum(item.image is not None for item in (request.query, document))
        return len(request.query.text) + len(document.text) + 1000 * images

    def _batch(self, pairs: Sequence[tuple[Request, Item]], *, full: bool) -> list[float]:
        inputs = {name: values.to(self.model.device) for name, values in self._inputs(pairs).items()}
        with torch.inference_mode():
            if self.case.architecture == "encoder":
                values: list[float] = self.model(**inputs).logits[:, 0].tolist()
                return values
            logits = self.model(**inputs, **({} if full else {"logits_to_keep": 1})).logits[:, -1].float()
        return (logits[:, self.yes] - logits[:, self.no]).tolist()

    def _inputs(self, pairs: Sequence[tuple[Request, Item]]) -> dict[str, Any]:
        if self.case.architecture == "encoder":
            queries, documents = [r.query.text for r, _ in pairs], [d.text for _, d in pairs]
            return dict(self.tokenizer(queries, documents, padding=True, truncation=True, return_tensors="pt"))
        texts = [self.prompt(r, d) for r, d in pairs]
        pictures = [item.image.open() for r, d in pairs for item in (r.query, d) if item.image is not None]
        more: dict[str, Any] = {}
        if pictures:
            more = dict(self.images(images=pictures, return_tensors="pt"))
            counts = iter((more["image_grid_thw"].prod(-1) // self.merged).tolist())
            texts = [_expanded(text, counts) for text in texts]
        inputs = dict(self.tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)) | more
        inputs.pop("token_type_ids", None)
        if self.case.architecture == "vl":
            pad = self.tokenizer.convert_tokens_to_ids("<|image_pad|>")
            inputs["mm_token_type_ids"] = (inputs["input_ids"] == pad).int()
        return inputs

    def prompt(self, request: Request, document: Item) -> str:
        query, shown = (_shown(item) for item in (request.query, document))
        if self.case.architecture == "lm":
            user, end = f"<Instruct>: {INSTRUCTION}\n<Query>: {query}\n<Document>: {shown}", "<think>\n\n</think>\n\n"
        else:
            user, end = f"<Instruct>: {INSTRUCTION}<Query>:{query}\n<Document>:{shown}", ""
        start = f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n"
        return f"{start}{user}<|im_end|>\n<|im_start|>assistant\n{end}"


def _shown(item: Item) -> str:
    return (IMAGE if item.image is not None else "") + item.text


def _expanded(text: str, counts: Any) -> str:
    first, *rest = text.split("<|image_pad|>")
    return first + "".join("<|image_pad|>" * next(counts) + part for part in rest)


def sentence_transformers(case: Case, folder: Path) -> Callable[[int], Way]:
    """sentence-transformers' CrossEncoder with a batch size."""
    from sentence_transformers import CrossEncoder

    if case.architecture == "encoder":
        model = CrossEncoder(str(folder), device="cpu")
    else:
        from sentence_transformers.cross_encoder.modules import LogitScore, Transformer

        tok = transformers.AutoTokenizer.from_pretrained(folder)
        score = LogitScore(*(tok.convert_tokens_to_ids(word) for word in ("yes", "no")))
        model = CrossEncoder(
            modules=[Transformer(str(folder), transformer_task="text-generation"), score], device="cpu"
        )

    def of(size: int) -> Way:
        def run(requests: Sequence[Request]) -> Scores:
            pairs = [(r.query.text, d.text) for r in requests for d in r.candidates]
            values = model.predict(pairs, batch_size=size, activation_fn=torch.nn.Identity(), show_progress_bar=False)
            left = iter(values.tolist())
            return {r.key: [next(left) for _ in r.candidates] for r in requests}

        return run

    return of


def mteb(case: Case, folder: Path) -> Callable[[int], Way]:
    """mteb's own reranking path (`evaluate` with `prediction_folder`) with sentence-transformers' CrossEncoder."""
    import datasets
    import mteb
    from sentence_transformers import CrossEncoder

    datasets.disable_progress_bars()
    model = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())

    def of(size: int) -> Way:
        def run(requests: Sequence[Request]) -> Scores:
            task = _mteb_task(requests)
            with tempfile.TemporaryDirectory() as out:
                mteb.evaluate(
                    model,
                    task,
                    encode_kwargs={"batch_size": size, "show_progress_bar": False},
                    prediction_folder=out,
                    cache=None,
                    overwrite_strategy="always",
                    show_progress_bar=False,
                )
                return _mteb_scores(Path(out), requests)

        return run

    return of


def _mteb_task(requests: Sequence[Request]) -> Any:
    import datasets
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    ids = {(r.key, i): f"d{r.key}-{i}" for r in requests for i in range(len(r.candidates))}

    class Reranking(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="EngineBenchmark",
            description="The text case of this benchmark.",
            reference=None,
            dataset={"path": "local/none", "revision": "0" * 40},
            type="Reranking",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            date=("2026-01-01", "2026-01-02"),
            domains=["Written"],
            task_subtypes=[],
            license="apache-2.0",
            annotations_creators="derived",
            dialect=[],
            sample_creation="created",
            bibtex_citation="",
        )

        def load_data(self, *args: Any, **kwargs: Any) -> None:
            corpus = [{"id": ids[r.key, i], "text": d.text} for r in requests for i, d in enumerate(r.candidates)]
            queries = [{"id": str(r.key), "text": r.query.text} for r in requests]
            split = {
                "corpus": datasets.Dataset.from_list(corpus),
                "queries": datasets.Dataset.from_list(queries),
                "relevant_docs": {str(r.key): {ids[r.key, 0]: 1} for r in requests},
                "top_ranked": {str(r.key): [ids[r.key, i] for i in range(len(r.candidates))] for r in requests},
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Reranking()


def _mteb_scores(folder: Path, requests: Sequence[Request]) -> Scores:
    import json

    (path,) = folder.rglob("*predictions.json")
    content = json.loads(path.read_text())["default"]["test"]
    return {r.key: [content[str(r.key)][f"d{r.key}-{i}"] for i in range(len(r.candidates))] for r in requests}
