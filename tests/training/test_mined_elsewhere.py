"""Against sentence-transformers itself: what `mine_hard_negatives` leaves out, and the file that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrb.training.data.contamination import HeldOutIndex
from mrb.training.data.convert import convert_file
from mrb.training.data.files import GroupFile
from mrb.training.data.mine_negatives import BuildOptions, GroupBuilder
from tests.builders.toy import toy_data, toy_task

pytestmark = [pytest.mark.torch, pytest.mark.slow]

WORDS = ("red", "green", "blue", "white", "black", "round", "square", "small", "large", "hot", "cold", "old")


@pytest.fixture(scope="module")
def model() -> Any:
    """Random vectors of words, averaged."""
    torch = pytest.importorskip("torch")
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate((*WORDS, "?"))}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    vectors = torch.randn(len(WORDS) + 1, 8, generator=torch.Generator().manual_seed(0))
    return sentence_transformers.SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=vectors.numpy())], device="cpu"
    )


@pytest.mark.parametrize(
    "options",
    [({}, {}), ({"margin": 0.2}, {"absolute_margin": 0.2}), ({"percent": 70.0}, {"relative_margin": 0.3})],
    ids=["none", "margin", "percent"],
)
def test_margin_and_percentage_leave_out_the_same(model: Any, options: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    from mrb.candidates.lists import build_candidates, make_provenance

    rng = np.random.default_rng(1)
    texts = list(dict.fromkeys(" ".join(rng.choice(WORDS, 3, replace=False)) for _ in range(24)))
    queries, documents = texts[:6], texts[6:]
    positives = dict(zip(queries, documents, strict=False))
    ours, theirs = options
    pairs = Dataset.from_dict({"query": queries, "positive": [positives[query] for query in queries]})
    mined = mine_hard_negatives(
        pairs, model, corpus=documents, range_max=len(documents) - 1, num_negatives=len(documents) - 1,
        output_format="triplet", output_scores=True, verbose=False, **theirs,
    )  # fmt: skip
    wanted: dict[str, list[str]] = {query: [] for query in queries}
    for row in mined:
        wanted[row["query"]].append(row["negative"])
    names = {text: f"d{place}" for place, text in enumerate(documents)}
    scores = model.similarity(model.encode(queries), model.encode(documents)).numpy()
    task = toy_task()
    lists = []
    for place, own in enumerate(scores):
        order = np.argsort(-own, kind="stable")
        lists.append((f"q{place}", [f"d{n}" for n in order], own[order]))
    found = build_candidates(make_provenance(task, "static", 100, "test"), lists)
    data = toy_data(
        {f"q{place}": query for place, query in enumerate(queries)},
        {name: text for text, name in names.items()},
        {f"q{place}": {names[positives[query]]: 1} for place, query in enumerate(queries)},
        task,
    )
    groups = {
        one.query.item.text: one for one in GroupBuilder(data, found, BuildOptions(random=1, **ours)).build_groups()
    }
    kept = {query: [one.item.text for one in groups[query].hard] if query in groups else [] for query in queries}
    assert kept == wanted
    assert any(wanted.values()) and (not ours or sum(map(len, wanted.values())) < len(queries) * (len(documents) - 1))


def test_the_file_that_it_writes_is_read(model: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    pairs = Dataset.from_dict({"question": ["red hot", "cold blue"], "answer": ["red round", "blue square"]})
    mined = mine_hard_negatives(
        pairs, model, corpus=["white old", "large black", "small green"], num_negatives=2, range_max=4,
        output_format="n-tuple", output_scores=True, verbose=False,
    )  # fmt: skip
    mined.to_parquet(tmp_path / "mined.parquet")
    _, out = convert_file("sentence-transformers", tmp_path / "mined.parquet", tmp_path / "out", HeldOutIndex({}, ()))
    for row, group in zip(mined, GroupFile(out), strict=True):
        assert [one.item.text for one in group.items] == [
            row[n] for n in ("question", "answer", "negative_1", "negative_2")
        ]
        assert [one.teacher for one in group.items[1:]] == pytest.approx(row["scores"], rel=1e-6)
