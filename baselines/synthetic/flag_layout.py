"""Colour positions that a text names: bands, fields, crosses, triangles and corners, as in descriptions of flags.

A few hand-written patterns; not trained, and nothing is looked up about any country.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mrb.baselines.retrievers.colours import COLOURS, find_mentions

Float64 = npt.NDArray[np.float64]

SIDE = 8  # cells per side, as in `Picture.colour_map`
_BRACKETS = re.compile(r"\([^()]*\)")
_BANDS = re.compile(r"\b(horizontal|vertical)\b[^;]{0,40}?\b(?:bands?|stripes?|panels?|sections?)\b(.*)")
_ALTERNATING = re.compile(r"\balternating\b")
_CROSS = re.compile(r"\bcross\b")
_TRIANGLE = re.compile(r"\btriangle\b")
_CORNER = re.compile(r"\bupper (hoist|left)|\bcanton\b")
_UNION = re.compile(r"\bflag of the (uk|united kingdom)\b|\bunion (jack|flag)\b")
_UNION_COLOURS = ("blue", "red", "white")


def match_layout(text: str, colour_map: Float64) -> float:
    """Return how well a `colour_map` (8 x 8 x 11, see `ImageFeatures`) fits the layout that `text` describes, 0 to 1.

    It is the mean share of the expected colour over the cells for which the text names one; 0 if it names none.
    """
    expected = _expected(text)
    total = float(expected.sum())
    return float((expected * colour_map).sum()) / total if total else 0.0


@lru_cache(maxsize=4096)
def _expected(text: str) -> Float64:
    """Return (8, 8, 11): for each cell the colours that the text expects; 0 if it says nothing.

    Later patterns overwrite.
    """
    expected = np.zeros((SIDE, SIDE, len(COLOURS)), np.float64)
    first = _first_clause(text)
    named = [row for _, row in find_mentions(first)]
    if not named:
        return expected
    bands = _BANDS.search(first)
    sequence = [row for _, row in find_mentions(bands.group(2))] if bands else []
    if bands and len(sequence) > 1:
        _paint_bands(expected, sequence, vertical=bands.group(1) == "vertical", text=first)
    else:
        _paint(expected, slice(None), slice(None), [named[0]])
    for pattern, painter in ((_TRIANGLE, _paint_triangle), (_CROSS, _paint_cross)):
        found = pattern.search(first)
        before = [row for start, row in find_mentions(first) if found and found.start() - 40 < start < found.start()]
        if before:
            painter(expected, before[-1])
    if _CORNER.search(first) and _UNION.search(first):
        _paint(expected, slice(0, SIDE // 2), slice(0, SIDE // 2), [COLOURS.index(name) for name in _UNION_COLOURS])
    return expected


def _first_clause(text: str) -> str:
    """Return the text before the first semicolon, without brackets: it describes the design, the rest its history."""
    return _BRACKETS.sub(" ", text.lower()).split(";")[0]


def _paint(expected: Float64, rows: slice, columns: slice, colours: list[int]) -> None:
    expected[rows, columns] = 0
    for colour in colours:
        expected[rows, columns, colour] += 1 / len(colours)


def _paint_bands(expected: Float64, sequence: list[int], *, vertical: bool, text: str) -> None:
    """Paint equal bands from the top (or the hoist, at the left) in the order named. Alternating bands are mixed."""
    if _ALTERNATING.search(text):
        _paint(expected, slice(None), slice(None), sequence[:2])
        return
    bands = sequence[:5]
    borders = np.round(np.linspace(0, SIDE, len(bands) + 1)).astype(int)
    for start, end, colour in zip(borders, borders[1:], bands, strict=False):
        cells = slice(int(start), int(end))
        _paint(expected, slice(None) if vertical else cells, cells if vertical else slice(None), [colour])


def _paint_triangle(expected: Float64, colour: int) -> None:
    """Paint a triangle at the hoist: its base is the left edge, its tip lies before the middle."""
    for row in range(1, SIDE - 1):
        _paint(expected, slice(row, row + 1), slice(0, min(row, SIDE - 1 - row)), [colour])


def _paint_cross(expected: Float64, colour: int) -> None:
    """Paint a cross that reaches the edges: the middle rows, and the columns just to the hoist side of the middle."""
    middle = slice(SIDE // 2 - 1, SIDE // 2 + 1)
    _paint(expected, middle, slice(None), [colour])
    _paint(expected, slice(None), slice(SIDE // 2 - 2, SIDE // 2), [colour])
