"""Check files of groups: what is test data, what could not be trained on, and what contradicts itself.

Rows are read in stretches by a pool of processes, which also hashes their texts. Then each image is decoded once,
however many rows show it. Only if an image is test data or cannot be used, the rows are read again to find where.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from mrb._util.cores import count_cores
from mrb._util.hashing import hash_bytes
from mrb._util.progress import start_progress
from mrb.data.items import ImageHandle
from mrb.engine.aspect_ratio import refuse_thin
from mrb.errors import MRBError, TrainingError
from mrb.training.data.check_record import (
    BAD,
    LISTED,
    NO_NEGATIVES,
    TEST_DATA,
    USABLE,
    CheckRecord,
    RowTable,
    write_check,
)
from mrb.training.data.contamination import Dropped, HeldOutIndex, is_lost, make_dropped
from mrb.training.data.dedup import hash_image, hash_text, normalize_text
from mrb.training.data.files import GroupFile, GroupRow, ImageRow, ItemRow, open_image
from mrb.training.data.rows import Starts, find_starts

T = TypeVar("T")
Piece = tuple[Path, range, Starts | None]
"""A stretch of a file's rows, and where they start (JSON lines)."""
IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class Hit:
    """An item that is test data: in which row, its place among the row's items, the row's sizes, and whose it is."""

    row: int
    place: int
    positives: int
    negatives: int
    tasks: tuple[str, ...]


@dataclass
class Found:
    """What was found in a stretch of rows. `images` are the paths of images that remain to be looked at."""

    sources: list[str] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    no_negatives: list[int] = field(default_factory=list)
    contradictory: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """Why an image is not simply used: the tasks whose test data it is, or what is wrong with it."""

    tasks: tuple[str, ...] = ()
    problem: str = ""


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
        self._seen: dict[tuple[Path, bool], set[str]] = {}

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
                _add(found, one)
                progress.advance(len(one.sources))
        self._look_at_images(file, found, compare)
        verdicts = self._verdicts.get(file.folder, {})
        flagged = {name: verdicts[name] for name in found.images & verdicts.keys()}
        if flagged:
            for hits, bad in self._map(find_images, [(piece, flagged) for piece in pieces]):
                found.hits += hits
                found.bad = bad | found.bad
        table, dropped = _make_table(starts, found)
        own = f"{path}, "
        doubtful = [(row, "a document is both positive and negative") for row in found.contradictory]
        doubtful += [(row, "a positive is there twice") for row in found.doubled]
        record = CheckRecord(
            sha256=sha256,
            size=status.st_size,
            modified=status.st_mtime_ns,
            checked=self.index.identity,
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
        write_check(path, record, table)
        return record, table

    def _look_at_images(self, file: GroupFile, found: Found, compare: bool) -> None:
        seen = self._seen.setdefault((file.folder, compare), set())
        new = sorted(found.images - seen)
        some = iter(new)
        jobs = [(file.path, names, compare) for names in iter(lambda: list(islice(some, IMAGES_AT_ONCE)), [])]
        with start_progress(str(file.path), "images", len(new)) as progress:
            for names, verdicts in zip(jobs, self._map(judge_images, jobs), strict=True):
                self._verdicts.setdefault(file.folder, {}).update(verdicts)
                progress.advance(len(names[1]))
        seen |= found.images

    def _map(self, function: Callable[..., T], jobs: list[Any]) -> Iterator[T]:
        """Yield the results of `function(job, index)` in the order of the jobs, few of them ahead of their use."""
        if self.processes == 1 or len(jobs) == 1:
            yield from (function(job, self.index) for job in jobs)
            return
        if self._pool is None:
            # Not forked: the trainer, which may be this process, holds a GPU and threads.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, context, _start_process, (_send_index(self.index),))
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


def read_stretch(job: tuple[Piece, bool], index: HeldOutIndex) -> Found:
    """Read rows: their form, their texts against test data, and labels that contradict each other."""
    (piece, compare), found = job, Found()
    path, rows, _ = piece
    file = _open_piece(piece)
    texts: dict[str, int] = {}
    encoded: dict[str | bytes, tuple[str, int] | str] = {}
    keyed: list[tuple[int, int, int, int, list[int]]] = []
    for row in rows:
        found.sources.append("")
        try:
            read = file.read_row(row)
        except MRBError as error:
            found.bad[row] = str(error)
            continue
        found.sources[-1] = sys.intern(read.source)
        if not read.negatives:
            found.no_negatives.append(row)
        contents = []
        for place, item in enumerate(read.items):
            text = _hash_text(item, texts)
            keys = [text] if compare and text and (place > 0 or item.image is None) else []
            image = None if item.image is None else item.image.path
            if image is not None:
                found.images.add(image)
            elif item.image is not None and item.image.encoded is not None:
                data = item.image.encoded
                if data not in encoded:
                    encoded[data] = _judge_encoded(open_image(file.folder, item.image), compare)
                judged = encoded[data]
                if isinstance(judged, str):
                    found.bad.setdefault(row, f"{path}, row {row + 1}: {judged}")
                else:
                    image = judged[0]
                    keys += [judged[1]] if compare else []
            contents.append((text, image))
            if keys:
                keyed.append((row, place, len(read.positives), len(read.negatives), keys))
        _compare_labels(row, read, contents, found)
    of_tests = index.find_tasks([key for *_, keys in keyed for key in keys])
    for row, place, positives, negatives, keys in keyed if of_tests else ():
        tasks = sorted({task for key in keys for task in of_tests.get(key, ())})
        if tasks:
            found.hits.append(Hit(row, place, positives, negatives, tuple(tasks)))
    return found


def _hash_text(item: ItemRow, known: dict[str, int]) -> int:
    """Return the hash of an item's text, 0 if it has none."""
    if not item.text:
        return 0
    if item.text not in known:
        known[item.text] = hash_text(item.text) if normalize_text(item.text) else 0
    return known[item.text]


def _judge_encoded(image: ImageHandle, compare: bool) -> tuple[str, int] | str:
    """Return the hash of an image's bytes and of its pixels (0 unless `compare`), or what is wrong with it."""
    try:
        return hash_bytes(image.encoded), _judge(image, compare)
    except MRBError as error:
        return str(error)


def _judge(image: ImageHandle, compare: bool) -> int:
    """Return the hash of an image's pixels, 0 unless `compare`. Raises DataError if it cannot be trained on."""
    refuse_thin(image)
    return hash_image(image) if compare else 0


def _compare_labels(row: int, read: GroupRow, contents: list[tuple[int, str | None]], found: Found) -> None:
    count = 1 + len(read.positives)
    positives = set(contents[1:count])
    if len(positives) < len(read.positives):
        found.doubled.append(row)
    if positives & set(contents[count:]):
        found.contradictory.append(row)


def judge_images(job: tuple[Path, list[str], bool], index: HeldOutIndex) -> dict[str, Verdict]:
    """Return a verdict for those of the images in a file's folder that are test data or cannot be used."""
    path, names, compare = job
    verdicts: dict[str, Verdict] = {}
    keys: dict[str, int] = {}
    folder = path.parent.resolve()
    for name in names:
        image = open_image(folder, ImageRow(path=name))
        try:
            keys[name] = _judge(image, compare)
        except MRBError as error:
            verdicts[name] = Verdict(problem=str(error))
    of_tests = index.find_tasks(list(keys.values())) if compare else {}
    return verdicts | {name: Verdict(tuple(of_tests[key])) for name, key in keys.items() if key in of_tests}


def find_images(job: tuple[Piece, dict[str, Verdict]], index: HeldOutIndex) -> tuple[list[Hit], dict[int, str]]:
    """Return where images with a verdict are: items that are test data, and rows that cannot be used, with why."""
    piece, flagged = job
    path, rows, _ = piece
    file = _open_piece(piece)
    hits: list[Hit] = []
    bad: dict[int, str] = {}
    for row in rows:
        try:
            read = file.read_row(row)
        except MRBError:
            continue  # is known to be bad
        for place, item in enumerate(read.items):
            verdict = None if item.image is None or item.image.path is None else flagged.get(item.image.path)
            if verdict is not None and verdict.problem:
                bad.setdefault(row, f"{path}, row {row + 1}, {verdict.problem}")
            elif verdict is not None:
                hits.append(Hit(row, place, len(read.positives), len(read.negatives), verdict.tasks))
    return hits, bad


def _add(found: Found, other: Found) -> None:
    found.sources += other.sources
    found.hits += other.hits
    found.bad |= other.bad
    found.images |= other.images
    found.no_negatives += other.no_negatives
    found.contradictory += other.contradictory
    found.doubled += other.doubled


def _make_table(starts: Starts, found: Found) -> tuple[RowTable, Dropped]:
    met: dict[int, dict[int, set[str]]] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for hit in found.hits:
        met.setdefault(hit.row, {}).setdefault(hit.place, set()).update(hit.tasks)
        sizes[hit.row] = hit.positives, hit.negatives
    states = np.full(len(found.sources), USABLE, np.uint8)
    states[found.no_negatives] = NO_NEGATIVES
    counts: Counter[str] = Counter()
    tasks = Counter(task for hits in met.values() for own in hits.values() for task in own)
    for row, hits in met.items():
        positives, negatives = sizes[row]
        lost_positives = sum(1 <= place <= positives for place in hits)
        lost_negatives = sum(place > positives for place in hits)
        counts.update(positives=lost_positives, negatives=lost_negatives)
        if 0 in hits or is_lost(positives - lost_positives, negatives - lost_negatives, lost_negatives):
            counts["groups"] += 1
            states[row] = TEST_DATA
    states[list(found.bad)] = BAD
    places = sorted((row, place - 1) for row, hits in met.items() for place in hits if states[row] < TEST_DATA)
    names = list(dict.fromkeys(filter(None, found.sources)))
    numbers = {name: number for number, name in enumerate(names)}
    table = RowTable(
        starts=starts,
        sources=np.asarray([numbers.get(name, -1) for name in found.sources], np.int32),
        states=states,
        rows=np.asarray([row for row, _ in places], np.int64),
        places=np.asarray([place for _, place in places], np.int32),
    )
    return table, make_dropped(counts, dict(sorted(tasks.items())))


# In a process of the pool

_index = HeldOutIndex({}, ())


def _send_index(index: HeldOutIndex) -> dict[str, Any]:
    """Return the index for another process: hashes in a file are mapped there too, not copied."""
    return {task: keys.filename if isinstance(keys, np.memmap) else keys for task, keys in index.keys.items()}


def _start_process(sent: dict[str, Any]) -> None:
    global _index
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keys = {
        task: np.load(own, mmap_mode="r") if isinstance(own, str | os.PathLike) else own for task, own in sent.items()
    }
    _index = HeldOutIndex(keys, ())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process of the pool"
    parent.join()
    os._exit(1)


def _run(function: Callable[..., T], job: Any) -> T:
    return function(job, _index)


def _open_piece(piece: Piece) -> GroupFile:
    path, rows, starts = piece
    if starts is None:
        return _open_parquet(path, path.stat().st_mtime_ns)
    return GroupFile(path, starts, rows.start)


@lru_cache(maxsize=1)
def _open_parquet(path: Path, modified: int) -> GroupFile:
    """Open a file once for many stretches: its footer is large."""
    return GroupFile(path)
