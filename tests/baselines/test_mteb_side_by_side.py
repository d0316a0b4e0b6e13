"""The same scores through mteb's own evaluate and through MRB: benchmarks/mteb_side_by_side.py on two small cases."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mteb", reason="the extra mteb is not installed")
pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.usefixtures("offline")]


def test_numbers_are_equal_to_the_digit_without_ties_and_explained_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets
    from mteb_layout import CASES
    from mteb_scorers import SCORERS
    from mteb_side_by_side import DIGITS, compare_case, format_rows

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    chosen = {"short-lists": ("float32", "four-levels"), "only-grade-0": ("float32",)}
    rows = []
    for name, scorers in chosen.items():
        rows += compare_case(CASES[name], tmp_path / name, {scorer: SCORERS[scorer] for scorer in scorers})
    assert all(row.explained for row in rows), format_rows(rows)
    found = {(row.case, row.reranker): row for row in rows}
    plain = found["short-lists", "float32"]
    assert round(plain.mrb, DIGITS) == plain.mteb > 0.1 and plain.causes == ()
    assert "ties in" in found["short-lists", "four-levels"].causes[0]
    unjudged = found["only-grade-0", "float32"]
    assert (unjudged.queries, round(unjudged.mrb * 25 / 30, 4)) == (25, round(unjudged.mteb, 4))
    assert unjudged.causes == ("5 queries without a relevant document: 0 in mteb, left out in MRB",)
