"""What a check of groups finds in a stretch of rows and in images, and the arrays that are made of it."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from mrb._util.hashing import hash_bytes
from mrb.data.items import ImageHandle
from mrb.engine.aspect_ratio import refuse_thin
from mrb.errors import MRBError
from mrb.training.data.check_record import BAD, NO_NEGATIVES, TEST_DATA, USABLE, RowTable
from mrb.training.data.contamination import Dropped, HeldOutIndex, Keys, is_lost, make_dropped, merge_tasks
from mrb.training.data.files import GroupFile, GroupRow, ImageRow, ItemRow, open_image
from mrb.training.data.likeness import hash_image, hash_text, normalize_text
from mrb.training.data.rows import Starts

Piece = tuple[Path, range, Starts | None]
"""A stretch of a file's rows, and where they start (JSON lines)."""


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
    """What was found in a stretch of rows.

    `lengths` are those of `RowTable`, `keys` the hashes that were compared, sorted in each stretch. `unjudged` holds,
    by task, the rows with a document of its corpus that none of its queries judges relevant; `images` are the paths of
    images that remain to be looked at.
    """

    sources: list[str] = field(default_factory=list)
    lengths: list[tuple[float, float]] = field(default_factory=list)
    keys: list[Keys] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    unjudged: dict[str, set[int]] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)
    images: set[str] = field(default_factory=set)
    no_negatives: list[int] = field(default_factory=list)
    contradictory: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """Why an image is not simply used: whose test data or unjudged document it is, or what is wrong with it."""

    tasks: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    problem: str = ""


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
        found.lengths.append((0.0, 0.0))
        try:
            read = file.read_row(row)
        except MRBError as error:
            found.bad[row] = str(error)
            continue
        found.sources[-1] = sys.intern(read.source)
        found.lengths[-1] = _measure_lengths(read)
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
    asked = np.unique(np.asarray([key for *_, keys in keyed for key in keys], np.uint64))
    found.keys.append(asked)
    of_tests, unjudged = index.find_tasks(asked), index.find_unjudged(asked)
    for row, place, positives, negatives, keys in keyed if of_tests or unjudged else ():
        if tasks := merge_tasks(keys, of_tests):
            found.hits.append(Hit(row, place, positives, negatives, tuple(tasks)))
        for task in merge_tasks(keys, unjudged):
            found.unjudged.setdefault(task, set()).add(row)
    return found


def _measure_lengths(read: GroupRow) -> tuple[float, float]:
    """Return the characters and the images of the query and a document, the mean over documents."""
    query, *documents = read.items
    characters = sum(len(one.text or "") for one in documents) / len(documents)
    images = sum(one.image is not None for one in documents) / len(documents)
    return len(query.text or "") + characters, (query.image is not None) + images


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


def judge_images(job: tuple[Path, list[str], bool], index: HeldOutIndex) -> tuple[dict[str, Verdict], dict[str, int]]:
    """Judge images in a file's folder.

    Returns a verdict for each that is test data, an unjudged document or unusable, and the pixel hashes of those that
    can be used.
    """
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
    if compare:
        of_tests, unjudged = index.find_tasks(list(keys.values())), index.find_unjudged(list(keys.values()))
        for name, key in keys.items():
            if key in of_tests or key in unjudged:
                verdicts[name] = Verdict(tuple(of_tests.get(key, ())), tuple(unjudged.get(key, ())))
    return verdicts, keys


def find_images(job: tuple[Piece, dict[str, Verdict]], index: HeldOutIndex) -> Found:
    """Return where images with a verdict are: hits, rows with unjudged documents, and bad rows, with why."""
    (piece, flagged), found = job, Found()
    path, rows, _ = piece
    file = _open_piece(piece)
    for row in rows:
        try:
            read = file.read_row(row)
        except MRBError:
            continue  # is known to be bad
        for place, item in enumerate(read.items):
            verdict = None if item.image is None or item.image.path is None else flagged.get(item.image.path)
            if verdict is None:
                continue
            if verdict.problem:
                found.bad.setdefault(row, f"{path}, row {row + 1}, {verdict.problem}")
            if verdict.tasks:
                found.hits.append(Hit(row, place, len(read.positives), len(read.negatives), verdict.tasks))
            for task in verdict.unjudged:
                found.unjudged.setdefault(task, set()).add(row)
    return found


def add_found(found: Found, other: Found) -> None:
    """Add what was found in a later stretch to `found`."""
    found.sources += other.sources
    found.lengths += other.lengths
    found.keys += other.keys
    found.hits += other.hits
    for task, rows in other.unjudged.items():
        found.unjudged.setdefault(task, set()).update(rows)
    found.bad = other.bad | found.bad
    found.images |= other.images
    found.no_negatives += other.no_negatives
    found.contradictory += other.contradictory
    found.doubled += other.doubled


def make_table(starts: Starts, found: Found) -> tuple[RowTable, Dropped]:
    """Return the arrays over a file's rows, and the counts of what is test data."""
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
    kept = {task: {row for row in rows if states[row] < TEST_DATA} for task, rows in found.unjudged.items()}
    counts["unjudged"] = len(set().union(*kept.values()))
    places = sorted((row, place - 1) for row, hits in met.items() for place in hits if states[row] < TEST_DATA)
    names = list(dict.fromkeys(filter(None, found.sources)))
    numbers = {name: number for number, name in enumerate(names)}
    table = RowTable(
        starts=starts,
        sources=np.asarray([numbers.get(name, -1) for name in found.sources], np.int32),
        states=states,
        lengths=np.asarray(found.lengths, np.float32),
        rows=np.asarray([row for row, _ in places], np.int64),
        places=np.asarray([place for _, place in places], np.int32),
    )
    return table, make_dropped(counts, tasks, {task: len(rows) for task, rows in kept.items()})


def _open_piece(piece: Piece) -> GroupFile:
    path, rows, starts = piece
    if starts is None:
        return _open_parquet(path, path.stat().st_mtime_ns)
    return GroupFile(path, starts, rows.start)


@lru_cache(maxsize=1)
def _open_parquet(path: Path, modified: int) -> GroupFile:
    """Open a file once for many stretches: its footer is large."""
    return GroupFile(path)
