"""The frozen candidate list of a task: for each query, the first stage's documents in order, which rerankers score.

A list is one Parquet file (`query_id`, `doc_id`, `rank` from 1, `score` float32; queries in the task's order). Its
metadata has the task and its list hash, the data revision, the first stage, the candidate set (`track`) and the depth.
Its identity is a SHA-256 over the content, not the file's bytes: compression and writer versions do not change it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from mrb._util.files import open_atomically
from mrb._util.hashing import dump_canonical_json, hash_lines
from mrb._util.model import Model
from mrb._util.parquet import MAX_FILE_BYTES, open_untrusted, read_untrusted
from mrb._util.printable import PrintableStr
from mrb.data.task import Task
from mrb.data.task_fields import Sha256
from mrb.errors import CandidatesError, format_first_problem

METADATA_KEY = b"mrb"
_SCHEMA = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("rank", pa.int32()), ("score", pa.float32())])

IDS_UNPACKED = 50_000
"""Most document ids kept as Python strings while a list is built; Arrow, to which they move, needs a sixth of it."""

Float32 = npt.NDArray[np.float32]


class Provenance(Model):
    """Task, data revision, first stage, candidate set and depth of a list. The file's metadata has it, with the
    content's hash. `list_hash` is `Task.list_hash`."""

    task: str
    list_hash: Sha256
    revision: str
    first_stage: str
    track: str
    depth: int = Field(gt=0)


class _Metadata(Provenance):
    """The metadata in a file. Files are untrusted and the text is shown on terminals and pages, so it is restricted."""

    schema_version: Literal[2]
    first_stage: PrintableStr
    track: PrintableStr
    sha256: Sha256


class _Version(BaseModel):
    """The version of the metadata; other fields are not read."""

    schema_version: int | None = None


@dataclass(frozen=True)
class Candidates:
    """A candidate list, stored by columns so that millions of ids take little memory.

    Query `i` has `doc_ids` (Arrow strings) and `scores` (float32) from `offsets[i]` to `offsets[i + 1]` (int64).
    """

    provenance: Provenance
    query_ids: tuple[str, ...]
    offsets: npt.NDArray[np.int64]
    doc_ids: pa.Array
    scores: Float32

    def __len__(self) -> int:
        return len(self.query_ids)

    @property
    def pairs(self) -> int:
        """Number of (query, document) pairs."""
        return len(self.scores)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {query_id: row for row, query_id in enumerate(self.query_ids)}

    def __contains__(self, query_id: str) -> bool:
        return query_id in self._rows

    def _span(self, query_id: str) -> tuple[int, int]:
        """Return where a query's documents begin and end; an empty span if the query is not in the list."""
        row = self._rows.get(query_id)
        return (0, 0) if row is None else (int(self.offsets[row]), int(self.offsets[row + 1]))

    def get(self, query_id: str) -> tuple[list[str], Float32]:
        """Return a query's document ids, best first, and their float32 scores; both empty if it is not in the list."""
        start, end = self._span(query_id)
        return self.ids(query_id).to_pylist(), self.scores[start:end]

    def ids(self, query_id: str) -> pa.Array:
        """Return a query's document ids as Arrow strings, without a copy; empty if the query is not in the list."""
        start, end = self._span(query_id)
        return self.doc_ids.slice(start, end - start)

    def count(self, query_id: str) -> int:
        """Return the number of a query's documents; 0 if the query is not in the list."""
        start, end = self._span(query_id)
        return end - start

    def lists(self) -> Iterator[tuple[str, list[str], Float32]]:
        """Yield (query id, document ids, scores) for every query, in the list's order."""
        for query_id in self.query_ids:
            yield (query_id, *self.get(query_id))

    @cached_property
    def sha256(self) -> str:
        """Identity of the list, 64 hex digits, over the task and each query with its ids in order and score bits."""
        return hash_lines(self._lines())

    def _lines(self) -> Iterator[bytes]:
        yield dump_canonical_json([self.provenance.task])
        for query_id, doc_ids, scores in self.lists():
            yield dump_canonical_json([query_id, doc_ids, scores.astype("<f4").tobytes().hex()])


def make_provenance(task: Task, name: str, depth: int, candidate_set: str) -> Provenance:
    """Return the provenance of a list of the first stage `name`."""
    return Provenance(
        task=task.id,
        list_hash=task.list_hash,
        revision=task.revision,
        first_stage=name,
        track=candidate_set,
        depth=depth,
    )


def build_candidates(
    provenance: Provenance, lists: Iterable[tuple[str, Sequence[str], Sequence[float] | Float32]]
) -> Candidates:
    """Build a candidate list.

    Args:
        provenance: What the list is made for and from.
        lists: (query id, document ids best first, scores) per query. A query without documents is left out.

    Raises:
        CandidatesError: A query or document is there twice, a query has more documents than the depth, or scores are
            not finite or rise.
    """
    query_ids: list[str] = []
    lengths: list[int] = []
    doc_ids: list[str] = []
    packed: list[pa.Array] = []
    scores: list[Float32] = []
    for query_id, ids, values in lists:
        array = np.asarray(values, dtype=np.float32)
        _check_list(provenance, query_id, ids, array)
        if not ids:
            continue  # a table of rows cannot hold it, and the hash must not change by writing and reading
        query_ids.append(query_id)
        lengths.append(len(ids))
        doc_ids.extend(ids)
        scores.append(array)
        if len(doc_ids) > IDS_UNPACKED:
            packed.append(pa.array(doc_ids, pa.string()))
            doc_ids = []
    if len(set(query_ids)) != len(query_ids):
        raise CandidatesError(
            f"candidates for {provenance.task}: query {_find_most_frequent(query_ids)!r} occurs twice"
        )
    joined = np.concatenate(scores) if scores else np.empty(0, np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    ids_column = pa.concat_arrays([*packed, pa.array(doc_ids, pa.string())])
    return Candidates(provenance, tuple(query_ids), offsets.astype(np.int64), ids_column, joined)


def write_parquet(candidates: Candidates, path: Path) -> None:
    """Write the list to `path` atomically, as Parquet."""
    lengths = np.diff(candidates.offsets)
    ranks = [np.arange(1, n + 1, dtype=np.int32) for n in lengths]
    columns = {
        "query_id": pa.array(np.repeat(np.asarray(candidates.query_ids, dtype=object), lengths), pa.string()),
        "doc_id": candidates.doc_ids,
        "rank": pa.array(np.concatenate(ranks) if ranks else [], pa.int32()),
        "score": pa.array(candidates.scores, pa.float32()),
    }
    try:
        metadata = _Metadata(schema_version=2, sha256=candidates.sha256, **candidates.provenance.model_dump())
    except ValidationError as error:
        raise CandidatesError(f"{path}: {format_first_problem(error)}") from error
    table = pa.table(columns, schema=_SCHEMA.with_metadata({METADATA_KEY: metadata.model_dump_json().encode()}))
    with open_atomically(path) as file:
        pq.write_table(table, file, compression="zstd")


def write_trec(candidates: Candidates, path: Path) -> None:
    """Write the list as a TREC run file, `query Q0 document rank score tag`, scores as their shortest float32 text.

    Raises:
        CandidatesError: An id is empty or has white space.
    """
    tag = candidates.provenance.first_stage
    with open_atomically(path) as file:
        for query_id, doc_ids, scores in candidates.lists():
            for rank, (doc_id, score) in enumerate(zip(doc_ids, scores, strict=True), start=1):
                file.write(f"{format_trec_line(query_id, doc_id, rank, str(score), tag)}\n".encode())


def format_trec_line(query_id: str, doc_id: str, rank: int, score: str, tag: str) -> str:
    """Return a line of a TREC run file. CandidatesError if an id is empty or has white space."""
    for name in (query_id, doc_id):
        if not name or any(character.isspace() for character in name):
            raise CandidatesError(f"the id {name!r} has white space, which a TREC run file cannot hold")
    return f"{query_id} Q0 {doc_id} {rank} {score} {tag}"


def read_parquet(path: Path) -> Candidates:
    """Read the list in `path`.

    Raises:
        CandidatesError: Names the file and what is wrong: schema, order, duplicates, hash.
    """
    table = read_untrusted(path, _SCHEMA, CandidatesError, max_bytes=MAX_FILE_BYTES)
    metadata = _read_metadata(path, table.schema)
    candidates = _convert_table(path, table, _strip_metadata(metadata))
    if candidates.sha256 != metadata.sha256:
        raise CandidatesError(f"{path}: the content's hash is {candidates.sha256}, the file states {metadata.sha256}")
    return candidates


def read_provenance(path: Path) -> Provenance:
    """Read only the metadata of the list in `path`."""
    with open_untrusted(path, CandidatesError) as file:
        return _strip_metadata(_read_metadata(path, file.schema_arrow))


def check_task(made: Provenance, task: Task, where: str) -> None:
    """Refuse a list that was made for another task, data revision or definition, as far as it decides lists."""
    if made.task != task.id:
        raise CandidatesError(f"{where}: candidates for task {made.task!r}, not for {task.id!r}")
    again = f"make the list again with `mrb candidates make --task {task.id}`"
    if made.revision != task.revision:
        raise CandidatesError(
            f"{where}: made from data revision {made.revision[:12]}, task {task.id} is at {task.revision[:12]}; {again}"
        )
    if made.list_hash != task.list_hash:
        raise CandidatesError(
            f"{where}: made for another definition of {task.id} (list hash {made.list_hash[:12]}, now "
            f"{task.list_hash[:12]}): its instruction, image limits or rules on self-matches differ; {again}"
        )


def check_ids(candidates: Candidates, query_ids: Iterable[str], corpus_ids: Iterable[str], where: str) -> None:
    """Refuse a list with a query or document that is not in the task's data.

    Raises:
        CandidatesError: Names the list (`where`) and the first such query or document.
    """
    task = candidates.provenance.task
    queries = set(query_ids)
    unknown = next((query_id for query_id in candidates.query_ids if query_id not in queries), None)
    if unknown is not None:
        raise CandidatesError(f"{where}: query {unknown!r} is not in task {task}")
    known = corpus_ids if isinstance(corpus_ids, dict) else set(corpus_ids)
    for query_id, doc_ids, _ in candidates.lists():
        for doc_id in doc_ids:
            if doc_id not in known:
                raise CandidatesError(
                    f"{where}: query {query_id!r}: document {doc_id!r} is not in the corpus of {task}"
                )


def _check_list(provenance: Provenance, query_id: str, ids: Sequence[str], scores: Float32) -> None:
    where = f"candidates for {provenance.task}, query {query_id!r}"
    if len(ids) != len(scores):
        raise CandidatesError(f"{where}: {len(ids)} documents but {len(scores)} scores")
    if len(ids) > provenance.depth:
        raise CandidatesError(f"{where}: {len(ids)} documents in a list of depth {provenance.depth}")
    if len(set(ids)) != len(ids):
        raise CandidatesError(f"{where}: a document occurs twice")
    if not np.isfinite(scores).all():
        raise CandidatesError(f"{where}: a score is not a finite number")
    if (np.diff(scores) > 0).any():
        raise CandidatesError(f"{where}: scores rise with rank; the best comes first")


def _read_metadata(path: Path, schema: pa.Schema) -> _Metadata:
    found = (schema.metadata or {}).get(METADATA_KEY)
    if found is None:
        raise CandidatesError(f"{path}: no MRB metadata; make lists with `mrb candidates make`")
    try:
        if _Version.model_validate_json(found).schema_version == 1:
            raise CandidatesError(
                f"{path}: written by an MRB before 0.2, whose lists are bound to a task in another way; make it again "
                "with `mrb candidates make`"
            )
        return _Metadata.model_validate_json(found)
    except ValidationError as error:
        raise CandidatesError(f"{path}: not the metadata of a candidate list: {format_first_problem(error)}") from error


def _strip_metadata(metadata: _Metadata) -> Provenance:
    return Provenance(**metadata.model_dump(exclude={"schema_version", "sha256"}))


def _convert_table(path: Path, table: pa.Table, provenance: Provenance) -> Candidates:
    if any(column.null_count for column in table.columns):
        raise CandidatesError(f"{path}: holds null cells")
    names = table.column("query_id").combine_chunks()
    changed = pc.not_equal(names.slice(1), names.slice(0, max(len(names) - 1, 0))).to_numpy(zero_copy_only=False)
    starts = np.concatenate([[0], np.flatnonzero(changed) + 1]) if len(names) else np.empty(0, np.int64)
    # Checked before rows are converted: a file of a few kilobytes can change the query millions of times.
    if pc.count_distinct(queries := names.take(starts)).as_py() < len(queries):
        raise CandidatesError(f"{path}: query {_find_most_frequent(queries.to_pylist())!r} occurs twice")
    offsets = np.concatenate([starts, [len(names)]]).astype(np.int64)
    ranks = table.column("rank").to_numpy()
    wanted = np.arange(len(ranks)) - np.repeat(offsets[:-1], np.diff(offsets)) + 1
    if not np.array_equal(ranks, wanted):
        raise CandidatesError(f"{path}: ranks do not run 1, 2, 3, ... within each query")
    doc_ids = table.column("doc_id").combine_chunks()
    scores = table.column("score").to_numpy()
    runs = pairwise(offsets.tolist())
    rows = ((names[a].as_py(), doc_ids.slice(a, b - a).to_pylist(), scores[a:b]) for a, b in runs)
    try:
        return build_candidates(provenance, rows)
    except CandidatesError as error:
        raise CandidatesError(f"{path}: {error}") from error


def _find_most_frequent(names: Iterable[str]) -> str:
    [(name, _)] = Counter(names).most_common(1)
    return name
