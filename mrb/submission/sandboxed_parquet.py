"""Read untrusted Parquet files in a sandboxed subprocess.

A crafted file can make a Parquet library kill its process, or unpack to more than its footer states; neither can be
caught within the process. So a child reads the file under a memory limit, and sends the table only after checking it.
If the child dies, this is reported in one line, and the next file gets a new child.

Protocol: the child writes R when it is ready. Requests are lines of JSON on its standard input. An answer is one letter
(T: a table as an Arrow stream, E: an error message in UTF-8), its length as 8 bytes (big-endian), and so many bytes.
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
from mrb.errors import MRBError, ResultError, to_one_line

MEMORY = 1024**3
"""Bytes that the child may allocate beyond what it has at its start (only on Linux, which can enforce it)."""
SECONDS = 300.0
_READY = b"R"
_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED"}
_START = "import sys; sys.path[:] = {path!r}; from mrb.submission.sandboxed_parquet import serve; serve({memory})"


class SandboxedReader:
    """The child process, started with the first file and again after it died."""

    def __init__(self, memory: int = MEMORY, seconds: float = SECONDS) -> None:
        self._memory, self._seconds = memory, seconds
        self._child: subprocess.Popen[bytes] | None = None

    def table(self, path: Path, schema: pa.Schema, *, rows: int, max_bytes: int) -> pa.Table:
        """Return the table in `path`: exactly these columns without nulls, this many rows, uncompressed plain pages.

        ResultError names the file and what is wrong with it.
        """
        kinds = [[field.name, str(field.type)] for field in schema]
        request = {"path": str(path.absolute()), "schema": kinds, "rows": rows, "max_bytes": max_bytes}
        kind, data = self._ask(json.dumps(request).encode(), path)
        if kind == b"E":
            raise ResultError(data.decode().replace(str(path.absolute()), str(path), 1))
        return pa.ipc.open_stream(data).read_all()

    def close(self) -> None:
        """Stop the child."""
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
            # Arrow's default allocator reserves address space in blocks as large as the limit.
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
def get_reader() -> SandboxedReader:
    """Return this process's single reader."""
    found = SandboxedReader()
    atexit.register(found.close)
    return found


def serve(memory: int) -> None:
    """Main loop of the child: answer requests until standard input ends."""
    limit_memory(memory)
    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            kind, data = b"T", _to_arrow_stream(_read(request))
        except MRBError as error:
            kind, data = b"E", str(error).encode()
        except MemoryError:
            kind, data = b"E", f"{request['path']}: unpacks to more than {memory} bytes".encode()
        sys.stdout.buffer.write(kind + len(data).to_bytes(8, "big") + data)
        sys.stdout.buffer.flush()


def limit_memory(more: int) -> None:
    """Limit this process to `more` further bytes of memory, without core files. Does nothing outside Linux."""
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
    check_footer(Path(path), rows)
    # One thread: the stacks of many would not fit within the limit.
    table = read_untrusted(Path(path), schema, ResultError, max_bytes=max_bytes, threads=False)
    if any(column.null_count for column in table.columns):
        raise ResultError(f"{path}: holds null cells")
    return table.replace_schema_metadata(None)


def check_footer(path: Path, rows: int) -> None:
    """Refuse, from the file's footer alone, a wrong number of rows, and compressed or encoded pages."""
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
                    f"{path}: column {to_one_line(column.path_in_schema, 80)} is compressed or encoded ("
                    f"{column.compression}, {', '.join(map(str, column.encodings))}); "
                    "`mrb submission make` writes rankings plain"
                )


def _to_arrow_stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
