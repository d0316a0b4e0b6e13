"""Guard calls into an adapter's code, which may change the working folder or standard streams or end the process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from mrb.errors import MRBError

_folder: str | None = None
"""The working folder that adapters have changed to, or None if it is that of the command."""
_STREAMS = (1, 2)


@contextmanager
def guard_adapter_call() -> Iterator[None]:
    """Run the block in the working folder that adapters have chosen.

    Afterwards the command has its own working folder, stdout and stderr again, even if the block has closed these.
    """
    global _folder  # one per process, like the working folder itself
    home, streams = _get_working_folder(), (sys.stdout, sys.stderr)
    kept = {number: copy for number in _STREAMS if (copy := _duplicate_descriptor(number)) is not None}
    if _folder is not None:
        os.chdir(_folder)
    try:
        yield
    finally:
        here = _get_working_folder()
        _folder = None if here == home else here
        if here != home and home is not None:
            os.chdir(home)
        for number, copy in kept.items():
            if _has_changed(number, copy):
                os.dup2(copy, number)
            os.close(copy)
        sys.stdout, sys.stderr = (
            _reopen_stream(number) if stream is not None and stream.closed else stream
            for number, stream in zip(_STREAMS, streams, strict=True)
        )


@contextmanager
def close_after(close: Callable[[], None]) -> Iterator[None]:
    """Run the block, then `close`. If both fail, the error of the block is raised."""
    try:
        yield
    except BaseException:
        with suppress(MRBError):
            close()
        raise
    close()


@contextmanager
def guard_exits() -> Iterator[None]:
    """Prevent adapter code from ending this process with `os._exit` as if the command had succeeded.

    In the main thread `os._exit` raises SystemExit, which is reported like any other error of an adapter. In another
    thread it ends the process with exit code 2. After the block it ends the process with the block's exit code, if that
    is not 0. Forked processes are not affected.
    """
    real, command, codes = os._exit, os.getpid(), list[int]()

    def refuse(status: int) -> NoReturn:
        if os.getpid() == command and not codes:
            if threading.current_thread() is threading.main_thread():
                raise SystemExit(f"os._exit({status}) was called")
            os.write(2, f"mrb: a thread called os._exit({status}); finished scores are kept\n".encode())
            real(2)
        real(codes[0] or status if os.getpid() == command else status)

    os._exit = refuse
    try:
        yield
        codes.append(0)
    except SystemExit as ended:
        codes.append(ended.code if isinstance(ended.code, int) else int(ended.code is not None))
        raise
    except BaseException:
        codes.append(1)
        raise


def _get_working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # it was removed
        return None


def _duplicate_descriptor(number: int) -> int | None:
    """Return a duplicate of a stream's file descriptor, or None if the command was started without the stream."""
    try:
        return os.dup(number)
    except OSError:
        return None


def _has_changed(number: int, copy: int) -> bool:
    try:
        return not os.path.sameopenfile(number, copy)
    except OSError:
        return True


def _reopen_stream(number: int) -> object:
    return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
