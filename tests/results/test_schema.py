"""Result files: strict schema, every refusal one line with the file and the field, the registry's word."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrb.data.task import Task, load_suite, load_task
from mrb.errors import ResultError
from mrb.results.schema import (
    MAX_RESULT_BYTES,
    Result,
    RunRecord,
    check_registry,
    list_result_files,
    read_result,
    read_run,
    write_result,
    write_run,
)

Json = dict[str, Any]


@pytest.fixture(scope="session")
def task() -> Task:
    """The first embedded task."""
    return load_task(load_suite("mini").tasks[0])


@pytest.fixture
def result(task: Task) -> Json:
    """A result of the first embedded task, as JSON holds it."""
    row = {name: {"mean": 0.5, "low": 0.25, "high": 0.75} for name in ("nDCG@10", "Recall@5")}
    return {
        "schema_version": 1,
        "task": task.id,
        "task_hash": task.hash,
        "reranker": {
            "name": "toy",
            "kind": "pointwise",
            "inputs": ["text", "image", "image+text"],
            "version": "1",
            "uses_first_stage": False,
            "batch_invariant": True,
            "options": {"weight": 0.5, "depth": 3, "fast": True, "model": "x", "limit": None},
            "source": "toy.py",
            "source_sha256": "a" * 64,
        },
        "candidates": {
            "sha256": task.candidates.sha256 if task.candidates else "b" * 64,
            "first_stage": "bm25",
            "track": "own",
            "list_depth": 50,
            "depth": 25,
        },
        "data": {
            "revision": task.revision,
            "selection": "all",
            "qrels": "cleaned",
            "loading": {
                "queries": 10,
                "documents": 20,
                "qrels": 10,
                "queries_in_table": 10,
                "queries_without_positives": 0,
                "qrels_outside_corpus": 0,
                "qrels_outside_queries": 0,
                "qrels_not_positive": 0,
            },
        },
        "counts": {
            "queries": 10,
            "pairs": 250,
            "queries_without_candidates": 0,
            "self_matches_removed": 0,
            "failed_pairs": 0,
            "tied_at_10": 0.0,
        },
        "source_measure": task.source_measure,
        "measures": row,
        "first_stage": copy.deepcopy(row),
        "oracle": copy.deepcopy(row),
        "depths": {"10": {"nDCG@10": 0.5}, "25": {"nDCG@10": 0.5}},
    }


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Json], Result]:
    def write_and_read(value: Json) -> Result:
        path = tmp_path / "result.json"
        path.write_text(json.dumps(value))
        return read_result(path)

    return write_and_read


def put(value: Json, where: str, new: Any) -> Json:
    """`value` with the field at `a/b/c` set."""
    *path, last = where.split("/")
    inner = value
    for name in path:
        inner = inner[name]
    inner[last] = new
    return value


def test_a_result_comes_back_as_it_was_written(result: Json, read: Callable[[Json], Result], tmp_path: Path) -> None:
    found = read(result)
    write_result(tmp_path / "folder", found)
    path = tmp_path / "folder" / "result.json"
    assert read_result(path) == found
    assert json.loads(path.read_text()) == result
    before = path.read_bytes()
    write_result(tmp_path / "folder", read_result(path))
    assert path.read_bytes() == before


def test_inputs_by_side_are_written_as_an_object_and_equal_sides_as_a_list(
    result: Json, read: Callable[[Json], Result], tmp_path: Path
) -> None:
    by_side = {"query": ["text"], "document": ["text", "image"]}
    for stated, written in ((by_side, by_side), ({"query": ["text"], "document": ["text"]}, ["text"])):
        found = read(put(result, "reranker/inputs", stated))
        write_result(tmp_path / "folder", found)
        assert json.loads((tmp_path / "folder" / "result.json").read_text())["reranker"]["inputs"] == written


WRONG = [
    ("schema_version", 2, "schema_version: Input should be 1"),
    ("schema_version", "1", "schema_version"),
    ("surprise", 1, "surprise: unknown field"),
    ("reranker/surprise", 1, "reranker.surprise: unknown field"),
    ("measures/nDCG@10/surprise", 1, "measures.nDCG@10.surprise: unknown field"),
    ("data/loading/surprise", 1, "data.loading.surprise: unknown field"),
    ("task", "Not A Slug", "task: String should match pattern"),
    ("task", "../../etc/passwd", "task: String should match pattern"),
    ("task_hash", "A" * 64, "task_hash: String should match pattern"),
    ("task_hash", "a" * 64 + "\n", "task_hash: String should match pattern"),
    ("source_measure", "MAP@10", "source_measure: String should match pattern"),
    ("measures/nDCG@10/mean", 1.5, "measures.nDCG@10.mean: Input should be less than or equal to 1"),
    ("measures/nDCG@10/low", -0.1, "measures.nDCG@10.low: Input should be greater than or equal to 0"),
    ("measures/nDCG@10/low", 0.6, "measures.nDCG@10: Value error, the mean 0.5 is outside its interval"),
    ("measures/nDCG@10/high", 0.4, "measures.nDCG@10: Value error, the mean 0.5 is outside its interval"),
    ("measures/nDCG@10/mean", "0.5", "measures.nDCG@10.mean: Input should be a valid number"),
    ("measures/nDCG@10/mean", None, "measures.nDCG@10.mean: Input should be a valid number"),
    ("measures/nDCG@10/mean", True, "measures.nDCG@10.mean: Input should be a valid number"),
    ("measures/nDCG@1000", {"mean": 0, "low": 0, "high": 0}, "measures.nDCG@1000"),
    ("measures/nDCG@5", {"mean": 0, "low": 0, "high": 0}, "measures, first_stage and oracle do not hold the same"),
    ("oracle/nDCG@10", {"mean": 0.4, "low": 0.3, "high": 0.6}, "nDCG@10 is 0.5, above the list's oracle of 0.4"),
    ("first_stage/nDCG@10", {"mean": 0.7, "low": 0.3, "high": 0.8}, "nDCG@10 is 0.7, above the list's oracle"),
    ("counts/queries", 0, "counts.queries: Input should be greater than or equal to 1"),
    ("counts/queries", "10", "counts.queries: Input should be a valid integer"),
    ("counts/queries", 10.5, "counts.queries: Input should be a valid integer"),
    ("counts/failed_pairs", -1, "counts.failed_pairs: Input should be greater than or equal to 0"),
    ("data/loading/documents", -1, "data.loading.documents: Input should be greater than or equal to 0"),
    ("data/selection", "best", "data.selection: Input should be 'all', 'sample' or 'limit'"),
    ("candidates/depth", 51, "candidates: Value error, depth 51 of a list that is 50 deep"),
    ("candidates/list_depth", 10_001, "candidates.list_depth: Input should be less than or equal to 10000"),
    ("depths", {"-1": {}}, "depths.-1"),
    ("depths", {"10": {"nDCG@10": 2}}, "depths.10.nDCG@10: Input should be less than or equal to 1"),
    ("reranker/name", "<script>", "reranker.name: String should match pattern"),
    ("reranker/name", "../x", "reranker.name: String should match pattern"),
    ("reranker/name", ".hidden", "reranker.name: String should match pattern"),
    ("reranker/name", "", "reranker.name: String should match pattern"),
    ("reranker/kind", "pairwise", "reranker.kind: Input should be"),
    ("reranker/inputs", "text", "reranker.inputs: Value error, wanted a list of modalities, or an object"),
    ("reranker/inputs", [], "reranker.inputs.query: Tuple should have at least 1 item"),
    ("reranker/inputs", {"query": ["text"]}, "reranker.inputs.document: Field required"),
    ("reranker/inputs", {"query": ["text"], "document": ["text"], "other": []}, "reranker.inputs.other: unknown field"),
    ("reranker/inputs", {"query": ["text"], "document": "text"}, "reranker.inputs.document: Input should be a valid"),
    (
        "reranker/inputs",
        {"query": ["text"], "document": ["audio"]},
        "reranker.inputs.document.0: Input should be 'text'",
    ),
    ("reranker/uses_first_stage", "false", "reranker.uses_first_stage: Input should be a valid boolean"),
    ("reranker/uses_first_stage", 0, "reranker.uses_first_stage: Input should be a valid boolean"),
    ("reranker/options", {"x": [1]}, "reranker.options.x"),
    ("reranker/options", {"x": "y" * 2001}, "reranker.options.x"),
    ("reranker/options", {"a\nb": 1}, "reranker.options"),
]


@pytest.mark.parametrize(("where", "new", "message"), WRONG)
def test_a_field_that_does_not_fit_is_named(
    result: Json, read: Callable[[Json], Result], where: str, new: Any, message: str
) -> None:
    with pytest.raises(ResultError) as caught:
        read(put(result, where, new))
    text = str(caught.value)
    assert "result.json: " in text and message in text
    assert "\n" not in text and len(text) < 700


@pytest.mark.parametrize("field", ["schema_version", "task_hash", "measures", "oracle", "counts", "reranker"])
def test_a_field_that_is_missing_is_named(result: Json, read: Callable[[Json], Result], field: str) -> None:
    del result[field]
    with pytest.raises(ResultError, match=f"result.json: {field}: Field required"):
        read(result)


@pytest.mark.parametrize("code", [0x00, 0x0A, 0x1B, 0x7F, 0x85, 0x9B, 0x061C, 0x200F, 0x2028, 0x202E, 0x2066, 0xFEFF])
def test_characters_that_are_not_seen_are_refused(result: Json, read: Callable[[Json], Result], code: int) -> None:
    with pytest.raises(ResultError, match=r"reranker\.version: String should match pattern") as caught:
        read(put(result, "reranker/version", f"1.0{chr(code)}x"))
    assert chr(code) not in str(caught.value)


def test_lone_surrogates_are_refused(result: Json, read: Callable[[Json], Result]) -> None:
    with pytest.raises(ResultError, match=r"result\.json: "):
        read(put(result, "reranker/version", "\ud800"))


def test_other_writing_systems_and_emoji_are_welcome(result: Json, read: Callable[[Json], Result]) -> None:
    assert read(put(result, "reranker/version", "версия 1 ✓ 版 👩‍🔬")).reranker.version == "версия 1 ✓ 版 👩‍🔬"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"mean": 0.5', '"mean": NaN', "NaN is not a number"),
        ('"mean": 0.5', '"mean": Infinity', "Infinity is not a number"),
        ('"mean": 0.5', '"mean": 1e999', "1e999 is larger than any number"),
        ('"weight": 0.5', '"weight": -1e999', "-1e999 is larger"),
        ('"schema_version": 1', '"schema_version": 1, "schema_version": 1', "the key 'schema_version' occurs twice"),
        ('"mean": 0.5', '"mean": 0.1, "mean": 0.5', "the key 'mean' occurs twice"),
    ],
)
def test_json_that_says_two_things_or_no_number(result: Json, tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result).replace(old, new, 1))
    with pytest.raises(ResultError, match=f"result.json: not valid JSON: {message}"):
        read_result(path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(ResultError, match=f"more than {MAX_RESULT_BYTES} bytes of JSON"):
        read_result(path)


def test_deep_nesting_is_refused_at_every_depth(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    for depth in (10, *range(850, 1100, 7), 5000, 100_000):
        path.write_text('{"x":' * depth + "1" + "}" * depth)
        with pytest.raises(ResultError, match=r"result\.json: ") as caught:
            read_result(path)
        assert len(str(caught.value)) < 700


@pytest.mark.parametrize("text", ["[]", "1", "null", '"x"', "{}", ""])
def test_what_is_no_result(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ResultError, match=r"result\.json: "):
        read_result(path)


# The registry


def test_a_result_of_the_registry_is_accepted(result: Json, read: Callable[[Json], Result]) -> None:
    check_registry(read(result), "result.json")


@pytest.mark.parametrize(
    ("where", "new", "message"),
    [
        ("task", "no-such-task", "result.json: unknown task 'no-such-task'"),
        ("task_hash", "f" * 64, "result.json: task_hash is ffff"),
        ("data/revision", "f" * 40, "result.json: data.revision is ffff"),
        ("source_measure", "MRR@7", "result.json: source_measure is MRR@7, the registry's"),
        ("candidates/sha256", "f" * 64, "not on the task's frozen list"),
        ("reranker/inputs", ["image+text"], "is not covered: queries are "),
    ],
)
def test_a_result_that_the_registry_does_not_know(
    result: Json, read: Callable[[Json], Result], task: Task, where: str, new: Any, message: str
) -> None:
    with pytest.raises(ResultError) as caught:
        check_registry(read(put(result, where, new)), "result.json")
    assert message in str(caught.value) and "\n" not in str(caught.value)


# Runs


def test_a_run_record_comes_back_as_it_was_written(result: Json, tmp_path: Path) -> None:
    record = RunRecord.model_validate(
        {
            "schema_version": 1,
            "mrb_version": "0.1.0",
            "reranker": result["reranker"],
            "suite": "mini",
            "suite_version": "1.0",
            "tasks": ["a", "b"],
            "not_covered": [{"task": "b", "reason": "queries are image"}],
            "command": ["mrb", "run", "--set", "prompt=two\nlines"],
            "environment": {"python": "3.11"},
            "timings": {"a": {"seconds": 1.5, "pairs": 10}},
        }
    )
    write_run(tmp_path, record)
    assert read_run(tmp_path) == record
    with pytest.raises(ResultError, match=r"run\.json: cannot be read"):
        read_run(tmp_path / "elsewhere")
    (tmp_path / "runs" / "a").mkdir(parents=True)
    write_run(tmp_path / "runs" / "a", record)
    with pytest.raises(
        ResultError, match=r"runs: not the folder of a run; it holds 1 of them, name these: \S+/runs/a$"
    ):
        read_run(tmp_path / "runs")


def test_the_result_files_of_a_run(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{}")
    (tmp_path / "c").mkdir()
    wanted = [tmp_path / "a" / "result.json", tmp_path / "b" / "result.json"]
    assert list_result_files(tmp_path) == wanted
    assert list_result_files(wanted[0]) == [wanted[0]]
    with pytest.raises(ResultError, match="holds no result: wanted a result file or a run folder"):
        list_result_files(tmp_path / "c")
