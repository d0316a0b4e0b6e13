"""A worker process of `mrb.parallel.encoding_pool`: builds the encoder, and makes the shards that it is handed.

It ends when its pipe closes, when the process that started it ends in any way, and with all that the encoder started.
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
from mrb.evaluation.failures import Allowance
from mrb.parallel.encoding_pool import Ask, Build, Built, Done, Encode, Raised
from mrb.rerankers.calling import closed_after
from mrb.rerankers.plugins import RETRIEVERS, load_adapter
from mrb.retrieval.encoding import Encoding
from mrb.retrieval.first_stage import parts_of
from mrb.retrieval.shards import Shards, shards_of

LOOK_SECONDS = 0.5


def main(handle: int, parent: int) -> None:
    """Serve the process of id `parent` over the pipe of file descriptor `handle`, until either ends."""
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
    with closed_after(encoding.close):
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
    """The tables of the task that is open, by the names of their folders."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._opened: tuple[str, Path] | None = None
        self._tables: dict[str, Shards] = {}

    def open(self, task: Task, folder: Path, allowed: int) -> None:
        """Read the task's data, of which `allowed` items may fail, unless it is open."""
        if self._opened == (task.hash, folder):
            return
        self._tables = {}
        encoding = self._encoding
        encoding.allowance = Allowance(allowed, things="items")
        for part in parts_of(load_task_data(task)):
            for shards in shards_of(part, folder, encoding.shard_rows, encoding.identity):
                encoding.verify(shards)
                self._tables[shards.folder.name] = shards
        self._opened = task.hash, folder

    def shards(self, folder: str, number: int) -> Shards:
        """The table that has this folder; CandidatesError if the data here is not what the list is made for."""
        found = self._tables.get(folder)
        if found is None or number >= len(found):
            raise CandidatesError(f"a worker has other data than the search: {folder} is none of its tables")
        return found


def _portable(error: MRBError) -> MRBError:
    """The error as another process can hold it: of a class of `mrb.errors`, its traceback as a note.

    What it was raised from, or an encoder's own subclass, may be of a module that only the worker can import.
    """
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
    plain = kind(str(error))
    assert isinstance(plain, MRBError)  # every class of that module is one
    plain.add_note("In the worker:\n" + "".join(traceback.format_exception(error)).rstrip())
    return plain


def _end_with(parent: int) -> None:
    """End this process and all that it has started once the parent is gone, whatever is going on then.

    A pipe's end would not do: it is read only between shards. The process has a group of its own.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, name="mrb-parent-watch", daemon=True).start()
