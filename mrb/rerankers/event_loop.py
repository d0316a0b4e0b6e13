"""Run the coroutines of an async adapter, also where an event loop runs already: in a notebook, in an async program."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class EventLoop:
    """An event loop that lives from the first coroutine until `close`.

    It runs in the calling thread, or, if that thread runs another loop already, in a thread of its own while the caller
    waits: Python runs one loop per thread.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._thread: ThreadPoolExecutor | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the coroutine's result; other tasks of the loop go on meanwhile."""
        if self._thread is None and _runs_a_loop():
            self._thread = ThreadPoolExecutor(1, "mrb-adapter-loop")
        if self._thread is None:
            return self._runner.run(coroutine)
        future = self._thread.submit(self._runner.run, coroutine)
        try:
            return future.result()
        except KeyboardInterrupt:
            # The interrupt reaches the waiting thread only; the loop's tasks must end before the loop can be closed.
            self._runner.get_loop().call_soon_threadsafe(_cancel_all, self._runner.get_loop())
            raise

    def close(self) -> None:
        """Cancel the tasks that are left, and close the loop."""
        if self._thread is None:
            self._runner.close()
            return
        with self._thread as thread:
            thread.submit(self._runner.close).result()


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
