"""`mrb compare`: differences between runs, with intervals, p values, ranks and the queries behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb._util.format import Screen, fold_text
from mrb._util.terminal import find_screen
from mrb.cli.options import add_suite_option, add_task_option
from mrb.errors import to_one_line

if TYPE_CHECKING:
    from mrb.results.compare import Comparison, QueryDifference
    from mrb.results.run import Run


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="A B [C]...", type=click.Path(path_type=Path))
@click.option("--measure", default="nDCG@10", show_default=True, metavar="NAME", help="The measure compared.")
@add_suite_option("Only the tasks of this suite or sub-suite.")
@add_task_option()
@click.option(
    "--top", type=click.IntRange(0, 1000), default=3, show_default=True, help="Largest wins and losses named."
)
@click.option(
    "--first-stages",
    is_flag=True,
    help="Runs on several candidate sets: each reranker's gain over every first stage, and its spread over the sets.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the queries named for each task.")
def command(
    runs: tuple[Path, ...],
    measure: str,
    suite_id: str | None,
    task_ids: tuple[str, ...],
    top: int,
    first_stages: bool,
    as_json: bool,
) -> None:
    """Compare run folders; differences are those of B, C, ... to A.

    Runs compare where task definition, data, queries, candidate list and depth are the same; the averages are over the
    tasks that all of them have. With --first-stages the lists differ, and gains over them are put side by side.
    """
    if first_stages:
        _compare_first_stages(runs, measure, suite_id, task_ids, as_json)
        return
    from mrb.results.compare import compare
    from mrb.results.comparison_table import format_comparison
    from mrb.results.run import load_run
    from mrb.results.sub_suites import restrict_runs

    loaded = restrict_runs([load_run(run) for run in runs], suite_id)
    found = compare(loaded, measure=measure, task_ids=task_ids, named=top)
    if as_json:
        click.echo(_to_json(found))
        return
    screen = find_screen()
    click.echo("\n".join([*format_comparison(found, screen), *_format_queries(found, loaded, top, screen)]))


def _compare_first_stages(
    runs: Sequence[Path], measure: str, suite_id: str | None, task_ids: Sequence[str], as_json: bool
) -> None:
    from mrb.errors import MRBError
    from mrb.results.first_stages import compute_gains, list_gain_rows
    from mrb.results.first_stages_table import format_gains
    from mrb.results.run import load_run
    from mrb.results.sub_suites import restrict_runs

    if task_ids:
        raise MRBError("--first-stages shows every task; leave out --task")
    gains = compute_gains(restrict_runs([load_run(run) for run in runs], suite_id), measure)
    if as_json:
        import json

        fields = {"measure": gains.measure, "sets": gains.sets, "depths": gains.depths, "selections": gains.selections}
        found = {"schema_version": 1, **fields, "rows": list(list_gain_rows(gains))}
        click.echo(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False))
        return
    click.echo("\n".join(format_gains(gains, find_screen())))


def _to_json(found: Comparison) -> str:
    import json
    from dataclasses import asdict

    return json.dumps({"schema_version": 1, **asdict(found)}, indent=2, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True)
class _Named:
    """Queries to show under a title; `other` is the place of the run that is compared with the base."""

    title: str
    other: int
    queries: list[QueryDifference]


def _choose_queries(found: Comparison, top: int) -> Iterator[_Named]:
    """Yield the largest wins and losses of each run over all tasks."""
    base = found.runs[0]
    for other, run in enumerate(found.runs[1:], start=1):
        pairs = [task.differences[other - 1] for task in found.tasks]
        for title, queries in (
            (f"largest wins of {run} over {base}", [query for pair in pairs for query in pair.wins]),
            (f"largest losses of {run} to {base}", [query for pair in pairs for query in pair.losses]),
        ):
            chosen = sorted(queries, key=lambda query: (-abs(query.difference), query.task, query.query_id))[:top]
            if chosen:
                yield _Named(title, other, chosen)


def _format_queries(found: Comparison, runs: Sequence[Run], top: int, screen: Screen) -> Iterator[str]:
    """Yield the queries with the largest differences, with their texts and each run's first document."""
    from mrb._util.format import cut_to_width
    from mrb._util.terminal import find_prose_width
    from mrb.results.query_texts import read_query_texts

    width = find_prose_width(screen)
    named = list(_choose_queries(found, top))
    wanted = [(query.task, query.query_id) for one in named for query in one.queries]
    texts = read_query_texts(runs, dict.fromkeys(wanted))
    for one in named:
        yield screen.paint(to_one_line(f"{one.title}:"), bold=True)
        for query in one.queries:
            gain = f"{100 * query.base:.2f} -> {100 * query.other:.2f} ({100 * query.difference:+.2f})"
            yield cut_to_width(f"  {gain}  {query.task}  {to_one_line(query.query_id)}", width)
            text = texts.get((query.task, query.query_id))
            if text is None:
                continue
            yield cut_to_width(f"    query: {to_one_line(text.query)}", width)
            if text.first:
                for place in (0, one.other):
                    shown = f"top document of {found.runs[place]}: {text.first[place]}"
                    yield cut_to_width(f"    {to_one_line(shown)}", width)
    if without := dict.fromkeys(task_id for task_id, query_id in wanted if (task_id, query_id) not in texts):
        yield from fold_text(f"no texts, because the data is not on this machine: {', '.join(without)}", screen)
