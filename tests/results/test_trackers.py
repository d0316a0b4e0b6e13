"""A run in a tracker: TensorBoard's own reader finds the numbers where it is installed; the calls that W&B and trackio
share are recorded, as wandb 0.31 (offline) and trackio 0.43 took them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mrb.errors import MRBError
from mrb.results.run import Run, load_run
from mrb.results.trackers import TRACKERS, list_numbers, log_run

MakeRun = Callable[..., Path]


@pytest.fixture
def run(make_run: MakeRun) -> Run:
    return load_run(make_run("toy", reranker={"options": {"path": "org/name", "depth": 3}}))


def test_the_numbers_are_those_of_the_results(run: Run) -> None:
    numbers = list_numbers(run)
    result = run.tasks["mini-faq-t2t"].result
    own, first = result.measures["nDCG@10"], result.first_stage["nDCG@10"].mean
    name = "mini-faq-t2t/nDCG@10"
    assert [numbers[name + end] for end in ("", "/low", "/gain")] == [own.mean, own.low, own.mean - first]
    assert len(numbers) == (9 + 4) * len(result.measures) * 6


@pytest.mark.parametrize("tracker", ["wandb", "trackio"])
def test_a_run_is_logged_by_the_calls_that_trackers_share(
    run: Run, tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, Any]] = []
    module = ModuleType(tracker)
    module.init = lambda **options: calls.append(("init", options))  # type: ignore[attr-defined]
    module.log = lambda numbers: calls.append(("log", numbers))  # type: ignore[attr-defined]
    module.finish = lambda: calls.append(("finish", None))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, tracker, module)
    assert "run toy of project papers" in log_run(run, tracker, project="papers")
    assert [name for name, _ in calls] == ["init", "log", "finish"]
    options = calls[0][1]
    assert (options["project"], options["name"]) == ("papers", "toy")
    assert options["config"]["option.path"] == "org/name" and options["config"]["suite"] == "mini"
    assert calls[1][1] == list_numbers(run)

    def refuse(**options: object) -> None:
        raise RuntimeError("no\nkey\x1b[2J")

    module.init = refuse  # type: ignore[attr-defined]
    with pytest.raises(MRBError, match=rf"^{tracker}: no key \[2J$"):
        log_run(run, tracker)


@pytest.mark.parametrize("tracker", list(TRACKERS))
def test_a_tracker_that_is_missing_is_named_with_its_install(
    run: Run, tracker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (tracker, f"{tracker}.summary"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MRBError, match=rf"^{tracker} is not installed: pip install {tracker}$"):
        log_run(run, tracker)


def test_tensorboards_own_reader_finds_the_numbers(run: Run, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing import event_accumulator as reader

    log_run(run, "tensorboard", folder=tmp_path)
    found = reader.EventAccumulator(str(tmp_path / "toy"), size_guidance={"tensors": 0})
    found.Reload()
    numbers = list_numbers(run)
    assert set(found.Tags()["tensors"]) == set(numbers)
    for name, value in numbers.items():
        (event,) = found.Tensors(name)
        assert event.tensor_proto.float_val[0] == pytest.approx(value, abs=1e-6)
