"""`mrb candidates sets`: the named candidate sets, and what making them is estimated to cost."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from mrb.cli.options import add_gpu_option

if TYPE_CHECKING:
    from mrb.candidates.candidate_sets import CandidateSet
    from mrb.data.task import Task
    from mrb.evaluation.gpus import Gpu

SUITE = "mrb"


@click.command()
@click.argument("set_id", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every set with its tasks, or the one of an ID.")
@add_gpu_option("Estimate for this GPU (tasks/gpus.toml).")
def sets(set_id: str | None, as_json: bool, gpu_id: str | None) -> None:
    """List the candidate sets and their first stage for each task type, or the set ID task by task.

    GPU-hours are estimates over the 40 tasks of the suite mrb; nothing was measured on a GPU.
    """
    from mrb._util.terminal import find_prose_width, find_screen
    from mrb.candidates.candidate_sets import get_candidate_set, load_candidate_sets
    from mrb.data.task import list_suite_tasks, load_suite
    from mrb.evaluation.gpus import find_gpu, load_gpus

    gpu = find_gpu(gpu_id)
    chosen = load_candidate_sets().sets if set_id is None else (get_candidate_set(set_id),)
    tasks = list_suite_tasks(load_suite(SUITE))
    if as_json:
        about = [_to_entry(one, tasks if one.publisher is None else _list_tasks(one), gpu) for one in chosen]
        shown = {"schema_version": 2, "gpu": gpu.model_dump(mode="json"), "basis": load_gpus().describe(gpu)}
        click.echo(json.dumps({**shown, "sets": about}, indent=2, ensure_ascii=False))
        return
    if set_id is None:
        click.echo("\n".join(_format_by_type(chosen, tasks, gpu)))
    elif chosen[0].publisher is None:
        click.echo("\n".join(_format_by_task(chosen[0], tasks, gpu)))
    else:
        click.echo("\n".join(_format_published(chosen[0])))
        return
    click.echo("\n" + textwrap.fill(f"GPU-hours: {load_gpus().describe(gpu)}", find_prose_width(find_screen())))


def _format_by_type(sets: Sequence[CandidateSet], tasks: Sequence[Task], gpu: Gpu) -> Iterator[str]:
    """The sets in words, then a row for each type: how many tasks, and first stage and hours in each set."""
    from mrb._util.format import format_table
    from mrb._util.terminal import find_prose_width, find_screen
    from mrb.candidates.candidate_sets import load_published_lists
    from mrb.data.task import TYPES
    from mrb.evaluation.estimate import estimate_gpu_hours

    width = find_prose_width(find_screen())
    for one in sets:
        published = sum(each.candidate_set == one.id for each in load_published_lists().lists)
        of = f"{published} of {len(tasks)} lists" if one.publisher is None else f"{published} lists"
        yield f"{one.id}: {one.title}, depth {one.depth}; {of} published"
        yield textwrap.fill(one.description, width, initial_indent="  ", subsequent_indent="  ")
    yield ""
    sets = [one for one in sets if one.publisher is None]
    rows = [["type", "tasks", *(word for one in sets for word in (one.id, "GPU-hours"))]]
    for kind in TYPES:
        of_type = [task for task in tasks if task.type == kind]
        rows.append([kind, str(len(of_type))])
        for one in sets:
            rows[-1] += [
                one.first_stages[kind],
                _format_hours(sum(estimate_gpu_hours(one, task, gpu) for task in of_type)),
            ]
    rows.append(["all", str(len(tasks))])
    for one in sets:
        rows[-1] += ["", _format_hours(sum(estimate_gpu_hours(one, task, gpu) for task in tasks))]
    yield from format_table(rows, screen=find_screen())


def _format_by_task(chosen: CandidateSet, tasks: Sequence[Task], gpu: Gpu) -> Iterator[str]:
    from mrb._util.format import format_table
    from mrb._util.terminal import find_prose_width, find_screen
    from mrb.evaluation.estimate import estimate_gpu_hours

    yield f"{chosen.id}: {chosen.title}, depth {chosen.depth}"
    yield textwrap.fill(
        chosen.description, find_prose_width(find_screen()), initial_indent="  ", subsequent_indent="  "
    )
    yield ""
    rows = [("task", "type", "first stage", "queries", "documents", "GPU-hours", "list")]
    for task in tasks:
        sizes = (f"{task.size.queries:,}", f"{task.size.documents:,}")
        published = "published" if _list_published(chosen, task) else "none yet"
        hours = _format_hours(estimate_gpu_hours(chosen, task, gpu))
        rows.append((task.id, task.type, chosen.first_stage(task), *sizes, hours, published))
    yield from format_table(rows, left=3, drop=("list", "type", "queries"), screen=find_screen())
    yield f"all: {_format_hours(sum(estimate_gpu_hours(chosen, task, gpu) for task in tasks))} GPU-hours"


def _format_published(chosen: CandidateSet) -> Iterator[str]:
    """A row for each list of a set that others publish: where it is, and whether its hash is known."""
    from mrb._util.format import format_table
    from mrb._util.terminal import find_prose_width, find_screen
    from mrb.candidates.candidate_sets import find_published_list

    yield f"{chosen.id}: {chosen.title}, depth {chosen.depth}, published by {chosen.publisher}"
    yield textwrap.fill(
        chosen.description, find_prose_width(find_screen()), initial_indent="  ", subsequent_indent="  "
    )
    yield ""
    rows = [("task", "first stage", "repository", "commit", "hash")]
    for task in _list_tasks(chosen):
        one = find_published_list(chosen.id, task.id)
        assert one is not None  # the tasks are those of the published lists
        state = "not yet verified" if one.sha256 is None else one.sha256[:12]
        rows.append((task.id, chosen.list_accepted_names(task)[0], one.repository, one.commit[:12], state))
    yield from format_table(rows, left=5, drop=("first stage", "commit"), screen=find_screen())


def _list_tasks(chosen: CandidateSet) -> list[Task]:
    """The tasks whose lists of this set are published."""
    from mrb.candidates.candidate_sets import load_published_lists
    from mrb.data.task import load_task

    return [load_task(one.task) for one in load_published_lists().lists if one.candidate_set == chosen.id]


def _to_entry(chosen: CandidateSet, tasks: Sequence[Task], gpu: Gpu) -> dict[str, Any]:
    """A candidate set with each task's first stage, estimate and published list (null where there is none)."""
    from mrb.evaluation.estimate import estimate_gpu_hours

    rows = [
        {
            "task": task.id,
            "first_stage": chosen.list_accepted_names(task)[0],
            "gpu_hours_estimated": round(estimate_gpu_hours(chosen, task, gpu), 3)
            if chosen.publisher is None
            else None,
            "published": _list_published(chosen, task),
        }
        for task in tasks
    ]
    return {**chosen.model_dump(mode="json"), "tasks": rows}


def _list_published(chosen: CandidateSet, task: Task) -> dict[str, Any] | None:
    from mrb.candidates.candidate_sets import find_published_list

    found = find_published_list(chosen.id, task.id)
    return None if found is None else found.model_dump(mode="json")


def _format_hours(hours: float) -> str:
    if hours == 0:
        return "-"
    if hours < 0.01:
        return "<0.01"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.2f}"
