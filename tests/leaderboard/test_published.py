"""Rows that others report: read with checks, shown by themselves, never with what a computed row has."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.errors import ResultError
from mrb.leaderboard.build import build
from mrb.leaderboard.tables.published import ReportedRow, published, read_published

ROWS = """
schema_version = 1
[sources.one]
title = "A paper"
link = "https://example.org/paper"
read = "in the paper"
[[tables]]
title = "A table"
measure = "nDCG@10"
[[tables.columns]]
key = "all"
title = "all"
[[tables.rows]]
name = "Model"
source = "one"
values = { all = 50.0 }
"""


def test_the_rows_of_the_paper_are_those_that_its_readers_noted() -> None:
    main, ablations = published().tables
    shown = {row.name.split(" ")[0]: row.values for row in main.rows}
    assert shown["GMR-7B"] == {"t2t": 61.08, "t2vd": 72.94, "it2it": 82.19, "all": 63.85}
    assert shown["GME-2B"]["all"] == 52.54 and len(shown) == 5
    assert len(ablations.rows) == 9 and {len(row.values) for row in ablations.rows} == {1}
    assert all(source.link.startswith("https://arxiv.org/") and source.read for source in published().sources.values())


def test_a_reported_row_has_no_place_for_an_interval_a_rank_or_a_gain() -> None:
    assert set(ReportedRow.model_fields) == {"name", "parameters", "note", "source", "values"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("all = 50.0 }", "all = 50.0 }\nlow = 49.0", "low: unknown field"),
        ("all = 50.0 }", "all = 150.0 }", "less than or equal to 100"),
        ("all = 50.0 }", "all = nan }", "values.all"),
        ("all = 50.0 }", "t2t = 50.0 }", "has a value for 't2t', which is not a column"),
        ('source = "one"', 'source = "two"', "is from 'two', which is not a source"),
        ("https://example.org", "http://example.org", "sources.one.link"),
        ("https://example.org/paper", "javascript:alert(1)", "sources.one.link"),
        ('name = "Model"', 'name = "\\u202eledoM"', "rows.0.name"),
        ("schema_version = 1", "schema_version = 2", "schema_version"),
        ("[[tables]]", "[[tables", "not valid TOML"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = tmp_path / "published.toml"
    path.write_text(ROWS)
    assert read_published(path).tables[0].rows[0].values == {"all": 50.0}
    path.write_text(ROWS.replace(old, new, 1))
    with pytest.raises(ResultError, match=re.escape(words)) as caught:
        read_published(path)
    assert str(path) in str(caught.value)


def test_they_stand_in_a_table_of_their_own_marked_reported(make_run: Callable[..., Path], tmp_path: Path) -> None:
    overview = build([make_run("one", 0.5)], tmp_path / "site")
    assert "GMR-7B" not in overview.read_text()
    section = overview.with_name("reported.html").read_text().partition("<main")[2].partition("</main>")[0]
    assert "GMR-7B" in section and "MonoQwen2-VL-v0.1" in section and ">one<" not in section
    assert "Not computed and not checked here." in section
    assert section.count("<small>reported; read in") == 14 == section.count('rel="noopener nofollow"')
    assert "data-value" not in section and "data-run" not in section, "the script neither sorts nor filters them"
    assert not re.search(r"\d–\d|[+−]\d", section), "no interval, no gain"
