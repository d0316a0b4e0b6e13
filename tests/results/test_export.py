"""What leaves MRB: orders that other tools read alike, cells that no spreadsheet runs, text that LaTeX sets."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytrec_eval

from mrb.errors import CandidatesError, ResultError
from mrb.metrics.ranking import rank_candidates
from mrb.results.export import format_csv, format_latex, format_trec
from mrb.results.run import Run, average_over_types, load_run
from mrb.results.schema import SCORES_FILE

MakeRun = Callable[..., Path]
TASK = "scifact"
QUERIES, DEPTH = 8, 12


def with_scores(folder: Path, scores: np.ndarray, ids: Sequence[str] | None = None) -> Run:
    """The run in `folder` with these scores, float32[QUERIES, DEPTH], of documents `d0`, `d1`, ..."""
    docs = list(ids or [f"d{n}" for n in range(DEPTH)])
    table = {
        "query_id": [f"q{n}" for n in range(QUERIES) for _ in docs],
        "doc_id": docs * QUERIES,
        "score": pa.array(scores.astype(np.float32).ravel(), pa.float32()),
    }
    pq.write_table(pa.table(table), folder / TASK / SCORES_FILE)
    return load_run(folder)


@pytest.fixture
def folder(make_run: MakeRun) -> Path:
    return make_run("toy", suite=None, tasks=(TASK,), queries=QUERIES, depth=DEPTH)


def tied_scores() -> np.ndarray:
    """Few distinct values, so that every query has ties."""
    return np.random.default_rng(1).integers(0, 3, (QUERIES, DEPTH)).astype(np.float32)


def columns(lines: Sequence[str]) -> dict[str, list[tuple[str, int, float]]]:
    """Query -> (document, rank, score) in the file's order."""
    found: dict[str, list[tuple[str, int, float]]] = {}
    for line in lines:
        query, literal, doc, rank, score, tag = line.split(" ")
        assert (literal, tag) == ("Q0", "toy")
        found.setdefault(query, []).append((doc, int(rank), float(score)))
    return found


def test_trec_eval_reads_the_order_that_mrb_ranks_by(folder: Path) -> None:
    scores = tied_scores()
    found = columns(list(format_trec(with_scores(folder, scores), TASK)))
    docs = [f"d{n}" for n in range(DEPTH)]
    # One relevant document a query: its reciprocal rank is the place where trec_eval finds it.
    for query in range(QUERIES):
        order = rank_candidates(TASK, f"q{query}", docs, scores[query])
        assert [doc for doc, _, _ in found[f"q{query}"]] == [docs[position] for position in order]
        assert [rank for _, rank, _ in found[f"q{query}"]] == list(range(1, DEPTH + 1))
        run = {doc: score for doc, _, score in found[f"q{query}"]}
        for rank, position in enumerate(order, start=1):
            judged = pytrec_eval.RelevanceEvaluator({"q": {docs[position]: 1}}, {"recip_rank"})
            assert judged.evaluate({"q": run})["q"]["recip_rank"] == pytest.approx(1 / rank)


def test_raw_scores_come_back_as_the_same_float32(folder: Path) -> None:
    scores = np.random.default_rng(2).normal(0, 1e-3, (QUERIES, DEPTH)).astype(np.float32)
    found = columns(list(format_trec(with_scores(folder, scores), TASK, raw=True)))
    for query in range(QUERIES):
        again = {doc: np.float32(score) for doc, _, score in found[f"q{query}"]}
        assert [again[f"d{n}"] for n in range(DEPTH)] == scores[query].tolist()


def test_what_a_trec_file_cannot_hold_is_refused(folder: Path) -> None:
    ids = ["two words", *(f"d{n}" for n in range(1, DEPTH))]
    with pytest.raises(CandidatesError, match="'two words' has white space"):
        list(format_trec(with_scores(folder, tied_scores(), ids), TASK))
    with pytest.raises(ResultError, match="no result for task nights"):
        list(format_trec(load_run(folder), "nights"))


def test_damaged_scores_are_refused(folder: Path) -> None:
    with pytest.raises(ResultError, match=r"scores\.parquet"):
        list(format_trec(load_run(folder), TASK))
    scores = tied_scores()
    scores[3, 4] = np.nan
    with pytest.raises(ResultError, match="not the 96 scores, 0 of them failed"):
        list(format_trec(with_scores(folder, scores), TASK))
    run = with_scores(folder, tied_scores())
    table = pq.read_table(folder / TASK / SCORES_FILE)
    pq.write_table(table.slice(1), folder / TASK / SCORES_FILE)
    with pytest.raises(ResultError, match="not the 96 scores, 0 of them failed"):
        list(format_trec(run, TASK))


def read_csv(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(format_csv(run))))


def test_csv_holds_every_number_in_full(make_run: MakeRun) -> None:
    run = load_run(make_run("toy"))
    rows = read_csv(run)
    assert len(rows) == 9 * 8 + 4 * 8  # the averages of mini and of mini-text-query
    by_key = {(row["task"], row["measure"]): row for row in rows}
    result = run.tasks["mini-flag-i2t"].result
    row = by_key["mini-flag-i2t", "nDCG@10"]
    own = result.measures["nDCG@10"]
    assert [float(row[name]) for name in ("mean", "low", "high")] == [own.mean, own.low, own.high]
    assert float(row["oracle"]) == result.oracle["nDCG@10"].mean
    assert (row["queries"], row["depth"], row["type"]) == ("60", "25", "i2t")
    average = by_key["average over types", "MRR@10"]
    assert float(average["mean"]) == average_over_types(run, run.record.tasks, "MRR@10").mean
    assert (average["tasks"], average["of"]) == ("9", "9")


def test_csv_leaves_an_average_blank_where_a_task_is_missing(make_run: MakeRun) -> None:
    run = load_run(make_run("toy", cover=("mini-faq-t2t", "mini-flag-i2t")))
    average = {row["task"]: row for row in read_csv(run) if row["measure"] == "nDCG@10"}["average over tasks"]
    assert [average[name] for name in ("mean", "low", "high", "first_stage", "oracle")] == [""] * 5
    assert (average["tasks"], average["of"]) == ("2", "9")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r=1"])
def test_no_text_cell_is_a_formula(make_run: MakeRun, name: str) -> None:
    run = load_run(make_run("toy", suite=None, tasks=(TASK,)))
    rows = read_csv(Run(Path("x") / name, run.record, run.tasks))
    assert all(row["run"] == "'" + name.strip() for row in rows)
    assert all(not row["mean"].startswith("'") for row in rows)


def test_latex_is_escaped_and_complete(make_run: MakeRun) -> None:
    run = load_run(make_run("toy", cover=("mini-faq-t2t", "mini-flag-i2t")))
    hostile: Any = r"50%_\input{x}$&#^~"
    text = format_latex(Run(Path(hostile), run.record, run.tasks), "nDCG@10")
    assert r"50\%\_\textbackslash{}input\{x\}\$\&\#\textasciicircum{}\textasciitilde{}: nDCG@10" in text
    assert text.startswith("\\begin{tabular}") and text.endswith("\\end{tabular}\n")
    own = run.tasks["mini-flag-i2t"].result.measures["nDCG@10"]
    cells = f"{100 * own.mean:.2f} & [{100 * own.low:.2f}, {100 * own.high:.2f}]"
    (line,) = [line for line in text.splitlines() if line.startswith("mini-flag-i2t")]
    assert cells in line
    assert r"mini-flag-t2i & t2i &  & not covered &  &  \\" in text
    assert r"average over 9 tasks &  &  & no average of suite mini &  &  \\" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.replace(r"\&", "").count("&") for line in rows} == {5}


def test_latex_averages_and_unknown_measures(make_run: MakeRun) -> None:
    run = load_run(make_run("toy"))
    average = average_over_types(run, run.record.tasks, "Recall@5")
    assert average.mean is not None
    assert f"& {100 * average.mean:.2f} &" in format_latex(run, "Recall@5").splitlines()[-5]
    with pytest.raises(ResultError, match="has no nDCG@7"):
        format_latex(run, "nDCG@7")
    scores = run.tasks["mini-flag-i2t"]
    format_csv(replace(run, tasks={"mini-flag-i2t": scores}))
