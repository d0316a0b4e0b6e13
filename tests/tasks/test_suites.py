"""The suites and sub-suites of the package: their lists are frozen with their versions."""

from __future__ import annotations

from collections import Counter

import pytest
from pydantic import ValidationError

from mrb._util.hashing import hash_json
from mrb.data.task import Suite, list_sub_suites, list_suites, load_suite, load_task

# Frozen lists: a change is a new version of the suite and of these.
SUITE_LISTS = {
    "mrb": "dcec45263fc9f0d088441389203cccaf52797e5bcb98643181a6d5d1b6dc4f79",
    "mrb-lite": "dcec45263fc9f0d088441389203cccaf52797e5bcb98643181a6d5d1b6dc4f79",
    "mini": "342522a9b29a8d908e094001348010724dbaec740d9c2ef2c749f62fafc6ff16",
}
SUB_SUITE_LISTS = {
    "mrb-text-query": "82ecc3e7c71e1b164b1d728c1fa996c11210043f09d6b389b7ff2b2cd7bd869d",
    "mrb-lite-text-query": "82ecc3e7c71e1b164b1d728c1fa996c11210043f09d6b389b7ff2b2cd7bd869d",
    "mini-text-query": "6585b48aae997b6457ad9c7c347a6fd01aa36e93047416ee6f422fc1e4ccde5d",
}


def test_suites_are_frozen() -> None:
    suites = {suite.id: suite for suite in list_suites()}
    assert {name: hash_json(list(suites[name].tasks)) for name in SUITE_LISTS} == SUITE_LISTS
    assert [(suites[name].version, suites[name].depth) for name in SUITE_LISTS] == [
        ("0.9", 100),
        ("0.9", 100),
        ("1.0", 25),
    ]


def test_sub_suites_are_frozen_with_their_suite() -> None:
    """The text-query tasks, written down apart from the files: 14 t2t, 4 t2i, 5 t2vd, 2 t2it."""
    parts = {part.id: part for suite in list_suites() for part in list_sub_suites(suite)}
    assert {name: hash_json(list(part.tasks)) for name, part in parts.items()} == SUB_SUITE_LISTS
    for name, part in parts.items():
        whole = load_suite(part.part_of or "")
        assert (part.version, part.depth, part.sample) == (whole.version, whole.depth, whole.sample)
        assert load_suite(name) == part
        assert set(part.tasks) == {i for i in whole.tasks if load_task(i).query_modality == "text"}
    counts = Counter(load_task(task_id).type for task_id in parts["mrb-text-query"].tasks)
    assert counts == {"t2t": 14, "t2i": 4, "t2vd": 5, "t2it": 2}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ([{"types": ["t2t"], "tasks": ["nights"]}], "wanted either types or tasks"),
        ([{}], "wanted either types or tasks"),
        ([{"tasks": ["nowhere"]}], "a sub-suite lists 'nowhere', which the suite does not"),
        ([{"types": ["t2t"]}, {"types": ["i2i"]}], "two sub-suites have one id"),
    ],
)
def test_a_wrong_sub_suite_is_refused(stated: list[dict[str, object]], message: str) -> None:
    parts = [{"id": "part", "title": "part", "description": "", **one} for one in stated]
    with pytest.raises(ValidationError, match=message):
        Suite.model_validate({**load_suite("mrb").model_dump(), "sub_suites": parts})
