"""Run a reranker on a selection of tasks: plan, score into a journal, measure and write the result of each task."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from mrb import __version__
from mrb.candidates.load import check_candidates, has_candidates
from mrb.data.task import Task, load_suite, load_task
from mrb.errors import MRBError, ResultError, one_line
from mrb.evaluation import environment
from mrb.evaluation.executor import Executor, Start, in_process
from mrb.evaluation.failures import Allowance, failed_pairs
from mrb.evaluation.journal import Header, JournalWriter, Record, replay, rewrite
from mrb.evaluation.lock import locked
from mrb.evaluation.measure import measure
from mrb.evaluation.outputs import discard_task, write_task
from mrb.evaluation.plan import Plan, load_plan
from mrb.evaluation.resume import Check, changes
from mrb.evaluation.scored import held_scores, missing, score_key
from mrb.evaluation.spec import RunSpec, Shard, TaskSpec
from mrb.evaluation.trial import refuse_smaller_part, refuse_trial
from mrb.rerankers.declaration import not_covered
from mrb.rerankers.noise import other_reranker, read_noise
from mrb.rerankers.ties import tie_warning, tied_share
from mrb.results.schema import (
    RESULT_FILE,
    RUN_FILE,
    NotCovered,
    PartRecord,
    RerankerInfo,
    Result,
    RunRecord,
    TaskTiming,
    read_result,
    read_run,
    write_part,
    write_run,
)

JOURNAL_FILE = "journal"
PARTS_FOLDER = "shards"


def run(spec: RunSpec, say: Callable[[str], None], start: Start = in_process) -> Path:
    """Run the reranker on the selected tasks and return the run's folder.

    Candidate lists are checked before the model is loaded. Files are written atomically, and only by this process.
    Scores that a journal holds are kept, after a few of them were scored again and agreed.

    Args:
        spec: What is run.
        say: Called with one line of progress at a time.
        start: Makes the executor; scores in this process unless given.

    Raises:
        CandidatesError: A list is missing, of another task, or not deep enough.
        ResultError: The folder is in use or holds scores of another run, or held scores do not agree.
        AdapterError: The reranker failed on a pair and `allow_failures` does not cover it.
    """
    for task in spec.tasks:
        check_candidates(task, spec.candidates, spec.depth)
    with start(spec.model, spec.options) as executor:
        folder = spec.out / (spec.name or executor.info.name)
        if spec.shard is not None:
            folder = folder / PARTS_FOLDER / spec.shard.folder
        refused = {task.id: not_covered(executor.info, task) for task in spec.tasks}
        with locked(folder):
            earlier = _earlier(folder, executor.info, fresh=spec.fresh)
            # The table at the end shows the noise record: a damaged one is refused before hours of scoring.
            check = Check(executor, _noise(spec, executor.info), spec.allow_failures > 0, say)
            if not spec.fresh:
                _refuse_trial(spec, folder)
            timings: dict[str, TaskTiming] = {}
            tied: dict[str, float] = {}
            tasks = _held_first(spec, folder)
            if spec.fresh or not replay(folder / tasks[0].id / JOURNAL_FILE).records:
                earlier = _verify_others(spec, folder, earlier, check)

            def write() -> None:
                write_run(folder, _record(spec, executor, refused, timings, earlier))
                if spec.shard is not None:
                    write_part(folder, _part_record(spec, spec.shard))

            # Written for each task once its held scores agreed, and at the end, so that a killed run leaves a record.
            for task in tasks:
                reason = refused[task.id]
                if reason is not None:
                    say(f"{task.id}: not covered: {reason}")
                    continue
                timing, tied[task.id] = _run_task(spec, task, check, folder / task.id, write)
                if timing is not None:
                    timings[task.id] = timing
            write()
        if (warning := tie_warning(executor.info, tied)) is not None:
            say(warning)
    return folder


def _refuse_trial(spec: RunSpec, folder: Path) -> None:
    """Raise ResultError if the folder holds a whole result that a trial (fewer queries, less depth) would replace."""
    if spec.shard is not None:
        refuse_smaller_part(folder, _part_record(spec, spec.shard))
        return
    for task in spec.tasks:
        refuse_trial(folder / task.id, spec.depth, spec.limit, spec.sample)


def _held_first(spec: RunSpec, folder: Path) -> Sequence[Task]:
    """Return the run's tasks, those with a journal first: held scores are checked before anything is scored."""
    return sorted(spec.tasks, key=lambda task: not (folder / task.id / JOURNAL_FILE).exists())


def _noise(spec: RunSpec, info: RerankerInfo) -> float:
    """Return the largest score difference that `mrb check --noise` measured on the same reranker; 0 if none."""
    record = read_noise(spec.out / (spec.name or info.name))
    if record is None or other_reranker(record, info):
        return 0.0
    return max(task.largest_difference for task in record.tasks.values())


def _verify_others(spec: RunSpec, folder: Path, earlier: RunRecord | None, check: Check) -> RunRecord | None:
    """Check scores of the earlier call's other tasks, which stay in the run: all scores of a run are of one model.

    Returns the earlier record, or None if it no longer holds. Only the first task that can be loaded is checked: every
    call has checked against the ones before. If its scores differ, ResultError is raised; with `--fresh` the earlier
    record is dropped instead.
    """
    if spec.shard is not None:
        if not spec.fresh:
            _verify_sibling(spec, folder, check)
        return earlier
    asked = {task.id for task in spec.tasks}
    for task_id in earlier.tasks if earlier else ():
        path = folder / task_id / RESULT_FILE
        if task_id in asked or not path.is_file():
            continue
        try:
            held, plan = _held_plan(read_result(path), spec.candidates)
        except MRBError as error:
            check.say(f"{task_id}: its scores stay without being checked: {one_line(error)}")
            continue
        journal = folder / task_id / JOURNAL_FILE
        try:
            check.verify(held, plan, held_scores(replay(journal).records, journal), str(journal))
        except ResultError as error:
            if not spec.fresh:
                raise
            check.say(f"{error}; it is no longer part of this run")
            return None
        break
    return earlier


def _held_plan(result: Result, candidates: Path | None) -> tuple[TaskSpec, Plan]:
    """Load the plan of an earlier result with its candidate list: the frozen one, or one from `--candidates`."""
    task = load_task(result.task).with_qrels(result.data.qrels)
    for given in dict.fromkeys((candidates, None)):
        if has_candidates(task, given):
            spec = TaskSpec(task, result.candidates.depth, given)
            plan = load_plan(spec)
            if plan.candidates.sha256 == result.candidates.sha256:
                return spec, plan
    raise ResultError(f"its list {result.candidates.sha256[:12]} is not here")


def _verify_sibling(spec: RunSpec, folder: Path, check: Check) -> None:
    """Check scores of another shard in the same run folder, because `mrb merge` will unite them."""
    for task in spec.tasks:
        for journal in sorted(folder.parent.glob(f"*-of-*/{task.id}/{JOURNAL_FILE}")):
            found = replay(journal)
            if found.header is None or not found.records or journal.parent.parent == folder:
                continue
            task_spec = spec.task_spec(task)
            plan = load_plan(task_spec)
            if found.header.score_key == score_key(plan, check.executor.info):
                check.verify(task_spec, plan, held_scores(found.records, journal), str(journal))
                return


def _run_task(
    spec: RunSpec, task: Task, check: Check, folder: Path, begin: Callable[[], None]
) -> tuple[TaskTiming | None, float]:
    """Score, measure and write one task. Of a shard only the journal is written, as nothing can be measured.

    Returns the timing (None if nothing was left to score) and the share of queries whose candidates are all tied.
    `begin` is called once held scores have agreed, before scoring.
    """
    task_spec = spec.task_spec(task)
    plan = load_plan(task_spec)
    if spec.shard is not None:
        plan = plan.take_shard(spec.shard)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL_FILE
    if spec.fresh:
        discard_task(folder, journal)
    timing = _score(task_spec, plan, check, journal, spec.allow_failures, begin)
    held = held_scores(replay(journal).records, journal)
    if spec.shard is None:
        write_task(folder, plan, held, measure(plan, held, check.executor.info))
    check.say(_line(task, timing, plan))
    return timing, tied_share(held.values())


def _score(
    spec: TaskSpec, plan: Plan, check: Check, journal: Path, allow_failures: int, begin: Callable[[], None]
) -> TaskTiming | None:
    """Score the pairs of the plan that the journal lacks and append them; return the timing, None if none was
    lacking."""
    executor = check.executor
    found = replay(journal)
    header = header_of(plan, executor.info, executor.packages())
    if found.header is not None and found.header.score_key != header.score_key:
        raise ResultError(
            f"{journal}: holds scores of another run of {found.header.reranker} (options, version, task definition, "
            "candidates or depth differ); give another --name, or --fresh to start over"
        )
    held = held_scores(found.records, journal)
    allowance = Allowance(allow_failures, failed_pairs(held))
    if allowance.failed > allow_failures:
        raise ResultError(
            f"{journal}: holds {allowance.failed} failed pairs; allow them with --allow-failures {allowance.failed}, "
            "or start over with --fresh"
        )
    if found.header is not None:
        told = changes(found.header, header)
        check.verify(spec, plan, held, str(journal), told)
        if told and found.records:
            rewrite(journal, header, found.records)
    begin()
    pairs = sum(len(entry.doc_ids) for entry in missing(plan, held))
    if not pairs:
        return None
    score = executor.open(spec, plan)
    started = time.perf_counter()
    with JournalWriter(journal, header) as writer:
        scored = score(missing(plan, held), allowance if allow_failures else None)
        for record in _with_progress(scored, plan.data.task.id, pairs):
            writer.append(record)
    day = datetime.now(UTC).date().isoformat()
    return TaskTiming(seconds=round(time.perf_counter() - started, 3), pairs=pairs, day=day)


def _with_progress(scored: Iterator[Record], label: str, pairs: int) -> Iterator[Record]:
    """Yield the same records; show a progress bar (pairs per second, time left) if stderr is a terminal."""
    from tqdm import tqdm

    with tqdm(total=pairs, unit="pair", desc=label, disable=not sys.stderr.isatty(), leave=False) as bar:
        for record in scored:
            yield record
            bar.update(len(record.scores))


def header_of(plan: Plan, info: RerankerInfo, packages: Mapping[str, str]) -> Header:
    """Return the header of the journal for a plan's scores; `packages` are those of the process that scores."""
    return Header(
        score_key=score_key(plan, info),
        task=plan.data.task.id,
        reranker=info.name,
        source_sha256=info.source_sha256,
        packages=dict(packages),
    )


def _earlier(folder: Path, info: RerankerInfo, *, fresh: bool) -> RunRecord | None:
    """Return the record of an earlier call in the same folder, to which this call adds tasks; None if there is none.

    Raises ResultError if the folder holds a run of another reranker, unless `fresh`: then returns None.
    """
    if not (folder / RUN_FILE).exists():
        return None
    earlier = read_run(folder)
    if earlier.reranker.identity() == info.identity():
        return earlier
    if fresh:
        return None
    raise ResultError(
        f"{folder}: holds scores of another run of {earlier.reranker.name} (options, version or kind differ); "
        "give another --name, or --fresh to start over"
    )


def _record(
    spec: RunSpec,
    executor: Executor,
    refused: Mapping[str, str | None],
    timings: Mapping[str, TaskTiming],
    earlier: RunRecord | None,
) -> RunRecord:
    suite = spec.suite
    if suite is None and earlier is not None and earlier.suite is not None:
        suite = load_suite(earlier.suite)
    known = {task.id for task in spec.tasks} | set(earlier.tasks if earlier else ())
    order = suite.tasks if suite is not None else tuple(sorted(known))
    reasons = {item.task: item.reason for item in (earlier.not_covered if earlier else ())}
    reasons |= {task_id: reason for task_id, reason in refused.items() if reason}
    taken = {task.id for task in spec.tasks}
    pulled = {task: address for task, address in (earlier.pulled if earlier else {}).items() if task not in taken}
    return RunRecord(
        schema_version=1,
        mrb_version=__version__,
        reranker=executor.info,
        suite=suite.id if suite else None,
        suite_version=suite.version if suite else None,
        tasks=tuple(task_id for task_id in (*order, *sorted(known - set(order))) if task_id in known),
        not_covered=tuple(NotCovered(task=task_id, reason=reason) for task_id, reason in reasons.items()),
        pulled={**pulled, **spec.pulled},
        command=tuple(spec.command),
        environment={**environment.environment(), **executor.packages(), "workers": str(executor.workers)},
        timings={**(earlier.timings if earlier else {}), **timings},
    )


def _part_record(spec: RunSpec, part: Shard) -> PartRecord:
    return PartRecord(
        schema_version=1,
        number=part.number,
        of=part.of,
        depth=spec.depth,
        limit=spec.limit,
        qrels=spec.tasks[0].qrels,
        allow_failures=spec.allow_failures,
    )


def _line(task: Task, timing: TaskTiming | None, plan: Plan) -> str:
    if timing is None:
        return f"{task.id}: all {plan.pairs} pairs were scored before"
    rate = timing.pairs / timing.seconds if timing.seconds else float("inf")
    return f"{task.id}: {timing.pairs} pairs in {timing.seconds:.1f} s ({rate:.0f} pairs/s)"
