"""`mrb check` from the outside: what holds, what does not, and the noise file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import count_uncovered

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]

HONEST = """
class Words:
    def score(self, request):
        words = set(request.query.text.split())
        return [len(words & set(d.text.split())) / (1 + len(d.text)) for d in request.candidates]
"""
HIDDEN = """
class Words:
    def __init__(self):
        self.calls = 0
    def score(self, request):
        self.calls += 1
        return [len(d.text) + self.calls * 50.0 for d in request.candidates]
"""
BATCH = """
class Words:
    def score_stream(self, requests):
        for place, request in enumerate(requests):
            yield request.key, [len(d.text) + place * 50.0 for d in request.candidates]
"""
SET = """
class Words:
    def score(self, request):
        longest = max(len(d.text) for d in request.candidates)
        return [len(d.text) / longest for d in request.candidates]
"""
FAQ = ("--task", "mini-faq-t2t")


def test_a_model_that_holds_is_told_so_for_all_nine_types(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(HONEST)
    done = mrb("check", "my_adapter")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for name in ("t2t", "i2i", "t2i", "t2vd", "i2t", "t2it", "it2t", "it2i", "it2it"):
        assert f"  {name} " in done.stdout
    assert "216 pairs in 27 requests" in done.stdout
    assert "my_adapter holds what it declares" in done.stdout
    # It counts words, and pictures have none.
    (warning,) = [line for line in done.stdout.splitlines() if line.startswith("warning: ")]
    assert "my_adapter tied all candidates in 100 % of queries of: mini-emoji-i2i, mini-flag-t2i, " in warning
    assert 'declare its inputs, as in inputs = ("text",)' in warning
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("body", "named"),
    [(HIDDEN, "hidden state"), (BATCH, "batch order dependence"), (SET, "set dependence")],
    ids=["hidden", "batch", "set"],
)
def test_a_model_that_is_not_what_it_declares_is_named_in_one_line(
    mrb: Mrb, tmp_path: Path, body: str, named: str
) -> None:
    (tmp_path / "my_adapter.py").write_text(body)
    done = mrb("check", "my_adapter", *FAQ, "--noise")
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"mrb: my_adapter: {named}")
    assert "mini-faq-t2t" in line
    assert not (tmp_path / "runs").exists(), "no noise is stored for a model that does not hold"


def test_what_is_not_covered_and_what_is_not_at_hand_is_said(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(HONEST + "    inputs = ('text',)\n")
    done = mrb("check", "my_adapter")
    assert done.returncode == 0, done.stderr
    assert count_uncovered(done.stdout) == 8
    elsewhere = mrb("check", "my_adapter", "--suite", "mrb")
    assert elsewhere.returncode == 2
    assert elsewhere.stderr.count("\n") == 1 and "the Hub" in elsewhere.stderr


def test_the_noise_floor_is_stored_beside_the_run(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(HONEST)
    done = mrb("check", "my_adapter", *FAQ, "--noise", "--requests", "4", "--name", "mine")
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "runs" / "mine" / "noise.json").read_text())
    assert stored["schema_version"] == 1
    assert stored["tasks"]["mini-faq-t2t"]["queries"] == 4
    assert stored["floor"] == 0.0
    assert [path.name for path in (tmp_path / "runs" / "mine").iterdir()] == ["noise.json"]


def test_mistakes_end_in_one_line(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text("def score(request):\n    return [1.0]\n")
    for arguments in (("my_adapter", *FAQ), ("no_such_model",), ("random", "--task", "no-such-task")):
        done = mrb("check", *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1 and done.stderr.startswith("mrb: ")


def test_a_run_shows_the_stored_floor_and_refuses_a_damaged_one_before_it_scores(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(HONEST)
    run = ("run", "--model", "my_adapter", *FAQ, "--limit", "5")
    assert "noise" not in mrb(*run).stdout
    assert mrb("check", "my_adapter", *FAQ, "--noise", "--requests", "4").returncode == 0
    assert mrb(*run).stdout.count("noise floor: nDCG@10 moves by 0.000 a query") == 1
    path = tmp_path / "runs" / "my_adapter" / "noise.json"
    path.write_text(path.read_text().replace('"floor": 0.0', '"floor": 0.5'))
    refused = mrb(*run, "--fresh")
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert "noise.json: (top level): Value error, floor is 0.5" in line
    assert (tmp_path / "runs" / "my_adapter" / "mini-faq-t2t" / "result.json").exists(), "refused before it discards"
