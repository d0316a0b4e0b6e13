"""Measure the workload of a run (pairs, images, text lengths) by reading the data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from mrb._util.format import PLAIN, Screen, fold_text, format_table, format_tasks
from mrb.candidates.load import check_all_candidates
from mrb.data.items import Item
from mrb.data.task import Task
from mrb.errors import MRBError
from mrb.evaluation.plan import Plan, load_plan
from mrb.evaluation.spec import RunSpec, select_tasks


@dataclass(frozen=True)
class Extent:
    """The workload of a task.

    `documents` counts distinct candidates, `images` counts distinct images of queries and candidates (by content),
    `image_bytes` is their encoded size, `longest_text` is in characters.
    """

    plan: Plan
    documents: int
    images: int
    image_bytes: int
    longest_text: int

    @property
    def task(self) -> Task:
        """The task."""
        return self.plan.data.task


def examine(spec: RunSpec) -> tuple[Extent, ...]:
    """Return the workload of each selected task whose data is not on the Hub, after checking all of its data.

    Raises DataError or CandidatesError, which names the first image, id or list that is wrong.
    """
    here = [task for task in spec.tasks if task.source.kind != "hub"]
    check_all_candidates(here, spec.candidates, spec.depth)
    return tuple(measure_extent(load_plan(spec.task_spec(task))) for task in here)


def examine_stand_ins(types: Collection[str]) -> tuple[Extent, ...]:
    """Return the workload of the embedded suite's task of each of `types`: timed in place of tasks on the Hub."""
    return examine(select_tasks(None, (), sorted(types), None))


def measure_extent(plan: Plan) -> Extent:
    """Read the text and image header of every query and candidate of the plan and return the workload.

    No pixels are decoded. Raises DataError, which names the first image that is damaged or over the task's limits.
    """
    images: dict[str, int] = {}
    longest = 0
    seen: set[str] = set()
    for _, item in _iterate_named_items(plan, seen):
        longest = max(longest, len(item.text))
        for image in item.images:
            if image.sha256 not in images:
                _ = image.size  # reads the header, which refuses a bad image
                images[image.sha256] = len(image.encoded)
    return Extent(plan, len(seen), len(images), sum(images.values()), longest)


def check_items(plan: Plan, check: Callable[[Item], object]) -> None:
    """Call an adapter's `check_item` on every query and candidate of the plan; its MRBError is raised with the names
    of the task and the item."""
    task = plan.data.task.id
    for name, item in _iterate_named_items(plan, set()):
        try:
            check(item)
        except MRBError as error:
            raise error.at(f"task {task}, {name}") from error


def format_extents(extents: Sequence[Extent], screen: Screen = PLAIN) -> str:
    """Return a table with a row for each task, and a line with the sums."""
    rows: list[tuple[str, ...]] = [("task", "type", "queries", "pairs", "images", "MB of images", "longest text")]
    for extent in extents:
        counts = (len(extent.plan.query_ids), extent.plan.pairs, extent.images)
        rows.append(
            (
                extent.task.id,
                extent.task.type,
                *(f"{count:,}" for count in counts),
                _format_megabytes(extent.image_bytes),
                f"{extent.longest_text:,} characters",
            )
        )
    queries, pairs = sum(len(e.plan.query_ids) for e in extents), sum(e.plan.pairs for e in extents)
    images, size = sum(e.images for e in extents), sum(e.image_bytes for e in extents)
    total = (
        f"{format_tasks(len(extents))}: {queries:,} queries, {pairs:,} pairs, {images:,} distinct images of "
        f"{_format_megabytes(size)} MB; ids are known, image headers are sound"
    )
    return "\n".join([*format_table(rows, left=2, drop=("type",), screen=screen), *fold_text(total, screen)])


def _iterate_named_items(plan: Plan, seen: set[str]) -> Iterator[tuple[str, Item]]:
    """Yield (name for errors, item) of every query and candidate of the plan, each document once. Its id is added to
    `seen`."""
    for entry in plan.entries():
        query = f"query {entry.query_id!r}"
        yield query, plan.data.queries.item(entry.query_id)
        for doc_id in entry.doc_ids:
            if doc_id not in seen:
                seen.add(doc_id)
                yield f"{query}, document {doc_id!r}", plan.data.corpus.item(doc_id)


def _format_megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}" if size >= 1e6 else f"{size / 1e6:.2g}"
