"""Table rows of a model's page as HTML. All content is escaped here.

A model has dozens of rows and a board a thousand models; a template takes several times as long per row as this module.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mrb.leaderboard.page import task_page
from mrb.leaderboard.tables.cells import number, percent, safe
from mrb.leaderboard.tables.columns import rate
from mrb.leaderboard.tables.model_facts import RecordLine, TaskLine


def task_rows(up: str, lines: Sequence[TaskLine], other_measures: bool) -> Markup:
    """Return a row for each task: its numbers, and with `other_measures` the one in its source's measure.

    `up` leads from the page to the site's root.
    """
    return Markup("\n".join([_task_row(up, line, other_measures) for line in lines]))  # noqa: S704


def record_rows(up: str, lines: Sequence[RecordLine], words: str) -> Markup:
    """Return a row for each task of the run's record; `words` name the kind of file that holds a result."""
    return Markup("\n".join([_record_row(up, line, words) for line in lines]))  # noqa: S704


def _task_row(up: str, line: TaskLine, other_measures: bool) -> str:
    column, mark = line.column, safe(line.mark)
    key, kind = safe(column.key), safe(column.type)
    search = f"{key} {safe(column.title)} {kind} {safe(column.family)} {mark}"
    source = number(up, line.source, "source", line.source_measure) if other_measures else ""
    head = f'<th scope="row"><a href="{_task(up, column.key)}">{key}</a></th>'
    return (
        f'<tr data-task="{key}" data-search="{search}">{head}\n'
        f'<td data-column="type" data-value="{kind}">{kind}</td>\n'
        f"{number(up, line.first, 'first')}{number(up, line.own, 'own')}{number(up, line.oracle, 'oracle')}{source}\n"
        f'<td data-column="training" data-value="{mark}">{mark}</td></tr>'
    )


def _record_row(up: str, line: RecordLine, words: str) -> str:
    result, counts, task = line.result, line.result.counts, safe(line.task)
    seconds = "–" if line.seconds is None else f"{line.seconds:.1f}"
    speed = "–" if line.pairs_per_second is None else rate(line.pairs_per_second)
    numbers = (f"{counts.queries:,}", f"{counts.pairs:,}", seconds, speed, f"{counts.failed_pairs:,}")
    hashes = (result.candidates.sha256, result.data.revision, result.task_hash, line.rankings)
    return (
        f'<tr><th scope="row"><a href="{_task(up, line.task)}">{task}</a></th>'
        f'<td><a href="{up}{safe(line.href)}" aria-label="{words}, {task}">{words}</a></td>\n'
        + "".join([f'<td class="number">{one}</td>' for one in (*numbers, f"{percent(counts.tied_at_10)} %")])
        + "\n"
        + "".join([f'<td><code class="hash">{safe(one)}</code></td>' for one in hashes if one is not None])
        + "</tr>"
    )


def _task(up: str, task_id: str) -> str:
    return up + safe(task_page(task_id))
