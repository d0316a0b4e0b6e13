"""The overview of a large board: how many rows it has, and how much of it is loaded at once."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from benchmarks.synthetic import write_submissions
from mrb.leaderboard.page import find_package_folder
from mrb.leaderboard.pages import overview
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables.board import PAGE_ROWS
from mrb.leaderboard.tables.runs import read_entries

MOST = 200_000
"""Bytes that the first view may load, compressed."""
ROWS = 20


@pytest.mark.slow
def test_the_first_view_has_a_page_of_rows_and_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "PAGE_ROWS", ROWS)
    folders = write_submissions(tmp_path, ROWS + 1, queries=2)
    (page,) = overview.make_files(make_site(read_entries(folders)))
    text = page.data.decode()
    assert text.count("<tr data-run=") == ROWS
    loaded = re.findall(r'(?:href|src)="(static/[^"]+)"', text)
    assert len(loaded) > 8 and not re.findall(r'src="data/', text)
    sizes = [len(gzip.compress((find_package_folder() / name).read_bytes())) for name in loaded]
    # A page of 100 rows and 100 points in its plots, the most that it has, is less than so many times as large.
    assert len(gzip.compress(page.data)) * (PAGE_ROWS / ROWS) + sum(sizes) <= MOST
