"""Submissions that lie: what fits together and is not the model's is found by scoring again, the rest by validating.

Every lie is written as its author would: rankings, numbers, averages and hashes made good after it.
"""

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

from mrb._util.hashing import hash_file
from mrb.cli.main import cli
from mrb.errors import ResultError
from mrb.evaluation.plan import Plan
from mrb.evaluation.spec import select_tasks
from mrb.leaderboard.build import build
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables.runs import read_entries
from mrb.leaderboard.verification import read_verified
from mrb.metrics.measures import rank_by_grade
from mrb.rerankers.check.noise_run import measure_noise
from mrb.rerankers.check.probe import make_probe
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.noise import NoiseRecord
from mrb.submission import validate as check
from mrb.submission.reader import read_submission_folder
from mrb.submission.validate import validate_submission
from mrb.submission.verify import choose_queries, verify_submission, write_verification
from tests.builders.submissions import forge, submitted, trial_run

pytestmark = pytest.mark.slow

TEXT, IMAGES = "mini-faq-t2t", "mini-flag-t2i"
DOCS = Path(__file__).parents[2] / "docs" / "design" / "submissions.md"
NAN = math.nan
Json = dict[str, Any]
Make = Callable[..., Path]
Scores = list[float]
Lie = Callable[[Plan, str, Scores], Scores]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve queries of two tasks, scored by `random`; not to be changed."""
    return submitted(
        trial_run(tmp_path_factory.mktemp("runs"), tasks=(TEXT, IMAGES)), tmp_path_factory.mktemp("honest")
    )


@pytest.fixture
def folder(honest: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(honest, tmp_path / "received" / honest.name))


@pytest.fixture
def lying(folder: Path) -> Callable[..., Path]:
    """`lying(lie, tasks)`: the submission with `lie(plan, query_id, honest scores)` in place of its scores."""
    model = load_reranker("random")

    def write(lie: Lie, tasks: tuple[str, ...] | None = None) -> Path:
        def scores(plan: Plan, query_id: str) -> Scores:
            return lie(plan, query_id, _model_scores(model, plan, query_id))

        return forge(folder, scores, tasks)

    return write


def _model_scores(model: Any, plan: Plan, query_id: str) -> Scores:
    from dataclasses import replace

    from mrb.rerankers.check.probe import make_probe_requests, score_batches

    one = replace(plan, query_ids=(query_id,))
    found = score_batches(model, plan.data.task.id, [make_probe_requests(one, model)])
    return [found[query_id][doc_id] for doc_id in plan.entry(query_id).doc_ids]


def _grades(plan: Plan, query_id: str) -> list[int]:
    qrels = plan.data.qrels[query_id]
    return [qrels.get(doc_id, 0) for doc_id in plan.entry(query_id).doc_ids]


def _oracle(plan: Plan, query_id: str, scores: Scores) -> Scores:
    doc_ids = plan.entry(query_id).doc_ids
    best = rank_by_grade(doc_ids, plan.data.qrels[query_id])
    return [float(len(best) - best.index(doc_id)) for doc_id in doc_ids]


def _top_swapped(plan: Plan, query_id: str, scores: Scores) -> Scores:
    """The best positive and the candidate at rank 1 change scores."""
    grades, changed = _grades(plan, query_id), list(scores)
    top, best = int(np.argmax(scores)), max(range(len(scores)), key=lambda place: (grades[place], scores[place]))
    changed[top], changed[best] = scores[best], scores[top]
    return changed


def _best_moved(plan: Plan, query_id: str, scores: Scores) -> Scores:
    """The best positive's score alone is raised above all others."""
    grades = _grades(plan, query_id)
    best = int(np.argmax(grades))
    return [max(scores) + 0.01 if place == best and grades[best] else score for place, score in enumerate(scores)]


def _honest_but(lie: Lie, chosen: Callable[[Plan, str], bool]) -> Lie:
    return lambda plan, query_id, scores: lie(plan, query_id, scores) if chosen(plan, query_id) else scores


def _third(plan: Plan, query_id: str) -> bool:
    return plan.query_ids.index(query_id) % 3 == 0


LIES: Mapping[str, tuple[Lie, tuple[str, ...] | None]] = {
    "every order from the judgements": (_oracle, None),
    "one task of two": (_oracle, (IMAGES,)),
    "a third of the queries": (_honest_but(_oracle, _third), None),
    "the last query only": (_honest_but(_oracle, lambda plan, q: q == plan.query_ids[-1]), (TEXT,)),
    "rank 1 swapped with the best positive": (_top_swapped, None),
    "one score a query raised": (_best_moved, None),
    "the order kept, other scores": (lambda plan, q, scores: [2 * score + 1 for score in scores], None),
    "the order kept, one scale up": (lambda plan, q, scores: [1.5 * score for score in scores], None),
    "the first stage's order": (lambda plan, q, scores: [-float(place) for place in range(len(scores))], None),
    "the order reversed": (lambda plan, q, scores: [-score for score in scores], None),
    "all scores equal": (lambda plan, q, scores: [0.5] * len(scores), None),
    "scores of the next candidate": (lambda plan, q, scores: [*scores[1:], scores[0]], None),
    "another model's scores": (lambda plan, q, s: _model_scores(load_reranker("surface"), plan, q), None),
    "another seed's scores": (lambda plan, q, s: _model_scores(load_reranker("random", {"seed": "7"}), plan, q), None),
    "rounded until all tie": (lambda plan, q, scores: [round(score) + 0.0 for score in scores], None),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_what_fits_together_and_is_not_the_models_is_found_by_scoring_again(
    lying: Callable[..., Path], name: str
) -> None:
    received = read_submission_folder(lying(*LIES[name]))
    assert validate_submission(received).recomputed == (TEXT, IMAGES)
    with pytest.raises(ResultError, match=r"query '.*': candidate '.*' is submitted with .*, the model gives"):
        verify_submission(received, load_reranker("random"), salt="any")


@pytest.mark.parametrize("name", ["every order from the judgements", "rank 1 swapped with the best positive"])
def test_orders_without_scores_are_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for module in ("build", "validate"):
        monkeypatch.setattr(f"mrb.submission.{module}.publishes_scores", lambda task, selection: False)
    folder, model = submitted(trial_run(tmp_path, tasks=(TEXT, IMAGES)), tmp_path), load_reranker("random")
    lie, tasks = LIES[name]
    forge(folder, lambda plan, query_id: lie(plan, query_id, _model_scores(model, plan, query_id)), tasks)
    with pytest.raises(ResultError, match="is submitted above"):
        verify_submission(read_submission_folder(folder), load_reranker("random"), salt="any")


def _failed(keep: Callable[[int, float, list[int]], bool]) -> Lie:
    """From the judgements, and the pairs for which `keep(place, grade, grades)` is false without a score."""

    def lie(plan: Plan, query_id: str, scores: Scores) -> Scores:
        grades = _grades(plan, query_id)
        best = _oracle(plan, query_id, scores)
        return [score if keep(place, grades[place], grades) else NAN for place, score in enumerate(best)]

    return lie


def _with_failures(keep: Callable[[Plan, str, int], bool]) -> Lie:
    """The model's own scores, without those for which `keep(plan, query_id, place)` is false."""
    return lambda plan, q, scores: [s if keep(plan, q, place) else NAN for place, s in enumerate(scores)]


FAILURES: Mapping[str, Lie] = {
    "one pair a query, the rest forged": _failed(lambda place, grade, grades: place != len(grades) - 1),
    "all but the first pair": _failed(lambda place, grade, grades: place == 0),
    "positives only": _with_failures(lambda plan, q, place: not _grades(plan, q)[place]),
    "negatives only": _with_failures(lambda plan, q, place: bool(_grades(plan, q)[place])),
    "whole queries, every other": _with_failures(lambda plan, q, place: bool(plan.query_ids.index(q) % 2)),
    "every pair": lambda plan, q, scores: [NAN] * len(scores),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_that_are_none_are_differences_and_many_are_refused_by_validating(
    lying: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    received = read_submission_folder(lying(FAILURES[name], (TEXT,)))
    with pytest.raises(ResultError, match=rf"results.{TEXT}: \d+ of 300 pairs failed \(\d+\.\d%\); .* 1% of a task's"):
        validate_submission(received)
    # Each of them would be found without that bound too.
    monkeypatch.setattr(check, "MAX_FAILED_SHARE", 1.0)
    assert sum(validate_submission(received).failed_pairs.values()) > 3
    with pytest.raises(ResultError, match=r"is submitted as failed, the model gives|is submitted with"):
        verify_submission(received, load_reranker("random"), salt="any")


def test_few_failures_pass_validating_are_told_and_found_by_scoring_again(
    lying: Callable[..., Path], tmp_path: Path
) -> None:
    folder = lying(_with_failures(lambda plan, q, place: place != 2 or plan.query_ids.index(q) > 2), (TEXT,))
    told = CliRunner().invoke(cli, ["submission", "validate", str(folder)])
    assert told.exit_code == 0 and f"{TEXT}: 3 of 300 pairs failed and are ranked last" in told.output
    assert "3 pairs failed" in build([folder], tmp_path / "site").read_text()
    done = CliRunner().invoke(
        cli, ["submission", "verify", str(folder), "--model", "random", "--out", str(tmp_path / "verified")]
    )
    assert done.exit_code != 0 and "is submitted as failed, the model gives" in str(done.exception)
    assert not (tmp_path / "verified").exists()


def test_a_task_of_which_nothing_can_be_compared_gets_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text(
        "class Broken:\n    def score(self, request):\n        raise RuntimeError('no')\n"
    )
    monkeypatch.setattr(check, "MAX_FAILED_SHARE", 1.0)
    folder = submitted(trial_run(tmp_path, model="broken", limit=2, allow_failures=50), tmp_path, name="broken")
    with pytest.raises(ResultError, match="none of 50 pairs of 2 queries has a score: nothing can be compared"):
        verify_submission(read_submission_folder(folder), load_reranker("broken"), salt="any")


# Declarations


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "listwise"), ("kind", "setwise"), ("version", "2.0"), ("uses_first_stage", True),
        ("options", {"seed": 1}), ("options", {"seed": 0, "size": 1}), ("name", "surface"),
        ("inputs", ["text", "image"]), ("batch_invariant", False),
    ],
)  # fmt: skip
def test_other_declarations_than_the_models_are_refused(folder: Path, field: str, value: object) -> None:
    stated = json.loads((folder / "submission.json").read_text())
    assert stated["reranker"][field] != value
    for one in (stated["reranker"], *(result["reranker"] for result in stated["results"].values())):
        one[field] = value
    if field == "kind":  # only a pointwise model has numbers at smaller depths
        for result in stated["results"].values():
            result["depths"] = {"25": result["depths"]["25"]}
    (folder / "submission.json").write_text(json.dumps(stated))
    with pytest.raises(ResultError, match=rf"reranker\.{field} is .*, that of --model is"):
        verify_submission(read_submission_folder(folder), load_reranker("random"), salt="any")


# What validating finds


def _text(change: Callable[[Json], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        value = json.loads((folder / "submission.json").read_text())
        change(value)
        (folder / "submission.json").write_text(json.dumps(value))

    return apply


def _exchange_rankings(folder: Path) -> None:
    """Each task's orders stand under the other's name, their hashes and counts with them."""
    one, other = (folder / "rankings" / f"{task_id}.parquet" for task_id in (TEXT, IMAGES))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)

    def change(value: Json) -> None:
        value["rankings"][TEXT], value["rankings"][IMAGES] = value["rankings"][IMAGES], value["rankings"][TEXT]
        value["results"][TEXT]["counts"], value["results"][IMAGES]["counts"] = (
            value["results"][IMAGES]["counts"],
            value["results"][TEXT]["counts"],
        )

    _text(change)(folder)


def _rewrite_rows(change: Callable[[list[Json]], list[Json]]) -> Callable[[Path], None]:
    """Rows of the text task's rankings changed; hash, ids and counts follow."""

    def apply(folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from mrb.results.run import hash_query_ids

        path = folder / "rankings" / f"{TEXT}.parquet"
        table = pq.read_table(path)
        rows = change(table.to_pylist())
        made = pa.Table.from_pylist(rows, table.schema)
        pq.write_table(made, path, compression="none", use_dictionary=False, write_statistics=False)

        def follow(value: Json) -> None:
            ids = hash_query_ids(row["query_id"] for row in rows)
            value["rankings"][TEXT].update(sha256=hash_file(path), queries=ids)
            counts = value["results"][TEXT]["counts"]
            counts.update(queries=len(rows), pairs=sum(len(row["order"]) for row in rows))

        _text(follow)(folder)

    return apply


def _measures(value: Json) -> Json:
    found: Json = value["results"][TEXT]["measures"]["nDCG@10"]
    return found


VALIDATED: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "a higher number": (_text(lambda v: _measures(v).update(mean=_measures(v)["high"])), "measures.nDCG@10.mean"),
    "a narrower interval": (_text(lambda v: _measures(v).update(low=_measures(v)["mean"])), "measures.nDCG@10.low"),
    "a lower first stage": (
        _text(lambda v: v["results"][TEXT]["first_stage"]["nDCG@10"].update(mean=0.0, low=0.0)),
        "first_stage.nDCG@10.mean",
    ),
    "a higher oracle": (
        _text(lambda v: v["results"][TEXT]["oracle"]["nDCG@10"].update(mean=1.0, high=1.0)), "oracle.nDCG@10.mean"
    ),
    "an average of other numbers": (
        _text(lambda v: v["averages"]["of_types"]["t2t"]["nDCG@10"].update(mean=0.9, high=0.95)),
        "averages.of_types.t2t.nDCG@10 is 0.9, the results give",
    ),
    "an average over tasks that are not there": (
        _text(lambda v: v["averages"].update(tasks=v["averages"]["of_types"]["t2t"])), "averages.tasks"
    ),
    "an average's interval": (
        _text(lambda v: v["averages"]["of_types"]["t2t"]["MRR@10"].update(high=1.0)), "MRR@10.high is 1.0, recomputed"
    ),
    "a smaller depth": (_text(lambda v: v["results"][TEXT]["candidates"].update(depth=10)), "outside depth 10"),
    "a deeper list": (_text(lambda v: v["results"][TEXT]["candidates"].update(list_depth=60)), "list_depth is 60"),
    "a greater depth": (
        _text(lambda v: v["results"][TEXT]["candidates"].update(depth=40)), "the order is not one of its 40"
    ),
    "another list": (
        _text(lambda v: v["results"][TEXT]["candidates"].update(sha256="ab" * 32)), "not on the task's frozen list"
    ),
    "the other task's list": (
        _text(
            lambda v: v["results"][TEXT]["candidates"].update(sha256=v["results"][IMAGES]["candidates"]["sha256"])
        ),
        "not on the task's frozen list",
    ),
    "another first stage's name": (
        _text(lambda v: v["results"][TEXT]["candidates"].update(first_stage="better")), "candidates.first_stage"
    ),
    "a trial as a whole task": (
        _text(lambda v: v["results"][TEXT]["data"].update(selection="all")), "12 queries, the task has"
    ),
    "a whole task as raw": (_text(lambda v: v["results"][TEXT]["data"].update(qrels="raw")), "task_hash is"),
    "another revision": (_text(lambda v: v["results"][TEXT]["data"].update(revision="0" * 40)), "data.revision is"),
    "fewer ties": (_text(lambda v: v["results"][TEXT]["counts"].update(tied_at_10=0.5)), "counts.tied_at_10 is 0.5"),
    "failures that are none": (
        _text(lambda v: v["results"][TEXT]["counts"].update(failed_pairs=1)), "counts.failed_pairs is 1"
    ),
    "orders exchanged between tasks": (_exchange_rankings, "query '.*' where '.*' belongs"),
    "a query twice": (
        _rewrite_rows(lambda rows: [*rows[:5], {**rows[4], "query_id": rows[4]["query_id"]}, *rows[6:]]), "stands twice"
    ),
    "its worst query left out": (_rewrite_rows(lambda rows: [*rows[:4], *rows[5:]]), "where '.*' belongs"),
    "a query more": (
        _rewrite_rows(lambda rows: [*rows, {**rows[0], "query_id": "one more"}]), "query 'one more' where '.*' belongs"
    ),
    "two queries' orders exchanged": (
        _rewrite_rows(
            lambda rows: [{**rows[1 - n], "query_id": rows[n]["query_id"]} if n < 2 else rows[n] for n in range(12)]
        ),
        "order is not one of|does not follow|recomputed",
    ),
    "candidates left out": (
        _rewrite_rows(lambda rows: [{**row, "order": row["order"][:9], "scores": row["scores"][:36]} for row in rows]),
        "the order is not one of its 25 candidates",
    ),
    "another version's suite": (_text(lambda v: v.update(suite_version="0.1")), "of suite mini 0.1"),
    "a schema to come": (_text(lambda v: v.update(schema_version=2)), "schema_version 2 is newer"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALIDATED)
def test_what_does_not_fit_together_is_found_by_validating(folder: Path, name: str) -> None:
    lie, words = VALIDATED[name]
    lie(folder)
    with pytest.raises(ResultError, match=words) as caught:
        validate_submission(read_submission_folder(folder))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_the_board_refuses_averages_that_do_not_follow_from_the_results(folder: Path, tmp_path: Path) -> None:
    VALIDATED["an average of other numbers"][0](folder)
    with pytest.raises(ResultError, match=r"averages.of_types.t2t.nDCG@10 is 0.9, the results give"):
        build([folder], tmp_path / "site")


# Records and choices


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
    "another reranker": (lambda v: v["reranker"].update(version="9"), "reranker is another"),
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


def test_a_record_made_for_another_submission_marks_nothing(folder: Path, tmp_path: Path, lying: Make) -> None:
    records = _record(folder, tmp_path / "verified").parent
    lying(_oracle)
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


def test_a_noise_record_of_everything_lets_nothing_pass(lying: Make) -> None:
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
            lambda plan, q, victim=victim: (_oracle if q == victim else _kept)(plan, q, _model_scores(model, plan, q)),
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


def _kept(plan: Plan, query_id: str, scores: Scores) -> Scores:
    return scores


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
