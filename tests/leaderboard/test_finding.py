"""Searching and filtering: by what of a model, and that the page finds it."""

from __future__ import annotations

from mrb.leaderboard.tables.finding import SIZES, find_size_class, fold_words, list_choices


def test_sizes_stand_in_the_class_that_they_are_below() -> None:
    found = [find_size_class(parameters) for parameters in (22_700_000, 999_999_999, 10**9, 4_020_000_000, 8 * 10**9)]
    assert found == ["under 1 B", "under 1 B", "1 to 5 B", "1 to 5 B", "5 to 10 B"]
    assert find_size_class(10**14) == SIZES[-1][1], "the largest size that a card may state"


def test_organisation_and_name_are_found_as_the_hub_and_the_folder_write_them() -> None:
    assert fold_words("Qwen/Qwen3-Reranker-8B") == fold_words("Qwen__Qwen3-Reranker-8B") == "qwen qwen3-reranker-8b"


def test_a_filter_offers_what_the_rows_have_and_none_that_cannot_tell_them_apart() -> None:
    rows = [
        ("5 to 10 B", "MIT", "open", "text", "generative", "pointwise", "no", "unknown"),
        ("under 1 B", "Apache-2.0", "open", "text", "", "listwise", "yes", "clean"),
    ]
    offered = {choice.key: [value for value, _ in choice.options] for choice in list_choices([rows])}
    assert offered == {
        "size": ["under 1 B", "5 to 10 B"],
        "licence": ["Apache-2.0", "MIT"],
        "architecture": ["generative"],
        "scoring": ["listwise", "pointwise"],
        "verified": ["yes", "no"],
        "training": ["untrained", "clean"],
    }
    (training,) = (choice for choice in list_choices([rows]) if choice.key == "training")
    assert dict(training.options)["untrained"] == "not known to be trained on a task here", "unknown ones are kept too"
