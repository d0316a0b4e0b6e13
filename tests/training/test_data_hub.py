"""Groups from data sets of the Hub: rows with columns, and mteb's tables with the judgements of a split."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.training.data.files import GroupFile
from mrb.training.data.write_dataset import read_record
from tests.builders.hub.server import Hub
from tests.builders.requests import picture

pytestmark = pytest.mark.hub

Mrb = Callable[..., subprocess.CompletedProcess[str]]
COMMIT = "3" * 40
TRAIN = ("train", "data", "--from", "sentence-transformers")


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def test_a_table_of_a_data_set_by_config_split_and_columns(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    """As vidore/colpali_train_set: a question on a page, the page as `datasets` writes an image, columns of no use."""
    image = {"bytes": picture(60, 50, 1).encoded, "path": "page.png"}
    pages = [{"image": image, "query": "what rises?", "answer": "costs", "source": "docs", "page": 3}]
    hub.repositories["own/pages", COMMIT] = {
        "data/train-00000-of-00001.parquet": parquet(pages),
        "data/test-00000-of-00001.parquet": parquet([pages[0] | {"query": "of the test"}]),
    }
    hub.branches["own/pages", "main"] = COMMIT
    done = mrb(*TRAIN, "hf://datasets/own/pages", "--columns", "positive=image", "--instruction", "Find the page.")
    assert done.returncode == 0, done.stderr
    assert f"from hf://datasets/own/pages@{COMMIT} (sentence-transformers); 1 without a negative" in done.stdout
    (group,) = GroupFile(tmp_path / "groups" / "pages.jsonl")
    assert (group.query.item.text, group.instruction, group.source) == ("what rises?", "Find the page.", "pages")
    shown = group.positives[0].item.image
    assert shown is not None and shown.encoded == image["bytes"] and not group.positives[0].item.text
    record = read_record(tmp_path / "groups" / "pages.jsonl")
    assert record is not None and (record.repository, record.revision) == ("own/pages", COMMIT)
    assert list(record.files) == ["data/train-00000-of-00001.parquet"]
    hub.requests.clear()
    again = (*TRAIN, f"hf://datasets/own/pages@{COMMIT}", "--columns", "query=image+query,positive=answer")
    done = mrb(*again, "--name", "fused", env={"MRB_OFFLINE": "1"})
    assert done.returncode == 0 and hub.requests == [], done.stderr
    (group,) = GroupFile(tmp_path / "groups" / "fused.jsonl")
    assert group.query.item.text == "what rises?" and group.query.item.image is not None
    for more, words in (
        (("--split", "dev"), "no single table of split dev: give --config and --split of default/test, default/train"),
        (("--columns", "positive=pages"), "row 1: no column 'pages'; there are image, query"),
        (("--columns", "document=image"), "--columns document=image: wanted ROLE=COLUMN"),
        ((), "row 1: column 'image' is not known; say what is used with --columns"),
    ):
        done = mrb(*TRAIN, "hf://datasets/own/pages", *more)
        assert done.returncode == 2 and words in done.stderr, done.stderr


def test_a_reranking_set_with_lists_of_documents(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    """As mteb's reranking sets before they had tables of documents: query, positive and negative lists."""
    rows = [{"query": "q", "positive": ["p1", "p2"], "negative": ["n1", "n2", "n3"]}]
    hub.repositories["own/questions", COMMIT] = {"train.jsonl": jsonl(rows), "test.jsonl": jsonl(rows)}
    done = mrb(*TRAIN, f"hf://datasets/own/questions@{COMMIT}", "--format", "parquet")
    assert done.returncode == 0, done.stderr
    (group,) = GroupFile(tmp_path / "groups" / "questions.parquet")
    assert [one.item.text for one in group.items] == ["q", "p1", "p2", "n1", "n2", "n3"]
    assert [one.rank for one in group.hard] == [1, 2, 3]


def test_mtebs_tables_with_the_judgements_of_a_split(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    """corpus/corpus, queries/queries and default/train beside default/test, as in mteb/scifact."""
    documents = {"d1": "wheat beer is brewed with wheat", "d2": "lager is brewed cold", "d3": "stout is dark"}
    header = "configs:\n" + "".join(
        f"- config_name: {config}\n  data_files:\n" + "".join(f"  - split: {s}\n    path: {p}\n" for s, p in files)
        for config, files in (
            ("default", [("train", "qrels/train.jsonl"), ("test", "qrels/test.jsonl")]),
            ("corpus", [("corpus", "corpus.jsonl")]),
            ("queries", [("queries", "queries.jsonl")]),
        )
    )
    hub.repositories["own/beers", COMMIT] = {
        "README.md": f"---\n{header}---\n".encode(),
        "corpus.jsonl": jsonl([{"_id": key, "title": "", "text": text} for key, text in documents.items()]),
        "queries.jsonl": jsonl([{"_id": "q1", "text": "which grain?"}, {"_id": "q2", "text": "which is dark?"}]),
        "qrels/train.jsonl": jsonl([{"query-id": "q1", "corpus-id": "d1", "score": 1}]),
        "qrels/test.jsonl": jsonl([{"query-id": "q2", "corpus-id": "d3", "score": 1}]),
    }
    command = ("train", "data", "--data", f"hf://datasets/own/beers@{COMMIT}", "--first-stage", "bm25")
    done = mrb(*command, "--instruction", "Find the beer.")
    assert done.returncode == 0, done.stderr
    (group,) = GroupFile(tmp_path / "groups" / "beers-train.jsonl")
    assert (group.query.id, group.positives[0].id, group.instruction) == ("q1", "d1", "Find the beer.")
    assert {one.id for one in group.negatives} == {"d2", "d3"}
    for more, words in (
        (("--split", "dev"), "tables found"),
        (("--depth", "0", "--random", "0"), "give numbers from 0, not 0 both"),
    ):
        done = mrb(*command, *more)
        assert done.returncode == 2 and words in done.stderr, done.stderr
