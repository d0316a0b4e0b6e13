"""Numbers reported by others: rows copied from papers and notes, which MRB neither computed nor checked.

They have a type of their own: a number and where it was read. They cannot hold an interval, a rank or a gain, and never
share a table with a computed row.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from mrb._util.files import parse_toml
from mrb._util.model import Model
from mrb._util.printable import PrintableStr
from mrb.errors import ResultError, format_first_problem
from mrb.submission.schema import Link

PUBLISHED_FILE = "published.toml"
Key = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
Points = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class Source(Model):
    """Where numbers come from, and where they were read if that differs."""

    title: PrintableStr
    link: Link
    read: PrintableStr


class ReportedColumn(Model):
    """A column of reported numbers."""

    key: Key
    title: PrintableStr


class ReportedRow(Model):
    """One model's numbers by column key, in points (0 to 100) as reported."""

    name: PrintableStr
    parameters: int | None = Field(default=None, gt=0)
    note: PrintableStr = ""
    source: Key
    values: dict[Key, Points] = Field(min_length=1)


class ReportedTable(Model):
    """Rows that one source reports under the same conditions."""

    title: PrintableStr
    measure: PrintableStr
    columns: tuple[ReportedColumn, ...] = Field(min_length=1)
    rows: tuple[ReportedRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        keys = [column.key for column in self.columns]
        names = [row.name for row in self.rows]
        if len(set(keys)) < len(keys) or len(set(names)) < len(names):
            raise ValueError("a column or row occurs twice")
        for row in self.rows:
            if strange := sorted(row.values.keys() - set(keys)):
                raise ValueError(f"row {row.name!r} has a value for {strange[0]!r}, which is not a column")
        return self


class Published(Model):
    """The whole file."""

    schema_version: Literal[1]
    sources: dict[Key, Source]
    tables: tuple[ReportedTable, ...]

    @model_validator(mode="after")
    def _sources_known(self) -> Self:
        for table in self.tables:
            for row in table.rows:
                if row.source not in self.sources:
                    raise ValueError(f"row {row.name!r} is from {row.source!r}, which is not a source")
        return self


@cache
def published() -> Published:
    """Return the rows that ship with the board."""
    return read_published(Path(str(resources.files("mrb.leaderboard"))) / PUBLISHED_FILE)


def read_published(path: Path) -> Published:
    """Return the rows in `path`. ResultError names the file and the first invalid field."""
    try:
        return Published.model_validate(parse_toml(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ResultError(f"{path}: {format_first_problem(error)}") from error
    except ValueError as error:
        raise ResultError(f"{path}: not valid TOML: {error}") from error
