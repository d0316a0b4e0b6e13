"""Run a function in a forked process (copy-on-write), so that nothing has to be read or sent again."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Generic, TypeVar

T = TypeVar("T")


class Forked(Generic[T]):
    """The function's result: `value` is set when the block of `run_forked` has ended."""

    value: T


@contextmanager
def run_forked(work: Callable[[], T]) -> Iterator[Forked[T]]:
    """Run `work` in a forked process while the block runs; its error is raised when the block ends.

    A fork has this process's memory but none of its threads: `work` must be pure Python, without libraries that use
    threads. Where forking is not safe (anything but Linux) `work` runs after the block.
    """
    found = Forked[T]()
    if sys.platform != "linux":
        yield found
        found.value = work()
        return
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(work, sender))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads, which `work` does not need
        process.start()
    sender.close()
    try:
        yield found
        try:
            error, value = receiver.recv()
        except EOFError:
            process.join()
            raise RuntimeError(f"a second process ended with {process.exitcode}") from None
        if error is not None:
            raise error
        found.value = value
    finally:
        process.terminate()
        process.join()
        receiver.close()


def _send(work: Callable[[], object], sender: Connection) -> None:
    try:
        sender.send((None, work()))
    except Exception as error:  # raised in the parent
        sender.send((error, None))
