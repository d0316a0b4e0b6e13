"""Several processes of a run: who goes first, and that an error or a difference in one ends all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders.training import launched, recipe_of, toy_groups

pytestmark = [pytest.mark.torch, pytest.mark.slow]

SCRIPT = """
import json, sys
from pathlib import Path
from mrb.errors import MRBError, TrainingError
from mrb.training.processes import agree, join_processes, take_turns

here = join_processes(cpu=True)

def count():
    with open("turns", "a") as file:
        file.write(str(here.process_index))
    return Path("turns").read_text()

def fail():
    if here.process_index == 0:
        raise TrainingError("in the first alone")

def said(act):
    try:
        return act()
    except MRBError as error:
        return str(error)

found = [
    take_turns(here, count),
    said(lambda: take_turns(here, fail)),
    said(lambda: agree(here, lambda: Path("x"), "unlike")) == Path("x"),
    said(lambda: agree(here, lambda: here.process_index, "unlike")),
    said(lambda: agree(here, fail, "unlike")),
]
Path(f"found-{here.process_index}").write_text(json.dumps(found))
"""


def test_an_error_or_a_difference_in_one_process_ends_all(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = launched(["script.py"], 2, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    after = ["in the first alone", True, "unlike", "in the first alone"]
    assert json.loads((tmp_path / "found-0").read_text()) == ["0", *after]
    assert json.loads((tmp_path / "found-1").read_text()) == ["01", *after]


def test_bad_data_end_all_processes_in_one_line(tmp_path: Path, tiny: Any, training_cache: Path) -> None:
    groups = toy_groups(tmp_path)
    lines = [json.loads(line) for line in groups.read_text().splitlines()]
    lines[3]["positives"] = []
    groups.write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe_of(tmp_path, tiny("qwen2_5_vl"), groups)
    done = launched(["-m", "mrb", "train", str(tmp_path / "small.toml"), "--out", "out"], 2, tmp_path)
    assert done.returncode != 0
    assert f"mrb: {groups}, row 4: not a group" in done.stderr
    assert "timed out" not in done.stderr.lower()
