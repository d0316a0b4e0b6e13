"""`mrb tracks`: the named candidate sets, and what making them is estimated to cost."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mrb.candidates.candidate_sets import CandidateSet
    from mrb.data.task import Task

SUITE = "mrb"


@click.command()
@click.argument("track_id", metavar="[ID]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: every set with its tasks, or the one of an ID.")
def command(track_id: str | None, as_json: bool) -> None:
    """List the candidate sets and their first stage for each task type, or the set ID task by task.

    GPU-hours are estimates over the 40 tasks of the suite mrb; nothing was measured on a GPU.
    """
    from mrb._util.terminal import find_prose_width, find_screen
    from mrb.candidates.candidate_sets import find_candidate_set, load_candidate_sets
    from mrb.data.task import list_suite_tasks, load_suite

    known = load_candidate_sets()
    tracks = known.tracks if track_id is None else (find_candidate_set(track_id),)
    tasks = list_suite_tasks(load_suite(SUITE))
    if as_json:
        about = [_to_entry(track, tasks if track.publisher is None else _list_tasks(track)) for track in tracks]
        shown = {"schema_version": 1, "estimate": known.estimate.model_dump(mode="json")}
        click.echo(json.dumps({**shown, "tracks": about}, indent=2, ensure_ascii=False))
        return
    if track_id is None:
        click.echo("\n".join(_format_by_type(tracks, tasks)))
    elif tracks[0].publisher is None:
        click.echo("\n".join(_format_by_task(tracks[0], tasks)))
    else:
        click.echo("\n".join(_format_published(tracks[0])))
        return
    click.echo("\n" + textwrap.fill(f"GPU-hours: {known.estimate.basis}", find_prose_width(find_screen())))


def _format_by_type(tracks: Sequence[CandidateSet], tasks: Sequence[Task]) -> Iterator[str]:
    """The sets in words, then a row for each type: how many tasks, and first stage and hours in each set."""
    from mrb._util.format import format_table
    from mrb._util.terminal import find_prose_width, find_screen
    from mrb.candidates.candidate_sets import load_published_lists
    from mrb.data.task import TYPES
    from mrb.evaluation.estimate import estimate_gpu_hours

    width = find_prose_width(find_screen())
    for track in tracks:
        published = sum(one.track == track.id for one in load_published_lists().lists)
        of = f"{published} of {len(tasks)} lists" if track.publisher is None else f"{published} lists"
        yield f"{track.id}: {track.title}, depth {track.depth}; {of} published"
        yield textwrap.fill(track.description, width, initial_indent="  ", subsequent_indent="  ")
    yield ""
    tracks = [track for track in tracks if track.publisher is None]
    rows = [["type", "tasks", *(word for track in tracks for word in (track.id, "GPU-hours"))]]
    for kind in TYPES:
        of_type = [task for task in tasks if task.type == kind]
        rows.append([kind, str(len(of_type))])
        for track in tracks:
            rows[-1] += [
                track.first_stages[kind],
                _format_hours(sum(estimate_gpu_hours(track, task) for task in of_type)),
            ]
    rows.append(["all", str(len(tasks))])
    for track in tracks:
        rows[-1] += ["", _format_hours(sum(estimate_gpu_hours(track, task) for task in tasks))]
    yield from format_table(rows, screen=find_screen())


def _format_by_task(track: CandidateSet, tasks: Sequence[Task]) -> Iterator[str]:
    from mrb._util.format import format_table
    from mrb._util.terminal import find_prose_width, find_screen
    from mrb.evaluation.estimate import estimate_gpu_hours

    yield f"{track.id}: {track.title}, depth {track.depth}"
    yield textwrap.fill(track.description, find_prose_width(find_screen()), initial_indent="  ", subsequent_indent="  ")
    yield ""
    rows = [("task", "type", "first stage", "queries", "documents", "GPU-hours", "list")]
    for task in tasks:
        sizes = (f"{task.size.queries:,}", f"{task.size.documents:,}")
        published = "published" if _list_published(track, task) else "none yet"
        hours = _format_hours(estimate_gpu_hours(track, task))
        rows.append((task.id, task.type, track.first_stage(task), *sizes, hours, published))
    yield from format_table(rows, left=3, drop=("list", "type", "queries"), screen=find_screen())
    yield f"all: {_format_hours(sum(estimate_gpu_hours(track, task) for task in tasks))} GPU-hours"


def _format_published(track: CandidateSet) -> Iterator[str]:
    """A row for each list of a set that others publish: where it is, and whether its hash is known."""
    from mrb._util.format import format_table
    from mrb._util.terminal import find_prose_width, find_screen
    from mrb.candidates.candidate_sets import find_published_list

    yield f"{track.id}: {track.title}, depth {track.depth}, published by {track.publisher}"
    yield textwrap.fill(track.description, find_prose_width(find_screen()), initial_indent="  ", subsequent_indent="  ")
    yield ""
    rows = [("task", "first stage", "repository", "commit", "hash")]
    for task in _list_tasks(track):
        one = find_published_list(track.id, task.id)
        assert one is not None  # the tasks are those of the published lists
        state = "not yet verified" if one.sha256 is None else one.sha256[:12]
        rows.append((task.id, track.names(task)[0], one.repository, one.commit[:12], state))
    yield from format_table(rows, left=5, drop=("first stage", "commit"), screen=find_screen())


def _list_tasks(track: CandidateSet) -> list[Task]:
    """The tasks whose lists of this set are published."""
    from mrb.candidates.candidate_sets import load_published_lists
    from mrb.data.task import load_task

    return [load_task(one.task) for one in load_published_lists().lists if one.track == track.id]


def _to_entry(track: CandidateSet, tasks: Sequence[Task]) -> dict[str, Any]:
    """A candidate set with each task's first stage, estimate and published list (null where there is none)."""
    from mrb.evaluation.estimate import estimate_gpu_hours

    rows = [
        {
            "task": task.id,
            "first_stage": track.names(task)[0],
            "gpu_hours_estimated": round(estimate_gpu_hours(track, task), 3) if track.publisher is None else None,
            "published": _list_published(track, task),
        }
        for task in tasks
    ]
    return {**track.model_dump(mode="json"), "tasks": rows}


def _list_published(track: CandidateSet, task: Task) -> dict[str, Any] | None:
    from mrb.candidates.candidate_sets import find_published_list

    found = find_published_list(track.id, task.id)
    return None if found is None else found.model_dump(mode="json")


def _format_hours(hours: float) -> str:
    if hours == 0:
        return "-"
    if hours < 0.01:
        return "<0.01"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.1f}" if hours >= 0.1 else f"{hours:.2f}"
