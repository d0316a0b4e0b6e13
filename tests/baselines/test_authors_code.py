"""Each model against numbers that its authors' own code gave on the same weights and inputs (authors/*.json)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.plugins import RETRIEVERS, load_adapter
from mrb.rerankers.reranker import Request
from tests.builders import authors
from tests.builders.model_table import read_model_table
from tests.builders.processors import without_torchvision

pytestmark = pytest.mark.torch

CASES = [
    (path.stem, name)
    for path in sorted(authors.FOLDER.glob("*.json"))
    for name in authors.golden(path.stem)["adapters"]
]
CLOSE = 2e-5
"""How far float32 on another machine, and a number kept to 7 digits, may be away."""

Build = Callable[[str], Path]


@pytest.fixture(scope="module", autouse=True)
def pillow() -> Iterator[None]:
    with without_torchvision():
        yield


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`build("qwen3")` is the folder of the checkpoint, made once."""
    root = tmp_path_factory.mktemp("authors")

    def get(architecture: str) -> Path:
        folder = root / architecture
        return folder if folder.exists() else authors.build(architecture, folder)

    return get


def _found(adapter: str, held: dict[str, Any], folder: Path) -> list[Any]:
    """What MRB gives for the file's rows: vectors, or scores as the authors state them."""
    options = {"path": folder, "device": "cpu", "dtype": "float32", **held["options"]}
    options = {key: str(value) for key, value in options.items()}
    if held["kind"] == "vectors":
        encoder = load_adapter(adapter, options, RETRIEVERS).target
        found = [encoder.encode_queries([authors.item(row["item"])], row["instruction"])[0] for row in held["rows"]]
        encoder.close()
        return found
    reranker = load_reranker(adapter, options)
    requests = [
        Request(row["instruction"], authors.item(row["query"]), [authors.item(row["document"])], key)
        for key, row in enumerate(held["rows"])
    ]
    scores = {key: found[0] for key, found in reranker.target.score_stream(requests)}
    reranker.close()
    logits = np.asarray([scores[key] for key in range(len(requests))], np.float64)
    return list(1 / (1 + np.exp(-logits)) if held["kind"] == "probabilities" else logits)


def _make_ids(adapter: str, held: dict[str, Any], folder: Path) -> list[list[int]]:
    """The ids of MRB's prompts for the rows whose ids are known."""
    rows = [row for row in held["rows"] if "ids" in row]
    if not rows:
        return []
    options = {"path": str(folder), "device": "cpu", **held["options"]}
    reranker = load_reranker(adapter, options)
    pairs = [(authors.item(row["query"]), authors.item(row["document"])) for row in rows]
    prompts = reranker.target.engine.prompter.prompts("", pairs)
    reranker.close()
    return [prompt.ids.tolist() for prompt in prompts]


@pytest.mark.parametrize(("file", "adapter"), CASES)
def test_the_authors_code_gives_the_same(file: str, adapter: str, build: Build) -> None:
    held = authors.golden(file)
    folder = build(held["architecture"])
    made = (authors.weights_sum(folder), authors.tokenizer_hash(held["architecture"], folder))
    assert made == (pytest.approx(held["weights"], rel=1e-6), held["tokenizer"]), (
        "the checkpoint is not the one that the authors' code was run on: its weights or its tokenizer differ"
    )
    assert _make_ids(adapter, held, folder) == [row["ids"] for row in held["rows"] if "ids" in row]
    wanted = [row["vector" if held["kind"] == "vectors" else "score"] for row in held["rows"]]
    found = _found(adapter, held, folder)
    assert np.std(np.asarray(wanted), axis=0).mean() > 0.01, "numbers that hardly differ would agree whatever is asked"
    for row, theirs, ours in zip(held["rows"], wanted, found, strict=True):
        away = float(np.abs(np.asarray(ours) - np.asarray(theirs)).max())
        told = {key: value for key, value in row.items() if key not in ("vector", "score")}
        if "differs" in row:
            # A difference that is meant, and documented: if it is gone, the documentation is wrong.
            assert away > 10 * CLOSE, told
        else:
            assert away < CLOSE, (told, away)


def test_the_docs_name_what_each_adapter_was_compared_with() -> None:
    table = read_model_table()
    for file, adapter in CASES:
        held = authors.golden(file)
        if held["kind"] != "vectors":
            commit = held["source"]["commit"].removeprefix("release ")[:7]
            assert commit in (difference := table[adapter][-1]) or (commit == "unknown" and "copy" in difference), (
                adapter
            )
