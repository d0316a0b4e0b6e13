"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mrb._util.redact import redact_text
from mrb.errors import MRBError

if TYPE_CHECKING:
    from mrb.data.task import Task

Function = Callable[..., Any]
Decorator = Callable[[Function], Function]

RERANKER = "Installed adapter (mrb models), my_adapter(.py), module:Class; or a model: ORG/NAME[@COMMIT], a folder."
LISTS = "A candidate list, a folder of <task>.parquet, or hf://datasets/ORG/NAME[@REVISION][/FOLDER]."
FORMATS = ("trec", "mteb", "parquet", "top_ranked", "rank_llm")
"""Formats of score files."""


def folder_type(exists: bool = False) -> click.Path:
    """Return the type of an option or argument that names a folder."""
    return click.Path(exists=exists, file_okay=False, path_type=Path)


def file_type(exists: bool = False) -> click.Path:
    """Return the type of an option or argument that names a file."""
    return click.Path(exists=exists, dir_okay=False, path_type=Path)


def add_model_option() -> Decorator:
    """`--model NAME`, required."""
    return click.option("--model", required=True, metavar="NAME", help=RERANKER)


def set_option(help: str = "An option of the adapter; may be repeated.") -> Decorator:
    """`--set KEY=VALUE`, as `options`; `parse_key_values` reads it."""
    return click.option("--set", "options", multiple=True, metavar="KEY=VALUE", help=help)


def add_change_option(help: str) -> Decorator:
    """`--set SECTION.NAME=VALUE`, as `changes`."""
    return click.option("--set", "changes", multiple=True, metavar="SECTION.NAME=VALUE", help=help)


def add_task_option(help: str = "Only this task; may be repeated.") -> Decorator:
    """`--task ID`, as `task_ids`; an own task may be named by the path of its file."""
    return click.option("--task", "task_ids", multiple=True, metavar="ID", help=help)


def add_single_task_option(help: str, required: bool = False) -> Decorator:
    """`--task ID`, once, as `task_id`."""
    return click.option("--task", "task_id", required=required, metavar="ID", help=help)


def add_suite_option(help: str = "Suite of tasks. Default: mini, unless --task names some.") -> Decorator:
    """`--suite ID`, as `suite_id`."""
    return click.option("--suite", "suite_id", metavar="ID", help=help)


def add_type_option() -> Decorator:
    """`--type TYPE`, as `types`."""
    help = "Only tasks of this type, e.g. t2i; may be repeated."
    return click.option("--type", "types", multiple=True, metavar="TYPE", help=help)


def add_data_option(
    help: str = "Your own data: a folder, or hf://datasets/ORG/NAME@COMMIT; may be repeated.",
) -> Decorator:
    """`--data FOLDER|hf://...`, as `data`; `open_all_data` reads them."""
    return click.option("--data", multiple=True, metavar="FOLDER|hf://...", help=help)


DATA_OF_RUN = "The data of the run's own tasks, where it is not found through MRB_TASKS; may be repeated."
"""Help of `--data` where a run says what its tasks are."""


def open_all_data(data: Iterable[str]) -> list[Task]:
    """Return the tasks that `--data` names, and make them known to this process."""
    from mrb.data.own_tasks import open_data

    return [open_data(name) for name in data]


def add_depth_option(help: str, default: int | None = None, least: int = 1) -> Decorator:
    """`--depth N`."""
    depths = click.IntRange(least, 10_000)
    return click.option("--depth", type=depths, default=default, show_default=default is not None, help=help)


def add_candidates_option(help: str = f"{LISTS} Default: the frozen list.") -> Decorator:
    """`--candidates PATH|hf://...`; `mrb.candidates.pull_lists.find_local_lists` reads it."""
    return click.option("--candidates", metavar="PATH|hf://...", help=help)


def add_out_option(default: str | None = None, help: str | None = None) -> Decorator:
    """`--out DIRECTORY`; None if there is no default."""
    path = None if default is None else Path(default)
    return click.option("--out", type=folder_type(), default=path, show_default=default is not None, help=help)


def add_score_file_options() -> Decorator:
    """`--format`, as `form`, `--subset` and `--split` of a file with scores."""

    def decorate(command: Function) -> Function:
        for option in (
            click.option("--split", help="Of an mteb file with several splits: which one."),
            click.option("--subset", help="Of an mteb file with several subsets: which one."),
            click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by the file's name."),
        ):
            command = option(command)
        return command

    return decorate


def add_gpu_option(help: str) -> Decorator:
    """`--gpu ID`, as `gpu_id`; `mrb.evaluation.gpus.find_gpu` reads it."""
    return click.option("--gpu", "gpu_id", metavar="ID", help=help)


def add_candidate_set_option(help: str, default: str | None = None) -> Decorator:
    """`--candidate-set NAME`, once, as `candidate_set`. Its old spelling `--track` answers with the new one."""

    def refuse(_context: click.Context, _option: click.Parameter, given: str | None) -> None:
        if given is not None:
            raise MRBError(f"--track is now --candidate-set {given}")

    def decorate(command: Function) -> Function:
        command = click.option("--track", hidden=True, expose_value=False, callback=refuse)(command)
        new = click.option(
            "--candidate-set", metavar="NAME", default=default, show_default=default is not None, help=help
        )
        decorated: Function = new(command)
        return decorated

    return decorate


def add_estimate_options(unit: str, help: str) -> Decorator:
    """`--dry-run`, as `dry`, `--rate`, as `rates`, `--gpu`, as `gpu_id`, and `--price`."""

    def decorate(command: Function) -> Function:
        rate = f"With --dry-run: {unit} per second of one worker; then no data or model is loaded. May be repeated."
        price = "With --dry-run: price of one worker for an hour. Default: that of --gpu."
        for option in (
            add_gpu_option(
                "With --dry-run: one worker has this GPU (rtx-4090, a100, h100, h200); rates are arithmetic."
            ),
            click.option("--price", type=click.FloatRange(0), metavar="P", help=price),
            click.option("--rate", "rates", multiple=True, metavar="[TYPE=]N", help=rate),
            click.option("--dry-run", "dry", is_flag=True, help=help),
        ):
            command = option(command)
        return command

    return decorate


def need_dry_run(dry: bool, **given: object) -> None:
    """Refuse options of the estimate without `--dry-run`. MRBError names the first."""
    for name, value in given.items():
        if value not in ((), None) and not dry:
            raise MRBError(f"--{name.replace('_', '-')} is for --dry-run")


def parse_key_values(options: Iterable[str]) -> dict[str, str]:
    """Return `KEY=VALUE` texts as a dictionary. `NAME.KEY` sets an option of one among several adapters.

    Raises:
        MRBError: A text has no key, or a key is given twice.
    """
    found: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals or not key.rpartition(".")[2].isidentifier():
            hint = "" if equals else "; the option that names a candidate set is --candidate-set"
            raise MRBError(f"--set {redact_text(option)}: wanted KEY=VALUE, the key a Python name{hint}")
        if key in found:
            raise MRBError(f"--set {key}=...: given twice")
        found[key] = value
    return found


def find_tasks(task_ids: Sequence[str], suite_id: str | None, default: str | None = None) -> list[Task]:
    """Return the tasks that `--task` or `--suite` name, else those of the suite `default`.

    Raises:
        MRBError: Both options are given, or neither without a default.
    """
    from mrb.data.own_tasks import resolve_task
    from mrb.data.task import list_suite_tasks, load_suite

    suite_id = suite_id or (None if task_ids else default)
    if bool(task_ids) == bool(suite_id):
        raise MRBError("name the tasks: either --task ID (may be repeated) or --suite ID")
    return list_suite_tasks(load_suite(suite_id)) if suite_id else [resolve_task(task_id) for task_id in task_ids]
