"""The list of models, and a page for each: what it is, how it was run, its results on every task."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from mrb._util.hashing import hash_file
from mrb.leaderboard.badges import get_badge_path, make_badge, measure_badge
from mrb.leaderboard.charts.types import LEFT, RIGHT, TOP, WIDTH, make_type_plot
from mrb.leaderboard.citation import format_row_citation
from mrb.leaderboard.page import Page, render
from mrb.leaderboard.pages.compare import get_pair_path
from mrb.leaderboard.pages.exports import get_eval_results_path
from mrb.leaderboard.site import Site
from mrb.leaderboard.tables.model_facts import (
    find_extremes,
    list_averages,
    list_neighbours,
    list_places,
    list_record_lines,
    list_task_lines,
)
from mrb.leaderboard.tables.pairs import MAX_RUNS, list_compared_runs
from mrb.leaderboard.tables.runs import get_model_path
from mrb.leaderboard.tables.training_marks import find_training_marks
from mrb.metrics.measures import HEADLINE
from mrb.results.contamination import EXPLANATION, compare_twins, describe_left_out, format_cells
from mrb.results.run import Run
from mrb.submission.schema import SUBMISSION_FILE

PLOT = {"width": WIDTH, "left": LEFT, "right": RIGHT, "top": TOP}


def make_files(site: Site) -> Iterator[Page]:
    """Yield `models.html` and `models/<name>.html`."""
    yield render("models.html.jinja", "models.html", site=site)
    checks, left_out = compare_twins(site.runs)
    compared = {name: list_compared_runs(table)[:MAX_RUNS] for name, table in site.tables.items()}
    explored = {name: {run.name for run in one.runs} for name, one in site.explored.items()}
    for run in site.runs:
        table_id = site.find_table(run)
        table, submission = site.tables[table_id], site.submissions.get(run.name)
        marks = find_training_marks(run, submission)
        lines = list_task_lines(table, run, marks)
        best, worst = find_extremes(lines)
        yield render(
            "model.html.jinja",
            get_model_path(run.name),
            site=site,
            run=run,
            card=site.cards[run.name],
            submission=submission,
            digest=hash_file(run.folder / SUBMISSION_FILE) if submission else None,
            verified=site.verified.get(run.name),
            training=marks.count(table.comparison.task_ids),
            training_source=marks.source if any(line.mark_note for line in lines) else "",
            table_id=table_id,
            table=table,
            lines=lines,
            places=list_places(site.boards[table_id], run),
            neighbours=list_neighbours(compared[table_id], run),
            get_pair_path=get_pair_path,
            explored=explored,
            other_lists=_list_other_lists(site, run),
            other_measures=any(line.source_measure != str(HEADLINE) for line in lines),
            averages=list_averages(table, run, site.sub_tables.get(table_id, {}).values()),
            types=make_type_plot(table.get_type_view(), run.name),
            plot=PLOT,
            best=best,
            worst=worst,
            records=list_record_lines(run, submission),
            twins=[[check.twin, *format_cells(check)[2:]] for check in checks if check.run == run.name],
            twins_left_out=describe_left_out([one for one in left_out if run.name in (one.run, one.twin_run)]),
            twins_note=EXPLANATION,
            **_share_run(site, run),
        )


def _list_other_lists(site: Site, run: Run) -> list[tuple[str, str]]:
    """Return candidate set and run for each set that the run's reranker has ranked, if there are several."""
    found = [
        list(one.runs.items())
        for table in site.gains
        for one in table.gains.rerankers
        if len(one.runs) > 1 and run.name in one.runs.values()
    ]
    return found[0] if found else []


def _share_run(site: Site, run: Run) -> dict[str, Any]:
    """Return what the section on citing and sharing a run shows."""
    badge = make_badge(site, run)
    return {
        "citation": format_row_citation(site, run).splitlines(),
        "badge": badge,
        "badge_path": partial(get_badge_path, run.name),
        "badge_width": measure_badge(badge),
        "eval_results": get_eval_results_path(run.name),
        "address": site.get_address if site.url else None,
    }
