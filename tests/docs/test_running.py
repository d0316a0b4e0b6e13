"""Every command of these pages works, in the page's order, and prints what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders.doc_pages import run_page

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "least"),
    [("quickstart.md", 6), ("running.md", 9), ("board.md", 3), ("publish-a-board.md", 3), ("own-data.md", 4)],
)
def test_the_commands_of_the_page_run(tmp_path: Path, page: str, least: int) -> None:
    assert run_page(DOCS / page, tmp_path) >= least
    assert (tmp_path / "site" / "index.html").is_file() or page == "own-data.md"
