"""`mrb candidates make` with the models that ship, on tiny checkpoints: files, kills, other weights, fusion."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import mrb
from mrb.candidates.lists import Candidates, read_parquet
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.engine.identity import hash_checkpoint
from mrb.retrieval.first_stage import close_retriever, load_first_stage, make_candidates
from tests.builders import museum
from tests.builders.by_hand import LIMITS
from tests.builders.command import MRB, run_mrb

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]

TASK = "mini-flag-t2it-dev"
GME = [f"--set={key}={value}" for key, value in LIMITS.items()] + ["--set=shard_rows=5", "--set=device=cpu"]


def _start(folder: Path, model: str, *options: str) -> subprocess.Popen[str]:
    command = [MRB, "candidates", "make", "--first-stage", model, "--task", TASK, "--depth", "20", *options]
    environment = {**os.environ, "MRB_CACHE": str(folder / "cache"), "MRB_OFFLINE": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _finish(folder: Path, model: str, *options: str, task: str = TASK) -> tuple[Candidates, dict[str, object]]:
    command = ["candidates", "make", "--first-stage", model, "--task", task, "--depth", "20", *options]
    done = run_mrb(folder, *command, torch=True, MRB_CACHE=str(folder / "cache"), MRB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((folder / "candidates" / f"{task}.manifest.json").read_text())
    return read_parquet(folder / "candidates" / f"{task}.parquet"), manifest


def _killed_after(shards: int, folder: Path, model: str, *options: str) -> None:
    process = _start(folder, model, *options)
    while process.poll() is None and len(list(folder.rglob("vectors-*/*.npy"))) < shards:
        time.sleep(0.005)
    assert process.poll() is None, "the command ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture
def checkpoint(tiny: Tiny, tmp_path: Path) -> Path:
    """A tiny GME that a test may change."""
    return Path(shutil.copytree(tiny("qwen2_vl"), tmp_path / "checkpoint"))


def test_a_killed_command_goes_on_and_other_weights_do_not(checkpoint: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    options = [*GME, f"--set=path={checkpoint}"]
    wanted, manifest = _finish(whole, "gme-2b", *options)
    assert manifest["retriever"] == "gme-2b"
    assert manifest["version"] == f"2+{hash_checkpoint(checkpoint)}"
    assert manifest["dtype"] == "float32"
    assert manifest["sha256"] == wanted.sha256
    assert len(wanted) == len(load_task_data(load_task(TASK)).queries)
    _killed_after(3, cut, "gme-2b", *options)
    made = {path: path.stat().st_mtime_ns for path in cut.rglob("vectors-*/*.npy")}
    found, same = _finish(cut, "gme-2b", *options, "--workers", "2", "--keep-embeddings")
    assert (found.sha256, same) == (wanted.sha256, manifest)
    assert {path: path.stat().st_mtime_ns for path in made} == made, "what was made is not made again"

    weights = museum.read_weights(checkpoint)
    weights["model.norm.weight"][::2] *= 3
    museum.write_weights(checkpoint, weights)
    other, told = _finish(cut, "gme-2b", *options)
    assert told["version"] == f"2+{hash_checkpoint(checkpoint)}" != manifest["version"]
    assert other.sha256 != wanted.sha256
    assert other.sha256 == _finish(whole, "gme-2b", *options)[0].sha256, "no vector of the first weights is used"


def test_two_towers_make_a_list(tiny: Tiny, tmp_path: Path) -> None:
    options = ["--set=device=cpu", f"--set=path={tiny('clip')}"]
    found, manifest = _finish(tmp_path, "clip", *options, task="mini-flag-i2t-dev")
    assert found.pairs == 20 * len(found) > 0
    assert (manifest["retriever"], manifest["sha256"]) == ("clip", found.sha256)
    assert not list(tmp_path.rglob("vectors-*")), "vectors leave when the list is written"
    _check_the_reranker("clip", {"path": str(tiny("clip")), "device": "cpu"}, found, "mini-flag-i2t-dev", tmp_path)


def _check_the_reranker(name: str, options: dict[str, str], found: Candidates, task: str, folder: Path) -> None:
    """As a reranker the encoder gives the candidates of its own list the list's scores, which are rounded."""
    run = mrb.evaluate(
        name,
        tasks=task,
        candidates=folder / "candidates" / f"{task}.parquet",
        depth=20,
        limit=9,
        options=options,
        out=folder,
    )
    rows = pq.read_table(folder / name / task / "scores.parquet").to_pylist()
    assert len(rows) == 20 * len(run[task].query_ids) == 180
    scores = {(row["query_id"], row["doc_id"]): row["score"] for row in rows}
    listed = {(q, d): s for q, ids, values in found.lists() for d, s in zip(ids, values.tolist(), strict=True)}
    assert scores == pytest.approx({pair: listed[pair] for pair in scores}, abs=2e-6)
    assert np.std(list(scores.values())) > 1e-3


def test_the_fused_track_asks_each_for_what_it_can(tiny: Tiny, tmp_path: Path) -> None:
    def listed(name: str, task_id: str, options: dict[str, str], depth: int = 10) -> Candidates:
        retriever = load_first_stage(name, options, folder=tmp_path)
        try:
            return make_candidates(load_task_data(load_task(task_id)), retriever, name, depth, "t")
        finally:
            close_retriever(retriever)

    own = {"path": str(tiny("siglip")), "device": "cpu"}
    fused = {f"siglip.{key}": value for key, value in own.items()}
    for task_id, single in (("mini-faq-t2t-dev", "bm25"), ("mini-flag-t2i-dev", "siglip")):
        alone = listed(single, task_id, own if single == "siglip" else {})
        assert listed("bm25+siglip", task_id, fused).sha256 == alone.sha256, task_id
    task = "mini-flag-t2it-dev"
    words, looks = listed("bm25", task, {}, 1000), listed("siglip", task, own, 1000)
    for (query, ids, scores), by_words, by_looks in zip(
        listed("bm25+siglip", task, fused).lists(), words.lists(), looks.lists(), strict=True
    ):
        assert query == by_words[0] == by_looks[0]
        ranks = [{doc_id: rank for rank, doc_id in enumerate(found[1], start=1)} for found in (by_words, by_looks)]
        summed = {doc_id: sum(1 / (60 + r[doc_id]) for r in ranks if doc_id in r) for doc_id in ranks[1]}
        np.testing.assert_allclose(scores, sorted(summed.values(), reverse=True)[:10], rtol=1e-6)
        np.testing.assert_allclose(scores, [summed[doc_id] for doc_id in ids], rtol=1e-6)


def test_the_fused_tracks_manifest_names_the_weights(tiny: Tiny, tmp_path: Path) -> None:
    options = [f"--set=siglip.path={tiny('siglip')}", "--set=siglip.device=cpu"]
    found, manifest = _finish(tmp_path, "bm25+siglip", *options, task="mini-flag-t2it-dev")
    assert manifest["first_stage"] == "bm25+siglip"
    words, weights = manifest["retrievers"]  # type: ignore[misc]
    assert {"retriever": "BM25Retriever", "version": "1"}.items() <= words.items()
    assert re.fullmatch("[0-9a-f]{64}", words["source_sha256"])
    assert weights["version"] == f"1+{hash_checkpoint(tiny('siglip'))}"
    assert found.sha256 == manifest["sha256"]
