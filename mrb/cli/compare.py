"""`mrb compare`: differences between runs, with intervals, p values, ranks and the queries behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.options import add_task_option

if TYPE_CHECKING:
    from mrb.results.compare import AverageComparison, Comparison, QueryDifference, RunDifference


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="A B [C]...", type=click.Path(path_type=Path))
@click.option("--measure", default="nDCG@10", show_default=True, metavar="NAME", help="By which measure.")
@add_task_option()
@click.option(
    "--top", type=click.IntRange(0, 1000), default=3, show_default=True, help="Largest wins and losses named."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the queries named for each task.")
def command(runs: tuple[Path, ...], measure: str, task_ids: tuple[str, ...], top: int, as_json: bool) -> None:
    """Compare run folders; differences are those of B, C, ... to A.

    Runs compare where task definition, data, queries, candidate list and depth are the same; the averages are over the
    tasks that all of them have.
    """
    from mrb.results.compare import compare
    from mrb.results.run import load_run

    found = compare([load_run(run) for run in runs], measure=measure, task_ids=task_ids, named=top)
    click.echo(_to_json(found) if as_json else "\n".join(_format_text(found, top)))


def _to_json(found: Comparison) -> str:
    import json
    from dataclasses import asdict

    return json.dumps({"schema_version": 1, **asdict(found)}, indent=2, ensure_ascii=False, allow_nan=False)


def _format_text(found: Comparison, top: int) -> Iterator[str]:
    from mrb._util.format import format_table

    base = found.runs[0]
    yield f"{found.measure} x 100; gain over {base} with its 95 % interval, which excludes 0 if the raw p < 0.05;"
    yield "p is corrected for the tasks of the two runs, or in averages for all pairs of runs"
    yield ""
    yield from format_table([_HEADER, *_make_task_rows(found), *_make_average_rows(found)], left={0, 1, 4})
    yield ""
    yield from _make_notes(found)
    for name, average in (("tasks", found.over_tasks), ("types", found.over_types)):
        ranks = sorted(zip(average.ranks, average.means, found.runs, strict=True), key=lambda one: (-one[1], one[2]))
        listed = "; ".join(f"{bounds} {run}" for bounds, _, run in ranks)
        yield f"ranks by the average over {name} (bounds by corrected p below 0.05): {listed}"
    for number, run in enumerate(found.runs[1:]):
        wins = [query for task in found.tasks for query in task.differences[number].wins]
        losses = [query for task in found.tasks for query in task.differences[number].losses]
        yield from _format_queries(f"largest wins of {run} over {base}", wins, top)
        yield from _format_queries(f"largest losses of {run} to {base}", losses, top)


_HEADER = [
    "task",
    "type",
    "queries",
    "base",
    "run",
    "mean",
    "gain",
    "interval",
    "raw p",
    "corrected p",
    "won",
    "lost",
    "tied",
]


def _make_task_rows(found: Comparison) -> Iterator[list[str]]:
    for task in found.tasks:
        for number, one in enumerate(task.differences, start=1):
            means = (task.means[0], task.means[number])
            counts = [str(one.won), str(one.lost), str(one.tied)]
            yield [task.task, task.type, str(task.queries), *_format_cells(means, one.mean), *counts]


def _make_average_rows(found: Comparison) -> Iterator[list[str]]:
    types = len({task.type for task in found.tasks})
    rows: list[tuple[str, AverageComparison]] = [
        (f"average over {len(found.tasks)} common tasks of {found.of}", found.over_tasks),
        (f"average over their {types} types", found.over_types),
    ]
    for label, average in rows:
        for number, one in enumerate(average.differences, start=1):
            yield [label, "", "", *_format_cells((average.means[0], average.means[number]), one), "", "", ""]


def _format_cells(means: tuple[float, float], gain: RunDifference) -> list[str]:
    interval = f"[{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
    base, own = (f"{100 * mean:.2f}" for mean in means)
    return [base, gain.run, own, f"{100 * gain.difference:+.2f}", interval, f"{gain.p:.4f}", f"{gain.p_corrected:.4f}"]


def _make_notes(found: Comparison) -> Iterator[str]:
    from mrb.results.run import RAW

    for run, missing in found.missing.items():
        yield f"{run} lacks {', '.join(missing)}"
    if partial := sorted(set(found.selections) - {"all"}):
        yield f"not all queries of the tasks: {', '.join(partial)}"
    if "raw" in found.qrels:
        yield RAW


def _format_queries(title: str, queries: Sequence[QueryDifference], top: int) -> Iterator[str]:
    from mrb.errors import to_one_line

    chosen = sorted(queries, key=lambda query: (-abs(query.difference), query.task, query.query_id))[:top]
    if chosen:
        yield f"{title}:"
    for query in chosen:
        gain = f"{100 * query.base:.2f} -> {100 * query.other:.2f} ({100 * query.difference:+.2f})"
        yield f"  {query.task}  {to_one_line(query.query_id, 80)}  {gain}"
