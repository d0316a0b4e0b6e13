"""The worker process of `mrb.parallel.encoding_pool`: it builds the encoder and writes the shards that it gets.

It ends when its pipe closes or its parent process ends in any way. The processes that the encoder started end with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mrb import errors
from mrb.data.load import load_task_data
from mrb.data.task import Task
from mrb.errors import AdapterError, CandidatesError, MRBError
from mrb.evaluation.failures import FailureBudget
from mrb.parallel.encoding_pool import Ask, Build, Built, Done, Encode, Raised
from mrb.rerankers.calling import close_after
from mrb.rerankers.plugins import RETRIEVERS, load_adapter
from mrb.retrieval.encoding import Encoding
from mrb.retrieval.first_stage import parts_of
from mrb.retrieval.shards import Shards, shards_of

LOOK_SECONDS = 0.5


def main(handle: int, parent: int) -> None:
    """Serve the process with id `parent` over the pipe with file descriptor `handle`, until either ends."""
    _end_with(parent)
    with Connection(handle) as pipe, contextlib.suppress(EOFError, ConnectionError):
        try:
            _serve(pipe)
        except MRBError as error:
            pipe.send(Raised(_portable(error)))


def _serve(pipe: Connection[Any, Any]) -> None:
    build = pipe.recv()
    assert isinstance(build, Build)  # the first command
    adapter = load_adapter(build.name, build.options, RETRIEVERS)
    if not callable(getattr(adapter.target, "encode_documents", None)):
        raise AdapterError(f"{build.name}: searches by itself, in one process; leave --workers out")
    encoding = Encoding(adapter)
    with close_after(encoding.close):
        built = Built(encoding.name, encoding.identity, encoding.shard_rows, encoding.needs_images)
        pipe.send(Done(built))
        tables = _Tables(encoding)
        while True:
            command = pipe.recv()
            assert isinstance(command, Encode)
            tables.open(command.task, command.folder, command.allowed)
            while (job := _asked(pipe)) is not None:
                encoding.make(tables.shards(*job), job[1])
            pipe.send(Done())


def _asked(pipe: Connection[Any, Any]) -> tuple[str, int] | None:
    pipe.send(Ask())
    job: tuple[str, int] | None = pipe.recv()
    return job


class _Tables:
    """The tables of the open task, by folder name."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._opened: tuple[str, Path] | None = None
        self._tables: dict[str, Shards] = {}

    def open(self, task: Task, folder: Path, allowed: int) -> None:
        """Load and verify the task's data, unless it is open already; `allowed` items may fail."""
        if self._opened == (task.hash, folder):
            return
        self._tables = {}
        encoding = self._encoding
        encoding.allowance = FailureBudget(allowed, things="items")
        for part in parts_of(load_task_data(task)):
            for shards in shards_of(part, folder, encoding.shard_rows, encoding.identity):
                encoding.verify(shards)
                self._tables[shards.folder.name] = shards
        self._opened = task.hash, folder

    def shards(self, folder: str, number: int) -> Shards:
        """Return the table with this folder. Raises CandidatesError if this worker's data differs from the search's."""
        found = self._tables.get(folder)
        if found is None or number >= len(found):
            raise CandidatesError(f"a worker has other data than the search: {folder} is none of its tables")
        return found


def _portable(error: MRBError) -> MRBError:
    """Convert an error so that another process can unpickle it: a class of `mrb.errors`, with the traceback as a note.

    Its cause, or an encoder's own subclass, may belong to a module that only the worker can import.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    plain = kind(str(error))
    assert isinstance(plain, MRBError)  # every class of that module is one
    plain.add_note("In the worker:\n" + "".join(traceback.format_exception(error)).rstrip())
    return plain


def _end_with(parent: int) -> None:
    """Kill this process's group once the parent is gone. The process leads its own group, which holds its children.

    The end of the pipe is not enough, because the pipe is read only between shards.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="mrb-parent-watch", daemon=True).start()
