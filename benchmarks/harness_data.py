"""A reranking task of synthetic texts or pictures on disk, which MRB and mteb both read: `python harness_data.py`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

TASKS = {"text": "mini-faq-t2t", "images": "mini-emoji-i2i"}
"""Definitions that the data is read under: only their types matter."""
WORDS = [f"{a}{b}{c}" for a in ("re", "con", "de", "pro") for b in ("fer", "duc", "mit", "pon") for c in ("t", "er")]
WIDTH, HEIGHT = 1000, 1400
"""A page at 120 dots an inch. Of smaller pictures the fixed part of both sides makes more of the memory."""


def lists(queries: int, documents: int, depth: int) -> Iterator[tuple[str, list[str]]]:
    """A ring of candidates for each query; the relevant one is somewhere in the middle."""
    for n in range(queries):
        yield f"queries-{n}", [f"corpus-{(7 * n + step) % documents}" for step in range(depth)]


def write(folder: Path, kind: str, queries: int, documents: int, depth: int) -> None:
    """The tables of a task: queries, corpus and judgements as parquet, in `folder`."""
    features = datasets.Features({"id": datasets.Value("string"), "text": datasets.Value("string")})
    if kind == "images":
        features["image"] = datasets.Image()
    for table, count, length in (("queries", queries, 6), ("corpus", documents, 20)):
        rng = np.random.default_rng(len(table))
        rows: dict[str, list[object]] = {"id": [f"{table}-{n}" for n in range(count)]}
        rows["text"] = [" ".join(rng.choice(WORDS, length)) if kind == "text" else None for _ in range(count)]
        if kind == "images":
            rows["image"] = [_picture(rng) for _ in range(count)]
        path = folder / table / "test.parquet"
        path.parent.mkdir(parents=True)
        datasets.Dataset.from_dict(rows, features=features).to_parquet(path, batch_size=50)
    judged = [(query_id, ids[depth // 3]) for query_id, ids in lists(queries, documents, depth)]
    names = {"query-id": [q for q, _ in judged], "corpus-id": [d for _, d in judged], "score": [1] * len(judged)}
    (folder / "qrels").mkdir()
    datasets.Dataset.from_dict(names).to_parquet(folder / "qrels" / "test.parquet")


def _picture(rng: np.random.Generator) -> dict[str, object]:
    noise = rng.integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((WIDTH, HEIGHT)).save(file, "JPEG")
    return {"bytes": file.getvalue(), "path": None}


def checkpoint(folder: Path) -> Path:
    """A tiny BERT cross-encoder of random weights, saved as the real ones are."""
    import torch
    import transformers

    torch.manual_seed(7)
    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(WORDS))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    tokenizer = transformers.BertTokenizer(str(folder / "vocab.txt"))
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=1,
        initializer_range=0.5,
    )
    transformers.BertForSequenceClassification(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
