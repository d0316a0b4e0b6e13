"""`mrb candidates make|show|check|import|push|pull`: first-stage lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mrb._util.redact import hide_secrets
from mrb.cli.sharing import pull, push
from mrb.errors import CandidatesError, MRBError, ResultError, one_line

if TYPE_CHECKING:
    from mrb.candidates.lists import Candidates
    from mrb.candidates.score_files import Format
    from mrb.data.task import Task
    from mrb.data.task_data import TaskData
    from mrb.retrieval.candidate_stats import Quality
    from mrb.retrieval.failures import Failures

ALLOW_FAILURES = click.option(
    "--allow-failures",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Leave out up to N queries and documents of a task that cannot be encoded; they are counted in its manifest.",
)

DEPTH = 100
TRACK = "standard"
IMPORTED = "imported"


@click.group()
def command() -> None:
    """Make, show, check, import and share first-stage lists."""


command.add_command(push)
command.add_command(pull)


@command.command()
@click.option("--task", "task_ids", multiple=True, metavar="ID", help="Make the list of this task; may be repeated.")
@click.option("--suite", "suite_id", metavar="ID", help="Make the lists of all tasks of this suite.")
@click.option(
    "--first-stage", metavar="NAME", help="A retriever, or several joined by +. Default: the candidate set's or task's."
)
@click.option("--depth", type=click.IntRange(1, 10_000), default=DEPTH, show_default=True, help="Documents a query.")
@click.option(
    "--track",
    metavar="NAME",
    help=f"A candidate set (`mrb tracks`) or your own name. Default: the task's, else {TRACK}.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("candidates"), show_default=True)
@ALLOW_FAILURES
@click.option("--trec/--no-trec", default=True, show_default=True, help="Write a TREC run file beside each list.")
def make(
    task_ids: tuple[str, ...],
    suite_id: str | None,
    first_stage: str | None,
    depth: int,
    track: str | None,
    out: Path,
    allow_failures: int,
    trec: bool,
) -> None:
    """Search each task's corpus and write <task>.parquet and <task>.trec.

    A task that cannot be done does not end the others of several: the last line says which have no list.
    """
    from mrb._util.files import write_json
    from mrb.candidates.candidate_sets import check_candidate_set
    from mrb.candidates.lists import write_parquet, write_trec
    from mrb.data.load import load_task_data
    from mrb.data.task import list_suite_tasks, load_suite, load_task
    from mrb.retrieval import load_first_stage, make_candidates
    from mrb.retrieval.failures import Failures
    from mrb.retrieval.manifest import manifest

    if bool(task_ids) == bool(suite_id):
        raise CandidatesError("name the tasks: either --task ID (may be repeated) or --suite ID")
    tasks = list_suite_tasks(load_suite(suite_id)) if suite_id else [load_task(task_id) for task_id in task_ids]
    # Every name is resolved before the first search, which may take long.
    names = [first_stage or _own(task, track) for task in tasks]
    for task, name in zip(tasks, names, strict=True):
        check_candidate_set(track or "", name, depth, task, f"task {task.id}")
    failures = Failures(allow_failures)
    stages = {
        task.id: (name, load_first_stage(name, failures=failures)) for task, name in zip(tasks, names, strict=True)
    }

    def make_list(task: Task) -> None:
        name, retriever = stages[task.id]
        failures.items.clear()
        data = load_task_data(task)
        own_track = task.candidates.track if task.candidates else TRACK
        candidates = make_candidates(data, retriever, name, depth, track or own_track)
        path = out / f"{task.id}.parquet"
        write_parquet(candidates, path)
        if trec:
            write_trec(candidates, path.with_suffix(".trec"))
        click.echo(f"{path}  {name}  {_counts(candidates)}  {_measures(candidates, data, depth)}")
        if failures.items:
            beside = manifest(candidates.provenance, candidates.sha256, retriever, {}, failures.items)
            write_json(path.with_suffix(".manifest.json"), beside)
        say_failed(failures)
        click.echo(f"  sha256 {candidates.sha256}")

    make_each(tasks, make_list)


def make_each(tasks: Sequence[Task], make: Callable[[Task], None]) -> None:
    """Make the list of each task. One that cannot be made does not end the others: which, and why, is said at the end.

    CandidatesError names the tasks without a list. The error of the only task, and that of a file that cannot be
    written, is raised as it is.
    """
    missing: dict[str, MRBError] = {}
    for task in tasks:
        try:
            make(task)
        except ResultError:
            raise
        except MRBError as error:
            if len(tasks) == 1:
                raise
            missing[task.id] = error
            click.echo(f"task {task.id}: no list: {one_line(hide_secrets(str(error)), 1000)}", err=True)
    if missing:
        why = "; ".join(one_line(error, 150) for error in missing.values())
        raise CandidatesError(f"{len(missing)} of {len(tasks)} tasks have no list: {', '.join(missing)}; why: {why}")


def say_failed(failures: Failures) -> None:
    """Say how many items are left out of a list, if any."""
    for kind, ids in failures.items.items():
        click.echo(f"  {len(ids)} {kind} could not be encoded and are left out; the manifest names them")


@command.command()
@click.argument("list_or_task", metavar="FILE|TASK|hf://...")
@click.option("--task", "task_id", metavar="ID", help="Of an address: the list of this task.")
@click.option("--depth", type=click.IntRange(1, 10_000), help="Measure only the first N of each list.")
@click.option("--query", "query_id", metavar="ID", help="Print this query's list and nothing else.")
@click.option("--trec", "trec_path", type=click.Path(dir_okay=False, path_type=Path), help="Write a TREC run file.")
def show(
    list_or_task: str, task_id: str | None, depth: int | None, query_id: str | None, trec_path: Path | None
) -> None:
    """Show a candidate list: what it was made for and by, its size, its own measures and its oracle.

    TASK shows the task's published list.
    """
    from mrb.candidates.lists import read_parquet, write_trec

    path = _path(list_or_task, task_id)
    candidates = read_parquet(path)
    if trec_path is not None:
        write_trec(candidates, trec_path)
        click.echo(f"{trec_path}  {candidates.pairs:,} lines")
    elif query_id is not None:
        doc_ids, scores = candidates.get(query_id)
        if not doc_ids:
            raise CandidatesError(f"{path}: holds no list for query {query_id!r}")
        for rank, (doc_id, score) in enumerate(zip(doc_ids, scores, strict=True), start=1):
            click.echo(f"{rank}\t{doc_id}\t{score!s}")
    else:
        for name, value in _page(path, candidates, depth or candidates.provenance.depth):
            click.echo(f"{name:<12} {value}")


@command.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE|hf://...")
@click.option("--task", "task_id", metavar="ID", help="The task it must be for. Default: the one that the file names.")
def check(files: tuple[str, ...], task_id: str | None) -> None:
    """Check lists: content against hash, task and data revision, every id. Exit code 2 at the first that is wrong."""
    from mrb.candidates.lists import read_parquet
    from mrb.data.task import load_task
    from mrb.hub.address import is_address

    for path in (one for file in files for one in (_pulled(file, task_id) if is_address(file) else [Path(file)])):
        candidates = read_parquet(path)
        task = load_task(task_id or candidates.provenance.task)
        data = _checked(path, candidates, task)
        click.echo(f"{path}: ok, {_counts(candidates)} for {len(data.queries):,} queries of {task.id}")


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--task", "task_id", required=True, metavar="ID", help="The task that the lists are for.")
@click.option("--first-stage", required=True, metavar="NAME", help="What made the lists; recorded in the result.")
@click.option("--depth", type=click.IntRange(1, 10_000), default=DEPTH, show_default=True, help="Documents a query.")
@click.option("--track", metavar="NAME", default=IMPORTED, show_default=True, help="Recorded in the list.")
@click.option("--format", "form", type=click.Choice(["trec", "mteb", "parquet"]), help="Default: by the file's name.")
@click.option("--subset", help="Of an mteb file: which subset, if it has several.")
@click.option("--split", help="Of an mteb file: which split, if it has several.")
@click.option("--allow-missing", is_flag=True, help="Let queries of the task be without candidates.")
@click.option("--skip-unknown", is_flag=True, help="Leave out queries that the task does not judge.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("candidates"), show_default=True)
def import_(
    file: Path,
    task_id: str,
    first_stage: str,
    depth: int,
    track: str,
    form: Format | None,
    subset: str | None,
    split: str | None,
    allow_missing: bool,
    skip_unknown: bool,
    out: Path,
) -> None:
    """Make <task>.parquet from a TREC run, an mteb prediction file, or a parquet of query_id, doc_id, score.

    Scores decide the order, every id must be the task's, and self-matches leave before the lists are cut.
    """
    from mrb.candidates.lists import write_parquet
    from mrb.candidates.score_files import import_candidates, read_scores
    from mrb.data.corpus_subset import NeededDocuments
    from mrb.data.load import load_task_data
    from mrb.data.task import load_task

    task = load_task(task_id)
    scores = read_scores(file, form, subset=subset, split=split)
    data = load_task_data(task, needed=NeededDocuments.of(doc_id for found in scores.values() for doc_id in found))
    found = import_candidates(
        data,
        scores,
        first_stage=first_stage,
        depth=depth,
        track=track,
        allow_missing=allow_missing,
        skip_unknown=skip_unknown,
    )
    path = out / f"{task_id}.parquet"
    write_parquet(found.candidates, path)
    click.echo(f"{path}  {first_stage}  {_counts(found.candidates)}  {_measures(found.candidates, data, depth)}")
    click.echo(f"  sha256 {found.candidates.sha256}")
    click.echo(
        f"  {found.missing} queries without a list, {found.skipped} left out, {found.shorter} lists under {depth}"
    )


def _own(task: Task, track: str | None) -> str:
    """The first stage of the named candidate set, else that of the task's published list."""
    from mrb.candidates.candidate_sets import lookup_candidate_set

    if (named := lookup_candidate_set(track)) is not None:
        return named.first_stage(task)
    if task.candidates is None:
        raise CandidatesError(f"task {task.id} has no published list to take the first stage from; give --first-stage")
    return task.candidates.first_stage


def _pulled(address: str, task_id: str | None) -> list[Path]:
    """The lists of an address, or that of the task."""
    from mrb.data.task import load_task
    from mrb.hub.address import parse_address
    from mrb.hub.pull_lists import pull_lists as pull_lists

    tasks = [] if task_id is None else [load_task(task_id)]
    found = pull_lists(parse_address(address), tasks, lambda line: click.echo(line, err=True))
    return [found.file(one) for one in found.lists]


def _path(list_or_task: str, task_id: str | None) -> Path:
    from mrb.hub.address import is_address

    if is_address(list_or_task):
        first, *others = _pulled(list_or_task, task_id)
        if others:
            names = ", ".join(path.stem for path in (first, *others))
            raise CandidatesError(f"{list_or_task}: several lists: {names}; choose one with --task")
        return first
    if task_id is not None:
        raise CandidatesError(
            f"--task {task_id}: chooses among the lists of an address hf://...; {list_or_task} is none"
        )
    path = Path(list_or_task)
    if path.suffix == ".parquet" or path.exists():
        return path
    from mrb.candidates.load import find_candidates
    from mrb.data.task import load_task

    return find_candidates(load_task(list_or_task), None)


def _checked(path: Path, candidates: Candidates, task: Task) -> TaskData:
    """The data of the list's task, once the list is found to be the task's. CandidatesError says what does not fit."""
    from mrb.candidates.lists import check_ids, check_task
    from mrb.candidates.load import referenced_documents
    from mrb.data.load import load_task_data

    made, frozen = candidates.provenance, task.candidates
    check_task(made, task, str(path))
    data = load_task_data(task, needed=referenced_documents(candidates))
    check_ids(candidates, data.queries.rows, data.corpus.rows, str(path))
    like_frozen = frozen is not None and (
        (frozen.first_stage, frozen.track, frozen.depth) == (made.first_stage, made.track, made.depth)
    )
    if frozen is not None and like_frozen and candidates.sha256 != frozen.sha256:
        raise CandidatesError(
            f"{path}: names the first stage, candidate set and depth of the published list of {task.id}, but its hash "
            f"is {candidates.sha256}, the published one's {frozen.sha256}"
        )
    return data


def _page(path: Path, candidates: Candidates, depth: int) -> Iterator[tuple[str, str]]:
    from mrb.data.task import load_task

    made = candidates.provenance
    yield "file", str(path)
    yield "task", f"{made.task}, definition {made.task_hash}"
    yield "data", made.revision
    yield "first stage", made.first_stage
    yield "track", made.track
    yield "depth", str(made.depth)
    yield "size", _counts(candidates)
    yield "sha256", candidates.sha256
    try:
        yield "measures", _measures(candidates, _checked(path, candidates, load_task(made.task)), depth)
    except MRBError as error:
        # A list is worth showing where the data is not at hand, or has moved on.
        yield "measures", f"not computed: {error}"


def _counts(candidates: Candidates) -> str:
    return f"{len(candidates):,} lists, {candidates.pairs:,} pairs"


def _measures(candidates: Candidates, data: TaskData, depth: int) -> str:
    from mrb.retrieval.candidate_stats import quality

    return _words(quality(candidates, data, depth), depth)


def _words(found: Quality, depth: int) -> str:
    return (
        f"nDCG@10 {100 * found.ndcg:.2f} (oracle {100 * found.oracle:.2f}), "
        f"Recall@{found.cutoff} {100 * found.recall:.2f} at depth {depth}"
    )
