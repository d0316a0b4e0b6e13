"""Judgement packs: a small file beside a candidate list from which rankings can be measured without the data set.

`<task>.judgements` is a Parquet file with one row per query of the task, in the task's order. It has grades and
positions in the list, no ids of documents, no text and no image.

| column | |
|---|---|
| `query_id` | also of queries without candidates |
| `cluster` | number of the query's cluster; queries that are not independent share one |
| `ties` | bytes: the list's positions (0 is the first stage's best) in the hash order that breaks ties |
| `own` | bytes: positions of self-matches, which are removed before the list is cut at the depth |
| `relevant` | bytes: positions of the relevant candidates, ascending |
| `relevant_grades` | their grades, little-endian uint16 |
| `outside_grades` | the grades of the relevant documents that the list lacks, descending, little-endian uint16 |

The file's metadata names the task, its hash, the data revision and the list, and has a SHA-256 of the content.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from mrb._util.files import open_atomically
from mrb._util.hashing import dump_canonical_json, hash_lines
from mrb._util.model import Model
from mrb._util.parquet import open_untrusted, read_untrusted
from mrb._util.printable import PrintableStr
from mrb.candidates.lists import METADATA_KEY, Candidates
from mrb.candidates.self_matches import match_query
from mrb.data.stats import Counts
from mrb.data.task import Task
from mrb.data.task_data import TaskData
from mrb.data.task_fields import Sha256
from mrb.errors import CandidatesError, format_first_problem, to_one_line
from mrb.metrics.measures import MAX_GRADE
from mrb.metrics.ranking import order_ties

PACK_SUFFIX = ".judgements"
MAX_POSITIONS = 256
"""Largest number of candidates of a query: a position is one byte."""
MAX_OUTSIDE = 2048
"""Largest number of relevant documents of a query that the list lacks."""
_BYTES = ("ties", "own", "relevant", "relevant_grades", "outside_grades")
_SCHEMA = pa.schema([("query_id", pa.string()), ("cluster", pa.int32()), *((name, pa.binary()) for name in _BYTES)])

Positions = npt.NDArray[np.uint8]
Grades = npt.NDArray[np.uint16]


class PackInfo(Model):
    """What a pack belongs to: the task's definition and data revision, and the list with its first stage and depth.

    `counts` are those of loading the data, which every result states.
    """

    schema_version: Literal[1]
    task: str
    task_hash: Sha256
    revision: PrintableStr
    list_sha256: Sha256
    first_stage: PrintableStr
    track: PrintableStr
    depth: int = Field(gt=0, le=10_000)
    counts: Counts


class _Metadata(PackInfo):
    sha256: Sha256


@dataclass(frozen=True)
class PackedQuery:
    """The judgements of one query; the fields are the columns of the file."""

    query_id: str
    cluster: int
    ties: Positions
    own: Positions
    relevant: Positions
    relevant_grades: Grades
    outside_grades: Grades

    def _list_cells(self) -> list[bytes]:
        return [getattr(self, name).tobytes() for name in _BYTES]


@dataclass(frozen=True)
class JudgementPack:
    """The judgements of a task's queries on one candidate list."""

    info: PackInfo
    queries: tuple[PackedQuery, ...]

    @cached_property
    def sha256(self) -> str:
        """Identity of the pack, 64 hex digits, over what it belongs to and every row."""
        return hash_lines(self._lines())

    def _lines(self) -> Iterator[bytes]:
        yield dump_canonical_json(self.info.model_dump(mode="json"))
        for query in self.queries:
            cells = [cell.hex() for cell in query._list_cells()]
            yield dump_canonical_json([query.query_id, query.cluster, *cells])


def build_pack(data: TaskData, candidates: Candidates) -> JudgementPack:
    """Build the pack of a list from the task's data.

    Args:
        data: The task's data, with the documents of the list.
        candidates: The list; it must be the task's (`check_task`, `check_ids`).

    Raises:
        CandidatesError: A query has more candidates, or more relevant documents outside the list, than a pack holds.
    """
    made, clusters = candidates.provenance, data.clusters
    info = PackInfo(
        schema_version=1,
        task=data.task.id,
        task_hash=data.task.hash,
        revision=data.task.revision,
        list_sha256=candidates.sha256,
        first_stage=made.first_stage,
        track=made.track,
        depth=made.depth,
        counts=data.counts,
    )
    numbers: dict[str, int] = {}
    queries = []
    for query_id in data.queries:
        key = query_id if clusters is None else clusters[query_id]
        queries.append(_pack_query(data, candidates, query_id, numbers.setdefault(key, len(numbers))))
    return JudgementPack(info, tuple(queries))


def write_pack(pack: JudgementPack, path: Path) -> None:
    """Write the pack to `path` atomically, as Parquet."""
    cells = [query._list_cells() for query in pack.queries]
    columns = [
        pa.array([query.query_id for query in pack.queries], pa.string()),
        pa.array([query.cluster for query in pack.queries], pa.int32()),
        *(pa.array([row[place] for row in cells], pa.binary()) for place in range(len(_BYTES))),
    ]
    metadata = _Metadata(**pack.info.model_dump(), sha256=pack.sha256)
    schema = _SCHEMA.with_metadata({METADATA_KEY: metadata.model_dump_json().encode()})
    with open_atomically(path) as file:
        pq.write_table(pa.table(columns, schema=schema), file, compression="zstd")


def read_pack(path: Path) -> JudgementPack:
    """Read the pack in `path`.

    Raises:
        CandidatesError: Names the file and what is wrong: schema, a position or grade, the hash.
    """
    table = read_untrusted(path, _SCHEMA, CandidatesError)
    metadata = _read_metadata(path, table.schema)
    info = PackInfo(**metadata.model_dump(exclude={"sha256"}))
    if any(column.null_count for column in table.columns):
        raise CandidatesError(f"{path}: holds null cells")
    rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
    queries = tuple(_parse_row(path, info, *row) for row in rows)
    if len({query.query_id for query in queries}) < len(queries):
        raise CandidatesError(f"{path}: a query occurs twice")
    pack = JudgementPack(info, queries)
    if pack.sha256 != metadata.sha256:
        raise CandidatesError(f"{path}: the content's hash is {pack.sha256}, the file states {metadata.sha256}")
    return pack


def check_pack(info: PackInfo, task: Task, where: str) -> None:
    """Refuse a pack of another task, definition of the task, or data revision. CandidatesError names the difference."""
    again = f"make it again with `mrb candidates pack` where the data of {task.id} is"
    wanted = {"task": task.id, "task_hash": task.hash, "revision": task.revision}
    for name, value in wanted.items():
        found = getattr(info, name)
        if found != value:
            raise CandidatesError(f"{where}: its {name} is {found[:64]}, {task.id} has {value}; {again}")


def find_pack(task_id: str, given: Path | None, list_sha256: str) -> Path | None:
    """Return the pack of a task's list of this hash, None if there is none.

    `given` is a list's file, which a pack may lie beside, or a folder that holds packs, itself or in a folder for each
    candidate set. Raises CandidatesError for a file that is not a pack.
    """
    if given is None:
        return None
    name = f"{task_id}{PACK_SUFFIX}"
    paths = [given / name, *sorted(given.glob(f"*/{name}"))] if given.is_dir() else [given.with_suffix(PACK_SUFFIX)]
    return next((path for path in paths if path.is_file() and _read_list_hash(path) == list_sha256), None)


def is_packed(path: Path, task: Task, list_sha256: str) -> bool:
    """Return whether the pack of the list in `path` lies beside it, whole, and belongs to the task as it is now."""
    pack = path.with_suffix(PACK_SUFFIX)
    try:
        info = read_pack(pack).info if pack.is_file() else None
        if info is None or info.list_sha256 != list_sha256:
            return False
        check_pack(info, task, str(pack))
    except CandidatesError:
        return False
    return True


def _read_list_hash(path: Path) -> str:
    with open_untrusted(path, CandidatesError) as file:
        return _read_metadata(path, file.schema_arrow).list_sha256


def _read_metadata(path: Path, schema: pa.Schema) -> _Metadata:
    try:
        return _Metadata.model_validate_json((schema.metadata or {}).get(METADATA_KEY, b""))
    except ValidationError as error:
        raise CandidatesError(
            f"{path}: not the metadata of a judgement pack (`mrb candidates pack` makes one): "
            f"{format_first_problem(error)}"
        ) from error


def _pack_query(data: TaskData, candidates: Candidates, query_id: str, cluster: int) -> PackedQuery:
    doc_ids, _ = candidates.get(query_id)
    grades = {doc_id: grade for doc_id, grade in data.qrels[query_id].items() if grade > 0}
    listed = [place for place, doc_id in enumerate(doc_ids) if doc_id in grades]
    own = match_query(data, query_id, doc_ids)
    outside = sorted((grade for doc_id, grade in grades.items() if doc_id not in set(doc_ids)), reverse=True)
    where = f"task {data.task.id}, query {query_id!r}"
    if len(doc_ids) > MAX_POSITIONS:
        raise CandidatesError(f"{where}: a list of {len(doc_ids)} candidates; a pack holds up to {MAX_POSITIONS}")
    if len(outside) > MAX_OUTSIDE:
        raise CandidatesError(
            f"{where}: {len(outside)} relevant documents outside of its list; a pack holds up to {MAX_OUTSIDE}"
        )
    return PackedQuery(
        query_id,
        cluster,
        order_ties(data.task.id, query_id, doc_ids).astype(np.uint8),
        np.array([place for place, doc_id in enumerate(doc_ids) if doc_id in own], np.uint8),
        np.array(listed, np.uint8),
        np.array([grades[doc_ids[place]] for place in listed], "<u2"),
        np.array(outside, "<u2"),
    )


def _parse_row(path: Path, info: PackInfo, query_id: str, cluster: int, *cells: bytes) -> PackedQuery:
    def refuse(problem: str) -> CandidatesError:
        return CandidatesError(f"{path}: query {to_one_line(repr(query_id), 80)}: {problem}")

    # Bytes are compared as they are: a suite has a quarter of a million rows, for which arrays this small are slow.
    count = len(cells[0])
    if bytes(sorted(cells[0])) != bytes(range(min(count, MAX_POSITIONS))) or count > info.depth:
        raise refuse(f"the order of ties is not one of the positions of a list of {info.depth}")
    for name, cell in (("own", cells[1]), ("relevant", cells[2])):
        if list(cell) != sorted(set(cell)) or (cell and cell[-1] >= count):
            raise refuse(f"{name} is not a set of positions among {count}, ascending")
    if any(len(cell) % 2 for cell in cells[3:]):
        raise refuse("grades are two bytes each")
    listed, outside = (np.frombuffer(cell, "<u2") for cell in cells[3:])
    if len(listed) != len(cells[2]) or not len(listed) + len(outside):
        raise refuse(f"{len(listed)} grades of {len(cells[2])} relevant candidates")
    if not all(1 <= grade <= MAX_GRADE for grade in (*listed.tolist(), *outside.tolist())):
        raise refuse(f"grades are 1 to {MAX_GRADE}")
    ties, own, relevant = (np.frombuffer(cell, np.uint8) for cell in cells[:3])
    return PackedQuery(query_id, cluster, ties, own, relevant, listed, outside)
