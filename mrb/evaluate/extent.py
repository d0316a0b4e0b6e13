"""What a run would need: read from the data where it is at hand, from the registry where it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mrb import candidates as lists
from mrb.candidates import Candidates
from mrb.catalogue import queries_taken
from mrb.columns import aligned
from mrb.evaluate.plan import Plan, make_plan
from mrb.evaluate.run import RunOptions
from mrb.evaluate.select import Selection, load_candidates
from mrb.items import Item
from mrb.loading.load import load_task_data
from mrb.task import Task


@dataclass(frozen=True)
class Extent:
    """What a task at hand will need. `documents` are those that some query has as a candidate, `images` (of queries
    too) are distinct by content, `longest_text` is in characters."""

    plan: Plan
    documents: int
    images: int
    image_bytes: int
    longest_text: int

    @property
    def task(self) -> Task:
        """The task."""
        return self.plan.data.task


@dataclass(frozen=True)
class Registered:
    """What the registry says of a task whose data is not at hand; `gigabytes` is None where no source states it."""

    task: Task
    queries: int
    pairs: int
    gigabytes: float | None


def examine(options: RunOptions) -> tuple[tuple[Extent, ...], tuple[Registered, ...]]:
    """The selected tasks whose data is at hand, all of it checked, and the others.

    DataError or CandidatesError names the first image, id or list that is wrong.
    """
    selection = options.selection
    here = [task for task in selection.tasks if task.source.kind == "embedded"]
    candidates = {task.id: load_candidates(task, options.candidates, selection.depth) for task in here}
    extents = tuple(_extent(task, candidates[task.id], options) for task in here)
    return extents, tuple(_registered(task, selection, options.limit) for task in selection.tasks if task not in here)


def measure_extent(plan: Plan) -> Extent:
    """Read the text and the image header of every query and candidate of the plan, each once; DataError names the
    first image that is damaged or over the task's caps. No pixel is decoded."""
    images: dict[str, int] = {}
    longest = 0
    seen: set[str] = set()
    for item in _items(plan, seen):
        longest = max(longest, len(item.text))
        if item.image is not None and item.image.sha256 not in images:
            _ = item.image.size  # reads the header, which is where a bad one is refused
            images[item.image.sha256] = len(item.image.encoded)
    return Extent(plan, len(seen), len(images), sum(images.values()), longest)


def extent_text(extents: Sequence[Extent]) -> str:
    """A row for each task at hand, and the sums."""
    rows: list[tuple[str, ...]] = [("task", "type", "queries", "pairs", "images", "MB of images", "longest text")]
    for extent in extents:
        counts = (len(extent.plan.query_ids), extent.plan.pairs, extent.images)
        rows.append(
            (
                extent.task.id,
                extent.task.type,
                *(f"{count:,}" for count in counts),
                _megabytes(extent.image_bytes),
                f"{extent.longest_text:,} characters",
            )
        )
    queries, pairs = sum(len(e.plan.query_ids) for e in extents), sum(e.plan.pairs for e in extents)
    images, size = sum(e.images for e in extents), sum(e.image_bytes for e in extents)
    total = (
        f"{_tasks(len(extents))}: {queries:,} queries, {pairs:,} pairs, {images:,} distinct images of "
        f"{_megabytes(size)} MB; ids are known, image headers are sound"
    )
    return "\n".join([*aligned(rows, left=2), total])


def registered_text(registered: Sequence[Registered]) -> str:
    """A row for each task whose data is not at hand, the sums, and what stands in the way of a run."""
    rows = [("task", "type", "queries", "pairs", "GB to load", "candidates")]
    for entry in registered:
        size = "unknown" if entry.gigabytes is None else f"{entry.gigabytes:,.1f}"
        frozen = "frozen" if entry.task.candidates else "none yet"
        rows.append((entry.task.id, entry.task.type, f"{entry.queries:,}", f"{entry.pairs:,}", size, frozen))
    known = [entry.gigabytes for entry in registered if entry.gigabytes is not None]
    unknown = len(registered) - len(known)
    total = (
        f"{_tasks(len(registered))}: {sum(e.queries for e in registered):,} queries, "
        f"{sum(e.pairs for e in registered):,} pairs, {sum(known):,.1f} GB"
        + (f" and {_tasks(unknown)} of unknown size" if unknown else "")
    )
    why = (
        "these are the registry's numbers: the data lies on the Hub (`mrb data pull` fetches it); a dry run checks and "
        "times embedded data only"
    )
    return "\n".join([*aligned(rows, left=2), total, why])


def _extent(task: Task, candidates: Candidates, options: RunOptions) -> Extent:
    data = load_task_data(task)
    lists.check_ids(candidates, data.queries.rows, data.corpus.rows, f"candidates of {task.id}")
    selection = options.selection
    return measure_extent(make_plan(data, candidates, selection.depth, limit=options.limit, sample=selection.sample))


def _registered(task: Task, selection: Selection, limit: int | None) -> Registered:
    queries = min(queries_taken(task, selection.sample), limit or task.size.queries)
    pairs = queries * min(selection.depth, task.size.documents)
    return Registered(task, queries, pairs, task.size.gigabytes)


def _items(plan: Plan, seen: set[str]) -> Iterator[Item]:
    """Every query and every candidate that the plan shows, each document once; `seen` takes the documents' ids."""
    for entry in plan.entries():
        yield plan.data.queries.item(entry.query_id)
        for doc_id in entry.doc_ids:
            if doc_id not in seen:
                seen.add(doc_id)
                yield plan.data.corpus.item(doc_id)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}" if size >= 1e6 else f"{size / 1e6:.2g}"


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count} tasks"
