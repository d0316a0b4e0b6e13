"""Scores that are used again: a few are made again first; a trial never takes the place of a whole result."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mrb.candidates.lists import build_candidates, read_parquet, write_parquet
from mrb.candidates.load import find_candidates
from mrb.data.task import load_task
from mrb.errors import AdapterError, CandidatesError, ResultError
from mrb.evaluation import run as running
from mrb.evaluation.journal import Journal
from mrb.evaluation.run import run
from mrb.evaluation.spec import Shard, select_tasks
from mrb.results.noise import NoiseRecord, write_noise
from mrb.results.run import load_run
from mrb.results.schema import RunRecord, read_result, read_run, write_run
from mrb.results.table import format_run
from tests.builders.logs import logged

FAQ, OTHER = "mini-faq-t2t-dev", "mini-flag-i2t-dev"
ADAPTER = """
import zlib
from pathlib import Path

class Mine:
    {declared}

    def score(self, request):
        with open("asked", "a") as file:
            file.write("x" * len(request.candidates))
        scores = [zlib.crc32((request.query.text + d.text).encode()) / 2**32 for d in request.candidates]
        {body}
        return [float(Path("factor").read_text()) * score for score in scores]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = list(sys.path)
    monkeypatch.chdir(tmp_path)
    adapter()
    (tmp_path / "factor").write_text("1.0")
    yield tmp_path
    sys.path[:] = path


def adapter(declared: str = "", body: str = "") -> None:
    Path("mine.py").write_text(ADAPTER.format(declared=declared, body=body))


def call(*tasks: str, depth: int = 10, **options: Any) -> tuple[list[str], int]:
    """What `mrb run` says, and how many pairs it asks for."""
    Path("asked").write_text("")
    with logged() as said:
        run(replace(select_tasks(None, tasks or [FAQ], [], depth), model="mine.py", **options))
    return said, len(Path("asked").read_text())


def refused(*tasks: str, **options: Any) -> str:
    with pytest.raises(ResultError) as caught:
        call(*tasks, **options)
    return str(caught.value)


def files() -> dict[Path, bytes]:
    names = ("journal", "result.json", "scores.parquet", "per_query.parquet", "shard.json")
    return {path: path.read_bytes() for path in Path("runs").rglob("*") if path.name in names}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {}),
        ({"limit": 20}, {"limit": 20}),
        ({"limit": 20}, {}),
        ({"depth": 5}, {"depth": 10}),
        ({"tasks": (FAQ,)}, {"tasks": (OTHER,)}),
        ({"tasks": (FAQ,)}, {"tasks": (OTHER, FAQ)}),
        ({"shard": Shard(1, 2)}, {"shard": Shard(1, 2)}),
        ({"shard": Shard(1, 2)}, {"shard": Shard(2, 2)}),
    ],
    ids=["finished", "trial", "whole", "deeper", "another task", "more tasks", "a shard", "another shard"],
)
def test_every_call_that_uses_scores_again_checks_some(first: dict[str, Any], then: dict[str, Any]) -> None:
    def ask(options: dict[str, Any]) -> tuple[list[str], int]:
        return call(*options.get("tasks", ()), **{key: value for key, value in options.items() if key != "tasks"})

    ask(first)
    Path("factor").write_text("1.02")
    before = files()
    with pytest.raises(ResultError, match=r"task mini-faq.*query '.*candidate '.* scored .* and scores .*--fresh"):
        ask(then)
    assert files() == before, "nothing of the new model is written"
    Path("factor").write_text("1.0")
    said, _ = ask(then)
    assert any("4 queries are scored again" in line for line in said)


def test_a_check_costs_a_handful_of_pairs_and_changes_no_byte() -> None:
    call()
    before = files()
    assert call()[1] == 4 * 8
    assert files() == before


@pytest.mark.parametrize("kind", ["setwise", "pointwise"])
def test_a_score_that_depends_on_the_list_is_asked_for_with_the_list(kind: str) -> None:
    """Also where it should have declared so: then what differs among few pairs is asked again as it was at first."""
    adapter(f"kind = {kind!r}", "scores = [score / sum(scores) for score in scores]")
    call()
    call()
    Path("factor").write_text("1.1")
    assert "--fresh" in refused()


def test_noise_of_the_batch_is_no_other_model() -> None:
    noisy = "scores = [s + 0.004 * (zlib.crc32(repr((s, len(scores))).encode()) / 2**32 - 0.5) for s in scores]"
    adapter(body=noisy)
    call()
    call()
    Path("factor").write_text("1.2")
    assert "--noise" in refused()


def test_a_stochastic_adapter_needs_its_noise_measured() -> None:
    adapter(body="import random; scores = [score + random.random() for score in scores]")
    call()
    assert "mrb check --noise" in refused()
    info = read_run(Path("runs/mine")).reranker
    task = {"candidates": "a" * 64, "queries": 1, "pairs": 1, "spread": 1, "largest_difference": 1.0}
    zeros = dict.fromkeys(("rank_changes", "top_changes", "first", "second", "mean_change", "largest_change"), 0)
    fields = {"schema_version": 1, "mrb_version": "1", "plans": ("a", "b"), "depth": 1, "floor": 0, "environment": {}}
    noise = NoiseRecord(reranker=info, tasks={FAQ: {**task, **zeros}}, **fields)  # type: ignore[arg-type]
    write_noise(Path("runs/mine"), noise)
    call()


def test_an_exact_adapter_is_held_to_its_word() -> None:
    adapter("batch_invariant = True")
    call()
    Path("factor").write_text("1.0001")
    assert "--fresh" in refused()


def test_pairs_that_failed_are_not_compared() -> None:
    adapter(body="assert '?' not in request.query.text[-1:], 'fails'")
    call(allow_failures=100_000)
    call(allow_failures=100_000)
    Path("factor").write_text("1.1")
    assert "--fresh" in refused(allow_failures=100_000)


def test_fresh_leaves_another_model_s_tasks_out_of_the_run() -> None:
    call(FAQ, OTHER)
    Path("factor").write_text("1.1")
    said, _ = call(OTHER, fresh=True)
    assert any("no longer part of this run" in line for line in said)
    assert read_run(Path("runs/mine")).tasks == (OTHER,)
    assert "--fresh" in refused(FAQ)
    call(FAQ, fresh=True)
    assert read_run(Path("runs/mine")).tasks == (FAQ, OTHER)


# Trials


@pytest.mark.parametrize(
    ("trial", "named"), [({"limit": 5}, "--limit 5"), ({"depth": 5}, "--depth 5"), ({"limit": 5, "depth": 5}, "and")]
)
def test_a_trial_never_replaces_a_whole_result(trial: dict[str, Any], named: str) -> None:
    call()
    before = files()
    message = refused(**trial)
    assert named in message and "--name" in message
    assert files() == before
    call(name="trial", **trial)
    assert files().items() >= before.items()
    call(fresh=True, **trial)
    assert read_result(Path("runs/mine", FAQ, "result.json")).candidates.depth == trial.get("depth", 10)


def test_a_whole_result_replaces_a_trial_and_a_trial_another() -> None:
    for options in ({"limit": 5}, {"limit": 3}, {"depth": 5, "limit": 9}, {"limit": 10_000}, {}):
        call(**options)
    assert read_result(Path("runs/mine", FAQ, "result.json")).data.selection == "all"
    call(limit=10_000)  # all there are
    assert "--limit 5" in refused(FAQ, OTHER, limit=5)


def test_a_trial_of_another_task_never_takes_the_average_from_a_run() -> None:
    call()
    before = files()
    for fresh in (False, True):
        message = refused(OTHER, limit=5, fresh=fresh)
        assert "--limit 5 for other tasks would leave the run without an average" in message and "--out" in message
    assert files() == before
    call(OTHER, limit=10_000)  # all there are: a whole result too
    for options in ({"depth": 12}, {"depth": 12, "fresh": True}):
        assert "--depth 12 for other tasks" in refused(OTHER, **options)
    said, _ = call(FAQ, OTHER, depth=12)
    assert f"{OTHER}: the result at depth 10 is extended to depth 12" in said
    call(OTHER, limit=5, name="trial")
    call(FAQ, name="trial")  # a whole task may join a trial


def test_a_run_is_returned_as_its_folder_says_and_each_journal_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    call(FAQ)
    read: list[str] = []
    written: list[RunRecord] = []
    real = Journal._read
    monkeypatch.setattr(Journal, "_read", lambda journal: (read.append(journal.path.parent.name), real(journal)))
    monkeypatch.setattr(
        running, "write_run", lambda folder, record: (written.append(record), write_run(folder, record))
    )
    spec = replace(select_tasks(None, [FAQ, OTHER], [], 10), model="mine.py")
    found = run(spec)
    assert sorted(read) == [FAQ, OTHER]
    assert len(written) == 2 and written[1].timings.keys() == {FAQ, OTHER}
    assert run(replace(spec, tasks=spec.tasks[1:])).tasks.keys() == {FAQ, OTHER}
    assert len(written) == 3, "nothing was scored: once is enough"
    loaded = load_run(found.folder)
    assert format_run(found) == format_run(loaded) and found.tasks.keys() == loaded.tasks.keys()
    for task_id, scores in loaded.tasks.items():
        assert found.tasks[task_id].result == scores.result
        assert all((found.tasks[task_id].values[name] == column).all() for name, column in scores.values.items())


def test_a_part_of_a_trial_never_replaces_a_part_of_the_whole() -> None:
    call(shard=Shard(1, 2))
    for trial in ({"limit": 5}, {"depth": 5}):
        assert "give the trial another --name" in refused(shard=Shard(1, 2), **trial)


def test_a_call_that_failed_before_its_first_score_does_not_lock_the_run_name() -> None:
    adapter(body="raise ValueError('broken')")
    with pytest.raises(AdapterError, match="broken"):
        call(name="one")
    assert Journal(Path("runs/one") / FAQ / "journal").records == []
    adapter(declared="version = '2'")
    assert call(name="one")[1] > 0
    adapter(declared="version = 'three'")  # of another length: Python tells sources apart by size and second
    with pytest.raises(ResultError, match=r"holds scores of another run of mine .*version was 2, is three"):
        call(name="one")


# Candidate sets


def make_list(task_id: str, name: str) -> None:
    """The frozen list turned by five places, in the folder `lists` as one of the candidate set `name`."""
    frozen = read_parquet(find_candidates(load_task(task_id), None))
    made = frozen.provenance.model_copy(update={"track": name, "first_stage": "turned"})
    turned = [
        (query_id, ids[5:] + ids[:5], [-float(n) for n in range(len(ids))]) for query_id, ids, _ in frozen.lists()
    ]
    write_parquet(build_candidates(made, turned), Path("lists", f"{task_id}.parquet"))


def test_a_folder_holds_the_lists_of_one_candidate_set() -> None:
    for task_id in (FAQ, OTHER):
        make_list(task_id, "turned")
    lists = Path("lists")
    call(FAQ, candidates=lists)
    before = files()
    for options in ({}, {"fresh": True}, {"limit": 3}):
        message = refused(OTHER, **options)
        assert message.startswith("runs/mine: has mini-faq-t2t-dev on candidate set 'turned', and the list of")
        assert f"{OTHER} is of 'standard'" in message and "another --name or --out" in message
    assert files() == before
    call(OTHER, candidates=lists)
    assert "another --name" in refused(FAQ)
    assert "another candidate list" in refused(FAQ, OTHER)  # the journals are of another list
    call(FAQ, OTHER, fresh=True)  # all tasks again: the folder is of the other set
    assert {one.result.candidates.track for one in load_run(Path("runs/mine")).tasks.values()} == {"standard"}


def test_one_call_reranks_the_lists_of_one_candidate_set() -> None:
    make_list(FAQ, "turned")
    make_list(OTHER, "another")
    with pytest.raises(
        CandidatesError, match=f"{OTHER}: its list belongs to candidate set 'another', that of .* 'turned'"
    ):
        call(FAQ, OTHER, candidates=Path("lists"))
    assert not Path("runs").exists()
