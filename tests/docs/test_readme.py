"""The README is true: its adapter runs, its table is what the demo prints, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.baselines.gmr_tiny import GMRTiny
from tests.builders.command import run_mrb

pytestmark = [pytest.mark.slow, pytest.mark.torch]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
Mrb = Callable[..., subprocess.CompletedProcess[str]]


def test_the_example_adapter_is_eight_lines_and_runs(mrb: Mrb, tmp_path: Path) -> None:
    found = re.search(r"<!-- example: (\S+) -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found
    name, code = found.groups()
    assert len(code.splitlines()) <= 8
    (tmp_path / name).write_text(code)
    assert "mrb run --model my_adapter" in README
    done = mrb("run", "--model", "my_adapter")
    assert done.returncode == 0, done.stderr
    assert "average over 9 types" in done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of the table that `make demo` prints."""
    default = re.search(r"^DEMO_MODEL \?= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert default and default[1] == "gmr-tiny"
    done = run_mrb(tmp_path_factory.mktemp("demo"), "run", "--model", default[1], torch=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[:-1]


# Another processor's rounding may swap two candidates that are nearly alike: a tolerance of 0.3.


def test_the_table_is_what_the_demo_prints(demo: list[str]) -> None:
    shown = re.search(r"<!-- demo table -->\n```\n(.*?)```\n<!-- end of demo table -->", README, re.DOTALL)
    assert shown
    assert shown.group(1).count("\n") == len(demo)
    for told, line in zip(shown.group(1).splitlines(), demo, strict=True):
        assert told.split()[0] == line.split()[0] and len(told.split()) == len(line.split())
        assert numbers(line) == pytest.approx(numbers(told), abs=0.3)


def test_the_card_of_the_model_states_what_the_demo_prints(demo: list[str]) -> None:
    card = (Path(str(GMRTiny.model)) / "README.md").read_text(encoding="utf-8")
    tasks = [line.split() for line in demo if line.startswith("mini-")]
    assert len(tasks) == 9
    for task, kind, first_stage, own, *_ in tasks:
        (row,) = re.findall(rf"^\| `{task}` \| {kind} \| (\S+) \| (\S+) \[", card, re.MULTILINE)
        assert row[0] == first_stage
        assert float(own) == pytest.approx(float(row[1]), abs=0.3)


def numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-+]?\d+\.\d+", line)]


def test_every_local_link_leads_to_a_file() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("https://", "http://")):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_the_schemas_in_docs_are_those_of_the_models(mrb: Mrb) -> None:
    for name in ("result", "run", "noise", "submission", "verified"):
        assert (ROOT / "docs" / "schema" / f"{name}.json").read_text() == mrb("schema", name).stdout
