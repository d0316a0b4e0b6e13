"""Select the fixed sample of a suite such as `mrb-lite`: the same queries on every machine and in every release.

`mrb._util.hashing.compute_sample_hash` of task and query id orders the queries. The order of a file has no effect,
so the sample can be reproduced from the ids alone. `tests/data/test_sampling.py` holds test vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from mrb._util.hashing import compute_sample_hash
from mrb.data.task import Sample, Task

Selection = Literal["all", "sample", "limit"]


def choose_queries(
    task: Task, query_ids: Sequence[str], *, sample: Sample | None, limit: int | None
) -> tuple[tuple[str, ...], Selection]:
    """Return the queries that a run takes, in the task's order, and how they were chosen.

    Args:
        task: The task.
        query_ids: All its judged queries, in order.
        sample: A suite's fixed sample; None takes all.
        limit: Then only the first `limit` (for trials).
    """
    taken: tuple[str, ...] = tuple(query_ids)
    selection: Selection = "all"
    if sample is not None:
        parts = [part.name for part in task.source.parts if part.name]
        chosen = set(sample_queries(task.id, taken, sample.queries, parts))
        taken, selection = tuple(query_id for query_id in taken if query_id in chosen), "sample"
    if limit is not None and limit < len(taken):
        taken, selection = taken[:limit], "limit"
    return taken, selection


def sample_queries(task_id: str, query_ids: Iterable[str], n: int, parts: Sequence[str] = ()) -> list[str]:
    """Select at most `n` queries, spread evenly over the parts of a task.

    Within a part the queries are ordered by hash. The sample takes the first of every part, then the second of every
    part, and so on; if fewer places are left than parts, the smaller hash decides. A part that runs out leaves its
    places to the others. A smaller sample is a prefix of a larger one.

    Args:
        task_id: The task's id, which enters the hash.
        query_ids: The judged queries, each once, in any order.
        n: The largest number of queries.
        parts: The prefixes of the ids of a task with several repositories (`name/id`); if empty, there is one part.

    Returns:
        The selected ids in sampling order.

    Raises:
        ValueError: An id belongs to none of the parts.
    """
    ranked: dict[str, list[tuple[int, str]]] = {}
    for query_id in query_ids:
        ranked.setdefault(_sample_part(query_id, parts), []).append((compute_sample_hash(task_id, query_id), query_id))
    places = [(rank, *query) for queries in ranked.values() for rank, query in enumerate(sorted(queries))]
    return [query_id for _, _, query_id in sorted(places)[:n]]


def _sample_part(query_id: str, parts: Sequence[str]) -> str:
    if not parts:
        return ""
    name, slash, _ = query_id.partition("/")
    if not slash or name not in parts:
        raise ValueError(f"query {query_id!r} belongs to none of the parts {', '.join(parts)}")
    return name
