"""Compare two JSON values field by field."""

from __future__ import annotations

from collections.abc import Iterator

MISSING = "missing"
"""Stands for a field that one of the two values lacks."""


def flatten_json(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted path, value) of every value in a JSON object, at any depth, that is not an object itself."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, inner in value.items():
        yield from flatten_json(inner, f"{path}.{key}" if path else key)


def diff_json(stated: object, wanted: object, *, tolerance: float = 0.0) -> Iterator[tuple[str, object, object]]:
    """Yield (field, stated, wanted) of every field that differs; numbers may differ by `tolerance`."""
    left = dict(flatten_json(wanted))
    for field, value in flatten_json(stated):
        other = left.pop(field, MISSING)
        if not _is_equal(value, other, tolerance):
            yield field, value, other
    for field, other in left.items():
        yield field, MISSING, other


def _is_equal(stated: object, wanted: object, tolerance: float) -> bool:
    if isinstance(stated, float) and isinstance(wanted, float):
        return abs(stated - wanted) <= tolerance
    return type(stated) is type(wanted) and stated == wanted
