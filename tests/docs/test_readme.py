"""The README is true: its steps run and print what it shows, its table is the demo's, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from mrb.metrics.measures import HEADLINE
from mrb.results.run import load_run
from mrb.results.table import find_averages
from tests.builders.doc_pages import compare_lines, run_page

pytestmark = [pytest.mark.slow, pytest.mark.torch]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
Mrb = Callable[..., subprocess.CompletedProcess[str]]


class Demo(NamedTuple):
    folder: Path
    printed: str


def test_every_step_of_the_readme_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    assert run_page(ROOT / "README.md", tmp_path) == 8
    assert (tmp_path / "site" / "index.html").is_file()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """What `make demo` does, after the install, in a folder of its own."""
    folder = tmp_path_factory.mktemp("demo")
    asked = subprocess.run(
        ["make", "-n", "--no-print-directory", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    recipe = asked.stdout[asked.stdout.index("for model in") :]
    (folder / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(["sh", "-e", "-c", recipe], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Demo(folder, done.stdout)


def test_the_table_is_what_the_demo_prints(demo: Demo) -> None:
    shown = re.search(r"<!-- demo table -->\n(.*?)<!-- end of demo table -->", README, re.DOTALL)
    assert shown
    table = "\n".join(line for line in demo.printed.splitlines() if line.startswith("|"))
    compare_lines(table, shown[1])
    assert (demo.folder / "site" / "index.html").is_file()


def test_the_default_reranker_does_not_make_the_average_worse(demo: Demo) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (default,) = re.findall(r"^DEMO_MODELS \?= (\S+)", makefile, re.MULTILINE)
    first_stage, own, _ = find_averages(load_run(demo.folder / "runs" / default), "tasks", str(HEADLINE))
    assert own.mean is not None and first_stage.mean is not None and own.mean > first_stage.mean


@pytest.mark.parametrize("name", ["mini-panel", "gmr-tiny"])
def test_the_card_of_a_model_states_what_the_demo_measures(demo: Demo, name: str) -> None:
    card = (ROOT / "baselines" / name.replace("-", "_") / "README.md").read_text(encoding="utf-8")
    run = load_run(demo.folder / "runs" / name)
    assert len(run.tasks) == 9
    for task, scores in run.tasks.items():
        (row,) = re.findall(rf"^\| `{task}` \| \w+ \| (\S+) \| (\S+) \[", card, re.MULTILINE)
        found = scores.result.first_stage[str(HEADLINE)].mean, scores.result.measures[str(HEADLINE)].mean
        assert [float(number) for number in row] == pytest.approx([100 * mean for mean in found], abs=0.3)


def test_every_local_link_leads_to_a_file() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("https://", "http://")):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_the_schemas_in_docs_are_those_of_the_models(mrb: Mrb) -> None:
    for name in ("result", "run", "noise", "submission", "verified", "badge", "board", "data-index", "table"):
        assert (ROOT / "docs" / "schema" / f"{name}.json").read_text() == mrb("schema", name).stdout
