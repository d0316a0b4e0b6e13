"""What the board says of a model's training data: declared marks, published ones where nothing is declared or
`trained-on` is published."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mrb.leaderboard.tables.fact_columns import COLUMNS, RowSource
from mrb.leaderboard.tables.training_marks import TrainingMarks
from mrb.rerankers.known_models import find_training_data

MARKS = TrainingMarks(
    {"nq": "clean", "msmarco": "unknown"}, {"nq": "trained-on", "msmarco": "trained-on", "fiqa": "related"}, "mteb"
)


def test_a_declared_mark_hides_no_published_training() -> None:
    assert [MARKS.get(task_id) for task_id in ("nq", "msmarco", "fiqa", "nights")] == [
        "trained-on",
        "trained-on",
        "related",
        "unknown",
    ]
    assert [MARKS.is_published(task_id) for task_id in ("nq", "msmarco", "fiqa", "nights")] == [
        False,
        True,
        True,
        False,
    ]
    assert MARKS.count(["nq", "msmarco", "nights"]) == [("trained-on", 2), ("unknown", 1)]
    assert [MARKS.find_conflict(task_id) for task_id in ("nq", "msmarco", "fiqa")] == [
        "declared clean; published: trained on",
        "",
        "",
    ]
    declared = TrainingMarks({"fiqa": "clean", "nq": "trained-on"}, {"fiqa": "related", "nq": "trained-on"}, "mteb")
    assert (declared.get("fiqa"), declared.find_conflict("fiqa"), declared.find_conflict("nq")) == ("clean", "", "")
    assert MARKS.count(["nights"]) == [] and "fiqa" in MARKS and "nights" not in MARKS


def test_a_run_has_the_published_marks_of_the_weights_that_it_names() -> None:
    def seen(adapter: str, **options: object) -> list[str] | None:
        found = find_training_data(adapter, options)
        return None if found is None else list(found.find_marks())

    pages = ["arxivqa", "docvqa", "infovqa", "tatdqa"]
    assert seen("monoqwen2-vl") == pages
    # Any adapter that runs a published model has its marks; a variant has those of its adapter.
    assert seen("cross-encoder", path="lightonai/MonoQwen2-VL-v0.1@" + "a" * 40) == pages
    assert seen("listwise", path="lightonai/LightOn-rerank-LW-4B") == [*pages[:3], "msmarco", "nq", "tatdqa"]
    assert seen("mteb", name="cross-encoder/ms-marco-MiniLM-L6-v2") == ["msmarco"]
    assert seen("mteb", name="google/flan-t5-base") == [] and seen("mteb", name="mteb/nothing") is None
    # Other weights under a known name are nobody's.
    assert seen("monoqwen2-vl", path="./mine") is None and seen("unheard-of") is None
    assert seen("random") is None


def test_a_row_with_a_conflict_is_not_clean_and_shows_both() -> None:
    run: Any = SimpleNamespace(record=SimpleNamespace(reranker=SimpleNamespace(name="monoqwen2-vl", options={})))
    asked: Any = SimpleNamespace(task_ids=("docvqa", "nights"))
    declared: Any = SimpleNamespace(training={"docvqa": "clean", "nights": "clean"})
    source = RowSource(run, None, asked, declared, None)  # type: ignore[arg-type]
    assert source.worst_mark == "trained-on", "the filters of clean and of untrained models leave it out"
    (column,) = (column for column in COLUMNS if column.key == "training")
    cell = column.format_cell(source)
    assert cell.text == "trained-on 1/2; clean 1/2"
    assert cell.smalls == (("", "1 declared otherwise; published: trained on"),)
