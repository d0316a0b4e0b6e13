"""Load a first stage by name, and build a frozen candidate list with it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mrb._util.raised import to_adapter_error, to_safe_repr
from mrb.candidates.candidate_sets import check_candidate_set
from mrb.candidates.lists import Candidates, build_candidates, make_provenance
from mrb.candidates.self_matches import RankedList, cut_list, find_self_matches
from mrb.data.task_data import ItemTable, TaskData
from mrb.errors import AdapterError, CandidatesError, MRBError
from mrb.evaluation.answers import convert_scores
from mrb.rerankers.adapter_source import hash_source
from mrb.rerankers.calling import guard_adapter_call
from mrb.retrieval.dense import Dense
from mrb.retrieval.encoding import EmbeddingWriter, LocalEncoder
from mrb.retrieval.failures import Failures, ImageFilter
from mrb.retrieval.fusion import Fusion, check_images
from mrb.retrieval.retriever import Retriever

StartEncoder = Callable[[str, Mapping[str, str]], EmbeddingWriter]
"""Starts worker processes with one encoder each, given the encoder's name and options."""


def load_first_stage(
    name: str,
    options: Mapping[str, str] | None = None,
    *,
    folder: Path | None = None,
    elsewhere: StartEncoder | None = None,
    failures: Failures | None = None,
) -> Retriever:
    """Load a first stage. An encoder becomes a `Dense` retriever; several retrievers become a `Fusion`.

    Args:
        name: The name as after `--first-stage`: a retriever, or several joined by `+`.
        options: The options as text; for one of several retrievers they are named `NAME.KEY`.
        folder: The folder of an encoder's vectors; in MRB's cache if None.
        elsewhere: Starts worker processes that encode; this process encodes if None.
        failures: Limits the failed items of a task; none may fail if None.

    Returns:
        The retriever. The caller must pass it to `close_retriever`.

    Raises:
        AdapterError: A name is unknown or repeated, or an option is invalid.
    """
    parts = name.split("+")
    if len(set(parts)) != len(parts):
        raise AdapterError(f"first stage {name!r} names a retriever twice")
    chosen = {parts[0]: options or {}} if len(parts) == 1 else _split_options(name, parts, options or {})
    retrievers: list[Retriever] = []
    try:
        for part in parts:
            retrievers.append(_load_one(part, chosen[part], folder, elsewhere, failures or Failures()))
    except BaseException:
        for retriever in retrievers:
            close_retriever(retriever)
        raise
    return retrievers[0] if len(retrievers) == 1 else Fusion(retrievers)


def _load_one(
    name: str, options: Mapping[str, str], folder: Path | None, elsewhere: StartEncoder | None, failures: Failures
) -> Retriever:
    from mrb.rerankers.plugins import RETRIEVERS, is_class_with, load_adapter

    if elsewhere and not is_class_with(name, "search", RETRIEVERS):
        return Dense(elsewhere(name, options), folder, failures)
    adapter = load_adapter(name, options, RETRIEVERS)
    retriever: Retriever = adapter.target
    if not callable(getattr(retriever, "search", None)):
        return Dense(LocalEncoder(adapter), folder, failures)
    return ImageFilter(retriever, failures) if failures.allowed else retriever


def _split_options(name: str, parts: Sequence[str], options: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {part: {} for part in parts}
    for option, value in options.items():
        part, _, key = option.rpartition(".")
        if part not in found:
            raise AdapterError(
                f"first stage {name!r}: --set {option}=...: say whose option it is: --set {parts[0]}.{option}=... "
                f"(there are {', '.join(parts)})"
            )
        found[part][key] = value
    return found


def hash_first_stage(name: str) -> list[str | None]:
    """Return the hash of the source of each retriever that `name` joins, without building one (see `hash_source`)."""
    from mrb.rerankers.plugins import RETRIEVERS, find_factory

    found = [find_factory(part, RETRIEVERS) for part in name.split("+")]
    return [hash_source(one.factory, one.module) for one in found]


def collect_dense(retriever: Retriever) -> list[Dense]:
    """Return the dense retrievers among the retriever and its fused parts."""
    return [part for part in _list_parts(retriever) if isinstance(part, Dense)]


def describe_retriever(retriever: Retriever) -> dict[str, Any]:
    """Return the manifest's description of a retriever: its identity, or those of the fused retrievers."""
    found = [part.identity if isinstance(part, Dense) else _describe_search(part) for part in _list_parts(retriever)]
    return {"retrievers": found} if isinstance(retriever, Fusion) else found[0]


def states_identity(retriever: Retriever) -> bool:
    """Return whether every retriever states what decides its lists: an encoder does, another by its `version`."""
    parts = _list_parts(retriever)
    return all(isinstance(part, Dense) or _describe_search(part)["version"] is not None for part in parts)


def _list_parts(retriever: Retriever) -> tuple[Retriever, ...]:
    return retriever.retrievers if isinstance(retriever, Fusion) else (retriever,)


def _describe_search(retriever: Retriever) -> dict[str, Any]:
    retriever = retriever.retriever if isinstance(retriever, ImageFilter) else retriever
    source = type(retriever)
    return {
        "retriever": source.__name__,
        "version": getattr(retriever, "version", None),
        "source_sha256": hash_source(source, source.__module__),
    }


def close_retriever(retriever: Retriever) -> None:
    """Close the retriever's encoders and worker processes."""
    for part in collect_dense(retriever):
        part.close()


def make_candidates(data: TaskData, retriever: Retriever, name: str, depth: int, candidate_set: str) -> Candidates:
    """Build a task's candidate list.

    Self-matches by the task's rules are removed before the cut at `depth`, so they take no place in the list. Positives
    are never injected.

    Args:
        data: The task's data.
        retriever: The first stage.
        name: The name of the first stage in the list's provenance.
        depth: The largest number of candidates per query.
        candidate_set: The candidate set in the provenance.

    Raises:
        CandidatesError: The retriever takes fewer images of an item than the task has, skips a query or breaks its
            contract, or the named candidate set requires another first stage or depth.
    """
    check_candidate_set(candidate_set, name, depth, data.task, f"task {data.task.id}")
    if (reason := check_images(retriever, data)) is not None:
        raise CandidatesError(f"task {data.task.id}: first stage {name}: {reason}")
    selves = find_self_matches(data)
    spare = max((len(doc_ids) for doc_ids in selves.values()), default=0)
    searched = itertools.chain.from_iterable(retriever.search(part, depth + spare) for part in split_parts(data))
    # An encoder's calls are guarded one by one (`LocalEncoder`), because MRB's own files are written between them.
    call = nullcontext if collect_dense(retriever) else guard_adapter_call
    found = _check_order(data, name, searched, call)
    return build_candidates(
        make_provenance(data.task, name, depth, candidate_set),
        (cut_list(hit, selves.get(hit[0], frozenset()), depth) for hit in found),
    )


def split_parts(data: TaskData) -> list[TaskData]:
    """Split a task's data into its parts, in order. Each part is searched alone, such as a forum of CQADupStack.

    A task with one part gives one. A part without judged queries is left out.
    """
    names = [part.name for part in data.task.source.parts]
    if len(names) == 1:
        return [data]
    parts = [
        replace(data, queries=_select_part(data.queries, name), corpus=_select_part(data.corpus, name))
        for name in names
    ]
    return [part for part in parts if len(part.queries)]


def _select_part(table: ItemTable, name: str) -> ItemTable:
    return replace(table, rows={item_id: row for item_id, row in table.rows.items() if item_id.startswith(f"{name}/")})


def _check_order(
    data: TaskData, name: str, search: Iterator[RankedList], call: Callable[[], AbstractContextManager[None]]
) -> Iterator[RankedList]:
    """Yield the results of a search. Raises CandidatesError unless they hold every query once, in order, with known
    documents only."""
    where = f"task {data.task.id}: first stage {name}"
    for query_id in data.queries:
        found = _next(search, call, f"{where}: query {query_id!r}")
        if found is None or found[0] != query_id:
            got = "ended" if found is None else f"answered query {found[0]!r}"
            raise CandidatesError(f"{where}: {got} where query {query_id!r} is next")
        unknown = next((doc_id for doc_id in found[1] if doc_id not in data.corpus), None)
        if unknown is not None:
            raise CandidatesError(f"{where}: query {query_id!r}: document {unknown!r} is not in the corpus")
        yield found
    if (extra := _next(search, call, f"{where}: after the last query")) is not None:
        raise CandidatesError(f"{where}: answered {extra[0]!r} after the last query")


def _next(
    search: Iterator[RankedList], call: Callable[[], AbstractContextManager[None]], place: str
) -> RankedList | None:
    """Return the next result of a search, or None after the last. Raises AdapterError if it raises or is malformed."""
    try:
        with call():
            found = next(search, None)
    except MRBError:
        raise
    except BaseException as error:
        raise to_adapter_error(error, f"{place}: the search raised") from error
    if found is None:
        return None
    try:
        query_id, doc_ids, scores = found
        with np.errstate(over="ignore"):  # an infinity is refused later, by name
            return query_id, list(doc_ids), convert_scores(scores).astype(np.float32)
    except BaseException as error:
        what = f"{place}: the search gave {to_safe_repr(found)}, wanted (query id, document ids, one number for each):"
        raise to_adapter_error(error, what) from error
