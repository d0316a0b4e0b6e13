"""Records of verification that nobody made, and the choice of the queries that are scored again."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from mrb.cli.main import cli
from mrb.errors import ResultError
from mrb.evaluation.check.noise_run import measure_noise
from mrb.evaluation.check.probe import make_probe
from mrb.evaluation.plan import Plan
from mrb.evaluation.spec import select_tasks
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables.runs import read_entries
from mrb.leaderboard.verification import read_verified
from mrb.rerankers.declaration import load_reranker
from mrb.results.noise import NoiseRecord
from mrb.submission.reader import read_submission_folder
from mrb.submission.verify import choose_queries, verify_submission, write_verification
from tests.builders.lies import IMAGES, LIES, TEXT, Scores, model_scores, oracle_scores
from tests.builders.submissions import forge

pytestmark = pytest.mark.slow

Json = dict[str, Any]
Lying = Callable[..., Path]


DOCS = Path(__file__).parents[2] / "docs" / "design" / "submissions.md"


def _record(folder: Path, to: Path) -> Path:
    return write_verification(
        to, verify_submission(read_submission_folder(folder), load_reranker("random"), salt="drawn", queries=5)
    )


def _task(value: Json) -> Json:
    found: Json = value["tasks"][TEXT]
    return found


RECORDS: Mapping[str, tuple[Callable[[Json], object], str]] = {
    "a difference above the floor": (lambda v: _task(v).update(largest_difference=0.2), "above allowed_difference"),
    "a floor of everything": (
        lambda v: _task(v).update(largest_difference=3.0, allowed_difference=9.0), "allowed_difference.*less than"
    ),
    "a change above the floor": (lambda v: _task(v).update(mean_change=0.02), "above allowed_change"),
    "a change of everything": (
        lambda v: _task(v).update(mean_change=0.7, allowed_change=1.0), "allowed_change.*less than"
    ),
    "no pairs compared": (lambda v: _task(v).update(pairs=0), "pairs.*greater than or equal to 1"),
    "no queries": (lambda v: _task(v).update(queries=0), "queries.*greater than or equal to 1"),
    "no tasks": (lambda v: v.update(tasks={}), "tasks.*at least 1 item"),
    "a task left out": (lambda v: v["tasks"].pop(IMAGES), "tasks and not_verified are not the submission's tasks"),
    "a task that was not submitted": (
        lambda v: v["tasks"].update({"mini-emoji-i2i": _task(v)}), "are not the submission's tasks"
    ),
    "more queries": (lambda v: v.update(queries=20), "queries is 5, which this submission cannot give"),
    "fewer queries": (lambda v: _task(v).update(queries=1), "queries is 1, which this submission cannot give"),
    "more pairs": (lambda v: _task(v).update(pairs=10**6), "pairs is 1000000"),
    "failures that were not submitted": (lambda v: _task(v).update(failed_pairs=1, pairs=124), "failed_pairs is 1"),
    "another reranker": (lambda v: v["reranker"].update(version="9"), "reranker differs"),
    "a remark": (lambda v: v.update(verified_by="me"), "verified_by"),
    "another schema": (lambda v: v.update(schema_version=2), "schema_version"),
    "another submission": (lambda v: v.update(submission="lab__model"), "a record of 'lab__model'"),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_records_that_no_verify_wrote_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    change, words = RECORDS[name]
    path = _record(folder, tmp_path / "verified")
    value = json.loads(path.read_text())
    make_site(read_entries([folder]), read_verified([path.parent]))
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(ResultError, match=words):
        make_site(read_entries([folder]), read_verified([path.parent]))


def test_a_record_made_for_another_submission_marks_nothing(folder: Path, tmp_path: Path, lying: Lying) -> None:
    records = _record(folder, tmp_path / "verified").parent
    lying(oracle_scores)
    site = make_site(read_entries([folder]), read_verified([records]))
    assert not site.verified
    # With the content hash made good, the record is one that can only be repeated: the salt in it finds the lie.
    received = read_submission_folder(folder)
    with pytest.raises(ResultError, match="the model gives"):
        verify_submission(received, load_reranker("random"), salt="drawn", queries=5)


def test_a_part_of_the_tasks_is_not_called_verified(folder: Path, tmp_path: Path) -> None:
    path = _record(folder, tmp_path / "verified")
    value = json.loads(path.read_text())
    value["not_verified"][IMAGES] = "its data is not here"
    value["tasks"].pop(IMAGES)
    path.write_text(json.dumps(value))
    (board,) = make_site(read_entries([folder]), read_verified([path.parent])).boards.values()
    shown = board.facts[folder.name]["source"]
    assert shown.text == "✓ 1 of 2 tasks re-run" and "5 queries a task" in str(shown.smalls)


def test_a_noise_record_of_everything_lets_nothing_pass(lying: Lying) -> None:
    probe = make_probe(select_tasks("mini", [TEXT, IMAGES], [], None), queries=2, depth=4)
    quiet = measure_noise(lambda: load_reranker("random"), probe)
    received = read_submission_folder(lying(LIES["the order kept, other scores"][0]))
    for field, words in (("largest_difference", "lets scores of"), ("mean_change", r"lets nDCG@10 of")):
        loud = {task_id: task.model_dump() | {field: 0.9} for task_id, task in quiet.tasks.items()}
        for task in loud.values():
            task["largest_change"] = max(task["largest_change"], task["mean_change"])
        floor = float(np.mean([task["mean_change"] for task in loud.values()]))
        noise = NoiseRecord.model_validate(quiet.model_dump() | {"tasks": loud, "floor": floor})
        with pytest.raises(ResultError, match=words):
            verify_submission(received, load_reranker("random"), salt="any", noise=noise)


def test_a_salt_that_the_submitter_knew_gives_no_record(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who knows the salt lies about queries that it does not choose; who draws one afterwards finds some."""
    model, known = load_reranker("random"), "known before"
    for victim in read_submission_folder(folder).submission.results and _query_ids(folder):
        fake = Path(shutil.copytree(folder, tmp_path / victim.replace("/", "-").replace("#", "-") / folder.name))
        forge(
            fake,
            lambda plan, q, victim=victim: lie_once(victim, plan, q, model_scores(model, plan, q)),
            (TEXT,),
        )
        if victim not in choose_queries(
            TEXT, _query_ids(fake), read_submission_folder(fake).submission.content_hash, known, 3
        ):
            break
    monkeypatch.chdir(tmp_path)
    command = ["submission", "verify", str(fake), "--model", "random", "--queries", "3"]
    done = CliRunner().invoke(cli, [*command, "--salt", known])
    assert done.exit_code == 0 and "no record is written with --salt" in done.output
    assert not (tmp_path / "verified").exists()
    received = read_submission_folder(fake)
    content = received.submission.content_hash
    salts = [str(n) for n in range(200) if victim in choose_queries(TEXT, _query_ids(fake), content, str(n), 3)]
    assert 25 <= len(salts) <= 75, "one query of twelve, three of which are scored again: in a quarter of all choices"
    with pytest.raises(ResultError, match="the model gives"):
        verify_submission(received, load_reranker("random"), salt=salts[0], queries=3)


def lie_once(victim: str, plan: Plan, query_id: str, scores: Scores) -> Scores:
    return oracle_scores(plan, query_id, scores) if query_id == victim else scores


def _query_ids(folder: Path) -> tuple[str, ...]:
    import pyarrow.parquet as pq

    return tuple(pq.read_table(folder / "rankings" / f"{TEXT}.parquet").column("query_id").to_pylist())


def _missed(altered: int, queries: int, tasks: int, taken: int = 20) -> float:
    """How probable it is that none of a task's `altered` queries, of `queries`, is among the `taken`; in all tasks."""
    return float((math.comb(queries - altered, taken) / math.comb(queries, taken)) ** tasks)


def test_the_probabilities_in_the_docs_are_those_of_the_choice() -> None:
    rows = re.findall(r"^\| (\d+) of (\d[\d,]*) \| (\d+) \| ([\d.e-]+) % \| ", DOCS.read_text(), re.MULTILINE)
    assert len(rows) >= 6
    for altered, queries, tasks, stated in rows:
        missed = 100 * _missed(int(altered), int(queries.replace(",", "")), int(tasks))
        assert f"{missed:.2g}" == f"{float(stated):.2g}", (altered, queries, tasks)
    ids = [f"q{number}" for number in range(200)]
    content = "ab" * 32
    missed_now = np.mean(
        [not set(ids[:5]) & set(choose_queries(TEXT, ids, content, str(salt), 20)) for salt in range(400)]
    )
    assert abs(missed_now - _missed(5, 200, 1)) < 0.08
