"""Rows with a column for each item, as sentence-transformers has them: `query`, `positive`, `negative`.

A cell is a text, an image (`datasets`' feature: an object with `bytes`), or for documents a list of these, as in mteb's
reranking sets. `score` or `scores` is a list of a teacher's scores, as `mine_hard_negatives` of sentence-transformers
writes it. `--columns` names other columns; several joined by `+` are one item, such as `image+question`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from mrb._util.format import format_count
from mrb.data.items import ImageHandle, Item
from mrb.errors import TrainingError, format_first_problem
from mrb.training.data.files import ImageRow, open_image

if TYPE_CHECKING:
    from mrb.training.data.convert import Converter
    from mrb.training.data.group import TrainingGroup

Columns = Mapping[str, Sequence[Sequence[str]]]
"""Names of columns by role: each entry is one item or list of items, of one column or of several joined ones."""
USUAL = {"query": ("query", "anchor", "question"), "positive": ("positive", "answer")}
ROLES = (*USUAL, "negative", "instruction", "scores")
SINGLE = ("query", "instruction", "scores")
_MOST_NEGATIVES = 10_000
_LARGEST = float(np.finfo(np.float32).max)


def parse_columns(text: str) -> Columns:
    """Return what `ROLE=COLUMN[+COLUMN],...` says. A role may come several times, for documents.

    Raises:
        TrainingError: It is of another form, or names an unknown role.
    """
    found: dict[str, list[list[str]]] = {}
    for part in filter(None, text.split(",")):
        role, _, names = part.partition("=")
        if role not in ROLES or not all(names.split("+")):
            raise TrainingError(f"--columns {part}: wanted ROLE=COLUMN, or COLUMN+COLUMN; roles: {', '.join(ROLES)}")
        found.setdefault(role, []).append(names.split("+"))
    for role in SINGLE:
        if len(found.get(role, ())) > 1:
            raise TrainingError(f"--columns: {role} is given twice; columns of one item are joined by +")
    return found


def convert_columns(converter: Converter, row: Mapping[str, Any]) -> TrainingGroup:
    """Return the group of a row. Columns that `converter.columns` leaves out have their usual names."""
    columns = _find_columns(converter.columns, row)
    (query,) = columns["query"]
    positives, negatives = (
        [item for names in columns[side] for item in _make_items(converter, row, names)]
        for side in ("positive", "negative")
    )
    instruction = None
    if "instruction" in columns:
        ((name, *more),) = columns["instruction"]
        instruction = row[name]
        if more or not isinstance(instruction, str):
            raise TrainingError(f"{name}: an instruction is a text of one column")
    teacher = None
    if "scores" in columns:
        ((name, *more),) = columns["scores"]
        teacher, count = row[name], len(positives) + len(negatives)
        numbers = isinstance(teacher, list) and all(
            isinstance(one, int | float) and -_LARGEST <= one <= _LARGEST for one in teacher
        )
        if more or not numbers or len(teacher) != count:
            raise TrainingError(
                f"{name}: wanted a list of {format_count(count, 'finite number')}, a score for each document, "
                "positives first"
            )
    asked = _make_item(converter, [row[name] for name in query], query)
    return converter.make_group(asked, positives, negatives, instruction, teacher)


def _find_columns(given: Columns, row: Mapping[str, Any]) -> Columns:
    found = dict(given)
    for role, usual in USUAL.items():
        if role not in found:
            names = [name for name in usual if name in row]
            if len(names) != 1:
                raise TrainingError(
                    f"wanted one of the columns {', '.join(usual)} as {role}; there are {', '.join(row)}; name others "
                    "with --columns"
                )
            found[role] = [names]
    if "negative" not in found:
        numbered = (f"negative_{number}" for number in range(_MOST_NEGATIVES))
        found["negative"] = [[name] for name in ("negative", *numbered) if name in row]
    if "scores" not in found and not given:
        found["scores"] = [[name] for name in ("score", "scores") if isinstance(row.get(name), list)][:1]
    found = {role: entries for role, entries in found.items() if entries or role not in SINGLE}
    named = [name for entries in found.values() for names in entries for name in names]
    for name in named:
        if name not in row:
            raise TrainingError(f"no column {name!r}; there are {', '.join(row)}")
    unknown = [name for name in row if name not in named]
    if unknown and not given:
        raise TrainingError(f"column {unknown[0]!r} is not known; say what is used with --columns: {', '.join(row)}")
    return found


def _make_items(converter: Converter, row: Mapping[str, Any], names: Sequence[str]) -> list[Item]:
    """Return the documents of an entry: none of an empty cell, all of a list."""
    values = [row[name] for name in names]
    if len(values) == 1 and isinstance(values[0], list):
        return [_make_item(converter, [value], names) for value in values[0]]
    return [] if all(value is None for value in values) else [_make_item(converter, values, names)]


def _make_item(converter: Converter, values: Sequence[Any], names: Sequence[str]) -> Item:
    """Return the item of the values of joined columns: the texts joined by a space, and at most one image."""
    where = "+".join(names)
    texts: list[str] = []
    images: list[ImageHandle] = []
    for value in values:
        if isinstance(value, str):
            texts.append(value.strip())
        elif isinstance(value, dict | bytes):
            images.append(_open_cell(converter, value, where))
        elif value is not None:
            raise TrainingError(f"{where}: wanted a text or an image")
    if len(images) > 1:
        raise TrainingError(f"{where}: {len(images)} images; a training item has at most one")
    text = " ".join(filter(None, texts))
    if not text and not images:
        raise TrainingError(f"{where}: an item with neither text nor image")
    return Item(text, *images)


def _open_cell(converter: Converter, value: dict[str, Any] | bytes, where: str) -> ImageHandle:
    """Return the image of a cell: its bytes, or the file of its path."""
    encoded = value if isinstance(value, bytes) else value.get("bytes")
    if encoded is None:
        return converter.open_image(value.get("path") if isinstance(value, dict) else None, where)
    try:
        return open_image(converter.images, ImageRow.model_validate({"bytes": encoded}), f"{where}: ")
    except ValidationError as error:
        raise TrainingError(f"{where}: {format_first_problem(error)}") from error
