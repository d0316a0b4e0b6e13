"""`mrb candidates make` over tasks of a Hub: killed at different moments, a task that fails, publishing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.candidates import judgement_packs
from mrb.candidates.push_lists import find_lists
from mrb.data.task import load_task
from mrb.errors import AdapterError
from mrb.retrieval import make_lists
from mrb.retrieval.make_lists import ListMaker, ListOptions
from tests.builders.command import Done, find_refusal
from tests.builders.hub.server import TOKEN, Hub

pytestmark = [pytest.mark.slow, pytest.mark.hub]

# Vectors of words and colours. The process kills itself at the moment that KILL names: "encode 3" is the third call.
TOY = """
import os
import zlib
from collections import Counter

import numpy as np

import mrb.retrieval.make_lists as make_lists

calls = Counter()


def count(name):
    calls[name] += 1
    if os.environ.get("KILL") == f"{name} {calls[name]}":
        os.kill(os.getpid(), 9)


def counted(name):
    real = getattr(make_lists, name)

    def call(*arguments, **options):
        count(name)
        return real(*arguments, **options)

    setattr(make_lists, name, call)


for name in ("load_task_data", "write_json", "write_pack"):
    counted(name)


class Toy:
    batch_size = 4
    shard_rows = 8
    max_images = None

    def encode_documents(self, items):
        count("encode")
        rows = np.zeros((len(items), 64), np.float32)
        for row, item in zip(rows, items):
            for word in item.text.lower().split():
                row[zlib.crc32(word.encode()) % 61] += 1
            if item.image is not None:
                row[61:] = np.asarray(item.image.open().convert("RGB").resize((1, 1)), np.float32)[0, 0] / 255
        return rows

    def encode_queries(self, items, instruction):
        return self.encode_documents(items)
"""
TASKS = ("scifact", "nights", "fashioniq", "edis")
MOMENTS = ("encode 2", "write_json 1", "write_pack 2", "load_task_data 3", "encode 9")
SET = ("candidates", "make", "--first-stage", "toy", "--candidate-set", "toys")
MAKE = (*SET, *(word for task in TASKS for word in ("--task", task)))
Mrb = Callable[..., Done]


def read_lists(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "candidates" / "toys").iterdir())}


def test_killed_five_times_it_ends_in_the_same_files_and_is_run_and_published(
    tmp_path: Path, mrb_on_hub: Mrb, hub: Hub
) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    done = mrb_on_hub(*MAKE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("4 lists of candidate set toys: candidates/toys\n")
    wanted = read_lists(tmp_path)
    assert set(wanted) == {f"{task}{end}" for task in TASKS for end in (".parquet", ".manifest.json", ".judgements")}
    shutil.rmtree(tmp_path / "candidates")
    shutil.rmtree(tmp_path / "mrb")  # vectors and notes of what was read
    for moment in MOMENTS:
        assert mrb_on_hub(*MAKE, env={"KILL": moment}).returncode == -9, moment
    again = mrb_on_hub(*MAKE)
    assert again.returncode == 0 and "is there already, made by this command" in again.stdout
    assert read_lists(tmp_path) == wanted

    run = mrb_on_hub("run", "--model", "random", "--task", "nights", "--candidate-set", "toys")
    assert run.returncode == 0 and "candidate set toys: not published; the lists in candidates/toys" in run.stderr
    chosen = ("--task", "nights", "--candidate-set", "toys", "--dry-run", "--gpu", "h100")
    estimate = mrb_on_hub("run", "--model", "gmr-3b", *chosen)
    assert estimate.returncode == 0 and "at 2.95 per worker-hour" in estimate.stdout

    pushed = mrb_on_hub("candidates", "push", "candidates/toys", "hf://datasets/org/toys", env={"HF_TOKEN": TOKEN})
    assert pushed.returncode == 0, pushed.stderr
    card = (tmp_path / "candidates" / "toys" / "README.md").read_text()
    for one in find_lists(tmp_path / "candidates" / "toys"):
        assert f"| {one.about.provenance.task} | toy | 100 | {one.about.queries} |" in card and one.about.sha256 in card
    (address,) = (line.split()[1] for line in pushed.stdout.splitlines() if line.startswith("pushed: "))
    pulled = mrb_on_hub("candidates", "pull", address, "--out", "pulled")
    assert pulled.returncode == 0, pulled.stderr
    assert (tmp_path / "pulled" / "nights.parquet").read_bytes() == wanted["nights.parquet"]


def test_a_task_that_fails_is_named_at_the_end_and_made_by_the_same_command(
    tmp_path: Path, mrb_on_hub: Mrb, hub: Hub
) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    (place,) = (key for key in hub.repositories if key[0] == "mteb/mbeir_nights_task4")
    kept = hub.repositories.pop(place)
    done = mrb_on_hub(*SET, "--task", "nights", "--task", "scifact")
    assert done.returncode == 2
    assert "1 of 2 tasks have no list: nights" in find_refusal(done.stderr)
    assert "scifact.judgements" in read_lists(tmp_path) and "nights.parquet" not in read_lists(tmp_path)
    hub.repositories[place] = kept
    done = mrb_on_hub(*SET, "--task", "nights", "--task", "scifact")
    assert done.returncode == 0, done.stderr
    assert "scifact.parquet  is there already" in done.stdout and "nights.judgements" in read_lists(tmp_path)


def test_a_pack_of_an_earlier_list_does_not_stay_beside_one_that_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(depth: int) -> str:
        options = ListOptions(out=tmp_path, depth=depth, first_stage="bm25", candidate_set="own", pack=True)
        (said,) = ListMaker([load_task("mini-faq-t2t")], options).make_all()
        return said

    make(3)
    assert (tmp_path / "mini-faq-t2t.judgements").exists()
    monkeypatch.setattr(judgement_packs, "MAX_POSITIONS", 3)
    assert "no judgement pack" in make(4)
    assert find_lists(tmp_path)[0].pack is None


def test_a_first_stage_is_closed_when_a_later_one_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    def load(name: str, *_: object, **__: object) -> object:
        if name == "bm25":
            return name
        raise AdapterError(f"{name}: not today")

    monkeypatch.setattr(make_lists, "load_first_stage", load)
    monkeypatch.setattr(make_lists, "close_retriever", closed.append)
    tasks = [load_task("mini-faq-t2t"), load_task("mini-flag-t2i")]
    with pytest.raises(AdapterError, match="not today"):
        ListMaker(tasks, ListOptions(out=tmp_path, depth=9))
    assert closed == ["bm25"]
