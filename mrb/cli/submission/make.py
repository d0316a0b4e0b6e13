"""`mrb submission make`: a run as a folder that can be published."""

from __future__ import annotations

from pathlib import Path

import click

from mrb.cli.options import DATA_OF_RUN, add_candidates_option, add_data_option, file_type, folder_type, open_all_data

FOLDER = "submissions"


@click.command()
@click.argument("run", type=folder_type(exists=True))
@click.option("--organisation", required=True, metavar="NAME", help="Who submits: letters, digits, '.', '_', '-'.")
@click.option("--model-name", required=True, metavar="NAME", help="Name of the model: letters, digits, '.', '_', '-'.")
@click.option("--variant", default="", metavar="NAME", help="Tells submissions of one model apart, e.g. by suite.")
@click.option(
    "--to",
    default=FOLDER,
    show_default=True,
    metavar="FOLDER|hf://datasets/ORG/NAME",
    help=f"Where the folder is made. For a data set of the Hub, it is made in {FOLDER} and pushed.",
)
@click.option("--size", metavar="N", help="Parameters, such as 3.75B or 560M.")
@click.option("--active-size", metavar="N", help="Parameters that one token passes through, where that is fewer.")
@click.option("--links", multiple=True, metavar="URL", help="https only: weights, paper, code; may be repeated.")
@click.option("--licence", default="", metavar="NAME", help="Licence of the weights, such as Apache-2.0.")
@click.option("--open-weights", is_flag=True, help="The weights can be downloaded.")
@click.option(
    "--kind",
    type=click.Choice(["lexical", "bi-encoder", "cross-encoder", "generative", "api", "other"]),
    default="other",
    show_default=True,
    help="How the model is built.",
)
@click.option(
    "--training",
    metavar="FILE",
    type=file_type(exists=True),
    help="TOML: trained-on, related, clean or unknown for each task. Default: as published, else unknown.",
)
@add_candidates_option()
@add_data_option(DATA_OF_RUN)
@click.option("--allow-incomplete", is_flag=True, help="Submit a run that lacks tasks or queries of its suite.")
def make(
    run: Path,
    organisation: str,
    model_name: str,
    variant: str,
    to: str,
    size: str | None,
    active_size: str | None,
    links: tuple[str, ...],
    licence: str,
    open_weights: bool,
    kind: str,
    training: Path | None,
    candidates: str | None,
    data: tuple[str, ...],
    allow_incomplete: bool,
) -> None:
    """Make a submission of RUN: its results, and the order of every query's candidates, from its journals.

    Nothing else of the run is included: no path, address, host name or key. docs/submitting.md says what to do with the
    folder.
    """
    from pydantic import ValidationError

    from mrb.candidates.pull_lists import find_local_lists
    from mrb.errors import MRBError, format_first_problem
    from mrb.hub.address import is_address, parse_address
    from mrb.rerankers.known_models import find_training_data
    from mrb.results.schema import read_run
    from mrb.submission.build import ModelDeclaration, build_submission, load_run_suite, parse_size, read_training
    from mrb.submission.schema import ModelCard

    place = parse_address(to) if is_address(to) else None
    if place is None and "://" in to:
        raise MRBError(f"--to {to}: neither a folder nor hf://datasets/ORG/NAME")
    if place is not None:
        from mrb.candidates.push_lists import check_write_access

        check_write_access(place)  # before the work
    stated = {
        "organisation": organisation,
        "name": model_name,
        "variant": variant,
        "parameters": parse_size(size) if size else None,
        "active_parameters": parse_size(active_size) if active_size else None,
        "links": links,
        "licence": licence,
        "open_weights": open_weights,
        "kind": kind,
    }
    try:
        card = ModelCard.model_validate(stated)
    except ValidationError as error:
        raise MRBError(f"the model's card: {format_first_problem(error)}") from error
    record = read_run(run)
    known = find_training_data(record.reranker.name, record.reranker.options)
    marks = read_training(training, load_run_suite(run), known.find_marks() if known else {})
    if known:
        click.echo(f"training data: marks as published ({known.source}) where --training states none", err=True)
    open_all_data(data)
    not_covered = {item.task for item in record.not_covered}
    scored = [record.get_task(task_id) for task_id in record.tasks if task_id not in not_covered]
    lists, _ = find_local_lists(candidates, scored)
    folder = build_submission(
        run,
        ModelDeclaration(card, marks),
        Path(to if place is None else FOLDER),
        candidates=lists,
        allow_incomplete=allow_incomplete,
    )
    click.echo(f"submission: {folder}")
    if place is not None:
        from mrb.candidates.push_lists import upload_files

        found = sorted(path for path in folder.rglob("*") if path.is_file())
        files = [(f"{folder.name}/{path.relative_to(folder).as_posix()}", path) for path in found]
        click.echo(f"pushed: {upload_files(files, place, f'Submission {folder.name}')}")
