"""Encode shards of vectors by workers with one encoder each. The command's process searches and writes the lists.

A worker writes each shard to disk itself, so vectors are not sent, and all nodes must share the folder of vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mrb.data.load import load_task_data
from mrb.data.own_tasks import find_task_folder
from mrb.data.task import Task
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, CandidatesError
from mrb.evaluation.failures import FailureBudget
from mrb.parallel.messages import JobSpec, Piece
from mrb.parallel.pool import Connect, open_pool
from mrb.parallel.work_queue import WorkQueue
from mrb.rerankers.calling import close_after
from mrb.rerankers.plugins import RETRIEVERS, load_adapter
from mrb.retrieval.encoding import LocalEncoder
from mrb.retrieval.first_stage import split_parts
from mrb.retrieval.retriever import Float32
from mrb.retrieval.shards import Kind, Shards, list_shards, make_shards, show_progress


class PoolEncoder:
    """An `EmbeddingWriter` with workers. An error in a worker is raised here."""

    def __init__(self, name: str, options: Mapping[str, str], *, connect: Connect) -> None:
        self.folder = Path()
        self.allowed = 0
        self._stack = ExitStack()
        self._pool = self._stack.enter_context(open_pool(connect, EncodingSpec(name, options)))
        info: EncoderInfo = self._pool.info
        self.name, self.identity, self.shard_rows = info.name, info.identity, info.shard_rows
        self.needs_images = info.needs_images
        self.max_images = info.max_images

    def write_shards(self, tables: Sequence[Shards]) -> Iterator[tuple[Shards, int]]:
        """Have one worker verify the stored shards of a task's tables, and the workers encode the missing ones."""
        self._open(tables[0].data.task)
        self._pool.call("verify", [shards.folder.name for shards in tables])
        stored, absent = list_shards(tables)
        yield from stored
        missing = {f"{shards.folder.name}/{number:06d}": (shards, number) for shards, number in absent}
        queue = WorkQueue(((key, shards.folder.name, number) for key, (shards, number) in missing.items()), at_once=1)
        with show_progress(missing.values()) as bar:
            for worker, answer in self._pool.run(queue):
                shards, number = missing[answer.key]
                if not shards.path(number).exists():
                    raise AdapterError(
                        f"{shards.path(number)}: made by {worker.name} and not to be seen here; name a folder that all "
                        "nodes share with --work"
                    )
                bar.advance(len(shards.part(number)))
                yield shards, number

    def encode(self, data: TaskData, kind: Kind, ids: Sequence[str]) -> Float32:
        """Have one worker encode a few items, and return the vectors of shape (n, width)."""
        self._open(data.task)
        vectors: Float32 = self._pool.call("encode", kind, ids)
        return vectors

    def close(self) -> None:
        """Close the encoders and end the workers."""
        self._stack.close()

    def _open(self, task: Task) -> None:
        data = find_task_folder(task) if task.source.kind == "folder" else None
        self._pool.open(EncodingTask(task, self.folder.absolute(), self.allowed, data), task.id)


@dataclass(frozen=True)
class EncoderInfo:
    """The declarations of an encoder, which must be equal in all workers."""

    name: str
    identity: dict[str, Any]
    shard_rows: int
    needs_images: bool
    max_images: int | None


@dataclass(frozen=True)
class EncodingTask:
    """A task to open: its tables are stored below `folder`, and `allowed` items may fail. `data` is the folder of an
    own task's data."""

    task: Task
    folder: Path
    allowed: int
    data: Path | None = None


class EncodingSpec(JobSpec):
    """An encoder by name and options."""

    building = "building the encoder"
    working = "encoding"
    unit = "shard"
    kept = "finished shards are kept, the same command continues"

    @contextmanager
    def start(self) -> Iterator[EncodingJob]:
        """Build the encoder; it is closed after the block."""
        adapter = load_adapter(self.name, self.options, RETRIEVERS)
        if not callable(getattr(adapter.target, "encode_documents", None)):
            raise AdapterError(f"{self.name}: searches by itself, in one process; omit --workers")
        encoder = LocalEncoder(adapter)
        with close_after(encoder.close):
            yield EncodingJob(encoder)


class EncodingJob:
    """A worker's encoder and the tables of the open task, by folder name."""

    def __init__(self, encoder: LocalEncoder) -> None:
        self.info = EncoderInfo(
            encoder.name, encoder.identity, encoder.shard_rows, encoder.needs_images, encoder.max_images
        )
        self._encoder = encoder
        self._data: TaskData | None = None
        self._tables: dict[str, Shards] = {}
        self._verified: set[str] = set()

    def open(self, task: EncodingTask) -> None:
        """Load the task's data."""
        self._data, self._tables = None, {}  # frees the last task's data before the next task is loaded
        self._verified.clear()
        self._data = load_task_data(task.task, root=task.data)
        self._encoder.budget = FailureBudget(task.allowed, things="items")
        for part in split_parts(self._data):
            for shards in make_shards(part, task.folder, self._encoder.shard_rows, self._encoder.identity):
                self._tables[shards.folder.name] = shards

    def verify(self, folders: Sequence[str]) -> None:
        """Verify stored vectors of these tables, once for each task.

        Raises CandidatesError if this worker's data differs from the command's.
        """
        for folder in folders:
            if folder not in self._tables:
                raise CandidatesError(f"a worker has other data than the search: {folder} is not one of its tables")
            if folder not in self._verified:
                self._encoder.verify(self._tables[folder])
                self._verified.add(folder)

    def process(self, pieces: Iterable[Piece], budget: FailureBudget | None) -> Iterator[tuple[str, Any]]:
        """Write each shard (key, folder name, number). What others wrote before is verified first."""
        for key, folder, number in pieces:
            self.verify([folder])
            self._encoder.write_shard(self._tables[folder], number)
            yield key, None

    def encode(self, kind: Kind, ids: Sequence[str]) -> Float32:
        """Return the vectors of a few items of the open task."""
        assert self._data is not None
        return self._encoder.encode(self._data, kind, ids)
