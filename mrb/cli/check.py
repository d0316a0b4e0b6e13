"""`mrb check`: does a reranker hold what it declares?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from mrb._util.files import check_run_name
from mrb.cli.options import (
    add_candidates_option,
    add_out_option,
    add_suite_option,
    add_task_option,
    parse_key_values,
    set_option,
)


@click.command()
@click.argument("model")
@set_option()
@add_suite_option()
@add_task_option()
@click.option("--requests", type=click.IntRange(1, 256), help="Queries per task. Default: 3; with --noise 20.")
@click.option("--no-reload", is_flag=True, help="Do not build a second instance, for models that load slowly.")
@click.option("--noise", is_flag=True, help="Also measure the noise floor, at full depth, and store it.")
@add_candidates_option()
@add_out_option("runs")
@click.option("--name", metavar="NAME", help="Folder in --out for noise.json. Default: the model's name.")
def command(
    model: str,
    options: tuple[str, ...],
    suite_id: str | None,
    task_ids: tuple[str, ...],
    requests: int | None,
    no_reload: bool,
    noise: bool,
    candidates: str | None,
    out: Path,
    name: str | None,
) -> None:
    """Score a few requests of each task in several ways, and say whether the reranker MODEL keeps what it declares.

    If a declaration does not hold, one line is printed for each and the exit code is 2. --noise also scores more
    requests under two batch plans and writes how far scores, ranks and nDCG@10 move to OUT/NAME/noise.json.
    """
    from mrb._util.terminal import find_screen
    from mrb.candidates.pull_lists import find_local_lists
    from mrb.errors import to_one_line
    from mrb.evaluation.check.check import check
    from mrb.evaluation.check.noise_run import measure_noise
    from mrb.evaluation.check.probe import CHECK_DEPTH, CHECK_QUERIES, NOISE_QUERIES, make_probe
    from mrb.evaluation.check.report import format_check, format_noise, format_verdict
    from mrb.evaluation.spec import select_tasks
    from mrb.rerankers.declaration import LoadedReranker, load_reranker
    from mrb.rerankers.model_address import announce_model
    from mrb.results.noise import write_noise

    spec = select_tasks(suite_id, task_ids, (), None)
    lists, _ = find_local_lists(candidates, spec.tasks)
    spec = replace(spec, candidates=lists)
    typed, folder = parse_key_values(options), check_run_name(name)

    announce_model(model, typed)

    def load() -> LoadedReranker:
        return load_reranker(model, typed)

    probe = make_probe(spec, queries=requests or CHECK_QUERIES, depth=CHECK_DEPTH)
    checked = check(load, probe, fresh=not no_reload)
    click.echo(format_check(checked, find_screen()))
    for line in checked.broken:
        click.echo(f"mrb: {to_one_line(line, limit=1000)}", err=True)
    if checked.broken:
        raise click.exceptions.Exit(2)
    click.echo(format_verdict(checked))
    if noise:
        whole = make_probe(spec, queries=requests or NOISE_QUERIES, depth=spec.depth)
        record = measure_noise(load, whole)
        path = write_noise(out / (folder or checked.info.name), record)
        click.echo(f"\n{format_noise(record, find_screen())}\nwritten: {path}")
