"""`mrb compare`, `score`, `export` and `candidates import` from the outside, on runs that `mrb run` made."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.builders.command import read_refusal

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]

TASK = "mini-faq-t2t"
WORDS = """
class Words:
    kind = "{kind}"

    def score(self, request):
        words = set(request.query.text.split())
        return [len(words & set(d.text.split())) / {divisor} for d in request.candidates]
"""


def ok(done: Done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def runs(mrb: Mrb, tmp_path: Path) -> Path:
    """`runs/words` and `runs/random`, on a list made by bm25."""
    (tmp_path / "words.py").write_text(WORDS.format(kind="pointwise", divisor="1"))
    ok(mrb("candidates", "make", "--task", TASK, "--first-stage", "bm25", "--out", "lists", "--depth", "25"))
    for model in ("words", "random"):
        ok(mrb("run", "--model", model, "--task", TASK, "--candidates", "lists"))
    return tmp_path / "runs"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "journal"}


def test_two_runs_are_compared_in_a_table_and_as_json(mrb: Mrb, runs: Path) -> None:
    table = ok(mrb("compare", "runs/random", "runs/words"))
    assert "nDCG@10 x 100" in table and "gain over random" in table
    assert "averages: 1 common task, 1 type\n" in table and "average over tasks" in table
    assert "1 words; 2 random" in table and "raw p  corr. p" in table
    assert "largest wins of words over random" in table
    found = json.loads(ok(mrb("compare", "runs/random", "runs/words", "--json", "--measure", "MRR@10", "--top", "2")))
    (task,) = found["tasks"]
    (gain,) = task["differences"]
    means = [json.loads((runs / name / TASK / "result.json").read_text()) for name in ("random", "words")]
    stated = [result["measures"]["MRR@10"]["mean"] for result in means]
    assert task["means"] == pytest.approx(stated)
    assert gain["mean"]["difference"] == pytest.approx(stated[1] - stated[0])
    assert gain["won"] + gain["lost"] + gain["tied"] == task["queries"]
    values = {
        name: dict(zip(*(pq.read_table(runs / name / TASK / "per_query.parquet").column(c).to_pylist()
                         for c in ("query_id", "MRR@10")), strict=True))
        for name in ("random", "words")
    }  # fmt: skip
    assert len(gain["wins"]) == 2
    for query in gain["wins"]:
        assert (query["base"], query["other"]) == tuple(values[name][query["query_id"]] for name in values)


def test_runs_that_do_not_compare_are_refused(mrb: Mrb, runs: Path) -> None:
    shallow = ("run", "--model", "random", "--task", TASK, "--candidates", "lists", "--name", "shallow", "--depth", "5")
    ok(mrb(*shallow))
    read_refusal(mrb("compare", "runs/random", "runs/shallow"), TASK, "candidates.depth is 25 and 5")
    read_refusal(mrb("compare", "runs/random", "runs/nowhere"), "nowhere")
    read_refusal(mrb("compare", "runs/random"), "at least two runs")
    read_refusal(mrb("compare", "runs/random", "runs/words", "--measure", "nDCG@7"), "nDCG@7")
    (runs / "words" / TASK / "per_query.parquet").write_bytes(b"nothing")
    read_refusal(mrb("compare", "runs/random", "runs/words"), "per_query.parquet")


def test_a_run_is_recomputed_and_restored_from_its_journal(mrb: Mrb, runs: Path) -> None:
    folder = runs / "words" / TASK
    score = ("recompute", "runs/words", "--candidates", "lists")
    assert ok(mrb(*score)) == f"{TASK}: identical\n"
    before = files(folder)
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"failed_pairs": 0', '"failed_pairs": 3'))
    read_refusal(mrb(*score), TASK, "counts.failed_pairs is 3, recomputed 0")
    assert "differences removed: 1" in ok(mrb(*score, "--write"))
    assert files(folder) == before
    (folder / "journal").write_bytes((folder / "journal").read_bytes()[:-3])
    read_refusal(mrb(*score), "journal: has no score for query")
    read_refusal(mrb("recompute", "runs/words/run.json"), "--task")
    read_refusal(mrb("recompute", "runs"), "not the folder of a run", "runs/words")
    read_refusal(mrb("score", "runs/words"), "`mrb score RUN` is now `mrb recompute runs/words`")


def test_scores_leave_as_a_trec_run_and_come_back_as_the_same_numbers(mrb: Mrb, runs: Path, tmp_path: Path) -> None:
    ok(mrb("export", "runs/words", "--format", "trec", "--raw-scores", "--out", "words.trec"))
    own = json.loads((runs / "words" / TASK / "result.json").read_text())
    for form, kind in (("words.trec", "pointwise"), (f"runs/words/{TASK}/scores.parquet", "setwise")):
        name = f"from-{kind}"
        scored = mrb("score", "--task", TASK, form, "--candidates", "lists", "--kind", kind,
                     "--depth", "25", "--name", name, "--out", "runs")  # fmt: skip
        assert "nDCG@10" in ok(scored)
        found = json.loads((runs / name / TASK / "result.json").read_text())
        assert {key: found[key] for key in ("measures", "first_stage", "oracle", "counts")} == {
            key: own[key] for key in ("measures", "first_stage", "oracle", "counts")
        }
        assert found["reranker"]["source"] == f"scores in {Path(form).name}"
        assert ok(mrb("recompute", f"runs/{name}", "--candidates", "lists")) == f"{TASK}: identical\n"
    lines = (tmp_path / "words.trec").read_text().splitlines()
    (tmp_path / "short.trec").write_text("\n".join(lines[:-1]))
    query, _, doc, *_ = lines[-1].split()
    score = ("score", "--candidates", "lists", "--depth", "25", "--task", TASK)
    read_refusal(mrb(*score, "short.trec"), f"query {query!r}: no score for candidate {doc!r}")
    (tmp_path / "nan.trec").write_text("\n".join([*lines[:-1], f"{query} Q0 {doc} 1 nan tag"]))
    read_refusal(mrb(*score, "nan.trec"), f"line {len(lines)}", "'nan'")
    (tmp_path / "twice.trec").write_text("\n".join([*lines, lines[-1]]))
    read_refusal(mrb(*score, "twice.trec"), f"document {doc!r} occurs twice")
    (tmp_path / "more.trec").write_text("\n".join([*lines, f"{query} Q0 elsewhere 1 0.5 tag"]))
    read_refusal(mrb(*score, "more.trec"), "'elsewhere' is not among its candidates")


def test_an_exported_order_imported_as_candidates_is_the_run_itself(mrb: Mrb, runs: Path, tmp_path: Path) -> None:
    ok(mrb("export", "runs/words", "--format", "trec", "--task", TASK, "--out", "words.trec"))
    made = ("candidates", "import", "words.trec", "--task", TASK, "--first-stage", "words", "--depth", "25")
    assert "0 queries without a list" in ok(mrb(*made, "--out", "theirs"))
    ok(mrb("candidates", "check", f"theirs/{TASK}.parquet"))
    ok(mrb("run", "--model", "constant", "--task", TASK, "--candidates", "theirs", "--depth", "25"))
    own = json.loads((runs / "words" / TASK / "result.json").read_text())["measures"]
    first = json.loads((runs / "constant" / TASK / "result.json").read_text())["first_stage"]
    assert first == own
    read_refusal(mrb(*made[:-2]), "give --depth 25")
    read_refusal(
        mrb("candidates", "import", "words.trec", "--task", "mini-flag-i2t", "--first-stage", "words"), "--skip-"
    )
    found: dict[str, dict[str, float]] = {}
    for line in (tmp_path / "words.trec").read_text().splitlines():
        query, _, doc, _, score, _ = line.split()
        found.setdefault(query, {})[doc] = float(score)
    predictions = {"mteb_model_meta": {"model_name": "a/b", "revision": None}, "default": {"test": found}}
    (tmp_path / "FAQ_predictions.json").write_text(json.dumps(predictions))
    shown = [
        ok(mrb("candidates", "import", name, "--task", TASK, "--first-stage", "words", "--depth", "25")).splitlines()[1]
        for name in ("words.trec", "FAQ_predictions.json")
    ]
    assert shown[0] == shown[1]


def test_csv_and_latex_leave_by_standard_output_or_file(mrb: Mrb, runs: Path, tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(ok(mrb("export", "runs/words", "--format", "csv")))))
    own = json.loads((runs / "words" / TASK / "result.json").read_text())["measures"]["nDCG@10"]
    row = next(row for row in rows if row["task"] == TASK and row["measure"] == "nDCG@10")
    assert float(row["mean"]) == own["mean"]
    done = mrb("export", "runs/words", "--format", "latex", "--out", "table.tex")
    assert done.stdout == "" and ok(done) == ""
    text = (tmp_path / "table.tex").read_text()
    assert r"\toprule" in text and f"{100 * own['mean']:.2f}" in text
    read_refusal(mrb("export", "runs/words", "--format", "latex", "--measure", "nDCG@7"), "nDCG@7")
    read_refusal(mrb("export", "runs/words", "--format", "trec", "--task", "nights"), "nights")
    read_refusal(mrb("export", "nowhere", "--format", "csv"), "nowhere")


def test_the_commands_of_the_guide_run(mrb: Mrb, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "comparing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    commands = [line for language, block in blocks if not language for line in block.splitlines()]
    assert len(commands) > 12
    for line in commands:
        name, *arguments = shlex.split(line)
        assert name == "mrb"
        done = mrb(*arguments)
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "runs" / "elsewhere" / "mini-flag-i2t" / "result.json").is_file()
    assert len(list((tmp_path / "trec-runs").glob("*.trec"))) == 9
    ok(mrb("submission", "validate", "runs/elsewhere"))
