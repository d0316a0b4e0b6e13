"""Texts of queries in a comparison are those of the data, and each run's first document is that of its scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import mrb
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.results.query_texts import read_query_texts
from mrb.results.run import load_run
from mrb.results.schema import SCORES_FILE

MakeRun = Callable[..., Path]
pytestmark = pytest.mark.slow


def test_texts_and_first_documents_are_those_of_data_and_scores(trial: Path) -> None:
    run = load_run(trial)
    (task_id,) = run.tasks
    data = load_task_data(load_task(task_id))
    query_ids = list(data.queries)[:3]
    found = read_query_texts([run, run], [(task_id, query_id) for query_id in query_ids])
    scores = pq.read_table(trial / task_id / SCORES_FILE).to_pylist()
    assert [text.query for text in found.values()] == [data.queries.item(query_id).text for query_id in query_ids]
    for (_, query_id), text in found.items():
        best = max((row for row in scores if row["query_id"] == query_id), key=lambda row: row["score"])["doc_id"]
        assert text.first == (f"{best}: {data.corpus.item(best).text}",) * 2


def test_several_images_are_counted(tmp_path: Path) -> None:
    run = mrb.evaluate("surface", tasks="mini-section-t2vd", limit=3, out=tmp_path)
    data = load_task_data(load_task("mini-section-t2vd"))
    found = read_query_texts([run], [("mini-section-t2vd", query_id) for query_id in list(data.queries)[:3]])
    assert len(found) == 3
    for text in found.values():
        doc_id, _, shown = text.first[0].partition(": ")
        count = len(data.corpus.item(doc_id).images)
        assert shown.startswith("[image]" if count == 1 else f"[{count} images]")


def test_without_data_or_scores_there_is_no_text(make_run: MakeRun, trial: Path) -> None:
    hub = load_run(make_run("hub", suite=None, tasks=("scifact",)))
    assert read_query_texts([hub], [("scifact", "q0")]) == {}
    bare = load_run(make_run("bare", suite=None, tasks=("mini-faq-t2t",)))
    query_id = next(iter(load_task_data(load_task("mini-faq-t2t")).queries))
    assert read_query_texts([bare], [("mini-faq-t2t", query_id)])["mini-faq-t2t", query_id].first == ()
