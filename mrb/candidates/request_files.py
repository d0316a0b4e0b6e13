"""The form of RankLLM's request and result files: a query and its scored candidates, per object.

As `read_requests_from_file` and `DataWriter` of castorini/rank_llm have it (`src/rank_llm/data.py`, commit 01e4820a):
`{"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc"}]}`; ids are strings or whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mrb.errors import ResultError, to_one_line

KEYS = frozenset({"query", "candidates"})


def iterate_requests(rows: Iterable[tuple[str, object]]) -> Iterator[tuple[str, str, object, str]]:
    """Yield (query id, document id, score as found, place) of every candidate. Texts are not read.

    Args:
        rows: (place in the file, parsed JSON value) of each query.

    Raises:
        ResultError: A value has another form. Names its place.

    Example:
        >>> row = {"query": {"qid": 7, "text": "?"}, "candidates": [{"docid": "a", "score": 2.5, "doc": {}}]}
        >>> list(iterate_requests([("line 1", row)]))
        [('7', 'a', 2.5, 'line 1: candidate 1')]
    """
    seen: set[str] = set()
    for place, row in rows:
        query, candidates = (row.get("query"), row.get("candidates")) if isinstance(row, dict) else (None, None)
        if not isinstance(query, dict) or not isinstance(candidates, list):
            raise ResultError(f"{place}: wanted an object with `query` and a list `candidates`, as RankLLM writes them")
        query_id = _read_id(query, "qid", f"{place}: query")
        if query_id in seen:
            raise ResultError(f"{place}: query {query_id!r} occurs twice")
        seen.add(query_id)
        for number, candidate in enumerate(candidates, start=1):
            where = f"{place}: candidate {number}"
            if not isinstance(candidate, dict):
                raise ResultError(f"{where}: not an object with docid and score")
            yield query_id, _read_id(candidate, "docid", where), candidate.get("score"), where


def _read_id(item: dict[str, Any], key: str, where: str) -> str:
    found = item.get(key)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise ResultError(f"{where}: {key} is {to_one_line(repr(found), 40)}, wanted a string or a whole number")
    return str(found)
