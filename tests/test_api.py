"""The Python front door: the same numbers and files as the command line, from names, classes, functions and objects."""

from __future__ import annotations

import asyncio
import doctest
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import mrb
from mrb.errors import AdapterError, MRBError, ResultError, TaskError
from mrb.evaluation.live import name_for_workers
from mrb.rerankers.reranker import Request
from tests.builders.command import MRB, read_error
from tests.builders.data_folders import write_beir

TASK = "mini-faq-t2t"
ADAPTER = """
class Overlap:
    version = "1"

    def score(self, request):
        words = set(request.query.text.lower().split())
        return [len(words & set(item.text.lower().split())) for item in request.candidates]
"""


@pytest.fixture
def overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module `overlap` with one adapter, importable from the working folder."""
    (tmp_path / "overlap.py").write_text(ADAPTER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module("overlap")
    del sys.modules["overlap"]


def longest(request: Request) -> list[int]:
    return [len(candidate.text) for candidate in request.candidates]


def evaluate(model: object, **given: object) -> mrb.Run:
    """Ten queries of one task."""
    return mrb.evaluate(model, tasks=TASK, limit=10, **given)  # type: ignore[arg-type]


# The package


def test_import_loads_nothing_heavy() -> None:
    code = "import mrb, sys; mrb.__version__, dir(mrb); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded.isdisjoint({"numpy", "pandas", "pydantic", "torch", "click", "pyarrow", "transformers", "datasets"})
    assert "mrb.api" not in done.stdout.split()


def test_every_name_is_there_and_no_other() -> None:
    for name in mrb.__all__:
        assert getattr(mrb, name) is getattr(mrb, name)
    assert {name for name in dir(mrb) if not name.startswith("__")} == set(mrb.__all__) - {"__version__"}
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        mrb.evalute  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", ["mrb.api", "mrb.metrics.own_measures"])
def test_examples_of_docstrings_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrb.metrics.own_measures._REGISTERED", {})  # an example registers one, for the whole process
    found = doctest.testmod(import_module(name))
    assert found.attempted > 2
    assert found.failed == 0


# The same as the command line


@pytest.mark.slow
def test_files_are_those_of_the_command_line(overlap: ModuleType, tmp_path: Path) -> None:
    # In a process of its own: journals name the packages that are imported.
    command = [MRB, *f"run --model overlap --task {TASK} --limit 10 --out command".split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code = f"""
        import mrb, overlap
        ways = {{"name": "overlap", "file": "overlap.py", "class": overlap.Overlap, "object": overlap.Overlap()}}
        for out, model in ways.items():
            print(mrb.evaluate(model, tasks="{TASK}", limit=10, out=out).table())
        print(mrb.evaluate(overlap.Overlap(), tasks="{TASK}", limit=10).table())
    """
    words = [sys.executable, "-c", textwrap.dedent(code)]
    python = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert python.returncode == 0, python.stderr
    table = done.stdout.rpartition("results: ")[0].strip()
    assert python.stdout.count(table) == 5
    wanted = read_files(tmp_path / "command")
    assert len(wanted) == 4
    for out in ("name", "file", "class", "object"):
        assert read_files(tmp_path / out) == wanted, out
        assert read_record(tmp_path / out) == read_record(tmp_path / "command")
    assert not (tmp_path / "runs").exists()


def read_files(out: Path) -> dict[str, bytes]:
    """The files of the task, by name."""
    return {path.name: path.read_bytes() for path in (out / "overlap" / TASK).iterdir()}


def read_record(out: Path) -> dict[str, object]:
    """The record of the run, without what differs from call to call."""
    record: dict[str, object] = json.loads((out / "overlap" / "run.json").read_text())
    return {name: value for name, value in record.items() if name not in ("command", "timings", "environment")}


def test_a_sub_suite_is_run_and_compared(overlap: ModuleType) -> None:
    overlap.Overlap.inputs = {"query": ("text",), "document": ("text", "image", "image+text")}
    whole = mrb.evaluate(overlap.Overlap(), suite="mini", limit=3)
    part = mrb.evaluate(overlap.Overlap(), suite="mini-text-query", limit=3)
    assert (part.record.suite, len(part.tasks), len(whole.record.not_covered)) == ("mini-text-query", 4, 5)
    assert "text-query: 4 types" in whole.table() and "average over 4 types" in part.table()
    assert len(mrb.compare(whole, part, suite="mini-text-query").tasks) == 4
    assert len(mrb.list_tasks("mrb-text-query")) == 25


@pytest.mark.slow
def test_workers_give_the_same(overlap: ModuleType, tmp_path: Path) -> None:
    one = mrb.evaluate(overlap.Overlap, tasks=TASK, limit=10)
    several = mrb.evaluate(overlap.Overlap, tasks=TASK, limit=10, workers=2)
    assert several.to_frame().equals(one.to_frame())
    assert several.record.environment["workers"] == "2"


def test_workers_need_what_other_processes_can_build(overlap: ModuleType) -> None:
    line = read_error(AdapterError, evaluate, overlap.Overlap(), workers=2)
    assert line.startswith("overlap: several workers need the name or the class")
    assert "must be in a module" in read_error(AdapterError, evaluate, lambda request: [], workers=2)


@pytest.mark.parametrize("change", [None, "SIGN", "table"])
def test_workers_refuse_a_function_whose_values_they_may_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str | None
) -> None:
    name = f"signed_{change}"
    parameters = "request, table=[1]" if change == "table" else "request"
    body = "return [SIGN * len(item.text) for item in request.candidates]"
    code = f"SIGN: int = -1\n\ndef score({parameters}):\n    {body}\n"
    (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = import_module(name)
    if change == "SIGN":
        module.SIGN = 1  # type: ignore[attr-defined]
    if change is None:
        assert name_for_workers(module.score) == name
    else:
        assert f"it uses {change}, which other processes" in read_error(AdapterError, evaluate, module.score, workers=2)


def test_workers_take_a_lambda_by_the_name_of_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "unnamed.py").write_text("score = lambda request: [1.0 for item in request.candidates]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    line = read_error(AdapterError, name_for_workers, import_module("unnamed").score)
    assert line.endswith("several workers import the reranker by its name: give 'unnamed:score'")


def test_defaults_of_an_inner_function_are_no_part_of_its_source(tmp_path: Path) -> None:
    def make(scale: int) -> Callable[[Request], list[int]]:
        def inner(request: Request, scale: int = scale) -> list[int]:
            return [scale * len(item.text) for item in request.candidates]

        return inner

    evaluate(make(1), out=tmp_path, name="mine")
    assert "it uses scale" in read_error(ResultError, evaluate, make(-1), out=tmp_path, name="mine")


# Forms of a model


def test_functions_classes_and_objects_are_models(overlap: ModuleType) -> None:
    base = evaluate(longest)
    assert base.name == "tests.test_api.longest"  # as `--model tests.test_api:longest` would be called
    found = evaluate(overlap.Overlap())
    assert found.name == "overlap"
    assert evaluate(overlap.Overlap().score).to_frame()["mean"].equals(found.to_frame()["mean"])
    assert evaluate(lambda request: longest(request)).name == "function"
    assert read_error(ResultError, mrb.compare, [base, found]).startswith("a run is mrb.Run or a folder, not list")
    assert mrb.compare(base, found).runs == ("tests.test_api.longest", "overlap")
    with_option = evaluate("cross-encoder" if False else Power, options={"exponent": 3})
    assert with_option.record.reranker.options == {"exponent": 3}


class Power:
    def __init__(self, exponent: int = 2) -> None:
        self.exponent = exponent

    def score(self, request: Request) -> list[int]:
        return [len(item.text) ** self.exponent for item in request.candidates]


class Waiting:
    """Async, with a counter of `close`."""

    def __init__(self) -> None:
        self.closed = 0

    async def score(self, request: Request) -> list[float]:
        await asyncio.sleep(0)
        return [float(len(item.text)) for item in request.candidates]

    async def close(self) -> None:
        self.closed += 1


class Sign:
    """The lengths of documents, or their opposite."""

    def __init__(self, reverse, thing=None) -> None:  # type: ignore[no-untyped-def]
        self.sign = -1 if reverse else 1

    def score(self, request: Request) -> list[int]:
        return [self.sign * len(candidate.text) for candidate in request.candidates]


class Client:
    def __repr__(self) -> str:
        return "Client(api_key='planted-abcdef')"


def test_options_of_a_class_are_values_not_texts(tmp_path: Path) -> None:
    values = [
        evaluate(Sign, options={"reverse": reverse})[TASK].result.measures["nDCG@10"].mean for reverse in (False, True)
    ]
    assert values[0] == evaluate(longest)[TASK].result.measures["nDCG@10"].mean != values[1]
    shown = [evaluate(Sign, options={"reverse": False, "thing": object()}).record.reranker.options for _ in range(2)]
    assert shown[0] == shown[1] == {"reverse": False, "thing": "<object object>"}
    options = {"reverse": True, "thing": Client()}
    record = evaluate(Sign, options=options, out=tmp_path).record
    assert record.command[0].endswith("options={'reverse': True, 'thing': '<Client>'})")
    assert not [path for path in tmp_path.rglob("*.json") if "planted" in path.read_text()]
    line = read_error(ResultError, evaluate, Sign, options=options, out=tmp_path)
    assert "its option thing is an object" in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"reverse": False}, "option 'reverse' has no type in the signature"),
        ({"reverse": "no", "words": [object()]}, "option 'words' is a list, which no text gives"),
        ({"reverse": "no", "words": ["a" * 2000]}, "option 'words' has 2,004 characters as results hold it"),
    ],
)
def test_options_by_name_that_no_text_gives_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], told: str
) -> None:
    code = ADAPTER.replace('version = "1"', "def __init__(self, reverse, words: list = ()): pass")
    (tmp_path / "untyped.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    assert told in read_error(AdapterError, evaluate, "untyped", options=options)


def test_a_long_call_is_cut_in_the_record() -> None:
    run = mrb.evaluate("random", tasks=TASK, limit=1, types=["t2t"] * 1000)
    assert len(run.record.command[0]) == 4000


def test_it_works_inside_a_running_event_loop() -> None:
    async def call() -> mrb.Run:
        return evaluate(model)

    model = Waiting()
    inside = asyncio.run(call())
    assert inside.to_frame()["mean"].equals(evaluate(longest).to_frame()["mean"])


def test_objects_of_the_caller_are_not_closed() -> None:
    model = Waiting()
    evaluate(model)
    evaluate(model)
    assert model.closed == 0


@pytest.mark.parametrize("model", [object(), 3, int, "no-such-reranker"])
def test_what_is_no_model_is_refused_in_one_line(model: object) -> None:
    read_error(AdapterError, evaluate, model)


def test_mistakes_are_errors_of_one_line() -> None:
    assert "whole number from 1" in read_error(MRBError, mrb.evaluate, longest, tasks=TASK, depth=0)
    assert "whole number from 1" in read_error(MRBError, mrb.evaluate, longest, tasks=TASK, limit=True)
    assert "did you mean mini-faq-t2t" in read_error(TaskError, mrb.evaluate, longest, tasks="mini-faq-t2")
    assert "no option 'exponnent'" in read_error(AdapterError, evaluate, Power, options={"exponnent": 1})
    with pytest.raises(TypeError):
        mrb.evaluate(longest, task=TASK)  # type: ignore[call-arg]


# Folders


def test_without_out_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = evaluate(longest)
    assert list(tmp_path.iterdir()) == []
    assert found.path is None
    assert "was not written to disk" in read_error(ResultError, lambda: found.folder)
    assert "nDCG@10" in found.table()
    assert found[TASK].per_query()["query_id"].nunique() == 10
    assert "it has mini-faq-t2t" in read_error(ResultError, lambda: found["other"])
    assert list(found) == [TASK]


def test_a_folder_is_loaded_again(tmp_path: Path) -> None:
    found = evaluate(longest, out=tmp_path, name="mine")
    again = mrb.load_run(str(tmp_path / "mine"))
    assert again.to_frame().equals(found.to_frame())
    assert "given twice" in read_error(ResultError, mrb.compare, again, tmp_path / "mine")


def test_scores_of_an_object_with_state_are_not_taken_for_those_of_now(tmp_path: Path) -> None:
    model = Power(2)
    evaluate(model, out=tmp_path, name="power")
    model.exponent = -1
    line = read_error(ResultError, evaluate, model, out=tmp_path, name="power")
    assert "its attributes, such as exponent, may have changed" in line
    changed = evaluate(model, out=tmp_path, name="power", fresh=True)
    assert changed.to_frame()["mean"].equals(evaluate(model).to_frame()["mean"])
    evaluate(Power, out=tmp_path, name="class")
    evaluate(Power, out=tmp_path, name="class")  # MRB builds a class itself, so it knows its state


SHIFT = [0]


def shifted(request: Request) -> list[int]:
    return [SHIFT[0] - len(item.text) for item in request.candidates]


def test_functions_that_use_other_values_are_not_continued(tmp_path: Path) -> None:
    evaluate(longest, out=tmp_path, name="longest")
    evaluate(longest, out=tmp_path, name="longest")
    evaluate(shifted, out=tmp_path, name="shifted")
    assert "it uses SHIFT" in read_error(ResultError, evaluate, shifted, out=tmp_path, name="shifted")
    power = 2
    evaluate(lambda request: [power] * 25, out=tmp_path, name="inner")
    assert "it uses power" in read_error(
        ResultError, evaluate, lambda request: [power] * 25, out=tmp_path, name="inner"
    )


# Tasks, checks, measures


def test_tasks_are_listed_and_loaded() -> None:
    assert len(mrb.list_tasks("mrb")) == 40
    assert {task.type for task in mrb.list_tasks("mini", type="it2i")} == {"it2i"}
    task = mrb.load_task(TASK)
    query_id = "ask-faq/design#1"
    assert task.queries[query_id].text
    assert query_id in task.candidates and len(task.candidates[query_id]) == 100
    assert set(task.qrels) == set(task.queries)
    with pytest.raises(KeyError):
        task.corpus["no such document"]
    read_error(TaskError, mrb.load_task, "mini-faq")


def test_a_check_says_what_does_not_hold() -> None:
    held = mrb.check(longest, tasks=TASK)
    assert held.broken == () and "holds what it declares" in str(held)
    seen: list[int] = []

    def drifting(request: Request) -> list[float]:
        seen.append(0)
        return [float(len(seen) * (-1) ** n) for n, _ in enumerate(request.candidates)]

    broken = mrb.check(drifting, tasks=TASK)
    assert broken.broken and broken.broken[0] in str(broken)


def test_a_folder_of_ones_own_is_evaluated_and_loaded(tmp_path: Path) -> None:
    def reciprocal_rank(grades: Sequence[int], ideal: Sequence[int]) -> float:
        return next((1 / rank for rank, grade in enumerate(grades, 1) if grade), 0.0)

    (folder := tmp_path / "beers").mkdir()
    write_beir(folder)
    found = mrb.evaluate("bm25", data=folder, first_stage="bm25", measures={"RR": reciprocal_rank})
    assert found["beers"].result.counts.queries == 2
    rows = found.to_frame().set_index("measure")["mean"]
    assert rows["RR"] == pytest.approx(rows["MRR@10"])
    assert mrb.load_task(str(folder)).qrels["q2"] == {"doc2": 1}
    assert "is your own and in no suite" in read_error(TaskError, mrb.evaluate, "bm25", "mini", data=[folder])
