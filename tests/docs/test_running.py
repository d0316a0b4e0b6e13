"""Every command of docs/quickstart.md, docs/running.md and docs/board.md works, in the page's order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.pages import run_page

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "least"), [("quickstart.md", 6), ("running.md", 9), ("board.md", 4), ("publish-a-board.md", 3)]
)
def test_the_commands_of_the_page_run(tmp_path: Path, page: str, least: int) -> None:
    assert run_page(DOCS / page, tmp_path) >= least
    assert (tmp_path / "site" / "index.html").is_file()
