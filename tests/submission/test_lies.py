"""Submissions that lie: what fits together and is not the model's is found by scoring again.

Every lie is written as its author would: rankings, numbers, averages and hashes made good after it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from mrb.cli.main import cli
from mrb.errors import ResultError
from mrb.evaluation.plan import Plan
from mrb.leaderboard.build import build
from mrb.rerankers.declaration import load_reranker
from mrb.submission import validate as check
from mrb.submission.reader import read_submission_folder
from mrb.submission.validate import validate_submission
from mrb.submission.verify import verify_submission
from tests.builders.lies import IMAGES, LIES, TEXT, Lie, Scores, list_grades, model_scores, oracle_scores
from tests.builders.submissions import forge, submitted, trial_run

pytestmark = pytest.mark.slow

NAN = math.nan


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
    forge(folder, lambda plan, query_id: lie(plan, query_id, model_scores(model, plan, query_id)), tasks)
    with pytest.raises(ResultError, match="is submitted above"):
        verify_submission(read_submission_folder(folder), load_reranker("random"), salt="any")


def _failed(keep: Callable[[int, float, list[int]], bool]) -> Lie:
    """From the judgements, and the pairs for which `keep(place, grade, grades)` is false without a score."""

    def lie(plan: Plan, query_id: str, scores: Scores) -> Scores:
        grades = list_grades(plan, query_id)
        best = oracle_scores(plan, query_id, scores)
        return [score if keep(place, grades[place], grades) else NAN for place, score in enumerate(best)]

    return lie


def _with_failures(keep: Callable[[Plan, str, int], bool]) -> Lie:
    """The model's own scores, without those for which `keep(plan, query_id, place)` is false."""
    return lambda plan, q, scores: [s if keep(plan, q, place) else NAN for place, s in enumerate(scores)]


FAILURES: Mapping[str, Lie] = {
    "one pair a query, the rest forged": _failed(lambda place, grade, grades: place != len(grades) - 1),
    "all but the first pair": _failed(lambda place, grade, grades: place == 0),
    "positives only": _with_failures(lambda plan, q, place: not list_grades(plan, q)[place]),
    "negatives only": _with_failures(lambda plan, q, place: bool(list_grades(plan, q)[place])),
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
    assert told.exit_code == 0 and f"{TEXT}: 3 of 300 pairs failed, ranked last" in told.output
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
