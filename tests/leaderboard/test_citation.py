"""Citations: dated by the results, with an address only where the builder gave one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mrb.errors import ResultError
from mrb.leaderboard.citation import check_url, format_citation, format_row_citation
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables.runs import read_entries

MakeRun = Callable[..., Path]


def test_a_citation_has_day_suite_snapshot_and_address(make_run: MakeRun) -> None:
    timing = {"seconds": 1.0, "pairs": 1, "day": "2027-13-31"}  # no day of the calendar: not taken
    record = {"timings": {"mini-flag-t2i": {**timing, "day": "2026-11-28"}, "mini-faq-t2t": timing}}
    run = make_run("a_b", 0.5, tasks=["mini-flag-t2i", "mini-faq-t2t"], queries=5, record=record)
    site = make_site(read_entries([run]))
    plain = format_citation(site)
    assert "  year = {2026},\n  date = {2026-11-28},\n" in plain and "suite mini 1.0" in plain
    assert plain.count("url =") == 1, "the paper's alone"
    kept = replace(site, url="https://example.org/b/", snapshot="v1")
    assert "  url = {https://example.org/b/snapshots/v1/index.html}\n}" in format_citation(kept)
    row = format_row_citation(kept, kept.runs[0])
    assert row.startswith("@misc{mrb-a_b,\n  title = {a\\_b on the board of MRB},\n")
    assert "snapshot v1" in row and "url = {https://example.org/b/snapshots/v1/models/a_b.html}" in row
    assert row.count("{") == row.count("}")


@pytest.mark.parametrize(
    "url", ["example.org", "javascript:alert(1)", "https://e.org/?a", 'https://e.org/"x', "http://a b"]
)
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(ResultError, match="--url"):
        check_url(url)


def test_an_address_ends_with_a_slash() -> None:
    assert [check_url(url) for url in ("", "https://e.org/b", "http://localhost:80/")] == [
        "",
        "https://e.org/b/",
        "http://localhost:80/",
    ]
