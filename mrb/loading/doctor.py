"""Does the Hub still have what the registry says? Listings, the README and the ends of parquet files; no data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mrb.columns import aligned
from mrb.errors import DataError, MRBError
from mrb.loading.hub import attempt, list_files, listed_tables, offline
from mrb.loading.layout import choose, file_format, roles
from mrb.loading.remote import check_columns
from mrb.task import Part, Task

BLOCK = 64 * 1024
"""Bytes asked for at a time: enough for most footers, and for the first lines of a JSON file."""


@dataclass(frozen=True)
class Finding:
    """What the Hub has of one repository: where each table lies, its rows (where a footer states them) and columns."""

    task: str
    repository: str
    tables: tuple[tuple[str, str, int | None, tuple[str, ...]], ...] = ()
    size: int = 0
    problem: str = ""


def examine(task: Task) -> Iterator[Finding]:
    """A finding for each repository of the task, asked of the Hub now; problems are findings too. DataError offline."""
    if task.source.kind != "hub":
        return
    if offline():
        raise DataError("the doctor asks the Hub, but MRB_OFFLINE or HF_HUB_OFFLINE is set")
    for part in task.source.parts:
        try:
            yield _examine(task, part)
        except MRBError as error:
            yield Finding(task.id, part.repository, problem=str(error))


def report(findings: Sequence[Finding]) -> str:
    """A row for each repository."""
    rows: list[tuple[str, ...]] = [("task", "repository", "MB", "corpus", "queries", "qrels", "state")]
    for finding in findings:
        cells = {role: f"{name} ({'?' if count is None else f'{count:,}'})" for role, name, count, _ in finding.tables}
        size = f"{finding.size / 1e6:,.1f}" if finding.tables else "-"
        names = [cells.get(role, "-") for role in ("corpus", "queries", "qrels")]
        state = f"WRONG: {finding.problem}" if finding.problem else "ok"
        rows.append((finding.task, finding.repository, size, *names, state))
    lines = aligned([row[:-1] for row in rows], left=2)
    return "\n".join(f"{line}  {row[-1]}" for line, row in zip(lines, rows, strict=True))


def _examine(task: Task, part: Part) -> Finding:
    revision = part.revision or ""
    files = list_files(part.repository, revision)
    tables = listed_tables(part.repository, revision, files)
    where = f"task {task.id}, {part.repository} at {revision[:12]}"
    sizes = {file.path: file.size for file in files}
    found, size = [], 0
    for role, table in roles(part).items():
        config, split, paths = choose(tables, role, table, where)
        size += sum(sizes[path] for path in paths)
        peeked = [attempt(partial(_peek, part.repository, revision, path), where) for path in paths]
        rows = None if any(count is None for count, _ in peeked) else sum(count or 0 for count, _ in peeked)
        check_columns(task, role, peeked[0][1], f"{where}: {config}/{split}")
        found.append((role, f"{config}/{split}", rows, peeked[0][1]))
    return Finding(task.id, part.repository, tuple(found), size)


def _peek(repository: str, revision: str, path: str) -> tuple[int | None, tuple[str, ...]]:
    """(rows, columns) of a remote file: from the footer of a parquet file, from the first line of others."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    # Without its own caches, or a second look in one process would show what the first one saw.
    system: Any = HfFileSystem(skip_instance_cache=True, use_listings_cache=False)
    with system.open(f"datasets/{repository}@{revision}/{path}", "rb", block_size=BLOCK) as file:
        form = file_format(path)
        try:
            if form == "parquet":
                footer = pq.read_metadata(file)
                return footer.num_rows, tuple(footer.schema.to_arrow_schema().names)
            line = file.read(BLOCK).split(b"\n")[0].decode()
            return None, tuple(line.rstrip("\r").split("\t")) if form == "tsv" else tuple(json.loads(line))
        except (pa.ArrowException, ValueError) as error:
            raise DataError(f"{repository} at {revision[:12]}: {path}: not {form}: {error}") from error
