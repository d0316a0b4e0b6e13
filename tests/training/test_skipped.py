"""Groups that cannot be trained on: named, or skipped and counted, the same after a kill and in several processes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrb.errors import MRBError, TrainingError
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


def rewrite(groups: Path, number: int, change: Callable[[Any], object]) -> None:
    """Change a row of a file of groups."""
    lines = [json.loads(line) for line in groups.read_text().splitlines()]
    change(lines[number])
    groups.write_text("".join(json.dumps(line) + "\n" for line in lines))


def enlarge(groups: Path, *rows: int) -> None:
    """Give the queries of some rows a picture that no prompt holds."""
    (groups.parent / "images" / "large.png").write_bytes(picture(420, 420, 7).encoded)
    for row in rows:
        rewrite(groups, row, lambda content: content["query"].update(image="images/large.png"))


def damage(groups: Path, number: int) -> None:
    """Cut off the query's image of a row; its header stays."""
    image = groups.parent / json.loads(groups.read_text().splitlines()[number])["query"]["image"]
    image.write_bytes(image.read_bytes()[:60])


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
    killed_at(small(*changes, skip), out, 4)
    train(small(*changes, skip, "memory.workers=1"), out, fresh=False, command=())
    assert read_curve(out) == read_curve(tmp_path / "whole")
    assert list_skipped(out) == skipped


def test_processes_stay_in_step_where_groups_are_skipped(small: Any, tmp_path: Path) -> None:
    enlarge(tmp_path / "toy.jsonl", 2, 5)
    changes = ["schedule.steps=3", "memory.queries=1", "data.on_error=skip", "tuning.vision=trained"]
    train(small(*changes), tmp_path / "one", fresh=False, command=())
    more = [word for change in (*LIMITS, *changes) for word in ("--set", change)]
    done = launched(["-m", "mrb", "train", str(tmp_path / "small.toml"), *more, "--out", "two"], 2, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list_skipped(tmp_path / "two") == list_skipped(tmp_path / "one")
    for one, other in zip(read_curve(tmp_path / "one"), read_curve(tmp_path / "two"), strict=True):
        assert other == pytest.approx(one, rel=2e-4)


@pytest.mark.parametrize("vision", ["frozen", "trained"])
def test_an_image_that_cannot_be_decoded_is_found_by_its_group(small: Any, tmp_path: Path, vision: str) -> None:
    groups = tmp_path / "toy.jsonl"
    changes = ["schedule.steps=2", f"tuning.vision={vision}"]
    prepare(small(*changes).recipe.data)  # it is damaged after the check
    damage(groups, 3)
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


def test_prompts_that_lose_text_are_counted(small: Any, tmp_path: Path) -> None:
    groups = tmp_path / "toy.jsonl"
    rewrite(groups, 2, lambda row: row["query"].update(text="what is blue? " * 200))
    # All eight groups once, with four documents each.
    changes = ["model.max_length=400", "schedule.steps=2", "schedule.queries=4"]
    wanted = "12.5 % of 32 prompts lose text to max_length, 12.5 % all of their document's"
    assert f"  {wanted}" in list(report_dry_run(small(*changes)))
    train(small(*changes), tmp_path / "out", fresh=False, command=())
    curve = read_curve(tmp_path / "out", "documents", "cut", "emptied")
    assert [sum(column) for column in zip(*curve, strict=True)] == [32, 4, 4]
    record = read_training_record(tmp_path / "out")
    assert record is not None
    assert (record.documents, record.cut, record.emptied) == (32, 4, 4)
    assert wanted in (tmp_path / "out" / "model" / "README.md").read_text()


def test_a_group_whose_negatives_are_all_outside_the_window_trains_pointwise_losses_alone(
    small: Any, tmp_path: Path
) -> None:
    groups = tmp_path / "toy.jsonl"
    rewrite(groups, 2, lambda row: row.update(negatives=[one for one in row["negatives"] if "rank" in one]))
    changes = ["sampling.first_rank=50", "schedule.steps=2"]
    train(small(*changes), tmp_path / "pointwise", fresh=False, command=())
    words = rf"^{groups}, row 3: none of its negatives can be sampled, and this loss compares documents \(source toy\)$"
    with pytest.raises(TrainingError, match=words):
        train(small(*changes, "loss.name=contrastive", "model.layout=gmr-cl"), tmp_path / "cl", fresh=False, command=())


def test_rows_that_the_check_found_are_left_out_and_counted(small: Any, tmp_path: Path, caplog: Any) -> None:
    groups = tmp_path / "toy.jsonl"
    damage(groups, 3)
    rewrite(groups, 5, lambda row: row.update(negatives=[]))
    with pytest.raises(MRBError, match=rf"^{groups}, row 4, image images/"):
        prepare(small().recipe.data)
    skip = small("data.on_error=skip", "schedule.steps=1")
    found = prepare(skip.recipe.data)
    assert (found.groups, found.left_out.bad, found.left_out.no_negatives) == (6, 1, 1)
    caplog.clear()
    train(skip, tmp_path / "out", fresh=False, command=())  # by a loss that does not compare documents
    assert f"{groups}: 1 rows cannot be trained on, left out; `mrb train check" in caplog.text
    assert "checking its groups" not in caplog.text
    record = read_training_record(tmp_path / "out")
    assert record is not None
    assert (record.groups, record.left_out.bad, record.left_out.no_negatives, record.skipped) == (7, 1, 0, 0)
    card = (tmp_path / "out" / "model" / "README.md").read_text()
    assert "Left out: 0 groups without negatives, 1 that could not be trained on." in card


def test_a_document_without_the_teachers_score_is_named(small: Any, tmp_path: Path) -> None:
    """Distillation trains on what has scores; a row without one is refused, or skipped as any other."""
    groups = tmp_path / "toy.jsonl"

    def teach(row: dict[str, Any]) -> None:
        for place, one in enumerate((*row["positives"], *row["negatives"])):
            one["teacher"] = -1.5 * place

    for number in range(8):
        rewrite(groups, number, teach)
    rewrite(groups, 4, lambda row: [one.pop("teacher") for one in row["negatives"]])
    changes = ("loss.name=listwise", "loss.target=teacher", "schedule.steps=2")
    with pytest.raises(TrainingError, match=rf"^{groups}, row 5: a negative \((h|r)\d+\) has no teacher's score"):
        train(small(*changes), tmp_path / "out", fresh=False, command=())
    train(small(*changes, "data.on_error=skip"), tmp_path / "out", fresh=True, command=())
    (row,) = list_skipped(tmp_path / "out")
    assert "row 5: a negative" in row["problem"]
    assert all(loss > 0 for (loss,) in read_curve(tmp_path / "out", "loss"))
