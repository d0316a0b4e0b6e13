"""Run a reranker on tasks: score into a journal, measure, and write the result of each task."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from pathlib import Path

from mrb import __version__
from mrb._util.progress import Progress
from mrb.candidates.load import check_all_candidates, has_candidates
from mrb.data.own_tasks import collect_definitions
from mrb.data.task import Task
from mrb.errors import MRBError, ResultError, to_one_line
from mrb.evaluation import environment
from mrb.evaluation.estimate import count_from_registry
from mrb.evaluation.executor import Executor, Start, open_in_process
from mrb.evaluation.failures import FailureBudget, count_failed
from mrb.evaluation.journal import Journal
from mrb.evaluation.kept_scores import KeptScoresCheck, describe_changes
from mrb.evaluation.lock import lock_folder
from mrb.evaluation.measure import measure
from mrb.evaluation.outputs import discard_task, write_task
from mrb.evaluation.plan import Plan, list_unscored, load_plan
from mrb.evaluation.resume import (
    choose_suite,
    read_earlier_record,
    read_whole_result,
    refuse_mixture,
    refuse_replacement,
    refuse_smaller_shard,
)
from mrb.evaluation.score_key import compute_score_key, make_header
from mrb.evaluation.spec import RunSpec, TaskSpec
from mrb.rerankers.declaration import find_uncovered_inputs
from mrb.rerankers.ties import compute_tied_share, format_tie_warning
from mrb.results.noise import describe_other_reranker, read_noise
from mrb.results.run import Run, TaskScores, load_tasks, make_task_scores
from mrb.results.schema import (
    JOURNAL_FILE,
    RESULT_FILE,
    SHARDS_FOLDER,
    NotCovered,
    RerankerInfo,
    Result,
    RunRecord,
    ShardRecord,
    TaskTiming,
    read_result,
    write_run,
    write_shard,
)

logger = logging.getLogger(__name__)


def run(spec: RunSpec, start: Start = open_in_process) -> Run:
    """Run the reranker on the tasks of `spec` and return the run, with the tasks that the folder had before.

    Candidate lists are checked before the model is loaded. Files are written atomically, and only by this process.
    Scores that a journal holds are reused, after a few of them were scored again and agreed.

    Args:
        spec: What is run.
        start: Makes the executor; scores in this process unless given.

    Returns:
        The run. That of a shard has no results, because a part of the queries cannot be measured.

    Raises:
        CandidatesError: A list is missing, of another task, or not deep enough.
        ResultError: The folder is in use or holds scores of another run, or reused scores do not agree.
        AdapterError: The reranker failed on a pair and `allow_failures` does not cover it.
    """
    check_all_candidates(spec.tasks, spec.candidates, spec.depth, spec.suite.id if spec.suite else None)
    with start(spec.model, spec.options) as executor:
        if loaded := executor.describe():
            logger.info(f"{executor.info.name}, version {executor.info.version or 'not stated'}: {loaded}")
        folder = spec.choose_folder(executor.info.name)
        # The table at the end shows the noise record: a damaged one is refused before hours of scoring.
        check = KeptScoresCheck(executor, _read_noise(folder, executor.info), spec.allow_failures > 0)
        if spec.shard is not None:
            folder = folder / SHARDS_FOLDER / spec.shard.folder
        with lock_folder(folder):
            return _Runner(spec, executor, folder, check).run()


class _Runner:
    """One call of `run` in a locked folder, with what it has done so far."""

    def __init__(self, spec: RunSpec, executor: Executor, folder: Path, check: KeptScoresCheck) -> None:
        self._spec = spec
        self._executor = executor
        self._folder = folder
        self._check = check
        self._earlier = read_earlier_record(folder, executor.info, fresh=spec.fresh)
        self._refused = {task.id: find_uncovered_inputs(executor.info, task) for task in spec.tasks}
        self._timings: dict[str, TaskTiming] = {}
        self._measured: dict[str, TaskScores] = {}
        self._tied: dict[str, float] = {}
        self._written: RunRecord | None = None
        self._covered = [task for task in spec.tasks if self._refused[task.id] is None]
        self._progress = Progress("pairs", sum(map(self._estimate_pairs, self._covered)))

    def run(self) -> Run:
        """Run all tasks and return the run."""
        self._refuse_trial()
        # Tasks with a journal come first, so that reused scores are checked before anything is scored.
        tasks = sorted(self._covered, key=lambda task: not self._journal_path(task).exists())
        if len(tasks) < len(self._spec.tasks):
            logger.info(f"{len(self._spec.tasks) - len(tasks)} of {len(self._spec.tasks)} tasks are not covered")
        if not tasks:
            self._verify_others()
        with self._progress:
            for number, task in enumerate(tasks, start=1):
                journal = None if self._spec.fresh else Journal(self._journal_path(task))
                if number == 1 and (journal is None or not journal.records):
                    self._verify_others()
                self._run_task(task, journal, f"task {number}/{len(tasks)} {task.id}")
        record = self._write_record()
        if (warning := format_tie_warning(self._executor.info, self._tied)) is not None:
            logger.warning(warning)
        before = [] if self._spec.shard else [task_id for task_id in record.tasks if task_id not in self._refused]
        found = self._measured | load_tasks(self._folder, record, before)
        return Run(self._folder, record, {task_id: found[task_id] for task_id in record.tasks if task_id in found})

    def _journal_path(self, task: Task) -> Path:
        return self._folder / task.id / JOURNAL_FILE

    def _refuse_trial(self) -> None:
        """Raise ResultError if the call would replace a whole result, or the run's average, by a trial's."""
        spec, folder = self._spec, self._folder
        if spec.shard is not None:
            if not spec.fresh:
                refuse_smaller_shard(folder, self._shard_record())
            return
        for task in () if spec.fresh else spec.tasks:
            refuse_replacement(folder / task.id, spec.task_spec(task))
        if self._earlier is not None:
            refuse_mixture(folder, spec, self._earlier)

    def _estimate_pairs(self, task: Task) -> int:
        """Return the number of pairs of a task by the registry; the plan says it exactly once it is loaded."""
        pairs = count_from_registry(task, self._spec)["pairs"]
        return pairs if self._spec.shard is None else pairs // self._spec.shard.of

    def _run_task(self, task: Task, journal: Journal | None, label: str) -> None:
        """Score, measure and write one task; without `journal` its files are discarded first. Of a shard only the
        journal is written. `label` names the task in the progress."""
        self._progress.announce(f"{label} · loading")
        spec = self._spec.task_spec(task)
        plan = load_plan(spec)
        if self._spec.shard is not None:
            plan = plan.take_shard(self._spec.shard)
        folder = self._folder / task.id
        folder.mkdir(parents=True, exist_ok=True)
        if journal is None:
            discard_task(folder)
            journal = Journal(folder / JOURNAL_FILE)
        whole = read_whole_result(folder)
        timing = self._score(spec, plan, journal, label)
        if timing is not None:
            self._timings[task.id] = timing
        if self._spec.shard is None:
            result = measure(plan, journal.scores, self._executor.info)
            write_task(folder, plan, journal.scores, result)
            self._measured[task.id] = make_task_scores(result.result, result.per_query)
            if whole is not None and whole.candidates.depth < spec.depth:
                logger.info(
                    f"{task.id}: the result at depth {whole.candidates.depth} is extended to depth {spec.depth}"
                )
        self._tied[task.id] = compute_tied_share(journal.scores.values())
        logger.info(_format_progress(task, timing, plan))

    def _score(self, spec: TaskSpec, plan: Plan, journal: Journal, label: str) -> TaskTiming | None:
        """Score the pairs of the plan that the journal lacks and append them; return the timing, None if none was
        lacking."""
        executor, allowed = self._executor, self._spec.allow_failures
        header = make_header(plan, executor.info, executor.packages())
        if journal.header is not None and journal.header.score_key != header.score_key:
            if journal.records:
                # The reranker is the same: the record of the run was compared before.
                depth = "" if executor.info.kind == "pointwise" else ", or the depth"
                raise ResultError(
                    f"{journal.path}: holds scores of {journal.header.reranker} for another definition of the task, "
                    f"another candidate list{depth}; give another name to this run (--name), or start over (--fresh)"
                )
            journal.renew(header)  # an earlier call failed before its first score
        budget = FailureBudget(allowed, count_failed(journal.scores))
        if budget.failed > allowed:
            raise ResultError(
                f"{journal.path}: holds {budget.failed} failed pairs; allow them with --allow-failures "
                f"{budget.failed}, or start over with --fresh"
            )
        if journal.header is not None:
            changed = describe_changes(journal.header, header)
            self._check.verify_scores(spec, plan, journal, changed)
            if changed:
                journal.renew(header)
        # A run that is killed while it scores leaves a record: it says whose scores the folder holds.
        self._write_record()
        pairs = sum(len(entry.doc_ids) for entry in list_unscored(plan, journal.scores))
        self._progress.begin(label, plan.pairs, plan.pairs - pairs, self._estimate_pairs(spec.task))
        if not pairs:
            return None
        score = executor.open(spec, plan)
        started = time.perf_counter()
        with journal.open(header):
            scored = score(list_unscored(plan, journal.scores), budget if allowed else None)
            for record in scored:
                journal.append(record)
                self._progress.advance(len(record.scores))
        day = datetime.now(UTC).date().isoformat()
        return TaskTiming(seconds=round(time.perf_counter() - started, 3), pairs=pairs, day=day)

    def _verify_others(self) -> None:
        """Check scores of the earlier call's other tasks, which stay in the run: all scores of a run are of one model.

        Only the first task that can be loaded is checked, because every call has checked against the ones before. If
        its scores differ, ResultError is raised; with `--fresh` the earlier record is dropped instead.
        """
        if self._spec.shard is not None:
            if not self._spec.fresh:
                self._verify_sibling()
            return
        if self._earlier is None:
            return
        for task_id in self._earlier.tasks:
            path = self._folder / task_id / RESULT_FILE
            if task_id in self._refused or not path.is_file():
                continue
            try:
                task = self._earlier.get_task(task_id)
                spec, plan = _load_earlier_plan(task, read_result(path), self._spec.candidates)
            except MRBError as error:
                reason = to_one_line(error).removeprefix(f"task {task_id}: ")
                logger.warning(f"{task_id}: its scores are kept, but not checked: {reason}")
                continue
            try:
                self._check.verify_scores(spec, plan, Journal(self._folder / task_id / JOURNAL_FILE))
            except ResultError as error:
                if not self._spec.fresh:
                    raise
                logger.info(f"{error}; it is no longer part of this run")
                self._earlier = None
            return

    def _verify_sibling(self) -> None:
        """Check scores of another shard in the same run folder, because `mrb merge` will unite them."""
        for task in self._spec.tasks:
            for path in sorted(self._folder.parent.glob(f"*-of-*/{task.id}/{JOURNAL_FILE}")):
                if path.parent.parent == self._folder:
                    continue
                journal = Journal(path)
                if journal.header is None or not journal.records:
                    continue
                spec = self._spec.task_spec(task)
                plan = load_plan(spec)
                if journal.header.score_key == compute_score_key(plan, self._executor.info):
                    self._check.verify_scores(spec, plan, journal)
                    return

    def _write_record(self) -> RunRecord:
        """Write the run's record unless it is written already, and return it."""
        record = self._make_record()
        if record != self._written:
            write_run(self._folder, record)
            if self._spec.shard is not None:
                write_shard(self._folder, self._shard_record())
            self._written = record
        return record

    def _make_record(self) -> RunRecord:
        spec, earlier = self._spec, self._earlier
        suite = choose_suite(spec.suite, earlier)
        known = {task.id for task in spec.tasks} | set(earlier.tasks if earlier else ())
        order = suite.tasks if suite is not None else tuple(sorted(known))
        reasons = {item.task: item.reason for item in (earlier.not_covered if earlier else ())}
        reasons |= {task_id: reason for task_id, reason in self._refused.items() if reason}
        pulled = {name: at for name, at in (earlier.pulled if earlier else {}).items() if name not in self._refused}
        workers = {"workers": str(self._executor.workers)}
        return RunRecord(
            schema_version=1,
            mrb_version=__version__,
            reranker=self._executor.info,
            suite=suite.id if suite else None,
            suite_version=suite.version if suite else None,
            tasks=tuple(task_id for task_id in (*order, *sorted(known - set(order))) if task_id in known),
            not_covered=tuple(NotCovered(task=task_id, reason=reason) for task_id, reason in reasons.items()),
            pulled={**pulled, **spec.pulled},
            command=tuple(spec.command),
            environment={**environment.describe_environment(), **self._executor.packages(), **workers},
            timings={**(earlier.timings if earlier else {}), **self._timings},
            definitions={**(earlier.definitions if earlier else {}), **collect_definitions(spec.tasks)},
        )

    def _shard_record(self) -> ShardRecord:
        spec = self._spec
        assert spec.shard is not None
        return ShardRecord(
            schema_version=1,
            number=spec.shard.number,
            of=spec.shard.of,
            depth=spec.depth,
            limit=spec.limit,
            qrels=spec.tasks[0].qrels,
            allow_failures=spec.allow_failures,
        )


def _read_noise(folder: Path, info: RerankerInfo) -> float:
    """Return the largest score difference that `mrb check --noise` measured on the same reranker; 0 if none."""
    record = read_noise(folder)
    if record is None or describe_other_reranker(record, info):
        return 0.0
    return max(task.largest_difference for task in record.tasks.values())


def _load_earlier_plan(task: Task, result: Result, candidates: Path | None) -> tuple[TaskSpec, Plan]:
    """Load the plan of an earlier result with its candidate list: the frozen one, or one from `--candidates`."""
    task = task.with_qrels(result.data.qrels)
    for given in dict.fromkeys((candidates, None)):
        if has_candidates(task, given):
            spec = TaskSpec(task, result.candidates.depth, given)
            plan = load_plan(spec)
            if plan.candidates.sha256 == result.candidates.sha256:
                return spec, plan
    raise ResultError(f"its list {result.candidates.sha256[:12]} is not here")


def _format_progress(task: Task, timing: TaskTiming | None, plan: Plan) -> str:
    if timing is None:
        return f"{task.id}: all {plan.pairs:,} pairs were scored before"
    rate = timing.pairs / timing.seconds if timing.seconds else float("inf")
    return f"{task.id}: {timing.pairs:,} pairs in {timing.seconds:.1f} s ({rate:,.0f} pairs/s)"
