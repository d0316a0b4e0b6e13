"""Make the candidate lists of several tasks: `mrb candidates make`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mrb._util.files import write_json
from mrb._util.redact import hide_secrets
from mrb.candidates.candidate_sets import STANDARD_SET, check_candidate_set, find_candidate_set
from mrb.candidates.judgement_packs import PACK_SUFFIX, build_pack, is_packed, write_pack
from mrb.candidates.lists import Candidates, check_ids, make_provenance, read_parquet, write_parquet, write_trec
from mrb.data.load import load_task_data
from mrb.data.task import Task
from mrb.data.task_data import TaskData
from mrb.errors import AdapterError, CandidatesError, MRBError, ResultError, to_one_line
from mrb.retrieval.candidate_stats import format_counts, format_quality, measure_quality
from mrb.retrieval.failures import Failures
from mrb.retrieval.first_stage import StartEncoder, close_retriever, collect_dense, load_first_stage, make_candidates
from mrb.retrieval.kept_lists import load_kept_list, make_manifest
from mrb.retrieval.retriever import Retriever
from mrb.retrieval.search_backends import SearchOptions, check_backend

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ListOptions:
    """Options of `mrb candidates make`.

    `first_stage` and `candidate_set` default to those of the named candidate set, then of the task's published list.
    `options` are those of the named first stage, or `NAME.KEY` of those of the set. `work` is the folder of vectors,
    `search` says how they are searched, `start` starts workers that encode, and `allow_failures` is the number of items
    of a task that may fail to encode. `pack` writes the judgement pack of each list.
    """

    out: Path
    depth: int
    first_stage: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    candidate_set: str | None = None
    work: Path | None = None
    search: SearchOptions = field(default_factory=SearchOptions)
    start: StartEncoder | None = None
    allow_failures: int = 0
    fresh: bool = False
    keep_embeddings: bool = False
    trec: bool = False
    pack: bool = False

    def first_stage_of(self, task: Task) -> str:
        """Return the name of the task's first stage. CandidatesError if there is none."""
        if self.first_stage is not None:
            return self.first_stage
        if (named := find_candidate_set(self.candidate_set)) is not None:
            return named.first_stage(task)
        if task.candidates is None:
            raise CandidatesError(
                f"task {task.id} has no published list to take the first stage from; give --first-stage"
            )
        return task.candidates.first_stage

    def candidate_set_of(self, task: Task) -> str:
        """Return the candidate set that the task's list names."""
        return self.candidate_set or (task.candidates.track if task.candidates else STANDARD_SET)

    def options_of(self, name: str) -> Mapping[str, str]:
        """Return the options of a first stage, in the form that `load_first_stage` takes."""
        if self.first_stage is not None:
            return self.options
        parts = name.split("+")
        own = {key: value for key, value in self.options.items() if key.rpartition(".")[0] in parts}
        return own if len(parts) > 1 else {key.rpartition(".")[2]: value for key, value in own.items()}


class ListMaker:
    """Makes candidate lists, with each first stage loaded once. Construction loads all first stages of `tasks`.

    Raises:
        CandidatesError: A task has no first stage, or the candidate set requires another first stage or depth.
        AdapterError: A first stage cannot be loaded, an option belongs to none, or workers are given for no encoder.
        MRBError: The package that is to search is not installed.
    """

    def __init__(self, tasks: Sequence[Task], options: ListOptions) -> None:
        check_backend(options.search.backend)
        self.options = options
        self.tasks = tasks
        self._failures = Failures(options.allow_failures)
        names = {task.id: options.first_stage_of(task) for task in tasks}
        for task in tasks:
            check_candidate_set(options.candidate_set or "", names[task.id], options.depth, task, f"task {task.id}")
        parts = sorted({part for name in names.values() for part in name.split("+")})
        for key in options.options if options.first_stage is None else ():
            if key.rpartition(".")[0] not in parts:
                raise AdapterError(
                    f"--set {key}=...: say whose option it is: --set {parts[0]}.{key}=... "
                    f"(there are {', '.join(parts)})"
                )
        self._names = names
        self._loaded: dict[str, Retriever] = {}
        try:
            for name in names.values():
                self._load(name)
            if options.start is not None and not any(collect_dense(one) for one in self._loaded.values()):
                raise AdapterError(f"{', '.join(self._loaded)} searches by itself, in one process; omit --workers")
        except BaseException:
            self.close()  # workers that have started
            raise

    def make_all(self) -> Iterator[str]:
        """Make the list of each task; yield what to say of it. A task that cannot be done does not end the others.

        Raises:
            CandidatesError: Names the tasks without a list. The error of a single task, and that of a file that cannot
                be written, is raised as it is.
        """
        missing: dict[str, MRBError] = {}
        for number, task in enumerate(self.tasks, start=1):
            if len(self.tasks) > 1:
                logger.info(f"{number} of {len(self.tasks)}: {task.id}, {self._names[task.id]}")
            try:
                yield self.make(task)
            except ResultError:
                raise
            except MRBError as error:
                if len(self.tasks) == 1:
                    raise
                missing[task.id] = error
                logger.warning(f"task {task.id}: no list: {to_one_line(hide_secrets(str(error)), 1000)}")
        if missing:
            why = next(to_one_line(error, 150) for error in missing.values())
            names = ", ".join(missing)
            raise CandidatesError(f"{len(missing)} of {len(self.tasks)} tasks have no list: {names}; why: {why}")

    def make(self, task: Task) -> str:
        """Make the task's list and its manifest, unless they are there already, and return what to say of it."""
        name = self._names[task.id]
        retriever = self._load(name)
        try:
            text = self._make(task, name, retriever)
        except MRBError:
            if self.options.start is not None:  # the workers end with the first mistake of one
                del self._loaded[name]
                with suppress(MRBError):
                    close_retriever(retriever)
            raise
        for dense in () if self.options.keep_embeddings else collect_dense(retriever):
            dense.discard()
        return text

    def close(self) -> None:
        """Close all first stages."""
        for retriever in self._loaded.values():
            close_retriever(retriever)

    def _load(self, name: str) -> Retriever:
        if name not in self._loaded:
            chosen = self.options
            self._loaded[name] = load_first_stage(
                name, chosen.options_of(name), folder=chosen.work, elsewhere=chosen.start, failures=self._failures
            )
        return self._loaded[name]

    def _make(self, task: Task, name: str, retriever: Retriever) -> str:
        options, failures, chosen = self.options, self._failures, self.options.options_of(name)
        failures.items.clear()
        path = options.out / f"{task.id}.parquet"
        made = make_provenance(task, name, options.depth, options.candidate_set_of(task))
        for dense in collect_dense(retriever):
            dense.fresh, dense.options = options.fresh, options.search
        lines = []
        data: TaskData | None = None
        # Encoding a suite takes days, so a killed command does not start again at its first task.
        loaded = None if options.fresh else load_kept_list(path, made, retriever, chosen, failures.allowed)
        if loaded is not None:
            if loaded.scores:
                data = load_task_data(task)
                loaded.verify(data, retriever)
            candidates = loaded.candidates
            lines.append(f"{path}  is there already, made by this command; remove it to make it again")
        else:
            data = load_task_data(task)
            candidates = make_candidates(data, retriever, name, options.depth, made.track)
            record = make_manifest(data, candidates, retriever, chosen, failures.items)
            write_parquet(candidates, path)
            write_json(path.with_suffix(".manifest.json"), record)
            check_ids(read_parquet(path), data.queries.rows, data.corpus.rows, str(path))
            measures = format_quality(measure_quality(candidates, data, options.depth), options.depth)
            lines.append(f"{path}  {name}  {format_counts(candidates)}  {measures}")
            for kind, ids in failures.items.items():
                lines.append(f"  {len(ids)} {kind} could not be encoded and are left out; the manifest names them")
        if options.trec:
            write_trec(candidates, path.with_suffix(".trec"))
        lines.append(f"  sha256 {candidates.sha256}")
        if options.pack and not is_packed(path, task, candidates.sha256):
            lines += self._pack(data or load_task_data(task), candidates, path.with_suffix(PACK_SUFFIX))
        return "\n".join(lines)

    def _pack(self, data: TaskData, candidates: Candidates, path: Path) -> list[str]:
        """Write the judgement pack beside the list. Return why there is none, if the list cannot have one."""
        try:
            pack = build_pack(data, candidates)
        except CandidatesError as error:
            path.unlink(missing_ok=True)  # that of an earlier list
            return [f"  no judgement pack: {error}"]
        write_pack(pack, path)
        return []
