"""What the board says of a model's training data: declared marks first, published ones where nothing is declared."""

from __future__ import annotations

from mrb.leaderboard.tables.training_marks import TrainingMarks
from mrb.rerankers.known_models import find_training_data

MARKS = TrainingMarks(
    {"nq": "clean", "msmarco": "unknown"}, {"nq": "trained-on", "msmarco": "trained-on", "fiqa": "related"}, "mteb"
)


def test_a_declared_mark_goes_before_a_published_one() -> None:
    assert [MARKS.get(task_id) for task_id in ("nq", "msmarco", "fiqa", "nights")] == [
        "clean",
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
    assert MARKS.count(["nq", "msmarco", "nights"]) == [("trained-on", 1), ("clean", 1), ("unknown", 1)]
    assert MARKS.count(["nights"]) == [] and "fiqa" in MARKS and "nights" not in MARKS


def test_a_run_has_the_published_marks_of_the_weights_that_it_names() -> None:
    def seen(name: str, **options: object) -> list[str] | None:
        found = find_training_data(name, options)
        return None if found is None else list(found.find_marks())

    pages = ["arxivqa", "docvqa", "infovqa", "tatdqa"]
    assert seen("monoqwen2-vl") == pages
    # Any adapter that runs a published model has its marks; a variant has those of its adapter.
    assert seen("cross-encoder", path="lightonai/MonoQwen2-VL-v0.1@" + "a" * 40) == pages
    assert seen("listwise", path="lightonai/LightOn-rerank-LW-4B") == [*pages[:3], "msmarco", "nq", "tatdqa"]
    # Other weights under a known name are nobody's.
    assert seen("monoqwen2-vl", path="./mine") is None and seen("unheard-of") is None
    assert seen("random") is None
