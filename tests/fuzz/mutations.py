"""Inputs that were right once: bytes spliced, JSON values put in the place of others."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

Json = Any
ACCEPTED: list[bool] = []
"""Whether each mutated input of the current test was accepted; at its end at least one must have been (conftest.py)."""
_EVIL = ["", "\x00", "\u202e", "a" * 300, "../x", "<script>", "=1+1", "NaN", "\ud7ff", "🙂"]
_NUMBERS = [0, 1, -1, 2, 0.5, 1.0, 1 - 1e-7, 1e-300, 1e308, 2**31, 2**63, 10**30, True, False, None]
PIECES = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b'"',
    b"[",
    b"]" * 3,
    b"{",
    b"= ",
    b"\n",
    b"1e999",
    b"-",
    b"[[" * 400,
    b"# ",
    b"'''",
]


def examples(few: int) -> settings:
    """`few` examples, or what the long profile says."""
    most = settings().max_examples
    long = most > 1000
    # Short runs draw the same inputs every time: whether one of a few is accepted must not depend on luck.
    return settings(max_examples=most if long else few, deadline=None, derandomize=not long)


def splices(size: int) -> st.SearchStrategy[list[tuple[int, int, bytes]]]:
    """One to three replacements of up to 40 bytes of `size`."""
    piece = st.one_of(st.sampled_from(PIECES), st.binary(max_size=8))
    return st.lists(st.tuples(st.integers(0, size), st.integers(0, 40), piece), min_size=1, max_size=3)


def spliced(data: bytes, cuts: list[tuple[int, int, bytes]]) -> bytes:
    """`data` with the replacements made, one after the other."""
    for start, length, piece in cuts:
        data = data[:start] + piece + data[start + length :]
    return data


def paths(value: Json, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Where the values inside `value` stand."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [at] if at else []
    for key, inner in pairs:
        found += paths(inner, (*at, key))
    return found


@st.composite
def changed(draw: st.DrawFn, value: Json) -> Json:
    """A copy of a JSON value with one to three of the values in it moved, replaced, renamed or taken away."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = paths(value)
        *way, last = draw(st.sampled_from(places))
        holder = value
        for key in way:
            holder = holder[key]
        kind = draw(st.sampled_from(["near", "near", "other", "borrowed", "gone", "renamed", "doubled"]))
        old = holder[last]
        if kind == "near":
            holder[last] = draw(_near(old))
        elif kind == "other":
            holder[last] = draw(st.one_of(st.sampled_from(_NUMBERS), st.sampled_from(_EVIL), st.just([]), st.just({})))
        elif kind == "borrowed":
            other = value
            for key in draw(st.sampled_from(places)):
                other = other[key]
            holder[last] = copy.deepcopy(other)
        elif kind == "gone":
            del holder[last]
        elif isinstance(holder, dict) and kind == "renamed":
            holder[draw(st.sampled_from([*_EVIL, *map(str, list(holder)[:3])]))] = holder.pop(last)
        elif isinstance(old, list):
            holder[last] = old * 2
    return value


def _near(old: Json) -> st.SearchStrategy[Json]:
    """A value that could pass for the old one."""
    if isinstance(old, bool):
        return st.just(not old)
    if isinstance(old, int):
        return st.sampled_from([old + 1, old - 1, -old, float(old), old * 2])
    if isinstance(old, float):
        return st.sampled_from([old + 1e-6, old - 1e-6, old / 2, 1 - old, min(1.0, old * 1.1)])
    if isinstance(old, str):
        texts = [old[:-1], old + "x", old.upper(), old[::-1], "".join(reversed(old[:8])) + old[8:]]
        return st.sampled_from(texts)
    return st.just(None)


def put(path: Path, data: bytes) -> None:
    """Write in place: thousands of new names would be what is slow."""
    with path.open("wb") as file:
        file.write(data)
