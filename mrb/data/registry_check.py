"""Check that the Hub still has the tables that the registry states, without downloading data.

A repository costs one call of the Hub's API, the listing. READMEs and the beginnings or ends of files are fetched as
files, for which the Hub's rate limit is higher.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mrb._util.format import PLAIN, Screen, format_table
from mrb.data.hub_parts import check_columns
from mrb.data.stats import describe_size_difference
from mrb.data.table_choice import choose_table, get_roles
from mrb.data.task import Task
from mrb.data.task_fields import Part
from mrb.errors import DataError, MRBError, to_one_line
from mrb.hub.client import is_offline, list_files, read_readme_header
from mrb.hub.retries import call_with_retries
from mrb.hub.table_discovery import detect_format, discover_tables

BLOCK = 64 * 1024
"""Bytes of the first request for a file: enough for most parquet footers and for the first lines of a JSON file."""
MAX_BLOCK = 16 * 1024 * 1024
"""Largest request in bytes; a file whose footer or first row is longer is an error."""


@dataclass(frozen=True)
class Finding:
    """What the Hub has of one repository.

    `tables` are (role, `config/split`, rows, columns). Rows come from parquet footers or small files, else from the
    README, else they are None. `size` is in bytes. `problem` is empty if the repository agrees with the registry.
    """

    task: str
    repository: str
    tables: tuple[tuple[str, str, int | None, tuple[str, ...]], ...] = ()
    size: int = 0
    problem: str = ""


def examine_task(task: Task) -> Iterator[Finding]:
    """Ask the Hub about each repository of the task and yield a finding, also for one with a problem.

    Raises DataError if MRB is offline.
    """
    if task.source.kind != "hub":
        return
    if is_offline():
        raise DataError("the doctor asks the Hub, but MRB_OFFLINE or HF_HUB_OFFLINE is set")
    found = []
    for part in task.source.parts:
        try:
            found.append(_examine_part(task, part))
        except MRBError as error:
            found.append(Finding(task.id, part.repository, problem=str(error)))
    yield from found[:-1]
    yield replace(found[-1], problem=found[-1].problem or _describe_row_difference(task, found))


def format_findings(findings: Sequence[Finding], screen: Screen = PLAIN) -> str:
    """Format a text table with one row per repository."""
    rows: list[tuple[str, ...]] = [("task", "repository", "MB", "corpus", "queries", "qrels", "state")]
    for finding in findings:
        cells = {role: f"{name} ({'?' if count is None else f'{count:,}'})" for role, name, count, _ in finding.tables}
        size = f"{finding.size / 1e6:,.1f}" if finding.tables else "-"
        names = [cells.get(role, "-") for role in ("corpus", "queries", "qrels")]
        state = f"WRONG: {finding.problem}" if finding.problem else "ok"
        rows.append((finding.task, finding.repository, size, *names, state))
    return "\n".join(format_table(rows, left={0, 1, 6}, drop=("MB",), screen=screen))


def _describe_row_difference(task: Task, findings: Sequence[Finding]) -> str:
    """Describe how the rows of the task's repositories differ from the registry; empty if equal or unknown."""
    if any(finding.problem for finding in findings):
        return ""
    rows: dict[str, int | None] = {}
    for role in get_roles(task.source.parts[0]):
        counts = [count for finding in findings for name, _, count, _ in finding.tables if name == role]
        rows[role] = None if None in counts else sum(count or 0 for count in counts)
    found = describe_size_difference(task, documents=rows["corpus"], qrels=rows["qrels"], query_rows=rows["queries"])
    return f"task {task.id}: {found}" if found else ""


def _examine_part(task: Task, part: Part) -> Finding:
    revision = part.revision or ""
    files = list_files(part.repository, revision)
    header = read_readme_header(part.repository, revision, files) or {}
    tables = discover_tables([file.path for file in files], header)
    where = f"task {task.id}, {part.repository} at {revision[:12]}"
    sizes = {file.path: file.size for file in files}
    found, size = [], 0
    for role, table in get_roles(part).items():
        config, split, paths = choose_table(tables, role, table, where)
        size += sum(sizes[path] for path in paths)
        peeked = [
            call_with_retries(partial(_peek, part.repository, revision, path, sizes[path]), where) for path in paths
        ]
        stated = _find_stated_rows(header, config, split)
        counted = None if any(count is None for count, _ in peeked) else sum(count or 0 for count, _ in peeked)
        if None not in (stated, counted) and stated != counted:
            raise DataError(f"{where}: {config}/{split}: {counted:,} rows in its files; its README states {stated:,}")
        check_columns(task, role, peeked[0][1], f"{where}: {config}/{split}")
        found.append((role, f"{config}/{split}", stated if counted is None else counted, peeked[0][1]))
    return Finding(task.id, part.repository, tuple(found), size)


def _find_stated_rows(header: Mapping[str, Any], config: str, split: str) -> int | None:
    """Return the number of rows of a table by the README's `dataset_info`, or None if it states none."""
    infos = header.get("dataset_info")
    for info in infos if isinstance(infos, list) else [infos]:
        if isinstance(info, dict) and info.get("config_name", "default") == config:
            for one in info.get("splits") or ():
                if isinstance(one, dict) and one.get("name") == split and isinstance(one.get("num_examples"), int):
                    rows: int = one["num_examples"]
                    return rows
    return None


def _peek(repository: str, revision: str, path: str, size: int) -> tuple[int | None, tuple[str, ...]]:
    """Return (rows, columns) of a remote file, from its parquet footer or, in other formats, from its first row.

    In other formats rows is None unless the file is so small that a request returned all of it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    form, asked = detect_format(path), BLOCK
    while True:
        try:
            if form == "parquet":
                end = pa.BufferReader(_fetch_range(repository, revision, path, max(0, size - asked), size))
                footer = pq.read_metadata(end)
                return footer.num_rows, tuple(footer.schema.to_arrow_schema().names)
            start = _fetch_range(repository, revision, path, 0, min(asked, size))
            if path.endswith(".gz"):
                start = zlib.decompressobj(wbits=31).decompress(start)
            text = start.decode("utf-8-sig", errors="ignore" if asked < size else "strict")
            lines = [line for line in text.splitlines() if line.strip()]
            if not lines:
                raise ValueError("nothing in it")
            if form == "tsv":
                return len(lines) - 1 if asked >= size else None, tuple(lines[0].split("\t"))
            if text.lstrip().startswith("["):
                return len(json.loads(text)) if asked >= size else None, _parse_first_row(text)
            return len(lines) if asked >= size else None, _parse_first_row(text)
        except (pa.ArrowException, ValueError, zlib.error) as error:
            if asked >= min(size, MAX_BLOCK):
                raise DataError(f"{repository} at {revision[:12]}: {path}: not {form}: {to_one_line(error)}") from error
            asked *= 8  # the footer or first row may be longer


def _parse_first_row(text: str) -> tuple[str, ...]:
    """Return the keys of the first object of a JSON Lines file or array. Raises ValueError if it is cut off."""
    row, _ = json.JSONDecoder().raw_decode(text.lstrip().removeprefix("[").lstrip())
    if not isinstance(row, dict):
        raise ValueError(f"its first row is {type(row).__name__}, not an object")
    return tuple(row)


def _fetch_range(repository: str, revision: str, path: str, start: int, end: int) -> bytes:
    """Return bytes `start` to `end` (exclusive) of a remote file. Raises DataError if the Hub ignores the range."""
    from huggingface_hub import hf_hub_url, utils

    client: Any = utils  # which exports these under a condition that mypy does not see
    if start == end:
        return b""
    url = hf_hub_url(repository, path, repo_type="dataset", revision=revision)
    # A server that compresses its answer would count the range in compressed bytes.
    headers = {**client.build_hf_headers(), "Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    with client.http_stream_backoff("GET", url, headers=headers) as response:
        client.hf_raise_for_status(response)
        if response.status_code != 206 and start > 0:
            raise DataError(f"{repository} at {revision[:12]}: {path}: the Hub sends no parts of files")
        found = b""
        for chunk in response.iter_bytes():
            found += chunk
            if len(found) >= end - start:
                break
    return found[: end - start]
