"""Tables and numbers as text."""

from __future__ import annotations

import pytest

from mrb._util.format import escape_latex, format_csv_table, format_latex_table, format_table


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-a", "@x", "\t=1", "-1"])
def test_no_text_in_csv_is_a_formula(text: str) -> None:
    assert format_csv_table([[text, -0.5, None]]).lstrip('"') == f"'{text},-0.5,\n"


def test_latex_is_escaped() -> None:
    assert escape_latex("a_b&%$#{}\\~^") == r"a\_b\&\%\$\#\{\}\textbackslash{}\textasciitilde{}\textasciicircum{}"
    assert format_latex_table("lr", [[["a", "b"]], [["1", "2"]]]).splitlines() == [
        r"\begin{tabular}{lr}", r"\toprule", r"a & b \\", r"\midrule", r"1 & 2 \\", r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip


def test_the_last_cell_of_a_short_row_extends_over_the_rest() -> None:
    rows = [("task", "type", "own"), ("a", "t2t", "no result, for a long reason"), ("b", "no result at all")]
    assert format_table([rows[0], ("a", "t2t", "1.0"), rows[2]], left=2) == [
        "task  type  own", "a     t2t   1.0", "b     no result at all",
    ]  # fmt: skip
