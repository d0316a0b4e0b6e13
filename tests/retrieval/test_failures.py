"""`--allow-failures` of first stages: what cannot be encoded is left out and named, and no task ends the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mrb.candidates.lists import read_parquet
from mrb.cli.main import cli
from mrb.data.items import Item
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, DataError, MRBError
from mrb.rerankers.plugins import Adapter
from mrb.retrieval.dense import Dense
from mrb.retrieval.encoding import LocalEncoder
from mrb.retrieval.failures import Failures
from mrb.retrieval.first_stage import load_first_stage, make_candidates
from tests.builders.toy import encoded, toy_data


class Picky:
    """Vectors of letters; raises, or gives NaN, for a batch with an item that has one of the words in it."""

    batch_size = 8
    shard_rows = 20

    def __init__(self, words: Sequence[str] = (), nan: bool = False) -> None:
        self.words, self.nan = words, nan
        self.encoded = 0

    def encode_documents(self, items: Sequence[Item]) -> Any:
        rows = np.array([[item.text.count(letter) + 1 for letter in "aeiou0123456789"] for item in items], float)
        self.encoded += len(items)
        for row, item in enumerate(items):
            if any(word in item.text.split() for word in self.words):
                if not self.nan:
                    raise ValueError(f"cannot read {item.text}")
                rows[row] = np.nan
        return rows

    def encode_queries(self, items: Sequence[Item], instruction: str) -> Any:
        return self.encode_documents(items)


def dense(encoder: Picky, folder: Path, allowed: int) -> Dense:
    return Dense(LocalEncoder(Adapter("picky", encoder, {}, "test", "0" * 64)), folder, Failures(allowed))


@pytest.fixture
def data() -> TaskData:
    docs = {f"d{n}": f"document {n}" for n in range(50)}
    return toy_data({f"q{n}": f"query {n}" for n in range(25)}, docs, {f"q{n}": {"d0": 1} for n in range(25)})


@pytest.mark.parametrize("nan", [False, True])
def test_failing_items_are_left_out_and_the_rest_is_as_if_they_were_not_there(
    data: TaskData, tmp_path: Path, nan: bool
) -> None:
    retriever = dense(Picky(["7", "23"], nan), tmp_path, 4)
    found = make_candidates(data, retriever, "picky", 10, "t")
    assert retriever.failures.items == {"queries": ["q7", "q23"], "documents": ["d7", "d23"]}
    rest = {f"d{n}": f"document {n}" for n in range(50) if n not in (7, 23)}
    asked = {f"q{n}": f"query {n}" for n in range(25) if n not in (7, 23)}
    without = toy_data(asked, rest, {q: {"d0": 1} for q in asked})
    wanted = make_candidates(without, dense(Picky(), tmp_path / "other", 0), "picky", 10, "t")
    assert found.sha256 == wanted.sha256


@pytest.mark.parametrize("words", [[str(n) for n in range(20, 25)], [str(n) for n in range(20, 40)]])
def test_a_shard_may_fail_as_a_whole(data: TaskData, tmp_path: Path, words: list[str]) -> None:
    retriever = dense(Picky(words), tmp_path, 100)
    found = make_candidates(data, retriever, "picky", 50, "t")
    assert set(found.query_ids) == {f"q{n}" for n in range(20)}
    assert set(found.ids("q0").to_pylist()) == {f"d{n}" for n in range(50)} - {f"d{word}" for word in words}


def test_more_than_are_allowed_end_the_task_and_what_was_made_is_kept(data: TaskData, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"cannot read document 23 .*\(failed items: 4, allowed: 3\)"):
        make_candidates(data, dense(Picky(["7", "23"]), tmp_path, 3), "picky", 10, "t")
    again = Picky(["7", "23"])
    retriever = dense(again, tmp_path, 4)
    make_candidates(data, retriever, "picky", 10, "t")
    assert retriever.failures.count == 4
    third = Picky(["7", "23"])
    make_candidates(data, dense(third, tmp_path, 4), "picky", 10, "t")
    assert third.encoded < again.encoded and third.encoded <= 8  # the few that are checked
    with pytest.raises(AdapterError, match=r"queries: 'q7' could not be encoded.*\(failed items: 1, allowed: 0\)"):
        make_candidates(data, dense(Picky(), tmp_path, 0), "picky", 10, "t")


def test_without_the_option_the_first_failure_is_raised_as_before(data: TaskData, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="cannot read query 7") as caught:
        make_candidates(data, dense(Picky(["7"]), tmp_path, 0), "picky", 10, "t")
    assert "allowed" not in str(caught.value)


@pytest.fixture
def pictures() -> Callable[[bytes], TaskData]:
    """A task of pictures, of which document 2 and query 1 are the given bytes."""

    def make(damaged: bytes) -> TaskData:
        whole = [encoded(Image.new("RGB", (40, 30), (50 * n, 90, 200 - 30 * n))) for n in range(5)]
        docs = {f"d{n}": ("red", damaged if n == 2 else whole[n]) for n in range(5)}
        queries = {f"q{n}": ("blue", damaged if n == 1 else whole[n]) for n in range(3)}
        return toy_data(queries, docs, {q: {"d0": 1} for q in queries})

    return make


@pytest.mark.parametrize("kind", ["cut", "empty", "text"])
@pytest.mark.parametrize("stage", ["pixels", "pixels+colour-words"])
def test_a_damaged_image_is_left_out_by_a_search_of_its_own(
    pictures: Callable[[bytes], TaskData], kind: str, stage: str
) -> None:
    whole = encoded(Image.effect_noise((64, 64), 50))
    data = pictures({"cut": whole[:-400], "empty": b"", "text": b"no image"}[kind])
    with pytest.raises(DataError, match=r"q1|d2"):
        make_candidates(data, load_first_stage(stage), stage, 5, "t")
    for allowed in (1, 2):
        failures = Failures(allowed)
        retriever = load_first_stage(stage, failures=failures)
        if allowed == 1:
            with pytest.raises(DataError, match=r"failed items: 2, allowed: 1"):
                make_candidates(data, retriever, stage, 5, "t")
            continue
        found = make_candidates(data, retriever, stage, 5, "t")
        assert failures.items == {"queries": ["q1"], "documents": ["d2"]}
        assert found.query_ids == ("q0", "q2") and "d2" not in found.doc_ids.to_pylist()


ENCODER = """
from pathlib import Path
import numpy as np


class Encoder:
    version = "1"

    def encode_documents(self, items):
        with open("asked", "a") as file:
            file.write("x" * len(items))
        if any("library" in item.text for item in items):
            raise ValueError("cannot read it")
        return np.array([[len(item.text), item.text.count("e"), 1.0] for item in items], np.float32)

    def encode_queries(self, items, instruction):
        return self.encode_documents(items)
"""


@pytest.fixture
def mrb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """`mrb(*arguments)` in a folder that has the encoder above: (exit code, all that was said)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MRB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "picky.py").write_text(ENCODER)

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, arguments)
        if done.exception is None:
            return 0, done.output
        assert isinstance(done.exception, MRBError), done.output
        return 2, f"{done.output}{done.exception}"

    return run


def test_a_suite_goes_on_past_a_task_that_cannot_be_done(mrb: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    tasks = ["mini-faq-t2t", "mini-emoji-i2i", "mini-flag-t2it"]
    arguments = [word for task in tasks for word in ("--task", task)]
    code, told = mrb(
        "candidates", "make", "--first-stage", "bm25", *arguments, "--depth", "5", "--candidate-set", "mine"
    )
    assert code == 2 and f"1 of 3 tasks have no list: {tasks[1]}; why: " in told.splitlines()[-1]
    assert "BM25 needs text" in told.splitlines()[-1]
    assert {path.stem for path in (tmp_path / "candidates" / "mine").glob("*.parquet")} == {tasks[0], tasks[2]}


def test_lost_documents_are_named_in_the_manifest_and_the_list_is_not_made_again(
    mrb: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    command = ["candidates", "make", "--first-stage", "picky", "--task", "mini-faq-t2t", "--depth", "5"]
    code, told = mrb(*command)
    assert code == 2 and "cannot read it" in told
    code, told = mrb(*command, "--allow-failures", "1000")
    assert code == 0, told
    path = tmp_path / "candidates" / "mini-faq-t2t.parquet"
    failed = json.loads(path.with_suffix(".manifest.json").read_text())["failed"]
    assert f"{len(failed['documents'])} documents could not be encoded" in told
    assert not set(failed["documents"]) & set(read_parquet(path).doc_ids.to_pylist())
    asked = (tmp_path / "asked").stat().st_size
    code, told = mrb(*command, "--allow-failures", "1000")
    assert code == 0 and "is there already" in told
    assert (tmp_path / "asked").stat().st_size < asked + 20
    code, told = mrb(*command)
    assert code == 2 and "cannot read it" in told
