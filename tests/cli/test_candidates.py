"""`mrb candidates`: lists of an embedded task made, shown and checked as a user does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from mrb.candidates.lists import build_candidates, read_parquet, write_parquet
from mrb.cli.candidates import command
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.errors import MRBError
from mrb.retrieval.candidate_stats import measure_quality

TASK = "mini-flag-t2i-dev"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def said(*arguments: str | Path) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str | Path) -> str:
    """The message of the error that `mrb` prints on one line before it exits with code 2."""
    result = call(*arguments)
    assert isinstance(result.exception, MRBError), result.output
    return str(result.exception)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lists")
    said("make", "--task", TASK, "--first-stage", "colour-words", "--depth", "20", "--out", folder, "--trec")
    return folder / f"{TASK}.parquet"


def test_make_writes_the_list_in_both_forms(made: Path, tmp_path: Path) -> None:
    candidates = read_parquet(made)
    data = load_task_data(load_task(TASK))
    assert candidates.query_ids == tuple(data.queries)
    assert (candidates.provenance.first_stage, candidates.provenance.depth) == ("colour-words", 20)
    assert len(made.with_suffix(".trec").read_text().splitlines()) == candidates.pairs
    line = said("make", "--task", TASK, "--first-stage", "colour-words", "--depth", "20", "--out", tmp_path)
    found = measure_quality(candidates, data, 20)
    assert f"nDCG@10 {100 * found.ndcg:.2f} (oracle {100 * found.oracle:.2f})" in line
    assert f"Recall@20 {100 * found.recall:.2f}" in line
    assert candidates.sha256 in line
    assert (tmp_path / made.name).read_bytes() == made.read_bytes()


def test_make_needs_tasks_and_a_first_stage_that_exists(tmp_path: Path) -> None:
    assert "either --task ID" in refused("make", "--first-stage", "bm25")
    assert "either --task ID" in refused("make", "--task", TASK, "--suite", "mini", "--first-stage", "bm25")
    assert "unknown task" in refused("make", "--task", "nosuch", "--first-stage", "bm25")
    assert "'nosuch'" in refused("make", "--task", TASK, "--first-stage", "bm25+nosuch", "--out", tmp_path)
    assert "BM25 needs text" in refused("make", "--task", TASK, "--first-stage", "bm25", "--out", tmp_path)
    assert "give --first-stage" in refused("make", "--task", "mini-flag-t2i-train")
    assert not list(tmp_path.iterdir())


def test_show_tells_what_the_list_is(made: Path, tmp_path: Path) -> None:
    candidates = read_parquet(made)
    page = said("show", made)
    for words in (TASK, "colour-words", candidates.sha256, candidates.provenance.revision, "Recall@20"):
        assert words in page
    assert "Recall@3" in said("show", made, "--depth", "3")
    query_id = candidates.query_ids[1]
    lines = said("show", made, "--query", query_id).splitlines()
    doc_ids, scores = candidates.get(query_id)
    assert lines[1].split("\t") == ["2", doc_ids[1], str(scores[1])]
    said("show", made, "--trec", tmp_path / "run.trec")
    assert (tmp_path / "run.trec").read_bytes() == made.with_suffix(".trec").read_bytes()
    assert "no list for query 'nosuch'" in refused("show", made, "--query", "nosuch")
    assert "unknown task" in refused("show", "nosuch")


def test_show_measures_no_list_of_other_data(made: Path, tmp_path: Path) -> None:
    candidates = read_parquet(made)
    moved = candidates.provenance.model_copy(update={"revision": "9" * 64})
    write_parquet(build_candidates(moved, candidates.lists()), tmp_path / "moved.parquet")
    assert "not computed" in said("show", tmp_path / "moved.parquet")


def test_check_passes_the_good_and_names_what_is_wrong(made: Path, tmp_path: Path) -> None:
    assert f"{made}: ok" in said("check", made, made)
    assert "not for 'mini-flag-i2t-dev'" in refused("check", made, "--task", "mini-flag-i2t-dev")
    assert "cannot be read" in refused("check", made, tmp_path / "missing.parquet")

    candidates = read_parquet(made)
    wrong = tmp_path / "wrong.parquet"
    stranger = [next(candidates.lists()), ("nosuch", ["x"], [1.0])]
    write_parquet(build_candidates(candidates.provenance, stranger), wrong)
    assert "query 'nosuch' is not in task" in refused("check", wrong)

    moved = candidates.provenance.model_copy(update={"revision": "9" * 64})
    write_parquet(build_candidates(moved, candidates.lists()), wrong)
    assert "data revision 999999999999" in refused("check", wrong)

    shutil.copy(made, wrong)
    table = pq.read_table(wrong)
    pq.write_table(table.slice(0, table.num_rows - 1), wrong)
    assert "the file states" in refused("check", wrong)
