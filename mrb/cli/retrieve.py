"""`mrb retrieve`: first-stage lists by a retriever."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.cli.candidates import ALLOW_FAILURES, DEPTH, TRACK, make_each, say_failed
from mrb.cli.executor import cluster_options, makers_of
from mrb.errors import CandidatesError, MRBError
from mrb.parallel.cluster.connect import Wanted
from mrb.rerankers.calling import closed_after

if TYPE_CHECKING:
    from mrb.data.task import Task
    from mrb.retrieval.failures import Failures
    from mrb.retrieval.retriever import Retriever

PROBED = (
    "Sizes are the registry's. Rates are those on the embedded task of the same type, whose texts and images may be "
    "smaller and where few documents are compared with a query; --rate N sets one."
)


@click.command()
@click.option("--model", required=True, metavar="NAME", help="A retriever, my_retriever(.py), or several joined by +.")
@click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help="An option of the retriever; repeatable.")
@click.option("--task", "task_ids", multiple=True, metavar="ID", help="Make the list of this task; may be repeated.")
@click.option("--suite", "suite_id", metavar="ID", help="Make the lists of all tasks of this suite.")
@click.option("--depth", type=click.IntRange(1, 10_000), default=DEPTH, show_default=True, help="Documents a query.")
@click.option("--track", metavar="NAME", default=TRACK, show_default=True, help="A candidate set or a name of yours.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("candidates"), show_default=True)
@click.option(
    "--work", type=click.Path(file_okay=False, path_type=Path), help="Folder of vectors. Default: MRB's cache."
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Processes that make vectors, with one encoder each. Default: 1; with ray, all there is room for.",
)
@cluster_options
@ALLOW_FAILURES
@click.option("--fresh", is_flag=True, help="Discard the vectors and lists that are there and start over.")
@click.option("--keep-embeddings", is_flag=True, help="Keep the vectors when a list is written.")
@click.option("--dry-run", "dry", is_flag=True, help="Only say what it would take, by the registry's numbers.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Items encoded a second, for --dry-run: no data or model is loaded.",
)
def command(
    model: str,
    options: tuple[str, ...],
    task_ids: tuple[str, ...],
    suite_id: str | None,
    depth: int,
    track: str,
    out: Path,
    work: Path | None,
    workers: int | None,
    executor: str,
    gpus_per_worker: float | None,
    address: str | None,
    allow_failures: int,
    fresh: bool,
    keep_embeddings: bool,
    dry: bool,
    rate: float | None,
) -> None:
    """Search each task's corpus and write <task>.parquet and <task>.manifest.json.

    Killed at any moment, the same command goes on after the last list, or shard of vectors or postings, that was
    written. A task that cannot be done does not end the others of several: the last line says which have no list.
    """
    from mrb.cli.options import key_values
    from mrb.data.task import list_suite_tasks, load_suite, load_task

    if bool(task_ids) == bool(suite_id):
        raise CandidatesError("name the tasks: either --task ID (may be repeated) or --suite ID")
    tasks = list_suite_tasks(load_suite(suite_id)) if suite_id else [load_task(task_id) for task_id in task_ids]
    chosen = key_values(options)
    elsewhere = makers_of(executor, Wanted(workers, gpus_per_worker, address), lambda line: click.echo(line, err=True))
    if rate is not None and not dry:
        raise MRBError("--rate is for --dry-run")
    if dry:
        _dry_run(tasks, depth, rate, model, chosen)
        return
    from mrb.candidates.candidate_sets import check_candidate_set
    from mrb.retrieval.failures import Failures
    from mrb.retrieval.first_stage import close, dense_of, load_first_stage

    for task in tasks:
        check_candidate_set(track, model, depth, task, f"task {task.id}")
    failures = Failures(allow_failures)
    load = partial(load_first_stage, model, chosen, folder=work, elsewhere=elsewhere, failures=failures)
    loaded = [load()]

    def make(task: Task) -> None:
        if not loaded:
            loaded.append(load())
        (retriever,) = loaded
        try:
            _make(task, retriever, failures, model, chosen, depth, track, out, fresh=fresh)
        except MRBError:
            if elsewhere is not None:  # the workers end with the first mistake of one
                loaded.clear()
                with suppress(MRBError):
                    close(retriever)
            raise
        for dense in () if keep_embeddings else dense_of(retriever):
            dense.discard()

    def close_loaded() -> None:
        for retriever in loaded:
            close(retriever)

    with closed_after(close_loaded):
        make_each(tasks, make)


def _dry_run(tasks: list[Task], depth: int, rate: float | None, model: str, options: dict[str, str]) -> None:
    from mrb.evaluation.estimate import EncodingRate, estimate_lists, format_estimate

    rates: dict[str, EncodingRate] = {}
    note = PROBED
    if rate is not None:
        rates = dict.fromkeys((task.type for task in tasks), EncodingRate(rate, rate))
        note = "Sizes are the registry's; rates are assumed (--rate). Neither data nor model was loaded."
    else:
        from mrb.data.load import load_task_data
        from mrb.data.task import list_suite_tasks, load_suite
        from mrb.retrieval.first_stage import close, load_first_stage
        from mrb.retrieval.probe import probe_rate

        retriever = load_first_stage(model, options)
        types = {task.type for task in tasks}
        with closed_after(partial(close, retriever)):
            for small in list_suite_tasks(load_suite("mini")):
                if small.type in types:
                    try:
                        rates[small.type] = probe_rate(retriever, load_task_data(small))
                    except MRBError as error:
                        click.echo(f"{small.type}: not timed: {error}")
    click.echo(format_estimate(estimate_lists(tasks, depth, rates), "items", "encoding"))
    click.echo(note)


def _make(
    task: Task,
    retriever: Retriever,
    failures: Failures,
    model: str,
    options: dict[str, str],
    depth: int,
    track: str,
    out: Path,
    *,
    fresh: bool,
) -> None:
    from mrb._util.files import write_json
    from mrb.candidates.lists import write_parquet
    from mrb.data.load import load_task_data
    from mrb.retrieval.encoding import Encoding
    from mrb.retrieval.first_stage import dense_of, make_candidates, provenance
    from mrb.retrieval.manifest import held, manifest

    failures.items.clear()
    path = out / f"{task.id}.parquet"
    made = provenance(task, model, depth, track)
    # Encoding a suite takes days: a killed command does not start again at its first task.
    candidates = held(path, made, retriever, options, failures.allowed) if dense_of(retriever) and not fresh else None
    for dense in dense_of(retriever):
        dense.fresh = fresh
        if candidates is not None and dense is retriever and isinstance(dense.maker, Encoding):
            dense.maker.verify_list(load_task_data(task), candidates, str(path))
    if candidates is not None:
        click.echo(f"{path}  is there already, made by this command; remove it to make it again")
    else:
        candidates = make_candidates(load_task_data(task), retriever, model, depth, track)
        write_parquet(candidates, path)
        beside = manifest(made, candidates.sha256, retriever, options, failures.items)
        write_json(path.with_suffix(".manifest.json"), beside)
        click.echo(f"{path}  {model}  {len(candidates):,} lists, {candidates.pairs:,} pairs")
        say_failed(failures)
    click.echo(f"  sha256 {candidates.sha256}")
