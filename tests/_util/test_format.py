"""Tables and numbers as text."""

from __future__ import annotations

import pytest

from mrb._util.format import (
    Screen,
    Styled,
    cut_to_width,
    escape_latex,
    fold_text,
    format_csv_table,
    format_latex_table,
    format_table,
    measure_width,
)


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


WIDE = [
    ("task", "type", "mean", "note"),
    ("mini-faq-t2t", "t2t", "12.34", "a note that is longer than what is left of the line"),
    ("mini-flag-i2t", "i2t", "5.00", "short"),
]


def test_a_table_without_a_width_keeps_whole_lines() -> None:
    assert format_table(WIDE, left={0, 1, 3}, drop=("type",))[1].endswith("what is left of the line")


def test_a_narrow_table_loses_the_columns_that_may_go_and_names_them() -> None:
    lines = format_table([row[:3] for row in WIDE], left=2, drop=("type", "mean"), screen=Screen(25))
    assert lines == [
        "task            mean", "mini-faq-t2t   12.34", "mini-flag-i2t   5.00", "not shown at 25 columns: type",
    ]  # fmt: skip


def test_a_long_last_column_is_folded_beside_the_others() -> None:
    lines = format_table(WIDE, left={0, 1, 3}, screen=Screen(52))
    assert lines == [
        "task           type   mean  note",
        "mini-faq-t2t   t2t   12.34  a note that is longer",
        "                            than what is left of the",
        "                            line",
        "mini-flag-i2t  i2t    5.00  short",
    ]


def test_a_table_that_cannot_fit_takes_several_lines_a_row() -> None:
    lines = format_table([(*row[:3], "1.0000") if number else (*row[:3], "p") for number, row in enumerate(WIDE)],
                         left=2, screen=Screen(22))  # fmt: skip
    assert lines == [
        "task           type", "     mean       p", "mini-faq-t2t   t2t", "    12.34  1.0000",
        "mini-flag-i2t  i2t", "     5.00  1.0000",
    ]  # fmt: skip


def test_a_text_over_several_columns_survives_a_narrow_screen() -> None:
    rows = [WIDE[0][:3], WIDE[1][:3], ("b", "no result, for a long reason that does not fit")]
    for width in (10, 20, 26, 30, 60):
        lines = format_table(rows, left=2, drop=("type",), screen=Screen(width))
        assert "for a long reason" in " ".join(" ".join(lines).split()), width


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    rows = [[f"head{column}" for column in range(14)], *([f"{row}" * 7 for _ in range(14)] for row in range(4))]
    assert max(map(len, format_table(rows, left={0, 13}, drop=("head3", "head5"), screen=Screen(width)))) <= width


def test_cells_cannot_steer_the_terminal() -> None:
    (_, line) = format_table([("task",), ("\x1b[2Jred\r\n\x9b31m\u202eabc",)])
    assert line.isprintable() and "red" in line and "abc" in line


def test_styles_show_on_a_screen_with_colour_only_and_keep_the_columns() -> None:
    rows = [("task", "gain"), ("a", Styled("+1.00", fg="green")), ("b", "-10.00")]
    assert format_table(rows) == ["task    gain", "a      +1.00", "b     -10.00"]
    assert format_table(rows, screen=Screen(80, colour=True))[1] == "a      \x1b[32m+1.00\x1b[0m"


def test_wide_characters_take_two_columns() -> None:
    assert measure_width("日本 e\u0301") == 6
    assert cut_to_width("日本語テキスト", 7) == "日本語…" and cut_to_width("abc", 3) == "abc"
    assert format_table([("x", "n"), ("日本", "1"), ("abcd", "2")]) == ["x     n", "日本  1", "abcd  2"]


def test_prose_is_folded_at_the_screen() -> None:
    assert fold_text("one two three four five six", Screen(20)) == ["one two three four", "five six"]
    assert fold_text("one two", Screen(None)) == ["one two"]
