"""The page on training: its commands run in order, its recipe is one, its names are all there are."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from mrb.cli.main import cli
from mrb.training.data.files import GroupFile
from mrb.training.recipe import Recipe, list_recipes
from mrb.training.record import read_training_record

pytestmark = pytest.mark.torch

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def cache(training_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(training_cache))


def test_the_commands_of_the_page_run(
    tmp_path: Path, tiny: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny("qwen2_5_vl"), "base")
    (recipe,) = (block for block in blocks("toml") if block.startswith("# small.toml"))
    Path("small.toml").write_text(recipe)
    said = []
    for line in "".join(blocks("console")).splitlines():
        words = shlex.split(line.removeprefix("$ "))
        assert words[0] == "mrb"
        done = CliRunner().invoke(cli, words[1:], standalone_mode=False)
        assert done.exception is None, f"{line}: {done.output}"
        said.append(done.output)
    dry = next(output for output in said if output.startswith("recipe small"))
    assert "by the model's tokenizer" in dry
    assert "changed" not in dry.split("settings")[1].splitlines()[1]
    record = read_training_record(Path("flags"))
    assert record is not None
    assert record.finished
    assert (Path("flags") / "checkpoint-3").is_dir()
    assert sum("this run is finished" in output for output in said) == 1
    real = said[-1]
    assert "3,784,560,640 parameters, 29,933,568 trained" in real
    assert "paper    tuning.rank = 16" in real
    assert "fits a card of 80" in real


def test_the_rows_of_the_page_are_groups(tmp_path: Path) -> None:
    (row,) = blocks("json")
    (tmp_path / "g.jsonl").write_text(json.dumps(json.loads(row)))
    (tmp_path / "images").mkdir()
    (group,) = GroupFile(tmp_path / "g.jsonl")
    assert (len(group.hard), len(group.random)) == (1, 1)


def test_the_page_names_every_recipe_and_section() -> None:
    table = PAGE.split("| Recipe |")[1].split("\n\n")[0]
    named = {name for name in re.findall(r"`([a-z0-9-]+)`", table) if not name.startswith("-")}
    named |= {f"negatives-{n}" for n in re.findall(r"`-(\d+)`", table)}
    assert named == set(list_recipes())
    sections = re.findall(r"^\| `(\w+)` \|", PAGE.split("| Section |")[1].split("\n\n")[0], re.MULTILINE)
    assert sections == [name for name in Recipe.model_fields if name not in ("schema_version", "title", "paper")]
