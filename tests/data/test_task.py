"""Task files: what their hash depends on, and each wrong one refused by name."""

from __future__ import annotations

import tomllib
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from mrb.data.task import (
    Suite,
    Task,
    list_suite_tasks,
    load_suite,
    load_task,
    locate_task_folder,
    read_task,
)
from mrb.errors import TaskError


def definition(task_id: str) -> dict[str, Any]:
    (path,) = locate_task_folder().glob(f"*/{task_id}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["id"], "infovqa2"),
        (["type"], "t2i"),
        (["instruction"], "Find the page."),
        (["cluster"], "none"),
        (["source", "parts", 0, "revision"], "0" * 40),
        (["source", "parts", 0, "name"], "english"),
        (["rules"], {"drop_qrels_outside_corpus": True}),
        (["rules"], {"drop_identical_ids": True}),
        (["rules"], {"drop_query_image_from_candidates": True}),
        (["images", "downscale_pixels"], 1_000_000),
        (["images", "max_pixels"], 200_000_000),
        (["images", "max_bytes"], 1_000_000),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, list) else "",
)
def test_the_hash_changes_with_what_decides_a_score(keys: list[Any], value: object) -> None:
    assert changed(keys, value).hash != load_task("infovqa").hash


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (["title"], "Infographics"),
        (["description"], "Other words."),
        (["status"], "confirmed"),
        (["status_reason"], "The paper says so."),
        (["licence"], "unknown"),
        (["citation"], "Nobody."),
        (["homepage"], "https://example.org"),
        (["defects"], []),
        (["size", "queries"], 7),
        (["source_measure"], "nDCG@10"),
        (["source", "schema_family"], "mbeir"),
        (["source", "parts", 0, "repository"], "vidore/infovqa_test_subsampled_beir"),
        (["source", "parts", 0, "qrels", "split"], "train"),
        (["source", "parts", 0, "corpus", "alternatives"], [["corpus", "corpus"]]),
        (["source", "format"], "json"),
        (["source", "format_confirmed"], False),
        (["source", "seen_live"], "2027-01-31"),
        (["source", "parts", 0, "copies"], []),
        (["images", "largest"], [1, 1]),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, list) else "",
)
def test_the_hashes_do_not_change_with_words_and_places(keys: list[Any], value: object) -> None:
    task, other = load_task("infovqa"), changed(keys, value)
    assert (other.hash, other.list_hash) == (task.hash, task.list_hash)


@pytest.mark.parametrize(
    ("keys", "value", "same"),
    [
        (["id"], "infovqa2", False),
        (["instruction"], "Find the page.", False),
        (["source", "parts", 0, "revision"], "0" * 40, False),
        (["source", "parts", 0, "name"], "english", False),
        (["rules"], {"drop_identical_ids": True}, False),
        (["rules"], {"drop_query_image_from_candidates": True}, False),
        (["images", "downscale_pixels"], 1_000_000, False),
        (["type"], "t2i", True),
        (["cluster"], "none", True),
        (["rules"], {"drop_qrels_outside_corpus": True}, True),
        (["rules"], {"drop_qrels_outside_queries": True}, True),
        (["rules"], {"graded": True}, True),
        (["rules"], {"zero_grades_listed": True}, True),
        (["rules"], {"average_over_parts": True}, True),
        (["rules"], {"raw_qrels": True}, True),
        (["rules"], {"duplicates": "max"}, True),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, list) else str(value),
)
def test_the_list_hash_changes_with_what_decides_a_list(keys: list[Any], value: object, same: bool) -> None:
    task, other = load_task("infovqa"), changed(keys, value)
    assert other.hash != task.hash
    assert (other.list_hash == task.list_hash) == same


def test_the_hashes_are_those_that_are_published() -> None:
    """By hand: canonical JSON, as docs/design/task-definitions.md describes it. No later release may change them."""
    pin = "a717264d4176bd57"  # tests/tasks/test_mini_data.py freezes it
    task = load_task("mini-faq-t2t")
    assert task.revision.startswith(pin)
    images = '"images":{"downscale_pixels":null,"max_bytes":67108864,"max_pixels":89478485}'
    shared = f'{images},"instruction":"{task.instruction}","parts":[["","{task.revision}"]],"rules":{{}}'
    listed = f'{{"id":"mini-faq-t2t",{shared}}}'
    scored = f'{{"cluster":"{task.cluster}","id":"mini-faq-t2t",{shared},"type":"t2t"}}'
    assert task.list_hash == sha256(listed.encode()).hexdigest()
    assert task.hash == sha256(scored.encode()).hexdigest()


def changed(keys: list[Any], value: object) -> Task:
    fields: Any = definition("infovqa")
    inner = fields
    for key in keys[:-1]:
        inner = inner[key]
    assert inner.get(keys[-1]) != value
    inner[keys[-1]] = value
    return Task.model_validate(fields)


def write(folder: Path, fields: str, name: str = "infovqa") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(fields, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "InfoVQA"', 'title = "InfoVQA"\ntiltle = "typo"', "tiltle: unknown field"),
        ("[size]", "[size]\npages = 3", "size.pages: unknown field"),
        ("revision = ", 'revision = "main" #', r"source\.parts\.0\.revision"),
        ("repository = ", 'repository = "infovqa" #', "needs `owner/name` and a revision"),
        ("max_pixels = ", "max_pixels = 20_000_000 #", "under the documented largest"),
        ("downscale_pixels = ", "downscale_pixels = 900_000_000 #", "between 1 and max_pixels"),
        ('copies = ["vidore', 'copies = ["vidore space', r"source\.parts\.0\.copies"),
        ('status = "inferred"', 'status = "guessed"', "status"),
        ('id = "infovqa"', 'id = "other"', "differs from the file's name"),
        ("schema_version = 1", "schema_version = ", "not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (locate_task_folder() / "cross" / "infovqa.toml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(TaskError, match=message) as error:
        read_task(write(tmp_path, text.replace(old, new, 1)))
    assert "infovqa.toml" in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "english"', 'name = "android"', "a name each, all different"),
        ('name = "english"\n', "", "a name each, all different"),
        ('"mteb/cqadupstack-english"', '"mteb/cqadupstack-gaming"', "a repository is listed twice"),
    ],
)
def test_parts_must_differ(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (locate_task_folder() / "single" / "cqadupstack.toml").read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(TaskError, match=message):
        read_task(write(tmp_path, text.replace(old, new, 1), "cqadupstack"))


def test_a_suite_with_a_task_that_is_not_defined() -> None:
    suite = load_suite("mrb")
    broken = Suite.model_validate({**suite.model_dump(), "tasks": ["nights", "nowhere"]})
    with pytest.raises(TaskError, match="'nowhere', which is not defined"):
        list_suite_tasks(broken)
