"""`mrb candidates make`, killed while it indexes, encodes and searches."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import MRB, run_mrb

pytestmark = pytest.mark.slow

TASK = "mini-faq-t2t"
FILES = (f"{TASK}.parquet", f"{TASK}.manifest.json")
ENCODER = """
import time
import zlib
import numpy as np


class Slow:
    batch_size = 20
    shard_rows = 100

    def _rows(self, items):
        time.sleep(0.02)
        rows = np.zeros((len(items), 256), np.float32)
        for row, item in enumerate(items):
            for word in item.text.lower().split():
                rows[row, zlib.crc32(word.encode()) % 256] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)

    def encode_queries(self, items, instruction):
        return self._rows(items)

    encode_documents = _rows
"""
SEARCH = """

from pathlib import Path

from mrb.retrieval.exact_search import ExactSearch

add = ExactSearch.add


def slowly(self, doc_ids, documents):
    add(self, doc_ids, documents)
    if Path("slowly").exists():
        with open("searching", "a") as file:
            file.write("x")
        time.sleep(0.3)


ExactSearch.add = slowly
"""
POSTINGS = """
import time

import mrb.baselines.retrievers.bm25_disk as disk
from mrb.baselines.rerankers.bm25 import BM25Retriever

disk.SHARD_DOCUMENTS = 100


class Disk(BM25Retriever):
    def __init__(self):
        super().__init__(engine="disk")

    def search(self, data, depth):
        for found in super().search(data, depth):
            time.sleep(0.005)
            yield found
"""


def _start(folder: Path, model: str, *options: str) -> subprocess.Popen[bytes]:
    command = [MRB, "candidates", "make", "--first-stage", model, "--task", TASK, "--depth", "20", *options]
    environment = {**os.environ, "MRB_CACHE": str(folder / "cache")}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _finish(folder: Path, model: str, *options: str) -> dict[str, bytes]:
    command = ["candidates", "make", "--first-stage", model, "--task", TASK, "--depth", "20", *options]
    done = run_mrb(folder, *command, MRB_CACHE=str(folder / "cache"))
    assert done.returncode == 0, done.stderr
    return {name: (folder / "candidates" / name).read_bytes() for name in FILES}


def _kill_when(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.001)
    assert process.poll() is None, "the command ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize(
    ("model", "source", "unit"), [("slow", ENCODER, "vectors-*/*.npy"), ("disk", POSTINGS, "bm25-*/shard-*/*.npy")]
)
def test_killed_anywhere_it_ends_in_the_same_files(tmp_path: Path, model: str, source: str, unit: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        (folder / f"{model}.py").write_text(source)
    wanted = _finish(whole, model)
    chance = random.Random(7)
    work = cut / "cache" / "first-stages"
    written = 0
    for _ in range(4):
        more = written + chance.randint(1, 2)
        _kill_when(_start(cut, model), lambda more=more: len(list(work.glob(unit))) >= more)
        written = len(list(work.glob(unit)))
    if model == "disk":  # the index is whole, the search is not
        _kill_when(_start(cut, model), lambda: any(work.glob("bm25-*/manifest.json")))
    assert not (cut / "candidates").exists()
    assert _finish(cut, model) == wanted
    # Vectors leave when the list is written, postings stay; nothing half-written is left by the kills' heirs.
    assert bool(list(work.glob(unit))) == (model == "disk")


def test_killed_in_a_dense_search_it_ends_in_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(ENCODER + SEARCH)
    wanted = _finish(tmp_path, "slow", "--keep-embeddings")
    shards = {path: path.stat().st_mtime_ns for path in tmp_path.glob("cache/first-stages/vectors-*/*.npy")}
    assert len(shards) > 5
    shutil.rmtree(tmp_path / "candidates")
    (tmp_path / "slowly").touch()
    process = _start(tmp_path, "slow", "--keep-embeddings")
    _kill_when(process, lambda: (tmp_path / "searching").exists() and (tmp_path / "searching").stat().st_size >= 3)
    assert not (tmp_path / "candidates").exists()
    (tmp_path / "slowly").unlink()
    assert _finish(tmp_path, "slow", "--keep-embeddings") == wanted
    assert {path: path.stat().st_mtime_ns for path in shards} == shards, "nothing is encoded again"


def test_a_list_that_is_there_is_not_made_again_unless_something_differs(tmp_path: Path) -> None:
    def lines(*options: str) -> list[str]:
        command = [MRB, "candidates", "make", "--first-stage", "slow", "--task", TASK, *options]
        environment = {**os.environ, "MRB_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    (tmp_path / "slow.py").write_text(ENCODER)
    first, digest = lines("--depth", "20")
    assert "is there already" not in first
    again, same = lines("--depth", "20")
    assert "is there already, made by this command" in again
    assert same == digest
    path = tmp_path / "candidates" / f"{TASK}.parquet"
    written = path.read_bytes()
    path.write_bytes(written[:-1] + b"x")
    assert "is there already" not in lines("--depth", "20")[0]
    assert path.read_bytes() == written
    assert "is there already" not in lines("--depth", "10")[0]
    (tmp_path / "slow.py").write_text(ENCODER + "\n# changed\n")
    assert "is there already" not in lines("--depth", "10")[0]


def test_the_manifest_says_what_made_the_list(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(ENCODER)
    manifest = json.loads(_finish(tmp_path, "slow")[f"{TASK}.manifest.json"])
    assert (manifest["task"], manifest["first_stage"], manifest["depth"]) == (TASK, "slow", 20)
    assert {"sha256", "revision", "dtype", "list_hash", "source_sha256", "retriever"} <= set(manifest)


def test_a_dry_run_loads_nothing_and_writes_nothing(tmp_path: Path) -> None:
    command = ["candidates", "make", "--first-stage", "bm25", "--suite", "mrb", "--dry-run", "--rate", "50"]
    done = run_mrb(tmp_path, *command)
    assert done.returncode == 0, done.stderr
    assert "40 tasks" in done.stdout
    assert "189.6 h of encoding" in done.stdout and "rates are assumed" in done.stdout
    assert not list(tmp_path.iterdir())


def test_no_vectors_are_estimated_where_nothing_is_encoded(tmp_path: Path) -> None:
    command = [
        "candidates",
        "make",
        "--candidate-set",
        "bm25+siglip",
        "--dry-run",
        "--gpu",
        "h100",
        "--task",
        "msmarco",
    ]
    assert "vectors" not in run_mrb(tmp_path, *command).stdout
    assert "at most 259 MB of disk" in run_mrb(tmp_path, *command, "--task", "nights").stdout  # 4 x 1,536 x 42,158


@pytest.mark.parametrize("name", ["../lists", "/tmp/lists", "a/b", "..", "nul"])
def test_a_candidate_set_whose_name_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    for command in (["candidates", "make", "--first-stage", "bm25"], ["run", "--model", "surface"]):
        done = run_mrb(folder, *command, "--task", TASK, "--candidate-set", name)
        assert done.returncode == 2 and done.stderr.startswith(f"mrb: --candidate-set {name}: ")
    assert not list(folder.iterdir()) and list(tmp_path.iterdir()) == [folder]


def test_without_a_rate_the_retriever_is_timed_on_embedded_data(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(ENCODER)
    command = ["candidates", "make", "--first-stage", "slow", "--task", "scifact", "--task", "nights", "--dry-run"]
    done = run_mrb(tmp_path, *command, MRB_CACHE=str(tmp_path / "cache"), MRB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert "of encoding\n" in done.stdout and "Rates are those on the embedded task" in done.stdout
    assert not (tmp_path / "cache").exists() and not (tmp_path / "candidates").exists()
