"""`mrb candidates make`: candidate lists by any first stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb.candidates.set_lists import name_set_folder
from mrb.cli.executor import add_cluster_options, select_encoder
from mrb.cli.options import (
    add_candidate_set_option,
    add_depth_option,
    add_estimate_options,
    add_out_option,
    add_suite_option,
    add_task_option,
    find_tasks,
    folder_type,
    need_dry_run,
    parse_key_values,
    set_option,
)
from mrb.errors import CandidatesError, MRBError
from mrb.parallel.ray_cluster import ClusterOptions
from mrb.rerankers.calling import close_after

if TYPE_CHECKING:
    from mrb.data.task import Task
    from mrb.evaluation.estimate import EncodingRate, TaskEstimate
    from mrb.retrieval.make_lists import ListOptions
    from mrb.retrieval.search_backends import BackendName

ASSUMED = "Sizes are the registry's; rates are assumed (--rate). Neither data nor model was loaded."
PROBED = (
    "Sizes are the registry's. Rates are those on the embedded task of the same type, whose texts and images may be "
    "smaller and where few documents are compared with a query; --rate N sets one."
)


@click.command()
@click.option(
    "--first-stage",
    metavar="NAME",
    help="Installed retriever, my_retriever(.py), or several joined by +. Default: that of the candidate set, else "
    "of the task's published list.",
)
@set_option("An option of the first stage, of several or of a set's as NAME.KEY=VALUE; may be repeated.")
@add_task_option("Make the list of this task; may be repeated.")
@add_suite_option("Make the lists of all tasks of this suite.")
@add_depth_option("Documents per query.", default=100)
@add_candidate_set_option(
    "A candidate set (`mrb candidates sets`) or your own name. Default: the task's, else standard."
)
@add_out_option(help="Folder of the lists. Default: candidates, with --candidate-set NAME candidates/NAME.")
@click.option("--trec", is_flag=True, help="Also write a TREC run file beside each list.")
@click.option("--work", type=folder_type(), help="Folder of embeddings. Default: MRB's cache.")
@click.option(
    "--search",
    type=click.Choice(["auto", "numpy", "torch", "faiss"]),
    default="auto",
    show_default=True,
    help="What searches embeddings; the lists are the same. auto: torch where it runs the encoder, else numpy.",
)
@click.option(
    "--max-memory",
    type=click.FloatRange(0, min_open=True),
    metavar="GB",
    help="Memory of a search of embeddings, beside the data and the encoder. Default: queries, lists and 1.1 GB.",
)
@click.option(
    "--max-disk",
    type=click.FloatRange(0, min_open=True),
    metavar="GB",
    help="Refuse a task whose embeddings take more disk. Default: what is free.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="Processes that encode, with one encoder each. Default: 1; with ray, as many as fit.",
)
@add_cluster_options
@click.option(
    "--allow-failures",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Leave out up to N queries and documents of a task that cannot be encoded; its manifest names them.",
)
@click.option("--fresh", is_flag=True, help="Discard the embeddings and lists that are there and start over.")
@click.option("--keep-embeddings", is_flag=True, help="Keep the embeddings when a list is written.")
@add_estimate_options("queries and documents", "Estimate time, download and cost; write nothing.")
def make(
    first_stage: str | None,
    options: tuple[str, ...],
    task_ids: tuple[str, ...],
    suite_id: str | None,
    depth: int,
    candidate_set: str | None,
    out: Path | None,
    trec: bool,
    work: Path | None,
    search: BackendName,
    max_memory: float | None,
    max_disk: float | None,
    workers: int | None,
    executor: str,
    gpus_per_worker: float | None,
    address: str | None,
    allow_failures: int,
    fresh: bool,
    keep_embeddings: bool,
    dry: bool,
    rates: tuple[str, ...],
    gpu_id: str | None,
    price: float | None,
) -> None:
    """Fetch each task's data, search its corpus, check the list and write it as <task>.parquet, with its manifest and
    its judgement pack. `mrb run --candidate-set` and `mrb candidates push` take the folder.

    Killed at any moment, the same command continues after the last list, or shard of embeddings or postings, that was
    written. A task that fails does not stop the others: the last line names the tasks without a list.
    """
    from mrb.retrieval.make_lists import ListMaker, ListOptions
    from mrb.retrieval.search_backends import SearchOptions

    tasks = find_tasks(task_ids, suite_id)
    need_dry_run(dry, rate=rates, gpu=gpu_id, price=price)
    folder = out or name_set_folder(candidate_set)
    chosen = ListOptions(
        out=folder,
        depth=depth,
        first_stage=first_stage,
        options=parse_key_values(options),
        candidate_set=candidate_set,
        work=work,
        search=SearchOptions(search, _count_bytes(max_memory), _count_bytes(max_disk)),
        start=select_encoder(executor, ClusterOptions(workers, gpus_per_worker, address)),
        allow_failures=allow_failures,
        fresh=fresh,
        keep_embeddings=keep_embeddings,
        trec=trec,
        pack=True,
    )
    if dry:
        _estimate(tasks, chosen, rates, workers or 1, gpu_id, price)
        return
    maker = ListMaker(tasks, chosen)
    with close_after(maker.close):
        for text in maker.make_all():
            click.echo(text)
    if candidate_set is not None and len(tasks) > 1:
        click.echo(f"{len(tasks)} lists of candidate set {candidate_set}: {folder}")


def _count_bytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else round(gigabytes * 1e9)


def _estimate(
    tasks: Sequence[Task],
    options: ListOptions,
    rates: Sequence[str],
    workers: int,
    gpu_id: str | None,
    price: float | None,
) -> None:
    from mrb._util.format import fold_text
    from mrb._util.terminal import find_screen
    from mrb.evaluation.estimate import (
        EncodingRate,
        assume_encoding,
        describe_list_disk,
        estimate_lists,
        format_estimate,
        parse_rates,
    )
    from mrb.evaluation.gpus import find_gpu, load_gpus
    from mrb.retrieval.exact_search import describe_vectors

    if rates and gpu_id is not None:
        raise CandidatesError("give either --rate or --gpu")
    rows: list[TaskEstimate] = []
    encoded, disk, screen = list(tasks), "", find_screen()
    if rates:
        known = {kind: EncodingRate(rate.low, rate.low) for kind, rate in parse_rates(rates).items()}
        rows, told = estimate_lists(tasks, options.depth, known), ASSUMED
    else:
        gpu = None if gpu_id is None else find_gpu(gpu_id)
        names = {task.id: options.first_stage_of(task) for task in tasks}
        for name in dict.fromkeys(names.values()):
            own = [task for task in tasks if names[task.id] == name]
            if gpu is None:
                encoding = _probed(name, options.options_of(name), own)
            else:
                encoding = assume_encoding(name, {task.type for task in own}, gpu)
            rows += estimate_lists(own, options.depth, encoding)
        told = PROBED
        if gpu is not None:
            encoded = [row.task for row in rows if row.seconds is not None]
            disk = describe_list_disk(tasks, names, options.depth)
            price = gpu.price if price is None else price
            told = (
                f"Sizes are the registry's. {load_gpus().describe(gpu)} Fetching, loading and searching are not in the "
                "times; a task without a time needs no GPU."
            )
    click.echo(format_estimate(rows, "items", "encoding", workers, price, screen))
    vectors = ""
    if encoded:
        vectors = describe_vectors(encoded, options.depth, options.keep_embeddings, options.search.max_memory)
    for text in filter(None, (vectors, disk, told)):
        click.echo("\n".join(fold_text(text, screen)))


def _probed(name: str, options: Mapping[str, str], tasks: Sequence[Task]) -> dict[str, EncodingRate]:
    """Return the rates of a first stage on the embedded tasks of the same types; report the types that it refuses."""
    from mrb.data.load import load_task_data
    from mrb.data.task import list_suite_tasks, load_suite
    from mrb.retrieval.first_stage import close_retriever, load_first_stage
    from mrb.retrieval.probe import probe_rate

    rates: dict[str, EncodingRate] = {}
    retriever = load_first_stage(name, options)
    with close_after(partial(close_retriever, retriever)):
        for small in list_suite_tasks(load_suite("mini")):
            if small.type in {task.type for task in tasks}:
                try:
                    rates[small.type] = probe_rate(retriever, load_task_data(small))
                except MRBError as error:
                    click.echo(f"{small.type}: not timed: {error}")
    return rates
