"""`mrb submission make`: build a publishable folder from a run's journals."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import TypeAdapter, ValidationError

from mrb import __version__
from mrb._util.files import parse_toml, write_json
from mrb._util.hashing import hash_file
from mrb._util.redact import SECRET
from mrb.data.own_tasks import OWN_SUITE, make_own_suite
from mrb.data.task import Suite, Task, list_sub_suites, load_suite
from mrb.errors import MRBError, ResultError, format_first_problem
from mrb.evaluation.recompute import Recomputed, find_differences, recompute_task
from mrb.results.run import Run, TaskScores, compute_suite_averages, hash_query_ids, make_task_scores
from mrb.results.schema import RESULT_FILE, RUN_FILE, RerankerInfo, RunRecord, check_registry, read_result, read_run
from mrb.submission.private_text import clean_command, clean_environment, clean_options, clean_text
from mrb.submission.rankings import publishes_scores, rank_queries, write_rankings
from mrb.submission.schema import MARKS, RANKINGS_FOLDER, SUBMISSION_FILE, Mark, ModelCard, RankingInfo, Submission
from mrb.submission.validate import check_failed_share

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelDeclaration:
    """What the submitter declares: the model's card, and what the model was trained on, by task."""

    card: ModelCard
    training: Mapping[str, Mark]


def build_submission(
    run: Path,
    declared: ModelDeclaration,
    to: Path,
    *,
    candidates: Path | None = None,
    allow_incomplete: bool = False,
) -> Path:
    """Write the submission of a run.

    Every number is recomputed from the journals and must equal what the run's files state.

    Args:
        run: Folder of the run.
        declared: What the submitter declares.
        to: Folder in which the submission's folder is made.
        candidates: A candidate list or a folder of lists, as in `mrb run`.
        allow_incomplete: Also accept missing tasks, and tasks scored with `--limit`.

    Returns:
        The submission's folder.

    Raises:
        ResultError: The run has no suite, is incomplete or is on several candidate sets, its files differ from its
            journals, or the submission's folder exists.
    """
    record = read_run(run)
    suite = _load_suite(run, record)
    folder = to / declared.card.folder
    if (folder / SUBMISSION_FILE).exists():
        raise ResultError(f"{folder}: already exists; remove it, or give this one another --variant")
    done = [task_id for task_id in suite.tasks if (run / task_id / RESULT_FILE).is_file()]
    _check_complete(run, record, suite, done, allow_incomplete=allow_incomplete)
    _check_one_set(run, done)
    hosts = _list_host_names()
    info = _redact_info(record.reranker, hosts)
    rankings: dict[str, RankingInfo] = {}
    tasks: dict[str, TaskScores] = {}
    for task_id in done:
        found = _recompute(run, task_id, candidates, record.definitions.get(task_id))
        if found.measured.result.data.selection == "limit" and not allow_incomplete:
            raise ResultError(
                f"{run / task_id}: holds the first queries only (--limit), which compare with nothing: run the whole "
                "task, or submit the trial with --allow-incomplete"
            )
        rankings[task_id] = _write_rankings(folder, found)
        tasks[task_id] = _make_task_scores(found, info, record.definitions.get(task_id))
        logger.info(f"{task_id}: {len(tasks[task_id].query_ids)} queries, identical to the journal")
    made = _make_submission(Run(run, record, tasks), suite, declared, info, rankings, hosts)
    _log_redactions(record, made)
    write_json(folder / SUBMISSION_FILE, made.model_dump(mode="json"))
    return folder


def read_training(
    path: Path | None, suite: Suite, published: Mapping[str, Mark] = MappingProxyType({})
) -> dict[str, Mark]:
    """Return the declaration in a TOML file for every task of `suite`.

    A task that it does not name has the file's `default`; without one, the `published` mark, else "unknown". A
    published mark goes before a default that says less. Warnings name such tasks, and those of [tasks] that a
    published "trained-on" contradicts.

        default = "clean"
        [tasks]
        nfcorpus = "trained-on"

    Raises ResultError for a task that is not in the suite, and for a word that is none of the four.
    """
    if path is None:
        return {task_id: published.get(task_id, "unknown") for task_id in suite.tasks}
    try:
        stated = parse_toml(path.read_text(encoding="utf-8"))
        default = TypeAdapter[Mark | None](Mark | None).validate_python(stated.pop("default", None))
        tasks = TypeAdapter(dict[str, Mark]).validate_python(stated.pop("tasks", {}))
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ResultError(f"{path}: {format_first_problem(error)}") from error
    except ValueError as error:
        raise ResultError(f"{path}: not valid TOML: {error}") from error
    strange = [*stated, *(task_id for task_id in tasks if task_id not in suite.tasks)]
    if strange:
        raise ResultError(f"{path}: {strange[0]!r} is not a task of suite {suite.id}; wanted `default` and [tasks]")
    marks = {task_id: tasks.get(task_id, default or published.get(task_id, "unknown")) for task_id in suite.tasks}
    return marks | _correct_default(path, marks, {task_id: published.get(task_id) for task_id in marks}, set(tasks))


def _correct_default(
    path: Path, marks: Mapping[str, Mark], published: Mapping[str, Mark | None], named: set[str]
) -> dict[str, Mark]:
    """Return the published marks that go before the file's default; log those and what contradicts the file's marks."""
    replaced: dict[str, Mark] = {}
    for task_id, mark in marks.items():
        known = published[task_id]
        if known is None or MARKS.index(mark) <= MARKS.index(known):
            continue
        if task_id not in named:
            replaced[task_id] = known
        elif known == "trained-on" and mark != "unknown":
            logger.warning(f"{path}: {task_id} is declared {mark}; published: trained on. The board shows both")
    if replaced:
        told = ", ".join(f"{task_id} {mark}" for task_id, mark in replaced.items())
        logger.warning(f"{path}: published marks go before its default: {told}")
    return replaced


def load_run_suite(run: Path) -> Suite:
    """Return the suite of the run in a folder.

    Raises ResultError if the run names no suite, or one that this version does not have.
    """
    return _load_suite(run, read_run(run))


def make_public_info(info: RerankerInfo) -> RerankerInfo:
    """Return a reranker's declarations as published in a submission: private values of its options are replaced."""
    return _redact_info(info, _list_host_names())


def _load_suite(run: Path, record: RunRecord) -> Suite:
    if record.suite is None and set(record.tasks) == set(record.definitions):
        return make_own_suite(record.definitions)
    if record.suite is None:
        raise ResultError(
            f"{run / RUN_FILE}: tasks that were named one by one do not form a suite, and only suites have rows "
            "on the board; run one with `mrb run --suite`: what is scored already is kept"
        )
    suite = load_suite(record.suite)
    if suite.version != record.suite_version:
        raise ResultError(
            f"{run / RUN_FILE}: ran suite {suite.id} {record.suite_version}; this version of MRB has {suite.version}"
        )
    return suite


def _check_complete(run: Path, record: RunRecord, suite: Suite, done: list[str], *, allow_incomplete: bool) -> None:
    if not done:
        raise ResultError(f"{run}: holds no result of suite {suite.id}")
    reasons = {item.task: item.reason for item in record.not_covered}
    refused = [task_id for task_id in suite.tasks if task_id in reasons and task_id not in done]
    absent = [task_id for task_id in suite.tasks if task_id not in done and task_id not in reasons]
    if allow_incomplete or not (refused or absent):
        return
    if not absent and any(set(part.tasks) <= set(done) for part in list_sub_suites(suite)):
        return  # what the reranker takes is a whole sub-suite, of which it has the averages
    told = []
    if absent:
        told.append(f"{len(absent)} not run yet ({', '.join(absent[:3])}{' ...' if len(absent) > 3 else ''})")
    if refused:
        told.append(f"{len(refused)} not covered ({refused[0]}: {reasons[refused[0]]})")
    raise ResultError(
        f"{run}: {len(done)} of the {len(suite.tasks)} tasks of {suite.id}, {', '.join(told)}: such a row has no "
        "average; finish the run, or submit what is there with --allow-incomplete"
    )


def _check_one_set(run: Path, done: list[str]) -> None:
    """Refuse a run whose lists are of several candidate sets: it has no average."""
    sets = {read_result(run / task_id / RESULT_FILE).candidates.track for task_id in done}
    if len(sets) > 1:
        raise ResultError(
            f"{run}: its lists belong to candidate sets {', '.join(sorted(sets))}; a submission is a run on one set: "
            "run the tasks of each set with a --name or --out of its own"
        )


def _recompute(run: Path, task_id: str, candidates: Path | None, definition: Task | None) -> Recomputed:
    found = recompute_task(run / task_id, candidates)
    told = list(find_differences(run / task_id, found))
    if told:
        raise ResultError(
            f"{run / task_id}: {told[0]} ({len(told)} such); files must say what the journal gives: "
            f"`mrb recompute {run} --write` writes them again"
        )
    check_registry(found.measured.result, str(run / task_id), definition)
    check_failed_share(found.measured.result.counts, str(run / task_id))
    return found


def _write_rankings(folder: Path, found: Recomputed) -> RankingInfo:
    task = found.plan.data.task
    path = folder / RANKINGS_FOLDER / f"{task.id}.parquet"
    scores = publishes_scores(task, found.measured.result.data.selection)
    query_ids = write_rankings(path, rank_queries(found.plan, found.scores, keep_scores=scores), scores=scores)
    return RankingInfo(sha256=hash_file(path), scores=scores, queries=hash_query_ids(query_ids))


def _make_task_scores(found: Recomputed, info: RerankerInfo, definition: Task | None) -> TaskScores:
    """Return the task as needed for averages, its result with the reranker's public declarations."""
    result = found.measured.result.model_copy(update={"reranker": info})
    return make_task_scores(result, found.measured.per_query, definition)


def _make_submission(
    run: Run,
    suite: Suite,
    declared: ModelDeclaration,
    info: RerankerInfo,
    rankings: dict[str, RankingInfo],
    hosts: list[str],
) -> Submission:
    record = run.record
    fields = {
        "schema_version": 1,
        "mrb_version": __version__,
        "model": declared.card,
        "suite": suite.id,
        "suite_version": suite.version,
        "reranker": info,
        "training": declared.training,
        "not_covered": tuple(item for item in record.not_covered if item.task not in run.tasks),
        "command": clean_command(record.command, hosts),
        "environment": clean_environment(record.environment, hosts),
        "timings": {task_id: record.timings[task_id] for task_id in run.tasks if task_id in record.timings},
        "rankings": rankings,
        "averages": compute_suite_averages(run, suite),
        "results": {task_id: scores.result for task_id, scores in run.tasks.items()},
        "definitions": record.definitions if suite.id == OWN_SUITE else {},
    }
    try:
        return Submission.model_validate(fields)
    except ValidationError as error:
        raise ResultError(f"{run.folder}: {format_first_problem(error)}") from error


def _redact_info(info: RerankerInfo, hosts: list[str]) -> RerankerInfo:
    shown = {
        "options": clean_options(info.options, hosts),
        "source": clean_text(info.source, hosts),
        "version": clean_text(info.version, hosts),
    }
    return RerankerInfo.model_validate(info.model_dump() | shown)


def _list_host_names() -> list[str]:
    """Return this machine's names. Names of up to three letters are left out: they would match in any text."""
    names = {socket.gethostname(), socket.gethostname().partition(".")[0], os.environ.get("HOSTNAME", "")}
    return sorted(name for name in names if len(name) > 3)


def _log_redactions(record: RunRecord, made: Submission) -> None:
    """Log a line for each private value that was replaced."""
    for name, value in record.reranker.options.items():
        if made.reranker.options[name] != value or value == SECRET:
            logger.info(f"option {name}: {made.reranker.options[name]} replaces it")
    if tuple(record.command) != made.command:
        logger.info("the command is published without paths, addresses and keys: see submission.json")


def parse_size(text: str) -> int:
    """Return a number of parameters from "3.75B", "560M", "33k" or digits. Raises MRBError for anything else."""
    scale = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
    try:
        factor = scale.get(text[-1:].lower(), 1)
        return round(float(text if factor == 1 else text[:-1]) * factor)
    except (ValueError, OverflowError):
        raise MRBError(f"--size {text!r}: wanted a number of parameters, such as 3.75B or 560M") from None
