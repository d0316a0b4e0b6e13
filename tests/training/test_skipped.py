"""Groups that cannot be trained on: named, or skipped and counted, the same after a kill and in several processes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrb.errors import MRBError, TrainingError
from mrb.training import run
from mrb.training.data.prepare import prepare
from mrb.training.dry_run import report_dry_run
from mrb.training.log import Table
from mrb.training.record import read_training_record
from mrb.training.run import train
from mrb.training.skipped import SKIPPED_COLUMNS
from tests.builders.requests import picture
from tests.builders.training import killed_at, launched, read_curve, recipe_of, toy_groups

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]
LIMITS = ("model.max_length=200", "model.max_pixels=400000")
LONG = "a prompt of .* cannot be cut to max_length=200"


@pytest.fixture
def small(tmp_path: Path, tiny: Tiny, training_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MRB_CACHE", str(training_cache))
    groups = toy_groups(tmp_path)
    return lambda *changes: recipe_of(tmp_path, tiny("qwen2_5_vl"), groups, (*LIMITS, *changes))


def enlarge(groups: Path, *rows: int) -> None:
    """Give the queries of some rows a picture that no prompt holds."""
    lines = [json.loads(line) for line in groups.read_text().splitlines()]
    image = groups.parent / "images" / "large.png"
    image.write_bytes(picture(420, 420, 7).encoded)
    for row in rows:
        lines[row]["query"]["image"] = "images/large.png"
    groups.write_text("".join(json.dumps(line) + "\n" for line in lines))


def list_skipped(out: Path) -> list[dict[str, str]]:
    return Table(out / "skipped.csv", SKIPPED_COLUMNS).read_rows()


def test_a_run_with_bad_groups_in_the_middle_goes_on_the_same_after_a_kill(small: Any, tmp_path: Path) -> None:
    groups = tmp_path / "toy.jsonl"
    enlarge(groups, 2, 5)
    changes = ["schedule.steps=5", "output.save_every=2", "loss.name=contrastive", "model.layout=gmr-cl"]
    skip = "data.on_error=skip"
    with pytest.raises(MRBError, match=rf"^{groups}, row [36]: {LONG}.* \(source toy\)$"):
        train(small(*changes), tmp_path / "stopped", fresh=False, command=())
    shown = "\n".join(report_dry_run(small(*changes, skip)))
    assert re.search(rf"\d of \d+ groups cannot be .* the first: {groups}, row [36]: {LONG}", shown)

    train(small(*changes, skip), tmp_path / "whole", fresh=False, command=())
    skipped = list_skipped(tmp_path / "whole")
    assert len(skipped) > 2
    assert {re.sub(": .*", "", row["problem"]) for row in skipped} == {f"{groups}, row 3", f"{groups}, row 6"}
    record = read_training_record(tmp_path / "whole")
    assert record is not None and record.skipped == len(skipped)
    assert sum(count for (count,) in read_curve(tmp_path / "whole", "skipped")) == len(skipped)
    assert f"In {len(skipped)} places of the run a group" in (tmp_path / "whole" / "model" / "README.md").read_text()

    out = tmp_path / "stopped"  # what stopped goes on with another setting
    killed_at(small(*changes, skip, "memory.workers=1"), out, 4)
    train(small(*changes, skip), out, fresh=False, command=())
    assert read_curve(out) == read_curve(tmp_path / "whole")
    assert list_skipped(out) == skipped


def test_processes_stay_in_step_where_groups_are_skipped(small: Any, tmp_path: Path) -> None:
    enlarge(tmp_path / "toy.jsonl", 2, 5)
    changes = ["schedule.steps=3", "memory.queries=1", "data.on_error=skip", "tuning.vision=trained"]
    train(small(*changes), tmp_path / "one", fresh=False, command=())
    more = [word for change in (*LIMITS, *changes) for word in ("--set", change)]
    done = launched(["train", str(tmp_path / "small.toml"), *more, "--out", "two"], 2, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list_skipped(tmp_path / "two") == list_skipped(tmp_path / "one")
    for one, other in zip(read_curve(tmp_path / "one"), read_curve(tmp_path / "two"), strict=True):
        assert other == pytest.approx(one, rel=2e-4)


@pytest.mark.parametrize("vision", ["frozen", "trained"])
def test_an_image_that_cannot_be_decoded_is_found_by_its_group(
    small: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vision: str
) -> None:
    groups = tmp_path / "toy.jsonl"
    changes = ["schedule.steps=2", f"tuning.vision={vision}"]
    prepared = prepare(small(*changes).recipe.data)
    monkeypatch.setattr(run, "prepare", lambda *given: prepared)  # they were checked, and damaged afterwards
    image = tmp_path / json.loads(groups.read_text().splitlines()[3])["query"]["image"]
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(MRBError, match=rf"^{groups}, row 4, image images/.* \(source toy\)$"):
        train(small(*changes), tmp_path / "out", fresh=False, command=())
    train(small(*changes, "data.on_error=skip"), tmp_path / "out", fresh=False, command=())
    (row,) = list_skipped(tmp_path / "out")
    assert row["problem"].startswith(f"{groups}, row 4, image images/")
    assert len(read_curve(tmp_path / "out")) == 2


def test_too_many_bad_groups_end_a_run(small: Any, tmp_path: Path) -> None:
    groups = tmp_path / "toy.jsonl"
    enlarge(groups, 2, 5)
    changes = ["data.on_error=skip", "data.max_skipped=1", "schedule.steps=4"]
    with pytest.raises(TrainingError, match=r"^2 groups could not be .* data.max_skipped is 1; .*skipped\.csv$"):
        train(small(*changes), tmp_path / "out", fresh=False, command=())
    enlarge(groups, *range(8))
    with pytest.raises(TrainingError, match=rf"^{groups}, row \d: {LONG}.*; the 1 groups after it cannot be trained"):
        train(small(*changes), tmp_path / "all", fresh=False, command=())
