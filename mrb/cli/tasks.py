"""`mrb tasks`: list tasks, show one whole, sum queries, pairs and gigabytes."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from mrb._util.format import fold_text, format_size, format_table, format_tasks
from mrb._util.terminal import find_prose_width, find_screen
from mrb.cli.options import add_suite_option, add_type_option
from mrb.errors import TaskError

if TYPE_CHECKING:
    from mrb.data.task import Sample, Suite, Task

DEPTH_WITHOUT_SUITE = 100


@click.command()
@click.argument("task_id", metavar="[ID]", required=False)
@add_suite_option("Only the tasks of this suite, in its order.")
@click.option("--family", metavar="NAME", help="Only this family: single, cross or fused.")
@add_type_option()
@click.option("--text", metavar="WORDS", help="Only tasks with these words in id, title, description or repository.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list of tasks, or one object for an ID.")
def command(
    task_id: str | None,
    suite_id: str | None,
    family: str | None,
    types: tuple[str, ...],
    text: str | None,
    as_json: bool,
) -> None:
    """List tasks with their sums, or show the task ID whole: an id, or the path of a task file or a data folder.

    Without --suite it lists every task that is defined, those outside all suites too, and your own that MRB_TASKS or an
    installed package gives.
    """
    from mrb.data.own_tasks import list_own_tasks, resolve_task
    from mrb.data.task import list_suite_tasks, list_suites, list_tasks, load_suite
    from mrb.data.task_filter import filter_tasks, sum_totals

    if task_id is not None:
        if suite_id is not None or family is not None or types or text is not None:
            raise TaskError("an ID shows one task; --suite, --family, --type and --text filter the list: give either")
        task = resolve_task(task_id)
        click.echo(_dumps(_format_whole_number(task)) if as_json else "\n".join(_format_page(task)))
        return
    suite = None if suite_id is None else load_suite(suite_id)
    listed = [*list_tasks(), *list_own_tasks()] if suite is None else list_suite_tasks(suite)
    chosen = filter_tasks(listed, family=family, types=types, text=text)
    if as_json:
        click.echo(_dumps([_to_entry(task) for task in chosen]))
        return
    depth, sample = (DEPTH_WITHOUT_SUITE, None) if suite is None else (suite.depth, suite.sample)
    click.echo(_list(chosen, list_suites() if suite is None else None, sample))
    parts = list(_describe_sub_suites(list_suites() if suite is None else [suite])) if chosen == listed else []
    if parts:
        click.echo("\n" + "\n".join(parts))
    if sample is not None and chosen:
        width = find_prose_width(find_screen())
        click.echo("\n" + textwrap.fill(_describe_sampling_error(chosen, sample), width, break_on_hyphens=False))
    sums = sum_totals(chosen, depth=depth, sample=sample)
    unknown = f" known, {format_tasks(sums.gigabytes_unknown)} unknown" if sums.gigabytes_unknown else ""
    total = (
        f"{format_tasks(sums.tasks)}, {sums.queries:,} queries, {sums.documents:,} documents, "
        f"{sums.pairs:,} pairs at depth {depth}, {format_size(sums.gigabytes)}{unknown}"
    )
    click.echo("\n" + "\n".join(fold_text(total, find_screen())))


def _list(tasks: Sequence[Task], suites: Sequence[Suite] | None, sample: Sample | None) -> str:
    """The tasks as aligned columns; `suites`, where given, adds a column with those that list the task."""
    from mrb.data.task_filter import count_queries

    rows = [
        ["ID", "TYPE", "QUERIES", "DOCUMENTS", "SIZE", "STATUS", *(["SUITES"] if suites is not None else []), "TITLE"]
    ]
    for task in tasks:
        size = "-" if task.size.gigabytes is None else format_size(task.size.gigabytes)
        counts = [f"{count_queries(task, sample):,}", f"{task.size.documents:,}", size]
        listed = [] if suites is None else [", ".join(s.id for s in suites if task.id in s.tasks) or "-"]
        rows.append([task.id, task.type, *counts, task.status or "own", *listed, task.title])
    left = {0, 1, *range(5, len(rows[0]))}
    drop = ("STATUS", *(("SUITES",) if suites is not None else ()), "SIZE")
    return "\n".join(format_table(rows, left=left, drop=drop, screen=find_screen()))


def _describe_sub_suites(suites: Sequence[Suite]) -> Iterator[str]:
    """Yield a line for each sub-suite, with its types."""
    from mrb.data.task import list_sub_suites, load_task

    for part in (part for suite in suites for part in list_sub_suites(suite)):
        types = ", ".join(dict.fromkeys(load_task(task_id).type for task_id in part.tasks))
        yield from fold_text(f"sub-suite {part.id}: {format_tasks(len(part.tasks))} ({types})", find_screen(), "    ")


def _describe_sampling_error(tasks: Sequence[Task], sample: Sample) -> str:
    """Return the bound of the difference between numbers on the sample and on all queries (docs/design/mrb-lite.md)."""
    from mrb.data.task_filter import count_queries

    # No measure in [0, 1] has a variance over 1/4; a sample without replacement knows its share of the queries.
    taken = [count_queries(task, sample) for task in tasks]
    variances = [0.25 / n * (1 - n / task.size.queries) for n, task in zip(taken, tasks, strict=True)]
    types = [task.type for task in tasks]
    weights = [len(set(types)) * types.count(name) for name in types]
    over_types = sum(v / w**2 for v, w in zip(variances, weights, strict=True))
    bounds = (max(variances), sum(variances) / len(tasks) ** 2, over_types)
    one, all_tasks, all_types = (f"{100 * 1.96 * variance**0.5:.1f}" for variance in bounds)
    return (
        f"Samples of {sample.queries} queries a task. 95 % of such samples give a task's measures within {one} points "
        f"of those on all queries, the average over tasks within {all_tasks} and over types within {all_types}, "
        "whatever the reranker (docs/design/mrb-lite.md)."
    )


def _to_entry(task: Task) -> dict[str, Any]:
    """A task's line in the JSON list.

    `repository` and `revision` are those of the first part, `parts` names them all: one for most tasks, twelve for
    CQADupStack.
    """
    from mrb.data.task import HEADLINE_MEASURE

    parts = [
        {"name": part.name, "repository": part.repository, "revision": part.revision or part.content}
        for part in task.source.parts
    ]
    return {
        "schema_version": task.schema_version,
        "id": task.id,
        "title": task.title,
        "type": task.type,
        "family": task.family,
        "repository": parts[0]["repository"],
        "revision": parts[0]["revision"],
        "parts": parts,
        "instruction": task.instruction,
        "measure": HEADLINE_MEASURE,
        "source_measure": task.source_measure,
        "status": task.status,
        "status_reason": task.status_reason,
        "languages": list(task.languages),
        "licence": task.licence,
        "queries": task.size.queries,
        "documents": task.size.documents,
        "gigabytes": task.size.gigabytes,
        "seen_live": None if task.source.seen_live is None else task.source.seen_live.isoformat(),
        "hash": task.hash,
        "list_hash": task.list_hash,
    }


def _format_whole_number(task: Task) -> dict[str, Any]:
    """Everything that is known of a task: its line in the list and its whole definition."""
    return {**_to_entry(task), "definition": task.model_dump(mode="json")}


def _format_page(task: Task) -> Iterator[str]:
    """A task for people, one field a line, long ones wrapped."""
    yield f"{task.id}: {task.title}"
    yield ""
    width = find_prose_width(find_screen())
    for name, value in _list_fields(task):
        if not value:  # an own task need not state it
            continue
        first, rest = f"{name:<15} ", " " * 16
        # Addresses and hashes stay whole, however long.
        yield from textwrap.wrap(
            value, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
        )


def _list_fields(task: Task) -> Iterator[tuple[str, str]]:
    from mrb.data.task import HEADLINE_MEASURE

    size, source = task.size, task.source
    yield "type", f"{task.type} ({task.query_modality} to {task.document_modality}), family {task.family}"
    yield "description", task.description
    yield "instruction", task.instruction
    mean = f", mean over {len(source.parts)} parts" if task.rules.average_over_parts else ""
    yield "measure", f"{HEADLINE_MEASURE}{mean}; its source reports {task.source_measure}"
    yield "status", f"{task.status}. {task.status_reason}" if task.status else "your own, not in the registry"
    qrels = "" if size.qrels is None else f", {size.qrels:,} judgements"
    download = "download size unknown" if size.gigabytes is None else format_size(size.gigabytes)
    positives = "" if size.positives is None else f", {size.positives:,} judgements with a grade other than 0"
    counts = f"{size.queries:,} queries, {size.documents:,} documents{qrels}{positives}"
    yield "size", counts if source.kind == "folder" else f"{counts}; {download}"
    yield "languages", ", ".join(task.languages)
    if source.kind == "folder":
        yield "source", f"a folder of your own, content {task.revision}"
    else:
        yield from _list_source(task)
    yield "rules", ", ".join(task.rules.model_dump(exclude_defaults=True)) or "none"
    yield "cluster", task.cluster
    if "image" in task.query_modality + task.document_modality:
        yield "images", _describe_image_limits(task)
    for defect in task.defects:
        yield "defect", defect
    yield "licence", f"{task.licence}. {task.licence_note}" if task.licence_note else task.licence
    yield "citation", task.citation
    if task.homepage is not None:
        yield "homepage", task.homepage
    yield "hash", task.hash
    yield "list hash", task.list_hash


def _list_source(task: Task) -> Iterator[tuple[str, str]]:
    from mrb.candidates.candidate_sets import list_published_sets

    source = task.source
    guess = "" if source.format_confirmed else " (not confirmed)"
    yield "source", f"{source.kind}, schema family {source.schema_family}, {source.format}{guess}"
    if source.kind == "hub":
        yield "live Hub", _describe_seen(task)
    for part in source.parts:
        yield part.name or "repository", f"{part.repository} @ {part.revision or part.content}"
        for role, table in (("corpus", part.corpus), ("queries", part.queries), ("qrels", part.qrels)):
            other = "".join(f", else {config}/{split}" for config, split in table.alternatives)
            more = f" and {', '.join(table.more)}" if table.more else ""
            yield f"  {role}", f"{table.config}/{table.split}{other}{more}"
        for copy in part.copies:
            yield "  copy", copy.replace("@", " @ ")
    if sets := list_published_sets(task.id):
        yield "sets", ", ".join(sets)


def _describe_seen(task: Task) -> str:
    """Whether anybody has found the live Hub to have what the definition says."""
    day = task.source.seen_live
    return (
        f"never loaded live; `mrb data check --remote --task {task.id}` compares"
        if day is None
        else f"as stated on {day}"
    )


def _describe_image_limits(task: Task) -> str:
    images = task.images
    most = {"query": images.per_query, "document": images.per_document}
    words = [f"up to {count} per {side}" for side, count in most.items() if count > 1]
    words += [f"refused over {images.max_pixels:,} pixels or {images.max_bytes:,} bytes"]
    if images.largest is not None:
        words.insert(0, f"documented to {images.largest[0]} x {images.largest[1]}")
    if images.downscale_pixels is not None:
        words.append(f"shrunk to {images.downscale_pixels:,} pixels")
    return ", ".join(words)


def _dumps(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
