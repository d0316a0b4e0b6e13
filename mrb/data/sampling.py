"""The fixed sample of a suite such as `mrb-lite`: the same queries on every machine and in every release.

A query's place is decided by `mrb._util.hashing.sample_hash` of its task and id, never by the order of a file, so the
sample can be drawn again from the ids alone. `tests/unit/test_sampling.py` holds test vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mrb._util.hashing import sample_hash


def sample_queries(task_id: str, query_ids: Iterable[str], n: int, parts: Sequence[str] = ()) -> list[str]:
    """At most `n` of `query_ids`, spread evenly over `parts`, in sampling order.

    `query_ids` are those that the task judges (each once, in any order). Within a part they are ranked by their hash.
    The sample takes every part's first, then every part's second, and so on; where fewer places are left than parts,
    the smaller hash decides. A part that runs out leaves its places to the others. A sample of fewer queries is the
    beginning of a larger one.

    `parts` are the names that prefix the ids of a task with several repositories (`name/id`); without them all queries
    are one part. ValueError if an id belongs to none of the parts.
    """
    ranked: dict[str, list[tuple[int, str]]] = {}
    for query_id in query_ids:
        ranked.setdefault(_part(query_id, parts), []).append((sample_hash(task_id, query_id), query_id))
    places = [(rank, *query) for queries in ranked.values() for rank, query in enumerate(sorted(queries))]
    return [query_id for _, _, query_id in sorted(places)[:n]]


def _part(query_id: str, parts: Sequence[str]) -> str:
    if not parts:
        return ""
    name, slash, _ = query_id.partition("/")
    if not slash or name not in parts:
        raise ValueError(f"query {query_id!r} belongs to none of the parts {', '.join(parts)}")
    return name
