"""Parquet files from strangers, read by a process that may die of them.

A crafted file can make a parquet library end the whole process, or unpack to more than its footer states: neither can
be caught where it happens. So a child reads the file, under a limit on its memory, and hands the table over only when
it has been checked. What happens to the child is told in one line, and the next file gets a new one.

It says R when it is ready. Requests are lines of JSON on its standard input; an answer is a letter (T: a table as an
Arrow stream, E: a refusal in UTF-8), the length as 8 bytes (big-endian), and as many bytes.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import pyarrow as pa

from mrb._util.parquet import open_untrusted, read_untrusted
from mrb.errors import MRBError, ResultError, one_line

MEMORY = 1024**3
"""Bytes that the child may take beyond what it has when it starts (on Linux, where the system can be told so)."""
SECONDS = 300.0
_READY = b"R"
_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED"}
_START = "import sys; sys.path[:] = {path!r}; from mrb.submission.sandboxed_parquet import serve; serve({memory})"


class Reader:
    """The child, started when the first file is asked for, and again after it died."""

    def __init__(self, memory: int = MEMORY, seconds: float = SECONDS) -> None:
        self._memory, self._seconds = memory, seconds
        self._child: subprocess.Popen[bytes] | None = None

    def table(self, path: Path, schema: pa.Schema, *, rows: int, max_bytes: int) -> pa.Table:
        """The table in `path`: just these columns without nulls and this many rows, in plain pages.

        ResultError names the file and what is wrong with it.
        """
        kinds = [[field.name, str(field.type)] for field in schema]
        request = {"path": str(path.absolute()), "schema": kinds, "rows": rows, "max_bytes": max_bytes}
        kind, data = self._ask(json.dumps(request).encode(), path)
        if kind == b"E":
            raise ResultError(data.decode().replace(str(path.absolute()), str(path), 1))
        return pa.ipc.open_stream(data).read_all()

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is not None:
            return self._child
        code = _START.format(path=sys.path, memory=self._memory)
        self._child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Arrow's usual allocator takes address space in portions as large as the limit.
            env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
        )
        assert self._child.stdout is not None
        if self._child.stdout.read(1) != _READY:
            ended = self._child.wait()
            self.close()
            raise ResultError(f"the process that reads rankings cannot be started (code {ended})")
        return self._child

    def _ask(self, request: bytes, path: Path) -> tuple[bytes, bytes]:
        child = self._started()
        assert child.stdin is not None and child.stdout is not None
        clock = threading.Timer(self._seconds, child.kill)
        clock.daemon = True
        clock.start()
        try:
            child.stdin.write(request + b"\n")
            child.stdin.flush()
            head = child.stdout.read(9)
            data = child.stdout.read(int.from_bytes(head[1:], "big"))
        except BrokenPipeError:
            head, data = b"", b""
        finally:
            clock.cancel()
        if len(head) < 9 or len(data) < int.from_bytes(head[1:], "big"):
            ended = child.wait()
            self.close()
            raise ResultError(
                f"{path}: reading it ends the process that reads (code {ended}): damaged, or made to harm"
            )
        return head[:1], data


@cache
def reader() -> Reader:
    """The one reader of this process."""
    found = Reader()
    atexit.register(found.close)
    return found


def serve(memory: int) -> None:
    """The child: answers requests until its standard input ends."""
    limit(memory)
    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            kind, data = b"T", _packed(_read(request))
        except MRBError as error:
            kind, data = b"E", str(error).encode()
        except MemoryError:
            kind, data = b"E", f"{request['path']}: unpacks to more than {memory} bytes".encode()
        sys.stdout.buffer.write(kind + len(data).to_bytes(8, "big") + data)
        sys.stdout.buffer.flush()


def limit(more: int) -> None:
    """Let this process take no more than `more` further bytes, and leave no core file: on Linux; else nothing."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        return
    wanted = pages * resource.getpagesize() + more
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read(request: dict[str, object]) -> pa.Table:
    path, rows, max_bytes, kinds = (request[name] for name in ("path", "rows", "max_bytes", "schema"))
    assert isinstance(path, str) and isinstance(rows, int) and isinstance(max_bytes, int) and isinstance(kinds, list)
    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds])
    check_stated(Path(path), rows)
    # One thread: the stacks of many would not fit under the limit.
    table = read_untrusted(Path(path), schema, ResultError, max_bytes=max_bytes, threads=False)
    if any(column.null_count for column in table.columns):
        raise ResultError(f"{path}: holds null cells")
    return table.replace_schema_metadata(None)


def check_stated(path: Path, rows: int) -> None:
    """Refuse, from the file's footer alone, other rows than counted, and pages that are packed or coded."""
    with open_untrusted(path, ResultError) as file:
        stated = file.metadata
        if stated.num_rows != rows:
            raise ResultError(f"{path}: {stated.num_rows} rows; the result counts {rows} queries")
        if stated.num_row_groups > max(rows, 1):
            raise ResultError(f"{path}: more groups of rows than rows")
        groups = (stated.row_group(number) for number in range(stated.num_row_groups))
        for column in (group.column(number) for group in groups for number in range(stated.num_columns)):
            if column.compression != "UNCOMPRESSED" or not set(column.encodings) <= _ENCODINGS:
                raise ResultError(
                    f"{path}: column {one_line(column.path_in_schema, 80)} is packed or coded ({column.compression}, "
                    f"{', '.join(map(str, column.encodings))}); rankings are written plain, as `mrb submit` does"
                )


def _packed(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
