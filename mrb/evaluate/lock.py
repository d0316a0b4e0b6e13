"""One process at a time in a run's folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from mrb.errors import ResultError
from mrb.files import write_json


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; ResultError names the host and process that already holds it.

    The operating system drops the lock when its process ends in any way, so a killed run leaves nothing behind that
    must be removed by hand.
    """
    owner = folder / ".owner.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise ResultError(f"{folder}: in use by {_owner(owner)}; wait for it, or give another --out") from None
    except OSError as error:
        raise ResultError(f"{folder}: cannot be written: {error.strerror}; give another folder with --out") from error
    try:
        write_json(owner, {"host": socket.gethostname(), "pid": os.getpid()})
        yield
    finally:
        lock.release()


def _owner(path: Path) -> str:
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        return f"process {int(stated['pid'])} on host {str(stated['host'])[:80]}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
