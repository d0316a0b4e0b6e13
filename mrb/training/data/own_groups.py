"""Own groups as tasks of one's own, so that any first stage mines their negatives: `mrb train data --from groups`.

The groups of a source that share an instruction become a data folder in MRB's cache: their queries, their judgements
(the positives), and as corpus all their documents, and those of a further file.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from mrb._util.files import write_bytes
from mrb._util.hashing import hash_file, hash_json
from mrb.data.folder_files import TASK_FILE
from mrb.data.folder_task import INSTRUCTION, make_slug
from mrb.data.items import Item
from mrb.data.own_tasks import load_folder_task
from mrb.data.task import Task
from mrb.errors import MRBError, TrainingError, format_first_problem
from mrb.hub.manifest import find_cache_root
from mrb.training.data.files import GroupFile, ItemRow, open_image
from mrb.training.data.group import TrainingItem
from mrb.training.data.rows import ROWS_AT_ONCE, STRETCH_BYTES, open_rows

LAYOUT = 3
"""Part of a folder's key: incremented when what is written changes."""
_NAMES = "tasks.json"
_SCHEMA = pa.schema([("_id", pa.string()), ("text", pa.string()), ("image", pa.struct([("bytes", pa.binary())]))])


@dataclass(frozen=True)
class OwnGroups:
    """The task of a source's groups of one instruction, with the source and the instruction as the groups have them.

    `without_positives` groups have only positives of grade 0, so they are not among the task's judged queries.
    """

    task: Task
    source: str
    instruction: str
    without_positives: int
    folder: Path


def make_own_tasks(files: Sequence[Path], corpus: Path | None = None, *, by_content: bool = False) -> list[OwnGroups]:
    """Return a task for each source and instruction of files of groups. What was written before is not written again.

    Args:
        files: The files. Their negatives become documents like all others.
        corpus: Further documents of every task: rows with `text` (and `title`) or `image`, as BEIR's `corpus.jsonl`.
        by_content: Whether all ids are those of `make_id`, not those that the groups have.

    Raises:
        TrainingError: Names the file and the row that is wrong.
    """
    given = [*files, *([] if corpus is None else [corpus])]
    key = hash_json([LAYOUT, corpus is not None, by_content, *map(hash_file, given)])
    folder = find_cache_root() / "own-groups" / key[:32]
    if not folder.is_dir():
        scratch = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
        try:
            _write_folders(scratch, files, corpus, by_content)
            scratch.rename(folder)
        except OSError as error:
            if not folder.is_dir():  # else another process has written the same
                raise TrainingError(f"{folder}: cannot be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return [
        OwnGroups(load_folder_task(folder / name), source, instruction, without_positives, folder / name)
        for name, source, instruction, without_positives in json.loads((folder / _NAMES).read_bytes())
    ]


def _write_folders(folder: Path, files: Sequence[Path], corpus: Path | None, by_content: bool) -> None:
    """Write a data folder for each task, and a list of them: the fields of `OwnGroups`."""
    with ExitStack() as stack:
        writers: dict[tuple[str, str], _FolderWriter] = {}
        for file in map(GroupFile, files):
            for row in range(len(file)):
                try:
                    group = file[row]
                    found = (group.source, group.instruction)
                    if found not in writers:
                        name = _name_task(group.source, {writer.folder.name for writer in writers.values()})
                        writers[found] = stack.enter_context(_FolderWriter(folder / name, by_content))
                    writers[found].add_query(group.query, group.positives)
                    for one in group.negatives:
                        writers[found].add_document(one)
                except MRBError as error:
                    raise file.locate_error(row, error) from error
        for item in () if corpus is None else _read_corpus(corpus):
            for writer in writers.values():
                writer.add_document(item)
    for (_, instruction), writer in writers.items():
        writer.state(instruction)
    names = [[writer.folder.name, *found, writer.without_positives] for found, writer in writers.items()]
    write_bytes(folder / _NAMES, json.dumps(names).encode())


def make_id(one: TrainingItem) -> str:
    """Return the id of an item by its content."""
    return one.item.content_hash[:32]


def _name_task(source: str, taken: Collection[str]) -> str:
    """Return an id for a source's next task that none has: sources may differ only in what an id leaves out."""
    name = make_slug(f"{make_slug(source)[:50]}-mined")
    numbered = (f"{name}-{number}" for number in count(2))
    return next(one for one in chain([name], numbered) if one not in taken)


class _FolderWriter:
    """Writes a data folder: each content is one item, whose id is the given one if no other content has it."""

    def __init__(self, folder: Path, by_content: bool) -> None:
        self.folder = folder
        self.without_positives = 0
        self._by_content = by_content
        (folder / "qrels").mkdir(parents=True, exist_ok=True)
        self._stack = ExitStack()
        self._tables = {
            role: self._stack.enter_context(_ItemWriter(folder / f"{role}.parquet", by_content)) for role in _ROLES
        }
        self._qrels = self._stack.enter_context((folder / "qrels" / "train.tsv").open("w", encoding="utf-8"))
        self._qrels.write("query-id\tcorpus-id\tscore\n")

    def __enter__(self) -> _FolderWriter:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()

    def add_query(self, query: TrainingItem, positives: Sequence[TrainingItem]) -> None:
        query_id = self._tables["queries"].add(query)
        # A teacher scores all queries, also those whose positives have grade 0.
        grades = [1 if one.grade is None or self._by_content else one.grade for one in positives]
        self.without_positives += not any(grades)
        for one, grade in zip(positives, grades, strict=True):
            self._qrels.write(f"{query_id}\t{self.add_document(one)}\t{grade}\n")

    def add_document(self, one: TrainingItem) -> str:
        return self._tables["corpus"].add(one)

    def state(self, instruction: str) -> None:
        """Write the task's definition."""
        stated = {"id": self.folder.name, "instruction": instruction or INSTRUCTION, "split": "train"}
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in stated.items()]
        write_bytes(self.folder / TASK_FILE, "".join(lines).encode())


_ROLES = ("queries", "corpus")


class _ItemWriter:
    """Writes items to a Parquet file, each content once."""

    def __init__(self, path: Path, by_content: bool) -> None:
        self._by_content = by_content
        self._file = pq.ParquetWriter(path, _SCHEMA, compression="zstd")
        self._ids: dict[str, str] = {}
        self._taken: set[str] = set()
        self._rows: list[dict[str, Any]] = []
        self._size = 0

    def __enter__(self) -> _ItemWriter:
        return self

    def __exit__(self, *raised: object) -> None:
        self._flush()
        self._file.close()

    def add(self, one: TrainingItem) -> str:
        """Return the id of an item, which is written if its content is new."""
        content = one.item.content_hash
        if content not in self._ids:
            usable = one.id not in self._taken and one.id.isprintable() and one.id == one.id.strip()
            name = one.id if one.id and usable and not self._by_content else make_id(one)
            self._ids[content] = name
            self._taken.add(name)
            image = None if one.item.image is None else {"bytes": one.item.image.encoded}
            self._rows.append({"_id": name, "text": one.item.text, "image": image})
            self._size += len(one.item.text) + len(image["bytes"] if image else b"")
            if len(self._rows) == ROWS_AT_ONCE or self._size > STRETCH_BYTES:
                self._flush()
        return self._ids[content]

    def _flush(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._rows, schema=_SCHEMA))
        self._rows, self._size = [], 0


def _read_corpus(path: Path) -> Iterator[TrainingItem]:
    rows, folder = open_rows(path), path.parent.resolve()
    for number in range(len(rows)):
        row = dict(rows[number])
        where = f"{path}, row {number + 1}"
        texts = [row.get("title"), row.get("text")]
        if not all(isinstance(text, str) for text in texts if text is not None):
            raise TrainingError(f"{where}: title and text are texts")
        stated = {"text": " ".join(filter(None, texts)).strip(), "image": row.get("image")}
        try:
            found = ItemRow.model_validate(stated | {"id": row.get("_id", row.get("id"))})
            image = None if found.image is None else open_image(folder, found.image, f"{where}, ")
            yield TrainingItem(Item(found.text or "", image), found.id or "")
        except ValidationError as error:
            raise TrainingError(f"{where}: not a document: {format_first_problem(error)}") from error
