"""The Python front door: what `import mrb` offers, and the command line calls the same functions.

Mistakes raise `mrb.errors.MRBError` with one line that says what is wrong and what to do. Progress is logged by the
logger `mrb`, which prints warnings only; `verbose=True` prints progress too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mrb.errors import MRBError, ResultError
from mrb.metrics.measures import HEADLINE
from mrb.metrics.own_measures import MeasureFunction, list_registered, register_measure

if TYPE_CHECKING:
    from mrb.data.task import Task
    from mrb.evaluation.check.check import CheckOutcome
    from mrb.evaluation.task_view import TaskView
    from mrb.rerankers.models import ModelEntry
    from mrb.results.compare import Comparison
    from mrb.results.first_stages import FirstStageGains
    from mrb.results.run import Run

__all__ = [
    "check",
    "compare",
    "compare_first_stages",
    "evaluate",
    "list_models",
    "list_tasks",
    "load_run",
    "load_task",
    "register_measure",
]

PathLike = str | os.PathLike[str]


def evaluate(
    model: object,
    suite: str | None = None,
    tasks: str | Sequence[str] | None = None,
    *,
    data: PathLike | Sequence[PathLike] | None = None,
    first_stage: str | None = None,
    depth: int | None = None,
    limit: int | None = None,
    out: PathLike | None = None,
    workers: int = 1,
    types: str | Sequence[str] | None = None,
    options: Mapping[str, object] | None = None,
    candidates: PathLike | None = None,
    candidate_set: str | None = None,
    name: str | None = None,
    allow_failures: int = 0,
    measures: Mapping[str, MeasureFunction] | None = None,
    fresh: bool = False,
    verbose: bool = False,
) -> Run:
    """Score a reranker on a suite or on single tasks, as `mrb run` does.

    Args:
        model: A name as after `mrb run --model`; a class, which is built here; a function of a request; an object with
            an adapter's methods; or a `CrossEncoder` or `SentenceTransformer` of sentence-transformers.
        suite: A suite, by id. Default: `mini`, or no suite if tasks are named.
        tasks: Tasks, by id. Default: all tasks of the suite.
        data: Data of your own, in folders or on the Hub: each is a task, beside those that are named.
        first_stage: Make the candidate lists of your own data by this retriever, such as `bm25`.
        depth: Candidates per query. Default: the suite's.
        limit: Only the first queries of each task, for trials.
        out: A folder that the run is written into, as `out/NAME`; a run of the same name is continued. Default: nothing
            is written, and nothing is continued.
        workers: Processes that score. More than one need a name, or a class or function in a module.
        types: Keep only tasks of these types, such as `t2i`.
        options: Options of a model that is built here, by name, as after `--set`.
        candidates: A candidate list, a folder of lists or a Hub address. Default: the frozen lists.
        candidate_set: Rerank the lists of this candidate set, frozen, published or in `candidates`; the run is then
            named `NAME--SET`. `compare_first_stages` compares the gains of runs on several sets.
        name: Name of the run. Default: the model's.
        allow_failures: Pairs per task that may fail; they are ranked last, counted and published.
        measures: Measures of your own, by name, beside those of `register_measure`.
        fresh: Discard the scores that the folder of the run holds.
        verbose: Print progress on stderr.

    Returns:
        The run: `print(run.table())`, `run.to_frame()`, `run["mini-faq-t2t"].per_query()`.

    Raises:
        MRBError: A name is unknown, the reranker failed or broke its contract, or the folder holds another run.

    Example:
        >>> import mrb
        >>> def longest(request):
        ...     return [len(candidate.text) for candidate in request.candidates]
        >>> run = mrb.evaluate(longest, tasks="mini-faq-t2t", limit=20)
        >>> run["mini-faq-t2t"].result.counts.queries
        20
    """
    from mrb._util.files import check_run_name
    from mrb.data.own_tasks import open_data
    from mrb.evaluation.live import name_for_workers, run_in_memory, start_live, start_workers
    from mrb.evaluation.python_call import describe_call
    from mrb.evaluation.run import run
    from mrb.evaluation.spec import select_tasks
    from mrb.rerankers.plugins import format_options
    from mrb.results.own_measures import add_measures
    from mrb.retrieval.own_lists import find_lists

    for word, value in (("depth", depth), ("limit", limit), ("workers", workers)):
        _check_count(word, value)
    own_tasks = [open_data(name) for name in _list_names(data)]
    spec = select_tasks(suite, _list_names(tasks), _list_names(types), depth, own=own_tasks)
    lists, pulled = find_lists(
        None if candidates is None else os.fspath(candidates), first_stage, spec.tasks, spec.depth, candidate_set
    )
    spec = replace(
        spec,
        limit=limit,
        name=check_run_name(name),
        candidates=lists,
        pulled=pulled,
        candidate_set=candidate_set,
        fresh=fresh,
        allow_failures=allow_failures,
        command=describe_call(
            model,
            suite=suite,
            tasks=tasks,
            types=types,
            depth=depth,
            limit=limit,
            options=options,
            candidate_set=candidate_set,
        ),
    )
    if out is not None:
        spec = replace(spec, out=Path(out))
    own = _choose_measures(measures)

    def add(found: Run) -> Run:
        return add_measures(found, own)

    if workers > 1 and not isinstance(model, str | os.PathLike):
        model = name_for_workers(model)
    if isinstance(model, str | os.PathLike):
        spec = replace(spec, model=os.fspath(model), options=format_options(os.fspath(model), options))
        start = start_workers(workers)
    else:
        start = start_live(model, options or {}, spec, keep=out is not None)
    with _show_log(verbose):
        if out is None:
            return run_in_memory(spec, start, add)
        return add(run(spec, start))


def check(
    model: object,
    suite: str | None = None,
    tasks: str | Sequence[str] | None = None,
    *,
    options: Mapping[str, object] | None = None,
    candidates: PathLike | None = None,
    requests: int | None = None,
    rebuild: bool = True,
) -> CheckOutcome:
    """Check that a reranker keeps what it declares, as `mrb check` does.

    Args:
        model: As in `evaluate`.
        suite: A suite, by id. Default: `mini`, or no suite if tasks are named.
        tasks: Tasks, by id. Default: all tasks of the suite.
        options: Options of a model that is built here.
        candidates: A candidate list, a folder of lists or a Hub address. Default: the frozen lists.
        requests: Queries per task. Default: 3.
        rebuild: Also compare with a second instance, for a name or a class.

    Returns:
        The outcome. `outcome.broken` has a line for each declaration that does not hold, `print(outcome)` shows all.

    Raises:
        MRBError: As `evaluate`.

    Example:
        >>> import mrb
        >>> mrb.check("bm25", tasks="mini-faq-t2t").broken
        ()
    """
    import inspect

    from mrb.candidates.pull_lists import find_local_lists
    from mrb.evaluation.check.check import check as check_reranker
    from mrb.evaluation.check.probe import CHECK_DEPTH, CHECK_QUERIES, make_probe
    from mrb.evaluation.spec import select_tasks
    from mrb.rerankers.declaration import LoadedReranker, load_reranker
    from mrb.rerankers.live import load_live_reranker
    from mrb.rerankers.plugins import format_options

    _check_count("requests", requests)
    spec = select_tasks(suite, _list_names(tasks), (), None)
    lists, _ = find_local_lists(None if candidates is None else os.fspath(candidates), spec.tasks)
    probe = make_probe(replace(spec, candidates=lists), queries=requests or CHECK_QUERIES, depth=CHECK_DEPTH)
    built = isinstance(model, str | os.PathLike) or inspect.isclass(model)

    def load() -> LoadedReranker:
        if isinstance(model, str | os.PathLike):
            return load_reranker(os.fspath(model), format_options(os.fspath(model), options))
        return load_live_reranker(model, options)

    return check_reranker(load, probe, fresh=rebuild and built)


def compare(
    *runs: Run | PathLike,
    measure: str = str(HEADLINE),
    tasks: str | Sequence[str] | None = None,
    suite: str | None = None,
    named: int = 3,
) -> Comparison:
    """Compare two or more runs on their common tasks, as `mrb compare` does.

    Args:
        runs: Runs, or their folders; the first is the base.
        measure: The measure to compare by.
        tasks: Compare these tasks only, which every run must have.
        suite: Compare the tasks of this suite or sub-suite only, such as `mrb-text-query`.
        named: Number of the largest wins and losses to keep per task.

    Returns:
        Gains over the base with intervals and p values: `print(comparison)`, `comparison.to_frame()`.

    Raises:
        ResultError: The runs are not comparable, or fewer than two, or one has no result of the suite.
        TaskError: There is no such suite.

    Example:
        >>> import mrb
        >>> base, other = (mrb.evaluate(name, tasks="mini-faq-t2t", limit=20) for name in ("random", "bm25"))
        >>> mrb.compare(base, other).tasks[0].differences[0].mean.difference > 0
        True
    """
    from mrb.results.compare import compare as compare_runs
    from mrb.results.run import Run
    from mrb.results.sub_suites import restrict_runs

    for run in runs:
        if not isinstance(run, (Run, str, os.PathLike)):
            raise ResultError(f"a run is mrb.Run or a folder, not {type(run).__name__}: mrb.compare(a, b), or *list")
    loaded = [run if isinstance(run, Run) else load_run(run) for run in runs]
    loaded = restrict_runs(loaded, suite)
    return compare_runs(loaded, measure=measure, task_ids=_list_names(tasks), named=named)


def compare_first_stages(*runs: Run | PathLike, measure: str = str(HEADLINE)) -> FirstStageGains:
    """Compare what rerankers add to several first stages, as `mrb compare --first-stages` does.

    Args:
        runs: Runs, or their folders, each on the lists of one candidate set. Runs of one reranker are one row.
        measure: The measure to compare by.

    Returns:
        For each reranker, task and average: first stage, reranker and gain in every candidate set, and mean and spread
        of the gain over the sets: `print(gains)`, `gains.to_frame()`.

    Raises:
        ResultError: Two runs of a reranker are on one set, or the runs are not comparable.

    Example:
        >>> import mrb
        >>> run = mrb.evaluate("bm25", tasks="mini-faq-t2t", candidate_set="standard", limit=20)
        >>> [gain.candidate_set for gain in mrb.compare_first_stages(run).rerankers[0].tasks[0].gains]
        ['standard']
    """
    from mrb.results.first_stages import compute_gains
    from mrb.results.run import Run

    return compute_gains([run if isinstance(run, Run) else load_run(run) for run in runs], measure)


def load_run(folder: PathLike, *, measures: Mapping[str, MeasureFunction] | None = None) -> Run:
    """Load a run from its folder, `runs/NAME`.

    Args:
        folder: The folder.
        measures: Measures of your own, by name, beside those of `register_measure`. They need the data of the tasks.

    Raises:
        ResultError: There is no run in the folder, or it is damaged.
    """
    from mrb.results.own_measures import add_measures
    from mrb.results.run import load_run as load

    return add_measures(load(Path(folder)), _choose_measures(measures))


def load_task(task_id: str, *, candidates: PathLike | None = None) -> TaskView:
    """Load a task: its definition now, its data when it is first used.

    Args:
        task_id: The task, by id; your own by the path of its folder or file.
        candidates: A candidate list, or a folder of lists. Default: the frozen list.

    Returns:
        `queries` and `corpus` (id -> `Item`), `qrels` (query id -> {document id: grade}) and `candidates` (query id ->
        {document id: score}). Each is also a table: `to_pandas()`, `to_dataset()`, `to_arrow()`.

    Raises:
        TaskError: There is no such task.

    Example:
        >>> import mrb
        >>> task = mrb.load_task("mini-faq-t2t")
        >>> query_id = next(iter(task.queries))
        >>> len(task.candidates[query_id])
        100
        >>> task.qrels.to_pandas().columns.tolist()
        ['query_id', 'doc_id', 'grade']
    """
    from mrb.data.own_tasks import resolve_task
    from mrb.evaluation.task_view import TaskView

    return TaskView(resolve_task(task_id), None if candidates is None else Path(candidates))


def list_tasks(suite: str | None = None, type: str | None = None) -> list[Task]:
    """Return the definitions of tasks: those of a suite in its order, else all, sorted by id.

    Args:
        suite: A suite or sub-suite, by id, such as `mini`, `mrb` or `mrb-text-query`.
        type: A task type, such as `t2i`.

    Raises:
        TaskError: There is no such suite or type.

    Example:
        >>> import mrb
        >>> [task.id for task in mrb.list_tasks("mini", type="t2t")]
        ['mini-faq-t2t']
    """
    from mrb.data import task as definitions
    from mrb.data.task_filter import filter_tasks

    found = definitions.list_tasks() if suite is None else definitions.list_suite_tasks(definitions.load_suite(suite))
    return filter_tasks(found, types=() if type is None else (type,))


def list_models() -> list[ModelEntry]:
    """Return the installed rerankers, which `evaluate` and `mrb run --model` take by name, and the first stages.

    Each has a `name`, a `role` ("reranker" or "first stage"), what it takes, its size, licence and options, and whether
    it is `ready` to run here, else the `reason`. No request is made and no model is loaded.

    Example:
        >>> import mrb
        >>> [(model.name, model.ready) for model in mrb.list_models() if model.name == "random"]
        [('random', True)]
    """
    from mrb.rerankers.models import list_models as list_entries

    return list_entries()


def _choose_measures(given: Mapping[str, MeasureFunction] | None) -> Mapping[str, MeasureFunction]:
    return {**list_registered(), **(given or {})}


def _list_names(given: PathLike | Sequence[PathLike] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (os.fspath(given),) if isinstance(given, str | os.PathLike) else tuple(os.fspath(name) for name in given)


def _check_count(word: str, value: object) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise MRBError(f"{word} is {value!r}, wanted a whole number from 1")


@contextmanager
def _show_log(verbose: bool) -> Iterator[None]:
    """Print what MRB logs on stderr, if `verbose`."""
    if not verbose:
        yield
        return
    log, handler = logging.getLogger("mrb"), logging.StreamHandler()
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
