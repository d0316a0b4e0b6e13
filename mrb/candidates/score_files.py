"""Read scores made by other tools (TREC runs, mteb's and RankLLM's files, Parquet) and make candidate lists from them.

Files are untrusted: nothing in them is executed, and no id is used as a path.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import pyarrow as pa

from mrb._util.files import compute_unpacked_limit, parse_json, read_all
from mrb._util.parquet import open_untrusted, read_batches
from mrb.candidates.candidate_sets import check_candidate_set
from mrb.candidates.lists import Candidates, build_candidates, make_provenance
from mrb.candidates.request_files import KEYS, iterate_requests
from mrb.candidates.self_matches import RankedList, cut_list, find_self_matches
from mrb.candidates.top_k import select_top_k
from mrb.data.json_rows import iterate_objects
from mrb.data.task_data import TaskData
from mrb.errors import CandidatesError, ResultError, to_one_line

Format = Literal["trec", "mteb", "parquet", "top_ranked", "rank_llm"]
Scores = Mapping[str, Mapping[str, float]]
"""Query id -> document id -> score, a finite number in the range of float32."""

MAX_FILE_BYTES = 4 * 1024**3
MAX_LINE_BYTES = 64 * 1024
MAX_QUERY_BYTES = 256 * 1024**2
"""Longest line of JSON: a query with the texts of its candidates."""
MAX_RANKED = 200_000_000
"""Most values of a `top_ranked` table."""
_RANKED = ("query-id", "corpus-ids")
_META = "mteb_model_meta"
FIRST_STAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,95}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class ImportedList:
    """A candidate list made from a file, and counts of the import.

    `missing`: queries of the task that are not in the file and get no candidates. `skipped`: queries of the file that
    are not in the task. `shorter`: lists with fewer documents than the depth.
    """

    candidates: Candidates
    missing: int
    skipped: int
    shorter: int


def read_scores(
    path: Path, form: Format | None = None, *, subset: str | None = None, split: str | None = None
) -> Scores:
    """Read the scores in `path`, by query, in the file's order. TREC and mteb files may be compressed (`.gz`).

    Args:
        path: The file.
        form: "trec" (`query Q0 document rank score tag`; the rank is ignored), "mteb" (JSON of mteb's
            `prediction_folder`, or a plain object of queries), "parquet" (columns query_id, doc_id, score; others are
            ignored), "rank_llm" (RankLLM's requests or results: one object per line, or one array) or "top_ranked"
            (the table of mteb and HAKARI-Bench with a list `corpus-ids` for each `query-id`, parquet or one object per
            line; it has no scores, so the document at rank n gets -n). If None, it follows from the file's suffix
            (.json, .jsonl, .parquet, otherwise TREC) and from what the file begins with or its columns.
        subset: The subset to read from an mteb file with several.
        split: The split to read from an mteb file with several.

    Raises:
        ResultError: Names the line or pair: a score is not a finite float32 number, or a query has a document twice.
    """
    if not path.is_file():
        raise ResultError(f"{path}: not a file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ResultError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    form = form or _guess_format(path)
    if form != "mteb" and (subset is not None or split is not None):
        raise ResultError(f"{path}: --subset and --split are for mteb's files, this is read as {form}")
    scores = _read_mteb(path, subset, split) if form == "mteb" else _group_by_query(path, _READERS[form](path))
    if not scores:
        raise ResultError(f"{path}: holds no scores")
    return scores


def import_candidates(
    data: TaskData,
    scores: Scores,
    *,
    first_stage: str,
    depth: int,
    candidate_set: str,
    allow_missing: bool = False,
    skip_unknown: bool = False,
    source: Path | None = None,
) -> ImportedList:
    """Make the task's candidate list from scores: best first, ties by MRB's rule, self-matches removed before the cut.

    Args:
        data: The task's data.
        scores: Query id -> document id -> score.
        first_stage: Name of the first stage, for the provenance.
        depth: Number of documents per query, at most.
        candidate_set: Name of the candidate set, for the provenance.
        allow_missing: Accept queries of the task without scores; they get no candidates.
        skip_unknown: Leave out queries that are not in the task.
        source: The file of the scores, which an error about one of its documents names.

    Raises:
        CandidatesError: A query is unknown or missing and that is not allowed, a document is not in the corpus, all
            lists are shorter than `depth`, or `first_stage` is not a valid name.
    """
    task = data.task
    if FIRST_STAGE.fullmatch(first_stage) is None:
        raise CandidatesError(f"first stage {first_stage!r}: wanted letters, digits, '.', '_', '+', '-', at most 96")
    unknown = [query_id for query_id in scores if query_id not in data.queries]
    if unknown and not skip_unknown:
        raise CandidatesError(
            f"query {unknown[0]!r} is not among the judged queries of {task.id} ({len(unknown)} such in all); "
            "--skip-unknown leaves them out"
        )
    missing = [query_id for query_id in data.queries if not scores.get(query_id)]
    if missing and not allow_missing:
        raise CandidatesError(
            f"query {missing[0]!r} of {task.id} has no list ({len(missing)} such in all); "
            "--allow-missing gives them no candidates, and every reranker scores 0 on them"
        )
    for query_id in data.queries:
        for doc_id in scores.get(query_id, ()):
            if doc_id not in data.corpus:
                where = "" if source is None else f"{_locate_row(source, query_id, doc_id)}: "
                raise CandidatesError(
                    f"{where}query {query_id!r}: document {doc_id!r} is not in the corpus of {task.id}"
                )
    check_candidate_set(candidate_set, first_stage, depth, task, f"task {task.id}")
    made = build_candidates(make_provenance(task, first_stage, depth, candidate_set), _rank(data, scores, depth))
    lengths = np.diff(made.offsets)
    longest = int(lengths.max(initial=0))
    if longest < min(depth, data.counts.documents - 1):  # a corpus may consist of the file's documents only
        raise CandidatesError(f"the longest list for {task.id} holds {longest} documents; give --depth {longest}")
    return ImportedList(made, len(missing), len(unknown), int((lengths < depth).sum()))


def _rank(data: TaskData, scores: Scores, depth: int) -> Iterator[RankedList]:
    """Yield the `depth` best documents of each query, without self-matches."""
    selves = find_self_matches(data)
    for query_id in data.queries:
        found = scores.get(query_id, {})
        values = np.fromiter(found.values(), np.float32, len(found))
        best = select_top_k(data.task.id, query_id, list(found), values, len(found))
        yield cut_list((query_id, *best), selves.get(query_id, frozenset()), depth)


def _guess_format(path: Path) -> Format:
    forms: dict[str, Format] = {".json": "mteb", ".parquet": "parquet", ".jsonl": "top_ranked"}
    form = forms.get(Path(path.name.lower().removesuffix(".gz")).suffix, "trec")
    if form == "parquet":
        with open_untrusted(path, ResultError) as file:
            return "top_ranked" if _RANKED[1] in file.schema_arrow.names else "parquet"
    if form == "mteb":
        with _open_file(path) as (content, _):
            return "rank_llm" if content.read(64).removeprefix(BOM_UTF8).lstrip().startswith(b"[") else "mteb"
    if form == "top_ranked":
        _, row = next(_iterate_lines(path), ("", None))
        return "rank_llm" if isinstance(row, dict) and row.keys() >= KEYS else "top_ranked"
    return form


def read_tag(path: Path) -> str | None:
    """Return the tag of a TREC run's first line, None for another format. It names the system that made the run."""
    if _guess_format(path) != "trec":
        return None
    with _open_file(path) as (file, _):
        columns = file.readline(MAX_LINE_BYTES).decode(errors="replace").split()
    return columns[5] if len(columns) == 6 else None


@contextmanager
def _open_file(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open the file, decompressed if its name ends in .gz; yield it with the most bytes that may be read from it."""
    packed = path.suffix.lower() == ".gz"
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            yield cast("BinaryIO", file), compute_unpacked_limit(path.stat().st_size) if packed else MAX_FILE_BYTES
    except (OSError, EOFError, zlib.error) as error:
        raise ResultError(f"{path}: cannot be read: {to_one_line(error)}") from error


def _group_by_query(path: Path, rows: Iterator[tuple[str, str, float]]) -> Scores:
    scores: dict[str, dict[str, float]] = {}
    for query_id, doc_id, score in rows:
        of_query = scores.setdefault(query_id, {})
        if doc_id in of_query:
            where = _locate_row(path, query_id, doc_id, 2)
            raise ResultError(f"{where}: query {query_id!r}: document {doc_id!r} occurs twice")
        of_query[doc_id] = score
    return scores


def _locate_row(path: Path, query_id: str, doc_id: str, which: int = 1) -> str:
    """Return the file and the line of a pair, the first or a later one of it; the file alone where it has no lines."""
    if _guess_format(path) != "trec":
        return str(path)
    wanted = [query_id.encode(), doc_id.encode()]
    with _open_file(path) as (file, _):
        for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            which -= raw.removeprefix(BOM_UTF8).split()[:3:2] == wanted
            if not which:
                return f"{path}, line {number}"
    return str(path)


def _read_trec(path: Path) -> Iterator[tuple[str, str, float]]:
    with _open_file(path) as (file, left):
        for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), start=1):
            left -= len(raw)
            if len(raw) > MAX_LINE_BYTES or left < 0:
                raise ResultError(f"{path}, line {number}: too long a line, or too much content for a file of its size")
            if b"\0" in raw:
                raise ResultError(f"{path}, line {number}: not UTF-8 text (a NUL byte; is it UTF-16?)")
            try:
                # Only ASCII white space separates columns, as in trec_eval: an id may have a no-break space.
                columns = [part.decode() for part in raw.removeprefix(BOM_UTF8 if number == 1 else b"").split()]
            except UnicodeDecodeError as error:
                raise ResultError(f"{path}, line {number}: not UTF-8 text") from error
            if not columns:
                continue
            if len(columns) != 6:
                raise ResultError(
                    f"{path}, line {number}: {len(columns)} columns, wanted `query Q0 doc rank score tag`"
                )
            query_id, _, doc_id, _, score, _ = columns
            # Python's float() also accepts 1_0 and full-width digits.
            value = float(score) if _NUMBER.fullmatch(score) and score.isascii() else score
            yield query_id, doc_id, _check_score(value, f"{path}, line {number}")


def _read_parquet(path: Path) -> Iterator[tuple[str, str, float]]:
    with open_untrusted(path, ResultError) as file:
        for batch in read_batches(file, ("query_id", "doc_id", "score"), path, ResultError):
            ids = [batch.column(name).cast(pa.string()).to_pylist() for name in ("query_id", "doc_id")]
            for query_id, doc_id, score in zip(*ids, batch.column("score").to_pylist(), strict=True):
                if query_id is None or doc_id is None:
                    raise ResultError(f"{path}: a row without query_id or doc_id")
                yield query_id, doc_id, _check_score(score, f"{path}: query {query_id!r}, document {doc_id!r}")


def _read_requests(path: Path) -> Iterator[tuple[str, str, float]]:
    lines = Path(path.name.lower().removesuffix(".gz")).suffix == ".jsonl"
    for query_id, doc_id, score, place in iterate_requests(_iterate_lines(path) if lines else _iterate_array(path)):
        yield query_id, doc_id, _check_score(score, place)


def _iterate_lines(path: Path) -> Iterator[tuple[str, object]]:
    """Yield (place, value) of JSON Lines."""
    with _open_file(path) as (file, left):
        for number, raw in enumerate(iter(lambda: file.readline(MAX_QUERY_BYTES + 1), b""), start=1):
            left -= len(raw)
            if len(raw) > MAX_QUERY_BYTES or left < 0:
                raise ResultError(f"{path}, line {number}: too long a line, or too much content for a file of its size")
            if raw.strip():
                yield f"{path}, line {number}", parse_json(raw, path)


def _iterate_array(path: Path) -> Iterator[tuple[str, object]]:
    """Yield (place, value) of one JSON array."""
    with _open_file(path) as (file, limit):
        values = parse_json(read_all(file, path, limit), path)
    if not isinstance(values, list):
        raise ResultError(f"{path}: not a JSON array")
    for number, value in enumerate(values, start=1):
        yield f"{path}, object {number}", value


def _read_top_ranked(path: Path) -> Iterator[tuple[str, str, float]]:
    """Yield the pairs of mteb's table; the score is minus the rank, because the table has no scores.

    Ids may be whole numbers, which mteb reads as texts.
    """
    seen: set[str] = set()
    for place, stated, doc_ids in _iterate_ranked(path):
        query_id = _read_id(stated)
        if query_id is None or not isinstance(doc_ids, list):
            raise ResultError(f"{place}: wanted {_RANKED[0]}, a text, and {_RANKED[1]}, a list of texts")
        if query_id in seen:
            raise ResultError(f"{place}: query {query_id!r} occurs twice")
        seen.add(query_id)
        for rank, named in enumerate(doc_ids, start=1):
            doc_id = _read_id(named)
            if doc_id is None:
                raise ResultError(f"{place}, column {_RANKED[1]}: rank {rank} is no document id")
            yield query_id, doc_id, -float(rank)


def _read_id(value: object) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _iterate_ranked(path: Path) -> Iterator[tuple[str, object, object]]:
    if not path.name.lower().endswith(".parquet"):
        try:
            for place, row in iterate_objects([path]):
                yield f"{path.parent / place}", row.get(_RANKED[0]), row.get(_RANKED[1])
        except ValueError as error:
            raise ResultError(f"{path.parent / to_one_line(error)}") from error
        return
    with open_untrusted(path, ResultError) as file:
        names = file.schema_arrow.names
        for name in _RANKED:
            if name not in names:
                raise ResultError(f"{path}: columns found: {', '.join(names)}; wanted {' and '.join(_RANKED)}")
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        if sum(group.column(n).num_values for group in groups for n in range(group.num_columns)) > MAX_RANKED:
            raise ResultError(f"{path}: more than {MAX_RANKED} values")
        number = 0
        for batch in file.iter_batches(100, columns=list(_RANKED)):
            batch.validate(full=True)
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row[_RANKED[0]], row[_RANKED[1]]


_READERS: Mapping[Format, Callable[[Path], Iterator[tuple[str, str, float]]]] = {
    "parquet": _read_parquet,
    "rank_llm": _read_requests,
    "top_ranked": _read_top_ranked,
    "trec": _read_trec,
}


def _read_mteb(path: Path, subset: str | None, split: str | None) -> Scores:
    with _open_file(path) as (file, limit):
        content = parse_json(read_all(file, path, limit), path)
    if not isinstance(content, dict):
        raise ResultError(f"{path}: not a JSON object")
    nested: Mapping[str, Any] = {name: value for name, value in content.items() if name != _META}
    if not _is_by_query(nested):
        nested = _pick_value(path, _pick_value(path, nested, "subset", subset), "split", split)
    elif subset is not None or split is not None:
        raise ResultError(f"{path}: has no subsets and splits, leave out --subset and --split")
    scores: dict[str, dict[str, float]] = {}
    for query_id, found in nested.items():
        if not isinstance(found, dict):
            raise ResultError(f"{path}: query {query_id!r}: not an object of document scores")
        place = f"{path}: query {query_id!r}, document"
        scores[query_id] = {doc_id: _check_score(score, f"{place} {doc_id!r}") for doc_id, score in found.items()}
    return scores


def _is_by_query(content: Mapping[str, Any]) -> bool:
    """Return whether this is {query: {document: score}}, not {subset: {split: {query: {document: score}}}}."""
    inner = [value for found in content.values() if isinstance(found, dict) for value in found.values()]
    return bool(inner) and not any(isinstance(value, dict) for value in inner)


def _pick_value(path: Path, content: Mapping[str, Any], noun: str, name: str | None) -> Mapping[str, Any]:
    """Return the value of `name` in `content`, or its only value if `name` is None. ResultError if it is no object."""
    there = ", ".join(to_one_line(repr(key), 40) for key in content) or "none"
    if name is None and len(content) != 1:
        raise ResultError(f"{path}: name one {noun} with --{noun}; there are: {there}")
    chosen = next(iter(content)) if name is None else name
    if chosen not in content:
        raise ResultError(f"{path}: no {noun} {chosen!r}; there are: {there}")
    value = content[chosen]
    if not isinstance(value, dict):
        raise ResultError(f"{path}: {noun} {chosen!r} is not an object; wanted mteb's subset, split, query, document")
    return value


def _check_score(score: object, where: str) -> float:
    """Return `score` as a float. ResultError if it is not a finite number in the range of float32."""
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise ResultError(f"{where}: the score is {to_one_line(repr(score), 40)}, not a finite number")
    if not -_LARGEST <= score <= _LARGEST or math.isnan(score):
        raise ResultError(f"{where}: the score is {score!r:.40}, not a finite float32 number")
    return float(score)
