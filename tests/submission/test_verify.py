"""`mrb submission verify`: what only scoring again can tell, and which queries it takes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from mrb.errors import MRBError, ResultError
from mrb.evaluation.check.noise_run import measure_noise
from mrb.evaluation.check.probe import make_probe
from mrb.evaluation.plan import Plan
from mrb.evaluation.recompute import load_result_plan
from mrb.evaluation.spec import select_tasks
from mrb.metrics.measures import rank_by_grade
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from mrb.results.noise import NoiseRecord, read_noise, write_noise
from mrb.results.schema import parse_file
from mrb.submission.reader import read_submission_folder
from mrb.submission.validate import validate_submission
from mrb.submission.verify import (
    ALLOWED_CHANGE,
    ALLOWED_DIFFERENCE,
    VerificationRecord,
    choose_queries,
    verify_submission,
    write_verification,
)
from tests.builders.submissions import forge, submitted, trial_run

TASK = "mini-faq-t2t"
Scores = dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]]

ADAPTER = """
class Noisy:
    \"\"\"Scores by length, moved by at most `by` in a way that differs from instance to instance only by `by`.\"\"\"

    kind = "{kind}"

    def __init__(self, by: float = 0.0):
        self.by = by

    def score(self, request):
        return [len(d.text) % 97 + self.by * (-1) ** len(d.text) for d in request.candidates]

    def rank(self, request):
        scores = self.score(request)
        return sorted(range(len(scores)), key=lambda place: -scores[place])
"""


PICKY = """
class Picky:
    \"\"\"Scores by length; some documents it cannot take.\"\"\"

    kind = "pointwise"

    def score(self, request):
        return [self._one(d.text) for d in request.candidates]

    def _one(self, text):
        if "FAULT" in text:
            raise RuntimeError("a document that it cannot take")
        return len(text) % 97
"""


def _plan(folder: Path) -> Plan:
    return load_result_plan(read_submission_folder(folder).submission.results[TASK], None, None, "here")


def _oracle(plan: Plan, query_id: str) -> list[float]:
    doc_ids = plan.entry(query_id).doc_ids
    best = rank_by_grade(doc_ids, plan.data.qrels[query_id])
    return [float(len(best) - best.index(doc_id)) for doc_id in doc_ids]


def _random() -> LoadedReranker:
    return load_reranker("random")


def test_an_honest_submission_is_verified_and_the_record_says_how(submission: Path, tmp_path: Path) -> None:
    received = read_submission_folder(submission)
    record = verify_submission(received, _random(), salt="drawn after it came", queries=5)
    assert record.tasks[TASK].queries == 5 and record.tasks[TASK].pairs == 125
    assert record.largest_difference == 0.0 and record.tasks[TASK].mean_change == 0.0
    # Which queries are chosen, and so the unit that the floor is multiplied by and divided by again, differs each time.
    assert record.tasks[TASK].allowed_difference == pytest.approx(ALLOWED_DIFFERENCE)
    assert record.tasks[TASK].allowed_change == ALLOWED_CHANGE
    assert record.content == received.submission.content_hash and record.salt == "drawn after it came"
    assert abs((date.today() - date.fromisoformat(record.date)).days) <= 1
    assert record.environment["machine"] and record.environment["cores"]
    path = write_verification(tmp_path / "verified", record)
    assert path.name == "mrb__random.json" and parse_file(VerificationRecord, path) == record


def test_an_order_from_the_judgements_recomputes_perfectly_and_only_the_model_tells(submission: Path) -> None:
    honest = read_submission_folder(submission).submission.results[TASK]
    forged = read_submission_folder(forge(submission, _oracle))
    result = forged.submission.results[TASK]
    assert result.measures == result.oracle != honest.measures
    assert validate_submission(forged).recomputed == (TASK,)
    with pytest.raises(
        ResultError, match=r"mini-faq-t2t.parquet: query '.*': candidate '.*' is submitted with .*the model"
    ):
        verify_submission(forged, _random(), salt="any")


def test_a_single_forged_query_is_found_once_it_is_chosen(submission: Path) -> None:
    plan, reranker = _plan(submission), _random()
    rows = {query_id: plan.entry(query_id) for query_id in plan.query_ids}
    honest = _scores(submission)
    victim = plan.query_ids[3]
    forge(
        submission, lambda plan, query_id: _oracle(plan, query_id) if query_id == victim else honest[query_id].tolist()
    )
    received = read_submission_folder(submission)
    with pytest.raises(ResultError, match=f"query '{victim}'"):
        verify_submission(received, reranker, salt="s", queries=len(rows))
    content = received.submission.content_hash
    salts = [str(n) for n in range(50) if victim not in choose_queries(TASK, plan.query_ids, content, str(n), 3)]
    assert 25 < len(salts) < 50
    assert verify_submission(received, _random(), salt=salts[0], queries=3).tasks[TASK].queries == 3


def _scores(folder: Path) -> Scores:
    from mrb.submission.rankings import restore_scores
    from mrb.submission.validate import read_checked_rankings

    received = read_submission_folder(folder)
    return restore_scores(_plan(folder), read_checked_rankings(received, TASK), received.ranking_path(TASK))


def test_the_choice_depends_on_salt_content_and_task_and_on_nothing_else() -> None:
    ids = [f"q{n}" for n in range(500)]
    chosen = choose_queries("nfcorpus", ids, "ab" * 32, "salt", 20)
    assert len(chosen) == 20 == len(set(chosen)) and list(chosen) == sorted(chosen, key=ids.index)
    assert set(choose_queries("nfcorpus", ids[::-1], "ab" * 32, "salt", 20)) == set(chosen)
    for other in (("scifact", "ab" * 32, "salt"), ("nfcorpus", "cd" * 32, "salt"), ("nfcorpus", "ab" * 32, "Salt")):
        assert len(set(chosen) & set(choose_queries(other[0], ids, other[1], other[2], 20))) < 8
    # Written out: a record must be repeatable by later versions, and by others.
    texts = {q: f'["mrb-verify-v1","salt","{"ab" * 32}","nfcorpus","{q}"]' for q in ids}
    assert set(chosen) == set(sorted(ids, key=lambda q: hashlib.sha256(texts[q].encode()).hexdigest())[:20])


@pytest.mark.parametrize("model", ["constant", "surface"])
def test_another_model_is_refused_by_what_differs(submission: Path, model: str) -> None:
    with pytest.raises(ResultError, match=rf"reranker\.name is 'random', that of --model is '{model}'"):
        verify_submission(read_submission_folder(submission), load_reranker(model), salt="any")


def _noisy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> Callable[[float], LoadedReranker]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "noisy.py").write_text(ADAPTER.format(kind=kind))
    honest = load_reranker("noisy")

    def load(by: float) -> LoadedReranker:
        """The same declared reranker, whose scores have moved."""
        moved = load_reranker("noisy", {"by": str(by)})
        return replace(moved, info=honest.info)

    return load


@pytest.mark.parametrize("scored", [True, False])
def test_noise_passes_and_more_than_noise_does_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    scored: bool,
) -> None:
    for module in ("build", "validate"):
        monkeypatch.setattr(f"mrb.submission.{module}.publishes_scores", lambda task, selection: scored)
    load = _noisy(tmp_path, monkeypatch, "pointwise")
    folder = submitted(trial_run(tmp_path, model="noisy"), tmp_path, name="noisy")
    received = read_submission_folder(folder)
    assert received.submission.rankings[TASK].scores == scored
    assert validate_submission(received).recomputed == (TASK,)
    # The spread of `length % 97` is about 28: a floor of 5 % is 1.4.
    record = verify_submission(received, load(0.2), salt="any")
    assert 0 < record.largest_difference < 0.01 if scored else record.largest_difference < 0.01
    words = "is submitted with" if scored else "is submitted above"
    with pytest.raises(ResultError, match=rf"query '.*': candidate '.*' {words} .*at most .* is noise"):
        verify_submission(received, load(9.0), salt="any")


def test_a_noise_record_widens_the_floor_for_its_own_model_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = _noisy(tmp_path, monkeypatch, "pointwise")
    received = read_submission_folder(submitted(trial_run(tmp_path, model="noisy"), tmp_path, name="noisy"))
    probe = make_probe(select_tasks("mini", [TASK], [], None), queries=3, depth=8)
    quiet = measure_noise(lambda: load_reranker("noisy"), probe)
    write_noise(tmp_path, quiet)
    moved = quiet.tasks[TASK].model_copy(update={"largest_difference": 2.0, "mean_change": 0.02, "largest_change": 0.4})
    loud = NoiseRecord.model_validate(quiet.model_dump() | {"tasks": {TASK: moved}, "floor": 0.02})
    with pytest.raises(ResultError, match="is noise"):
        verify_submission(received, load(2.0), salt="any", noise=read_noise(tmp_path))
    record = verify_submission(received, load(2.0), salt="any", noise=loud)
    assert record.noise and record.tasks[TASK].allowed_change == 0.04
    with pytest.raises(ResultError, match="the noise record belongs to noisy with other options"):
        strange = quiet.model_copy(update={"reranker": quiet.reranker.model_copy(update={"version": "2"})})
        verify_submission(received, load(0.0), salt="any", noise=strange)


def test_a_listwise_model_is_held_to_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = _noisy(tmp_path, monkeypatch, "listwise")
    received = read_submission_folder(submitted(trial_run(tmp_path, model="noisy"), tmp_path, name="noisy"))
    assert verify_submission(received, load(0.0), salt="any").largest_difference == 0.0
    with pytest.raises(
        ResultError, match=r"the model orders the chosen queries otherwise|nDCG@10 of the chosen queries"
    ):
        verify_submission(received, load(40.0), salt="any")


def test_pairs_that_fail_again_are_counted_and_others_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picky.py").write_text(PICKY.replace("FAULT", "considerably"))
    received = read_submission_folder(
        submitted(trial_run(tmp_path, model="picky", allow_failures=3), tmp_path, name="picky")
    )
    counts = received.submission.results[TASK].counts
    checked = validate_submission(received)
    assert 0 < counts.failed_pairs <= 3 and checked.failed_pairs == {TASK: counts.failed_pairs}
    task = verify_submission(received, load_reranker("picky"), salt="any").tasks[TASK]
    assert (task.queries, task.failed_pairs) == (12, counts.failed_pairs)
    assert task.pairs == counts.pairs - counts.failed_pairs and task.mean_change == 0.0
    # The same model with its fault mended no longer fails, and one with another fault fails on other pairs.
    for fault, words in (
        ("no such words", "is submitted as failed, the model gives"),
        ("malloc", "allowed: |the model gives"),
    ):
        (tmp_path / "picky.py").write_text(PICKY.replace("FAULT", fault))
        with pytest.raises(MRBError, match=words):
            verify_submission(received, load_reranker("picky"), salt="any")
