"""Globs of a README match the same files as plain regular expressions, in a time that a stranger cannot choose."""

from __future__ import annotations

import itertools
import re

import pytest

from mrb.errors import DataError
from mrb.hub.table_discovery import discover_tables

SIGNS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def find(paths: list[str], glob: str) -> list[str]:
    found = discover_tables(paths, {"configs": [{"config_name": "own", "data_files": glob}]})
    return found["own"]["train"] if "own" in found else []


def test_globs_match_what_regular_expressions_match() -> None:
    names = ["".join(letters) for size in (1, 2, 3, 4, 5) for letters in itertools.product("ab/", repeat=size)]
    paths = sorted(f"{name}.tsv" for name in names if "//" not in name and name.strip("/") == name)
    for length in (1, 2, 3, 4):
        for pieces in itertools.product(["a", "b", "/", "*", "?", "**", "**/"], repeat=length):
            glob = f"{''.join(pieces)}.tsv"
            plain = re.compile("".join(SIGNS.get(one, re.escape(one)) for one in re.split(r"(\*\*/|\*\*|\*|\?)", glob)))
            try:
                found = find(paths, glob)
            except DataError:
                assert glob.count("*") > 3
                continue
            assert found == [path for path in paths if plain.fullmatch(path)], glob


@pytest.mark.parametrize("glob", ["**a" * 8 + "b", "*/" * 200, "a*a**a*a**a*b"])
def test_globs_that_take_long_are_refused(glob: str) -> None:
    with pytest.raises(DataError, match=r"README\.md: the pattern .* too many wildcards"):
        find(["a" * 60 + ".tsv"], glob)


@pytest.mark.parametrize("glob", ["*a" * 40 + "b", "*a*a*a/" * 20 + "b", "a*" * 40 + "/**/b"])
def test_globs_of_many_wildcards_are_matched_at_once(glob: str) -> None:
    assert (
        find(["a" * 200 + ".tsv", "a" * 200 + "/" + "a" * 200 + ".tsv", "/".join(["aaaaaaaa"] * 20) + ".tsv"], glob)
        == []
    )
