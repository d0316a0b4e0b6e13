"""The commands of docs/first-stages.md that use the models, on tiny checkpoints in the folders that they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import Done, run_mrb

pytestmark = pytest.mark.torch

PAGE = Path(__file__).parents[2] / "docs" / "first-stages.md"
SECTION = PAGE.read_text().partition("## The dense retrievers that ship")[2].partition("\n## ")[0]
COMMANDS = re.findall(r"^mrb .*$", SECTION, re.MULTILINE)
FOLDERS = {"gme": "gme", "qwen": "qwen3_vl", "siglip": "siglip"}


@pytest.fixture
def mrb(tmp_path: Path, tiny: Callable[[str], Path]) -> Callable[[str], Done]:
    (tmp_path / "models").mkdir()
    for name, architecture in FOLDERS.items():
        (tmp_path / "models" / name).symlink_to(tiny(architecture))

    def run(command: str) -> Done:
        environment = {"MRB_CACHE": str(tmp_path / "cache"), "MRB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")}
        return run_mrb(tmp_path, *shlex.split(command)[1:], torch=True, **environment)

    return run


def test_the_page_has_the_commands() -> None:
    assert len(COMMANDS) == 5
    assert sum("path=" in command for command in COMMANDS) == 4


@pytest.mark.parametrize("command", [command for command in COMMANDS if "path=" in command])
def test_a_command_makes_its_list(command: str, mrb: Callable[[str], Done]) -> None:
    done = mrb(command)
    assert done.returncode == 0, done.stderr
    assert re.search(r"119 lists, 11,900 pairs  nDCG@10 .* at depth 100\n  sha256 [0-9a-f]{64}\n$", done.stdout)


@pytest.mark.parametrize("command", [command for command in COMMANDS if "path=" not in command])
def test_a_command_that_fetches_weights_says_so_offline(command: str, mrb: Callable[[str], Done]) -> None:
    done = mrb(command)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "Alibaba-NLP/gme-Qwen2-VL-2B-Instruct@ce765ae7 cannot be fetched (MRB_OFFLINE is set and it is not" in line
