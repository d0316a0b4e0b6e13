"""`mrb run` from the outside: files, resume, and one clear line for each mistake."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.builders.command import count_uncovered

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]

EIGHT_LINES = """
class MyReranker:
    def score(self, request):
        words = set(request.query.text.split())
        return [len(words & set(d.text.split())) for d in request.candidates]
"""
FAQ = ("--task", "mini-faq-t2t")


def _files(folder: Path) -> dict[str, bytes]:
    names = ("result.json", "scores.parquet", "per_query.parquet")
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.name in names}


def _refused(done: Done, *wanted: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("mrb: ") for line in lines) == 1, done.stderr
    for text in wanted:
        assert text in lines[-1], (text, lines[-1])


def test_an_adapter_of_eight_lines_runs_over_all_nine_types(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(EIGHT_LINES)
    done = mrb("run", "--model", "my_adapter", "--limit", "10")
    assert done.returncode == 0, done.stderr
    assert "nDCG@10" in done.stdout
    assert "average over 9 tasks" in done.stdout
    assert "average over 9 types" in done.stdout
    results = [json.loads(p.read_text()) for p in (tmp_path / "runs" / "my_adapter").glob("*/result.json")]
    assert len(results) == 9
    for result in results:
        scores = pq.read_table(tmp_path / "runs" / "my_adapter" / result["task"] / "scores.parquet")
        assert scores.num_rows == result["counts"]["pairs"]
        assert scores.column_names == ["query_id", "doc_id", "score"]


def test_the_same_command_again_checks_a_few_queries_and_changes_no_byte(mrb: Mrb, tmp_path: Path) -> None:
    adapter = EIGHT_LINES.replace("        words", "        open('calls', 'a').write('x')\n        words", 1)
    (tmp_path / "my_adapter.py").write_text(adapter)
    command = ("run", "--model", "my_adapter", *FAQ, "--limit", "20")
    assert mrb(*command).returncode == 0
    before, calls = _files(tmp_path / "runs"), (tmp_path / "calls").read_text()
    again = mrb(*command)
    assert again.returncode == 0, again.stderr
    assert "scored before" in again.stderr
    assert len((tmp_path / "calls").read_text()) == len(calls) + 4
    assert _files(tmp_path / "runs") == before


def test_a_deeper_pointwise_run_scores_only_what_is_missing(mrb: Mrb, tmp_path: Path) -> None:
    counting = EIGHT_LINES.replace(
        "        words", "        open('pairs', 'a').write('x' * len(request.candidates))\n        words", 1
    )
    (tmp_path / "my_adapter.py").write_text(counting)
    for depth in ("10", "25"):
        assert mrb("run", "--model", "my_adapter", *FAQ, "--limit", "20", "--depth", depth).returncode == 0
    assert len((tmp_path / "pairs").read_text()) == 20 * 25 + 4 * 8  # and a few again, which must agree
    deep = _files(tmp_path / "runs")
    assert mrb("run", "--model", "my_adapter", *FAQ, "--limit", "20", "--out", "other").returncode == 0
    assert list(_files(tmp_path / "other").values()) == list(deep.values())


def test_a_text_reranker_leaves_pictures_uncovered_and_gets_no_average(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "my_adapter.py").write_text(EIGHT_LINES + "    inputs = ('text',)\n")
    done = mrb("run", "--model", "my_adapter", "--limit", "3")
    assert done.returncode == 0, done.stderr
    assert count_uncovered(done.stdout) == 8
    assert "no average of suite mini: 8 of 9 types missing" in done.stdout
    assert "no average of suite mini: 8 of 9 tasks missing" in done.stdout


def test_options_are_typed_and_make_another_run(mrb: Mrb) -> None:
    assert mrb("run", "--model", "random", *FAQ, "--limit", "5", "--set", "seed=1").returncode == 0
    other = mrb("run", "--model", "random", *FAQ, "--limit", "5", "--set", "seed=2")
    _refused(other, "holds scores of another run", "option seed was 1, is 2", "--name", "--fresh")
    assert mrb("run", "--model", "random", *FAQ, "--limit", "5", "--set", "seed=2", "--fresh").returncode == 0
    _refused(mrb("run", "--model", "random", "--set", "seed=many"), "seed='many'")
    _refused(mrb("run", "--model", "random", "--set", "sed=1"), "'sed'", "seed")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("class A:\n    def score(self, request)\n", ("my_adapter.py", "line 2", "syntax")),
        (EIGHT_LINES + EIGHT_LINES.replace("MyReranker", "Second"), ("MyReranker", "Second", "my_adapter:")),
        ("def score(request):\n    raise KeyError('lost')\n", ("mini-faq-t2t", "query '", "KeyError", "line 2")),
        (
            "def score(request):\n    return [float('nan')] * len(request.candidates)\n",
            ("mini-faq-t2t", "candidate '", "nan"),
        ),
        ("def score(request):\n    return [1.0]\n", ("mini-faq-t2t", "query '", "for 25 candidates")),
        ("import surely_missing\n", ("surely_missing",)),
        ("x = 1\n", ("holds no class",)),
    ],
    ids=["syntax", "several", "raises", "nan", "count", "import", "nothing"],
)
def test_a_broken_adapter_is_told_in_one_line(mrb: Mrb, tmp_path: Path, body: str, wanted: tuple[str, ...]) -> None:
    (tmp_path / "my_adapter.py").write_text(body)
    _refused(mrb("run", "--model", "my_adapter", *FAQ, "--limit", "5"), *wanted)
    assert not list(tmp_path.glob("runs/**/result.json"))


def test_unknown_names_are_told_in_one_line(mrb: Mrb) -> None:
    _refused(mrb("run", "--model", "surface", "--task", "mini-faq-t2"), "mini-faq-t2t")
    _refused(mrb("run", "--model", "surfce", *FAQ), "unknown reranker 'surfce' (did you mean surface?)", "`mrb models`")
    _refused(mrb("run", "--model", "surface", "--suite", "minimal"), "minimal", "mini")
    _refused(mrb("run", "--model", "surface", "--type", "t2x"), "t2x", "t2vd")


def test_a_task_without_candidates_is_refused_with_the_way_to_get_them(mrb: Mrb) -> None:
    _refused(mrb("run", "--model", "surface", "--task", "arguana"), "arguana", "mrb candidates make", "--candidate-set")


def test_candidates_of_another_task_or_with_unknown_ids_are_refused(mrb: Mrb, tmp_path: Path) -> None:
    from mrb.candidates.lists import build_candidates, write_parquet
    from mrb.candidates.load import find_candidates
    from mrb.data.task import load_task

    other = find_candidates(load_task("mini-flag-t2i"), None)
    _refused(mrb("run", "--model", "surface", *FAQ, "--candidates", str(other)), "mini-flag-t2i", "mini-faq-t2t")
    from mrb.candidates.lists import read_parquet

    frozen = read_parquet(find_candidates(load_task("mini-faq-t2t"), None))
    lists = [(query_id, ["nowhere", *doc_ids[1:]], scores) for query_id, doc_ids, scores in frozen.lists()]
    path = tmp_path / "made_up.parquet"
    write_parquet(build_candidates(frozen.provenance, lists), path)
    _refused(mrb("run", "--model", "surface", *FAQ, "--candidates", str(path)), "'nowhere'", "not in the corpus")
    path.write_bytes(path.read_bytes()[:-100])
    _refused(mrb("run", "--model", "surface", *FAQ, "--candidates", str(path)), "made_up.parquet")


def test_a_second_process_on_the_same_folder_is_refused_by_name(mrb: Mrb, tmp_path: Path) -> None:
    from mrb.evaluation.lock import lock_folder

    with lock_folder(tmp_path / "runs" / "random"):
        done = mrb("run", "--model", "random", *FAQ, "--limit", "2")
    _refused(done, "in use by process")
    assert mrb("run", "--model", "random", *FAQ, "--limit", "2").returncode == 0


def test_validate_refuses_a_changed_number(mrb: Mrb, tmp_path: Path) -> None:
    assert mrb("run", "--model", "random", *FAQ, "--limit", "5").returncode == 0
    path = tmp_path / "runs" / "random" / "mini-faq-t2t" / "result.json"
    assert mrb("submission", "validate", str(path)).returncode == 0
    good = path.read_text()
    changes = {
        '"schema_version": 1': ('"schema_version": 9', "schema_version"),
        '"task": "mini-faq-t2t"': ('"task": "mini-faq-x"', "mini-faq-x"),
        '"tied_at_10": ': ('"tied_at_10": 7', "tied_at_10"),
        '"failed_pairs": 0': ('"failed_pairs": NaN', "NaN"),
        '"pairs": ': ('"more": 1, "pairs": ', "more"),
        '"source_measure": "nDCG@10"': ('"source_measure": "nDCG@5"', "source_measure"),
    }
    for old, (new, named) in changes.items():
        assert old in good
        path.write_text(good.replace(old, new, 1))
        done = mrb("submission", "validate", str(path))
        assert done.returncode == 2, new
        assert named in done.stderr and "Traceback" not in done.stderr
    path.write_text(good.replace("{", '{"task": "mini-faq-t2t",', 1))
    assert "occurs twice" in mrb("submission", "validate", str(path)).stderr


def test_allowed_failures_are_counted_published_and_remembered(mrb: Mrb, tmp_path: Path) -> None:
    failing = EIGHT_LINES.replace("        words", "        assert 'copy' not in request.query.text\n        words", 1)
    (tmp_path / "my_adapter.py").write_text(failing)
    command = ("run", "--model", "my_adapter", *FAQ)
    _refused(mrb(*command), "AssertionError")
    done = mrb(*command, "--allow-failures", "1000")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "runs" / "my_adapter" / "mini-faq-t2t" / "result.json").read_text())
    failed = result["counts"]["failed_pairs"]
    assert failed > 0
    assert f"{failed} pairs failed, ranked last" in done.stdout
    scores = pq.read_table(tmp_path / "runs" / "my_adapter" / "mini-faq-t2t" / "scores.parquet").column("score")
    assert scores.null_count == failed
    again = mrb("recompute", "runs/my_adapter")
    assert "identical" in again.stdout, again.stderr
    exported = mrb("export", "runs/my_adapter", "--format", "trec", "--out", "trec")
    assert exported.returncode == 0, exported.stderr
    _refused(mrb(*command), f"--allow-failures {failed}", "--fresh")
    _refused(mrb(*command, "--fresh", "--allow-failures", str(failed - 1)), f"allowed: {failed - 1}")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_an_adapter_has_loaded_is_said_once(mrb: Mrb, tmp_path: Path, workers: str) -> None:
    said = '    def describe(self):\n        return "float32 on cpu\\x1b[2J\\n, two lines"\n'
    (tmp_path / "my_adapter.py").write_text(EIGHT_LINES + said)
    done = mrb("run", "--model", "my_adapter", *FAQ, "--limit", "2", "--workers", workers)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "float32 on cpu" in line]
    assert lines == ["my_adapter, version not stated: float32 on cpu [2J , two lines"]
    assert "\x1b" not in done.stdout + done.stderr
