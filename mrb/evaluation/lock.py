"""Lock a run's folder: only one process at a time may write to it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from mrb._util.files import write_json
from mrb._util.hashing import hash_bytes
from mrb.errors import ResultError


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock `folder` for the length of the `with` block; ResultError names the process that holds the lock already.

    The operating system releases the lock when the process ends, even when it is killed: no lock file must be removed
    by hand.
    """
    owner = folder / ".owner.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise ResultError(f"{folder}: in use by {_describe_owner(owner)}; wait for it, or give another --out") from None
    except OSError as error:
        raise ResultError(f"{folder}: cannot be written: {error.strerror}; give another folder with --out") from error
    try:
        write_json(owner, {"host": _hash_host(), "pid": os.getpid()})
        yield
    finally:
        lock.release()


def _hash_host() -> str:
    """Return a hash of the host name. Folders of runs are shared, so the name itself is not written."""
    return hash_bytes(socket.gethostname().encode())[:8]


def _describe_owner(path: Path) -> str:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        where = "this machine" if stated["host"] == _hash_host() else "another machine"
        return f"process {int(stated['pid'])} on {where}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
