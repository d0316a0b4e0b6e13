"""The contamination check: which runs it pairs, and that its numbers are those of the runs."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrb.results.contamination import compare_twins, format_twin_checks
from mrb.results.run import Run, load_run
from tests.builders.command import read_refusal, run_mrb
from tests.builders.run_folders import write_run_folder

PAIR = ["scifact", "scifact-decontaminated"]


def test_gains_and_common_queries_are_those_of_the_two_results(tmp_path: Path) -> None:
    run = load_run(write_run_folder(tmp_path / "a", 0.5, suite=None, tasks=PAIR, queries=30))
    (check,) = compare_twins([run])[0]
    whole, twin = (run[task_id] for task_id in PAIR)
    gains = [t.result.measures["nDCG@10"].mean - t.result.first_stage["nDCG@10"].mean for t in (whole, twin)]
    assert (check.gain, check.twin_gain) == tuple(gains) and check.gain_difference == gains[1] - gains[0]
    values = [t.values["nDCG@10"] for t in (whole, twin)]
    assert check.common == 30 and check.scores == tuple(float(v.mean()) for v in values)
    assert check.difference is not None
    assert check.difference.mean == pytest.approx(float(np.mean(values[1] - values[0])))
    assert check.difference.low < check.difference.mean < check.difference.high
    text = format_twin_checks([check]).splitlines()
    assert text[3].split()[:3] == ["a", "scifact", f"{100 * gains[0]:+.2f}"] and "compare models" in text[-1]


def test_only_runs_of_one_reranker_at_one_depth_are_paired(tmp_path: Path) -> None:
    def made(name: str, task: str, **more: object) -> Path:
        return write_run_folder(tmp_path / name, 0.5, suite=None, tasks=[task], queries=12, **more)  # type: ignore[arg-type]

    whole, twin = made("whole", PAIR[0]), made("twin", PAIR[1])
    stranger, shallow = made("s", PAIR[1], reranker={"version": "2"}), made("d", PAIR[1], depth=10)
    runs = [load_run(path) for path in (whole, twin, stranger, shallow)]
    assert [(c.run, c.task, c.twin) for c in compare_twins(runs)[0]] == [("whole", *PAIR)]
    assert compare_twins(runs[1:])[0] == []


def test_only_equal_conditions_compare_whatever_the_order_of_the_runs(tmp_path: Path) -> None:
    def made(name: str, task: str, track: str, **more: object) -> Run:
        options: dict[str, Any] = {"suite": None, "tasks": [task], "queries": 12, "tracks": [track], **more}
        return load_run(write_run_folder(tmp_path / name, 0.5, **options))

    sets = [made(f"whole-{track}", PAIR[0], track) for track in ("bm25s", "gme-2b")]
    twin = made("twin", PAIR[1], "gme-2b")
    for runs in permutations([*sets, twin]):
        checks, left_out = compare_twins(runs)
        assert [check.run for check in checks] == ["whole-gme-2b"] and not left_out
    strange = made("strange", PAIR[1], "other", selection="limit", qrels="raw")
    for runs in permutations([*sets, strange]):
        checks, left_out = compare_twins(runs)
        assert not checks and [one.run for one in left_out] == ["whole-bm25s", "whole-gme-2b"]
        assert left_out[0].reason == "candidate set bm25s and other, selection all and limit, qrels cleaned and raw"
    text = format_twin_checks(*compare_twins([*sets, twin])[:1], left_out=left_out)
    assert "Left out: scifact in whole-bm25s and scifact-decontaminated in strange: candidate set" in text


@pytest.mark.slow
def test_the_command_prints_the_table_and_says_which_pairs_there_are(tmp_path: Path) -> None:
    write_run_folder(tmp_path / "a", 0.5, suite=None, tasks=PAIR, queries=12)
    done = run_mrb(tmp_path, "contamination", "a", "--json")
    (found,) = json.loads(done.stdout)["checks"]
    assert (found["task"], found["twin"], found["common"]) == (*PAIR, 12)
    write_run_folder(tmp_path / "b", 0.5, suite=None, tasks=["scifact"], queries=12)
    read_refusal(run_mrb(tmp_path, "contamination", "b"), "no reranker has results", "fiqa and fiqa-decontaminated")
