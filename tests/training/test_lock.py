"""Two trainings in one folder, and a log whose last line was cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.errors import ResultError
from mrb.evaluation.lock import lock_folder
from mrb.training import run
from mrb.training.log import Table
from mrb.training.record import TrainingRecord, read_training_record
from tests.builders.training import recipe_of, toy_groups

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def cache(training_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(training_cache))


def test_a_second_training_in_the_folder_is_refused(tmp_path: Path, tiny: Callable[[str], Path]) -> None:
    recipe = recipe_of(tmp_path, tiny("qwen3"), toy_groups(tmp_path, pictures=False))
    with lock_folder(tmp_path / "out"), pytest.raises(ResultError, match="out: in use by process"):
        run.train(recipe, tmp_path / "out", fresh=True, command=())
    assert read_training_record(tmp_path / "out") is None


def test_a_run_that_says_it_is_finished_has_its_card(
    tmp_path: Path, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(tmp_path, tiny("qwen3"), toy_groups(tmp_path, pictures=False), ("schedule.steps=1",))
    out = tmp_path / "out"
    write = run.write_training_record

    def killed_when_finished(folder: Path, record: TrainingRecord) -> None:
        if record.finished:
            raise KeyboardInterrupt
        write(folder, record)

    monkeypatch.setattr(run, "write_training_record", killed_when_finished)
    with pytest.raises(KeyboardInterrupt):
        run.train(recipe, out, fresh=False, command=())
    assert (out / "model" / "README.md").is_file()
    monkeypatch.setattr(run, "write_training_record", write)
    run.train(recipe, out, fresh=False, command=())
    record = read_training_record(out)
    assert record is not None and record.finished
    assert (out / "model" / "README.md").is_file()


def test_a_line_of_the_log_that_was_cut_is_no_line(tmp_path: Path) -> None:
    table = Table(tmp_path / "log.csv", ("step", "loss"))
    for step in (1, 2, 12):
        table.add_row({"step": step, "loss": 0.5})
    whole = table.path.read_text()
    table.path.write_text(whole[: whole.index("12,") + 1])  # it reads as step 1 now
    assert [row["step"] for row in table.read_rows()] == ["1", "2"]
    table.cut_after(2)
    assert table.path.read_text() == "step,loss\n1,0.5\n2,0.5\n"
