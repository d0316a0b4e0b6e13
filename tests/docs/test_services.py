"""Every `mrb` command of docs/services.md runs: against the tests' own server, stand-in and checkpoint."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mrb.errors import AdapterError
from mrb.rerankers.plugins import load_adapter
from tests.baselines.test_rerank_api import Server
from tests.baselines.test_vllm import STAND_IN
from tests.builders.command import run_mrb
from tests.builders.services import llama

pytestmark = pytest.mark.torch

PAGE = (Path(__file__).parents[2] / "docs" / "services.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line.removeprefix("$ ") for block in BLOCKS for line in block.splitlines()]
OURS = [command for command in COMMANDS if command.startswith("mrb ")]
ADDRESS = re.compile(r"https?://[^ ]+/rerank")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.mark.parametrize("command", OURS)
def test_the_commands_run(command: str, server: Server, tmp_path: Path) -> None:
    (tmp_path / "path" / "vllm").mkdir(parents=True)
    (tmp_path / "path" / "vllm" / "__init__.py").write_text(STAND_IN)
    (tmp_path / "qwen3_vl_reranker.jinja").write_text("{{ instruction }}")
    words = shlex.split(ADDRESS.sub(server.url, command))[1:]
    if words[0] == "run":
        words += ["--limit", "1", "--depth", "3"]
    if "listwise" in words:
        checkpoint = llama(tmp_path / "model", "<|im_start|>", "<|im_end|>")
        words = [f"path={checkpoint}" if word.startswith("path=") else word for word in words]
        words += ["--set", "max_new_tokens=2"]
        if f"path={checkpoint}" not in words:
            words += ["--set", f"path={checkpoint}"]
    environment = {
        "JINA_API_KEY": "k",
        "OPENROUTER_API_KEY": "k",
        "PYTHONPATH": str(tmp_path / "path"),
        "VLLM_NOTES": str(tmp_path / "notes"),
    }
    done = run_mrb(tmp_path, *words, torch=True, MRB_OFFLINE="1", **environment)
    assert done.returncode == 0, done.stderr


def test_there_is_a_command_for_each_adapter_of_the_page() -> None:
    assert {re.search(r"(?:--model|check) (\S+)", command).group(1) for command in OURS} == {  # type: ignore[union-attr]
        "rerank-api",
        "vllm",
        "listwise",
    }
    assert all(command.startswith(("mrb ", "vllm serve ", "export ")) for command in COMMANDS)


@pytest.mark.parametrize("name", ["rerank-api", "vllm", "listwise"])
def test_the_tables_name_every_option(name: str) -> None:
    section = PAGE.split(f"## `{name}`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?`(?:, `.*?`)*) \|", section, re.MULTILINE)
    named = {option for row in rows for option in re.findall(r"`(.*?)`", row)}
    with pytest.raises(AdapterError) as caught:
        load_adapter(name, {"not_an_option": "1"})
    assert set(str(caught.value).split("it has: ")[1].split(", ")) == named
