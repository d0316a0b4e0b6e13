"""Check files of groups: what is test data, what could not be trained on, and what contradicts itself.

Rows are read in stretches by a pool of processes, which also hashes their texts. Then each image is decoded once,
however many rows show it. Only if an image is test data or cannot be used, the rows are read again to find where.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from mrb._util.cores import count_cores
from mrb._util.progress import start_progress
from mrb.errors import TrainingError
from mrb.training.data.check_record import LISTED, CheckRecord, RowTable, write_check
from mrb.training.data.check_rows import (
    Found,
    Verdict,
    add_found,
    find_images,
    judge_images,
    make_table,
    read_stretch,
)
from mrb.training.data.contamination import Dropped, HeldOutIndex, Keys
from mrb.training.data.files import GroupFile
from mrb.training.data.rows import find_starts

T = TypeVar("T")
IMAGES_AT_ONCE = 64


class FileChecker:
    """Checks files, one after the other, each by all processes. A context manager: it ends them.

    Args:
        index: Hashes of test data.
        processes: How many processes; one of them is this one if there is little to do.
    """

    def __init__(self, index: HeldOutIndex, processes: int | None = None) -> None:
        self.index = index
        self.processes = processes or count_cores()
        self._pool: ProcessPoolExecutor | None = None
        self._verdicts: dict[Path, dict[str, Verdict]] = {}
        self._seen: dict[tuple[Path, bool], dict[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def check(self, path: Path, known: tuple[str, Dropped] | None = None) -> tuple[CheckRecord, RowTable]:
        """Check a file and write what was found.

        Args:
            path: The file.
            known: The SHA-256 of a content that is free of test data, and what was dropped when it was made. Of this
                content only the rows and the headers of images are looked at.

        Raises:
            TrainingError: It is no file of groups. Rows that are no groups are listed in the record.
        """
        began, status = time.monotonic(), path.stat()
        starts, sha256 = find_starts(path)
        file = GroupFile(path, starts)
        compare = known is None or known[0] != sha256
        pieces = [(path, rows, some) for rows, some in file.rows.cut()]
        found = Found()
        with start_progress(str(path), "groups", len(file)) as progress:
            for one in self._map(read_stretch, [(piece, compare) for piece in pieces]):
                add_found(found, one)
                progress.advance(len(one.sources))
        keys = self._look_at_images(file, found.images, compare)
        verdicts = self._verdicts.get(file.folder, {})
        flagged = {name: verdicts[name] for name in found.images & verdicts.keys()}
        if flagged:
            for one in self._map(find_images, [(piece, flagged) for piece in pieces]):
                add_found(found, one)
        table, dropped = make_table(starts, found)
        own = f"{path}, "
        doubtful = [(row, "a document is both positive and negative") for row in found.contradictory]
        doubtful += [(row, "a positive is there twice") for row in found.doubled]
        record = CheckRecord(
            sha256=sha256,
            size=status.st_size,
            modified=status.st_mtime_ns,
            checked=self.index.identity,
            tasks=self.index.identities,
            groups=len(file),
            images=len(found.images),
            sources=tuple(dict.fromkeys(filter(None, found.sources))),
            no_negatives=len(found.no_negatives),
            dropped=dropped if compare or known is None else known[1],
            bad=len(found.bad),
            problems=tuple(found.bad[row].removeprefix(own) for row in sorted(found.bad)[:LISTED]),
            contradictory=len(found.contradictory),
            doubled=len(found.doubled),
            doubtful=tuple(f"row {row + 1}: {what}" for row, what in sorted(doubtful)[:LISTED]),
            seconds=round(time.monotonic() - began, 3),
            processes=self.processes,
        )
        write_check(path, record, table, np.unique(np.concatenate([*found.keys, keys])) if compare else None)
        return record, table

    def _look_at_images(self, file: GroupFile, images: set[str], compare: bool) -> Keys:
        """Judge the images that were not judged before, and return the hashes of those that can be used."""
        seen = self._seen.setdefault((file.folder, compare), {})
        new = sorted(images - seen.keys() - self._verdicts.get(file.folder, {}).keys())
        some = iter(new)
        jobs = [(file.path, names, compare) for names in iter(lambda: list(islice(some, IMAGES_AT_ONCE)), [])]
        with start_progress(str(file.path), "images", len(new)) as progress:
            for names, (verdicts, keys) in zip(jobs, self._map(judge_images, jobs), strict=True):
                self._verdicts.setdefault(file.folder, {}).update(verdicts)
                seen |= keys
                progress.advance(len(names[1]))
        return np.asarray([seen[name] for name in images & seen.keys()], np.uint64)

    def _map(self, function: Callable[..., T], jobs: list[Any]) -> Iterator[T]:
        """Yield the results of `function(job, index)` in the order of the jobs, few of them ahead of their use."""
        if self.processes == 1 or len(jobs) == 1:
            yield from (function(job, self.index) for job in jobs)
            return
        if self._pool is None:
            # Not forked: the trainer, which may be this process, holds a GPU and threads.
            context = multiprocessing.get_context("spawn")
            sent = _send_keys(self.index.keys), _send_keys(self.index.unjudged)
            self._pool = ProcessPoolExecutor(self.processes, context, _start_process, sent)
        waiting: deque[Future[T]] = deque()
        try:
            for job in jobs:
                waiting.append(self._pool.submit(_run, function, job))
                if len(waiting) > 2 * self.processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            hint = "perhaps for want of memory: `mrb train check` with fewer --workers takes less"
            raise TrainingError(f"a process that checks the groups was ended from outside, {hint}") from error


# In a process of the pool

_index = HeldOutIndex({}, ())


def _send_keys(index: Mapping[str, Keys]) -> dict[str, Any]:
    """Return keys for another process: those in a file are mapped there too, not copied."""
    return {task: keys.filename if isinstance(keys, np.memmap) else keys for task, keys in index.items()}


def _receive_keys(sent: Mapping[str, Any]) -> dict[str, Keys]:
    return {
        task: np.load(own, mmap_mode="r") if isinstance(own, str | os.PathLike) else own for task, own in sent.items()
    }


def _start_process(keys: dict[str, Any], unjudged: dict[str, Any]) -> None:
    global _index
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _index = HeldOutIndex(_receive_keys(keys), (), _receive_keys(unjudged))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process of the pool"
    parent.join()
    os._exit(1)


def _run(function: Callable[..., T], job: Any) -> T:
    return function(job, _index)
