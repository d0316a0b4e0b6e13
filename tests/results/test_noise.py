"""The stored noise floor: read strictly, shown by a run's table and by the board, and never for another reranker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrb.errors import ResultError
from mrb.leaderboard.build import build
from mrb.results.noise import NoiseRecord, read_noise, write_noise
from mrb.results.run import load_run
from mrb.results.schema import MAX_RESULT_BYTES, read_run
from mrb.results.table import format_run
from tests.builders.run_folders import write_run_folder

MakeRun = Callable[..., Path]
Json = dict[str, Any]


def task(mean_change: float = 0.002, **fields: Any) -> Json:
    base = {
        "candidates": "ab" * 32,
        "queries": 20,
        "pairs": 500,
        "spread": 1.5,
        "largest_difference": 0.01,
        "rank_changes": 7,
        "top_changes": 2,
        "first": 0.5,
        "second": 0.501,
        "mean_change": mean_change,
        "largest_change": 0.03,
    }
    return base | fields


def noise(run: Path, **fields: Any) -> Json:
    """A noise file of the run's own reranker; two tasks, floor 0.003."""
    base: Json = {
        "schema_version": 1,
        "mrb_version": "0.1.0",
        "reranker": read_run(run).reranker.model_dump(mode="json"),
        "plans": ["all at once", "one by one"],
        "depth": 25,
        "tasks": {"mini-faq-t2t": task(0.002), "mini-flag-t2i": task(0.004)},
        "floor": 0.003,
        "environment": {"python": "3.11.2"},
    }
    return base | fields


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder; not to be changed."""
    return write_run_folder(tmp_path_factory.mktemp("runs") / "one", 0.5)


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(written, tmp_path / "runs" / written.name))


def store(run: Path, value: object) -> Path:
    path = run / "noise.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def last_lines(run: Path) -> list[str]:
    return [line for line in format_run(load_run(run)).splitlines() if "noise" in line]


def test_it_comes_back_as_it_was_written(run: Path) -> None:
    assert read_noise(run) is None
    record = NoiseRecord.model_validate(noise(run))
    path = write_noise(run, record)
    assert read_noise(run) == record
    assert json.loads(path.read_text()) == noise(run)


def test_the_table_of_a_run_has_one_line_of_it(run: Path) -> None:
    plain = format_run(load_run(run))
    store(run, noise(run))
    line = "noise floor: nDCG@10 moves by 0.300 a query on average between two batch plans (2 tasks, depth 25)"
    assert format_run(load_run(run)) == f"{plain}\n{line}"


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("version", "2", "version was 2, is 1"),
        ("options", {"seed": 7}, "option seed was 7, is not given"),
        ("kind", "setwise", "kind was setwise, is pointwise"),
    ],
)
def test_that_of_another_reranker_is_named_and_not_used(run: Path, field: str, value: Any, named: str) -> None:
    other = noise(run)
    store(run, other | {"reranker": other["reranker"] | {field: value}})
    (line,) = last_lines(run)
    assert line.startswith(f"noise.json is not used: measured on another reranker ({named})")
    assert "0.300" not in line


@pytest.mark.slow
def test_the_board_names_that_of_another_reranker_and_leaves_it_out(run: Path, tmp_path: Path) -> None:
    other = noise(run)
    store(run, other | {"reranker": other["reranker"] | {"version": "2"}})
    page = build([run], tmp_path / "site").with_name("models").joinpath(f"{run.name}.html").read_text()
    assert "measured on another reranker (version was 2, is 1)" in page
    assert not (tmp_path / "site" / "data" / "one" / "noise.json").exists()


def test_where_the_source_lies_makes_no_other_reranker(run: Path) -> None:
    own = noise(run)
    store(run, own | {"reranker": own["reranker"] | {"source_sha256": "0" * 64, "source": "elsewhere.py"}})
    assert last_lines(run)[0].startswith("noise floor: ")


WRONG: list[tuple[str, Json, str]] = [
    ("version", {"schema_version": 2}, "schema_version: Input should be 1"),
    ("unknown field", {"more": 1}, "more: unknown field"),
    ("no tasks", {"tasks": {}, "floor": 0.0}, "tasks: Dictionary should have at least 1 item"),
    ("a path for a task", {"tasks": {"../../x": task(0.003)}}, "tasks.../../x"),
    ("unknown field of a task", {"tasks": {"a": task(0.003, more=1)}}, "tasks.a.more: unknown field"),
    ("another floor", {"floor": 0.0}, "floor is 0.0, the tasks' mean_change averages to 0.003"),
    ("floor above 1", {"floor": 1.5}, "floor: Input should be less than or equal to 1"),
    ("floor as text", {"floor": "0.003"}, "floor: Input should be a valid number"),
    ("floor as truth", {"floor": True}, "floor: Input should be a valid number"),
    ("depth", {"depth": 0}, "depth: Input should be greater than 0"),
    ("three plans", {"plans": ["a", "b", "c"]}, "plans: "),
    ("control characters", {"plans": ["a", "\x1b[31m"]}, "plans.1: String should match pattern"),
    ("a long word", {"environment": {"python": "x" * 201}}, "environment.python: String should have at most 200"),
    ("negative", {"tasks": {"a": task(0.003, spread=-1.0)}}, "tasks.a.spread: Input should be greater than or equal"),
    ("more ranks than pairs", {"tasks": {"a": task(0.003, rank_changes=501)}}, "rank_changes is 501, of 500 pairs"),
    ("more tops than queries", {"tasks": {"a": task(0.003, top_changes=21)}}, "top_changes is 21, of 20 queries"),
    ("mean over largest", {"tasks": {"a": task(0.04)}, "floor": 0.04}, "mean_change is 0.04, above largest_change"),
    ("far apart", {"tasks": {"a": task(0.003, second=0.9)}}, "first and second lie further apart than mean_change"),
    ("no queries", {"tasks": {"a": task(0.003, queries=0)}}, "tasks.a.queries: Input should be greater than or equal"),
    ("hash", {"tasks": {"a": task(0.003, candidates="ab")}}, "tasks.a.candidates: String should match pattern"),
]


@pytest.mark.parametrize(("changes", "wanted"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_does_not_fit_is_refused_by_name_wherever_it_is_read(
    run: Path, tmp_path: Path, changes: Json, wanted: str
) -> None:
    path = store(run, noise(run, **changes))
    for use in (lambda: read_noise(run), lambda: format_run(load_run(run)), lambda: build([run], tmp_path / "site")):
        with pytest.raises(ResultError) as caught:
            use()
        assert str(caught.value).startswith(f"{path}: ")
        assert wanted in str(caught.value)
        assert str(caught.value).isprintable()
    assert not (tmp_path / "site").exists(), "nothing is written before all is read"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "not valid JSON"),
        ("[]", "Input should be an object"),
        ('{"floor": NaN}', "NaN is not a number that JSON knows"),
        ('{"floor": 1e999}', "1e999 is larger than any number"),
        ('{"floor": 0.0, "floor": 1.0}', "the key 'floor' occurs twice"),
        ('{"x":' * 100_000 + "1" + "}" * 100_000, "not valid JSON"),
        (" " * (MAX_RESULT_BYTES + 1), f"more than {MAX_RESULT_BYTES} bytes"),
    ],
    ids=["empty", "list", "nan", "infinite", "twice", "deep", "huge"],
)
def test_hostile_json_is_refused(run: Path, text: str, wanted: str) -> None:
    store(run, text)
    with pytest.raises(ResultError, match=wanted):
        read_noise(run)


@pytest.mark.slow
def test_the_board_shows_and_links_it_and_leaves_an_honest_blank(make_run: MakeRun, tmp_path: Path) -> None:
    measured, not_measured = make_run("measured", 0.5), make_run("unknown", 0.4)
    path = store(measured, noise(measured))
    models = build([measured, not_measured], tmp_path / "site").with_name("models")
    assert (
        '<a href="../data/measured/noise.json">0.300</a> 2 tasks, depth 25</dd>'
        in (models / "measured.html").read_text()
    )
    assert "<dt>Noise floor</dt><dd>not measured</dd>" in (models / "unknown.html").read_text()
    assert (tmp_path / "site" / "data" / "measured" / "noise.json").read_bytes() == path.read_bytes()
    assert not (tmp_path / "site" / "data" / "unknown" / "noise.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("floor", "shown"), [(0.0, ">0.000<"), (1e-7, ">&lt; 0.001<"), (0.0123456, ">1.235<")])
def test_a_floor_that_is_there_is_never_shown_as_nothing(run: Path, tmp_path: Path, floor: float, shown: str) -> None:
    store(run, noise(run, floor=floor, tasks={"mini-faq-t2t": task(floor, second=0.5)}))
    assert shown in build([run], tmp_path / "site").with_name("models").joinpath(f"{run.name}.html").read_text()
