"""Report what loading each task found: rows read, judgements dropped, columns, and the Hub that served the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mrb._util.format import PLAIN, Screen, format_table
from mrb.data.corpus_subset import NOTHING
from mrb.data.hub_parts import find_part_files
from mrb.data.load import load_task_data
from mrb.data.pull_data import NOT_REMOTE, is_local
from mrb.data.stats import Counts
from mrb.data.task import Task
from mrb.hub.manifest import Manifest, read_manifest

LIVE = "https://huggingface.co"
NEVER = "never loaded live"
_ROLES = ("queries", "corpus", "qrels")


@dataclass(frozen=True)
class LoadedTask:
    """A Hub task whose files are on this machine.

    `rows` are those of the tables (queries, corpus, qrels), summed over the parts. `columns` are those of the first
    part. `hubs` are the addresses of the Hubs that listed the files.
    """

    task: Task
    counts: Counts
    rows: tuple[int, ...]
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    hubs: tuple[str, ...]


def load_local(task: Task) -> LoadedTask | None:
    """Load the task from local files, without a request. Return None if files are missing."""
    if task.source.kind != "hub" or not is_local(task):
        return None
    counts = load_task_data(task, needed=NOTHING).counts
    manifests = [_read_manifest(part.repository, part.revision) for part in task.source.parts]
    names = [find_part_files(task, part, manifest) for part, manifest in zip(task.source.parts, manifests, strict=True)]
    read = [{role: m.read[own[role][0]] for role in _ROLES} for m, own in zip(manifests, names, strict=True)]
    return LoadedTask(
        task,
        counts,
        tuple(sum(tables[role].rows for tables in read) for role in _ROLES),
        tuple((role, read[0][role].columns) for role in _ROLES),
        tuple(sorted({manifest.endpoint or "an unknown Hub" for manifest in manifests})),
    )


def came_from_live_hub(task: Task) -> bool:
    """Return whether all files of a Hub task are on this machine and came from the live Hub. Reads no table."""
    if task.source.kind != "hub" or not is_local(task):
        return False
    return all(_read_manifest(part.repository, part.revision).endpoint == LIVE for part in task.source.parts)


def format_report(tasks: Sequence[Task], screen: Screen = PLAIN) -> str:
    """Format a text table with one row per task: rows read, judgements kept and dropped, the Hub and the columns.

    A task without local files is shown as never loaded. Makes no request.
    """
    heads = ("task", "query rows", "document rows", "qrels rows", "qrels kept", "outside corpus", "no query")
    rows: list[tuple[str, ...]] = [(*heads, "not positive", "repeated", "read from and columns found")]
    live = 0
    for task in tasks:
        found = load_local(task)
        if found is None:
            state = NEVER if task.source.kind == "hub" else NOT_REMOTE[task.source.kind]
            rows.append((task.id, state))
            continue
        live += found.hubs == (LIVE,)
        rows.append(_make_row(found))
    hub = sum(task.source.kind == "hub" for task in tasks)
    return "\n".join(
        [
            *format_table(rows, left={0, len(rows[0]) - 1}, drop=_LEAST_NEEDED, screen=screen),
            f"{live} of {hub} were loaded from the live Hub ({LIVE})",
        ]
    )


_LEAST_NEEDED = ("repeated", "not positive", "no query", "query rows", "outside corpus")


def _make_row(found: LoadedTask) -> tuple[str, ...]:
    counts = found.counts
    outside = (counts.qrels_outside_corpus, counts.qrels_outside_queries)
    dropped = (*outside, counts.qrels_not_positive, counts.repeated)
    columns = "; ".join(f"{role}: {' '.join(names)}" for role, names in found.columns)
    numbers = (f"{number:,}" for number in (*found.rows, counts.qrels, *dropped))
    return (found.task.id, *numbers, f"{', '.join(found.hubs)}  {columns}")


def _read_manifest(repository: str, revision: str | None) -> Manifest:
    manifest = read_manifest(repository, revision or "")
    assert manifest is not None  # `is_local` was true, so the repositories have been listed
    return manifest
