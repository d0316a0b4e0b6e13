"""Read rows of JSON files with ids and texts exactly as written: no value is converted to a date or a float."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

IDS = frozenset({"_id", "id", "query-id", "corpus-id"})
TEXTS = frozenset({"text", "query", "title", "score"})
"""Columns that are kept as text besides the ids. Of other columns only the name is kept, because no task uses them."""


MAX_LINE = 256 * 1024 * 1024
MAX_ARRAY = 1024 * 1024 * 1024
"""Most characters of a line, and of a file that is one array: both are in memory as a whole."""


class Real(str):
    """A JSON number with a fraction or an exponent, a NaN or an infinity, as written in the file."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_int=str, parse_float=Real, parse_constant=Real)


def read_json_columns(paths: Sequence[Path]) -> dict[str, bool]:
    """Return {key: whether its values are kept} for the files' objects, in order of first appearance.

    Raises ValueError, which names the file and line, for a value that is not an object and for an image column with
    values, because images are read from parquet only.
    """
    columns: dict[str, bool] = {}
    for place, row in iterate_objects(paths):
        for name in row:
            columns.setdefault(name, name in IDS or name in TEXTS)
        for name in ("image", "images"):
            if row.get(name) is not None:
                raise ValueError(f"{place}: column {name} holds a value; images are read from parquet")
    if not columns:
        raise ValueError("no rows")
    return columns


def iterate_json_rows(
    files: Sequence[tuple[str, int, int]], columns: dict[str, bool]
) -> Iterator[dict[str, str | None]]:
    """Yield the rows of `files`, given as (path, size, time).

    Size and time are unused here: `datasets` hashes the arguments, so they make a changed file a new table. An id is a
    string, or a whole number as its decimal text. Raises ValueError, which names the row, for any other id or text.
    """
    kept = [name for name, keep in columns.items() if keep]
    empty: dict[str, str | None] = dict.fromkeys(columns)
    for place, row in iterate_objects([Path(path) for path, _, _ in files]):
        yield {**empty, **{name: _to_text(row.get(name), name, place) for name in kept}}


def _to_text(value: object, name: str, place: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{place}: column {name} holds {json.dumps(value)[:80]}, wanted a string or a whole number")
    if isinstance(value, Real):
        if name in IDS:
            raise ValueError(f"{place}: column {name} holds {value}, an id is a string or a whole number")
        return str(value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{place}: column {name}: {error}") from None
    return value


def iterate_objects(paths: Sequence[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (file with line or object number, object) of files with one object per line or one array of objects.

    Numbers are texts: whole ones as their digits, others as `Real`. ValueError names the place of what is no JSON.
    """
    for path in paths:
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rt", encoding="utf-8-sig") as file:
                is_array = file.read(64).lstrip().startswith("[")
                file.seek(0)
                if is_array:
                    text = _read_up_to(file.read, MAX_ARRAY, path.name)
                    values: Iterator[tuple[int, Any]] = enumerate(_decode_line(text, path.name), start=1)
                else:
                    lines = enumerate(_iterate_lines(file, path.name), start=1)
                    values = ((n, _decode_line(line, f"{path.name}, line {n}")) for n, line in lines if line.strip())
                for number, value in values:
                    place = f"{path.name}, {'object' if is_array else 'line'} {number}"
                    if not isinstance(value, dict):
                        raise ValueError(f"{place}: holds {json.dumps(value)[:80]}, wanted an object")
                    yield place, value
        except UnicodeDecodeError as error:
            raise ValueError(f"{path.name}: not UTF-8 text ({error}); save it as UTF-8") from None
        except (EOFError, zlib.error) as error:
            raise ValueError(f"{path.name}: {error}") from None


def _iterate_lines(file: TextIO, name: str) -> Iterator[str]:
    number = 1
    while line := _read_up_to(file.readline, MAX_LINE, f"{name}, line {number}"):
        yield line
        number += 1


def _read_up_to(read: Callable[[int], str], limit: int, place: str) -> str:
    text = read(limit + 1)
    if len(text) > limit:
        raise ValueError(f"{place}: longer than {limit} characters")
    return text


def _decode_line(text: str, place: str) -> Any:
    try:
        return _DECODER.decode(text.strip())
    except json.JSONDecodeError as error:
        at = f", column {error.colno}" if error.lineno == 1 else f", line {error.lineno}, column {error.colno}"
        raise ValueError(f"{place}{at}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: {error}") from None
