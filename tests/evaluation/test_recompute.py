"""Numbers without a model: what a file of scores must hold, and a run that is recomputed from its journal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.candidates.lists import Provenance, build_candidates, write_parquet
from mrb.data.inputs import Inputs
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.data.task_data import TaskData
from mrb.errors import MRBError, ResultError
from mrb.evaluation.foreign_scores import ScoredFile, make_file_info, make_run, score_file, write_scored
from mrb.evaluation.journal import Journal
from mrb.evaluation.recompute import verify_task
from mrb.evaluation.spec import TaskSpec
from mrb.results.run import load_run
from mrb.results.schema import Kind, read_result, read_run, write_run
from tests.builders.run_folders import write_run_folder

TASK = load_task("mini-flag-i2t-dev")
DEPTH, LISTED = 10, 15
Scores = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def data() -> TaskData:
    return load_task_data(TASK)


@pytest.fixture(scope="module")
def candidates(data: TaskData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of LISTED documents a query, a positive among them."""
    rng = np.random.default_rng(1)
    docs = list(data.corpus)
    made = Provenance(
        task=TASK.id, list_hash=TASK.list_hash, revision=TASK.revision, first_stage="toy", track="test", depth=LISTED
    )

    def listed(query_id: str) -> tuple[str, list[str], list[float]]:
        chosen = [docs[n] for n in rng.choice(len(docs), LISTED, replace=False)]
        positive = next(iter(data.qrels[query_id]))
        if positive not in chosen:
            chosen[int(rng.integers(DEPTH))] = positive
        return query_id, chosen, [float(LISTED - n) for n in range(LISTED)]

    path = tmp_path_factory.mktemp("lists") / f"{TASK.id}.parquet"
    write_parquet(build_candidates(made, map(listed, data.queries)), path)
    return path


@pytest.fixture(scope="module")
def scores(candidates: Path) -> Scores:
    """A score for every candidate to DEPTH; some are tied."""
    rng = np.random.default_rng(2)
    found: Scores = {}
    table = pq.read_table(candidates)
    for query, doc, rank in zip(*(table.column(n).to_pylist() for n in ("query_id", "doc_id", "rank")), strict=True):
        if rank <= DEPTH:
            found.setdefault(query, {})[doc] = float(rng.integers(0, 8)) / 4
    return found


def scored(candidates: Path, scores: Scores, kind: Kind = "setwise", file: Path | None = None) -> ScoredFile:
    info = make_file_info(file or candidates, TASK, name="theirs", kind=kind, uses_first_stage=True)
    return score_file(TaskSpec(TASK, DEPTH, candidates), scores, info, "run.trec")


@pytest.fixture(scope="module")
def measured(candidates: Path, scores: Scores) -> ScoredFile:
    return scored(candidates, scores)


@pytest.fixture
def run(measured: ScoredFile, tmp_path: Path) -> Path:
    write_scored(tmp_path / "theirs", measured, ["mrb", "score"])
    return tmp_path / "theirs"


def test_scores_are_measured_as_a_run_is(candidates: Path, scores: Scores, measured: ScoredFile) -> None:
    found = measured
    best = {q: {d: float(d in found.plan.data.qrels[q]) for d in docs} for q, docs in scores.items()}
    assert found.measured.result.counts.pairs == DEPTH * len(scores)
    assert found.measured.result.counts.tied_at_10 == 0.0  # the lists end there
    perfect = scored(candidates, best).measured.result
    assert perfect.measures == perfect.oracle
    first = {q: {d: float(-n) for n, d in enumerate(docs)} for q, docs in scores.items()}
    again = scored(candidates, first).measured.result
    assert again.measures == again.first_stage
    assert set(again.depths) == {"10"}


def test_what_is_known_of_the_reranker_is_all_that_is_said(candidates: Path, measured: ScoredFile) -> None:
    info = measured.measured.result.reranker
    assert (info.name, info.kind, info.uses_first_stage, info.batch_invariant) == ("theirs", "setwise", True, False)
    assert info.source == f"scores in {candidates.name}"
    assert info.source_sha256 is not None
    assert info.inputs == Inputs.both("text", "image")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        (lambda s, q, d: s.pop(q), r"run\.trec: query '{q}': no score for candidate '{d}'"),
        (lambda s, q, d: s[q].pop(d), r"run\.trec: query '{q}': no score for candidate '{d}'"),
        (lambda s, q, d: s[q].update(nowhere=1.0), "query '{q}': document 'nowhere' is not among its candidates"),
        (lambda s, q, d: s.update(other={d: 1.0}), "query 'other' is not among the queries"),
    ],
    ids=["query", "pair", "document", "unknown query"],
)
def test_scores_must_be_those_of_the_list(
    candidates: Path, scores: Scores, change: Callable[..., Any], wanted: str
) -> None:
    changed = {query: dict(docs) for query, docs in scores.items()}
    query = list(changed)[5]
    doc = next(iter(changed[query]))
    change(changed, query, doc)
    with pytest.raises(ResultError, match=wanted.format(q=query, d=doc)):
        scored(candidates, changed)


def test_deeper_scores_are_for_pointwise_rerankers(candidates: Path, scores: Scores) -> None:
    table = pq.read_table(candidates)
    deeper = {query: dict(docs) for query, docs in scores.items()}
    for query, doc in zip(*(table.column(n).to_pylist() for n in ("query_id", "doc_id")), strict=True):
        deeper[query].setdefault(doc, 99.0)
    assert scored(candidates, deeper, "pointwise").measured.per_query.equals(
        scored(candidates, scores, "pointwise").measured.per_query
    )
    with pytest.raises(ResultError, match="is not among its candidates"):
        scored(candidates, deeper, "setwise")


def test_a_written_file_reads_as_any_run(run: Path, candidates: Path, scores: Scores, measured: ScoredFile) -> None:
    loaded, shown = load_run(run), make_run(measured, [])
    assert loaded.tasks[TASK.id].result == shown.tasks[TASK.id].result
    assert len(Journal(run / TASK.id / "journal").records) == len(scores)
    assert read_run(run).suite is None
    assert not verify_task(run / TASK.id, candidates)


def test_another_reranker_and_another_file_of_the_same(run: Path, candidates: Path, scores: Scores) -> None:
    with pytest.raises(ResultError, match="holds a run of theirs of another kind"):
        write_scored(run, scored(candidates, scores, "pointwise"), [])
    changed = {query: {doc: -score for doc, score in docs.items()} for query, docs in scores.items()}
    write_scored(run, scored(candidates, changed), [])
    assert not verify_task(run / TASK.id, candidates)
    record = read_run(run)
    write_run_folder(run / "other", 0.5, tasks=["mini-flag-t2i"], tracks=["other"])
    shutil.move(run / "other" / "mini-flag-t2i", run / "mini-flag-t2i")
    write_run(run, record.model_copy(update={"tasks": (*record.tasks, "mini-flag-t2i")}))
    with pytest.raises(ResultError, match=f"has mini-flag-t2i on candidate set 'other', and the list of {TASK.id}"):
        write_scored(run, scored(candidates, scores), [])
    own = record.model_copy(update={"reranker": record.reranker.model_copy(update={"source": "my_adapter.py"})})
    (run / "run.json").write_text(own.model_dump_json())
    with pytest.raises(ResultError, match="MRB scored itself"):
        write_scored(run, scored(candidates, scores), [])


def tampered(path: Path, *keys: str, value: object) -> None:
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


def test_every_changed_number_is_named_and_written_back(run: Path, candidates: Path) -> None:
    folder = run / TASK.id
    names = ("result.json", "per_query.parquet", "scores.parquet")
    before = {name: (folder / name).read_bytes() for name in names}
    own = read_result(folder / "result.json").measures["nDCG@10"].mean
    tampered(folder / "result.json", "measures", "nDCG@10", "mean", value=1.5)  # not even a fraction
    tampered(folder / "result.json", "counts", "tied_at_10", value=0.25)
    tampered(folder / "result.json", "more", value=1)
    for name in ("per_query.parquet", "scores.parquet"):
        table = pq.read_table(folder / name)
        column = table.column_names[-1]
        values = table.column(column).to_numpy().copy()
        values[7] += 1
        place = table.column_names.index(column)
        pq.write_table(table.set_column(place, column, pa.array(values)), folder / name)
    found = verify_task(folder, candidates)
    assert f"result.json: measures.nDCG@10.mean is 1.5, recomputed {own}" in found
    assert any(line.startswith("result.json: counts.tied_at_10 is 0.25, recomputed 0") for line in found)
    assert "result.json: more is 1, recomputed missing" in found
    assert any(line.startswith("per_query.parquet: MRR@10 differs in 1 rows, first query_id '") for line in found)
    assert any(line.startswith("scores.parquet: score differs in 1 rows, first query_id '") for line in found)
    assert len(found) == 5
    verify_task(folder, candidates, write=True)
    assert {name: (folder / name).read_bytes() for name in names} == before


def test_missing_rows_and_damaged_files_are_named(run: Path, candidates: Path) -> None:
    folder = run / TASK.id
    table = pq.read_table(folder / "scores.parquet")
    pq.write_table(table.slice(1), folder / "scores.parquet")
    (folder / "per_query.parquet").write_bytes(b"nothing")
    tampered(folder / "result.json", "depths", value={})
    found = verify_task(folder, candidates)
    assert any(line.startswith("scores.parquet: ") for line in found)
    assert any(line.startswith("per_query.parquet: damaged parquet") for line in found)
    assert any(line.startswith("result.json: depths.10.nDCG@10 is missing") for line in found)


@pytest.mark.parametrize(
    ("keys", "value", "wanted"),
    [
        (("task",), "mini-faq-t2t", "a result of task mini-faq-t2t in the folder of"),
        (("task_hash",), "0" * 64, "a definition of"),
        (("candidates", "sha256"), "0" * 64, "wanted the list 000000000000, this is"),
        (("candidates", "depth"), 5, "their score keys differ"),
        (("candidates", "depth"), "5", "candidates.depth"),
        (("reranker", "name"), "better", "their score keys differ"),
        (("data", "selection"), "sample", "names no suite with a sample"),
        (("counts", "queries"), 0, "counts.queries"),
    ],
)
def test_a_result_of_something_else_is_refused(
    run: Path, candidates: Path, keys: tuple[str, ...], value: object, wanted: str
) -> None:
    tampered(run / TASK.id / "result.json", *keys, value=value)
    with pytest.raises(MRBError, match=wanted):
        verify_task(run / TASK.id, candidates)


def test_a_journal_that_lacks_scores_is_refused(run: Path, candidates: Path) -> None:
    journal = run / TASK.id / "journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-5])
    last = Journal(journal).records
    with pytest.raises(ResultError, match=r"has no score for query '.*', candidate '"):
        verify_task(run / TASK.id, candidates)
    assert len(last) == len(Journal(journal).records)
    journal.unlink()
    with pytest.raises(ResultError, match="there is no journal"):
        verify_task(run / TASK.id, candidates)
    (run / TASK.id / "result.json").unlink()
    with pytest.raises(MRBError, match=r"result\.json"):
        verify_task(run / TASK.id, candidates)
