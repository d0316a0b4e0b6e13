"""Estimate what a run or candidate lists take: time, download, disk and cost. Every `--dry-run` prints this.

A closed form: a task takes items / rate / workers seconds, and at most as many workers as it has queries, because no
query is divided. Sizes come from the registry, or from the data where it was read. Rates are given, taken from an
earlier run, or timed. What is not known is reported as unknown and never replaced by a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mrb._util.format import (
    PLAIN,
    Screen,
    fold_text,
    format_duration,
    format_rate,
    format_size,
    format_table,
    format_tasks,
)
from mrb.candidates.candidate_sets import (
    ITEM_KINDS,
    CandidateSet,
    FirstStageCost,
    Kind,
    list_published_sets,
    load_candidate_sets,
)
from mrb.data.task import TYPES, Task
from mrb.data.task_filter import count_queries
from mrb.errors import MRBError, ResultError, suggest_names
from mrb.evaluation.gpus import Gpu, load_gpus
from mrb.evaluation.spec import RunSpec
from mrb.rerankers.known_models import find_known_models
from mrb.rerankers.models import find_model
from mrb.results.schema import RUN_FILE, read_run

QUERY_BYTES, PAIR_BYTES = 34, 4
"""Bytes of a journal per query (head of the record and an id of about 16 characters) and per pair (a float32)."""
LIST_BYTES = 8
"""Most bytes of a candidate list per pair, as the embedded tasks' lists have them."""


@dataclass(frozen=True)
class Range:
    """A lowest and a highest estimate; equal if only one number is known."""

    low: float
    high: float

    def scaled(self, factor: float) -> Range:
        """Return the range with both ends multiplied."""
        return Range(self.low * factor, self.high * factor)

    def time_of(self, count: int) -> Range:
        """Return the seconds that `count` items take, if this range is a rate in items per second."""
        return Range(count / self.high, count / self.low)

    def format(self, form: Callable[[float], str]) -> str:
        """Return the range as `low - high`, or one number if both read the same."""
        return " - ".join(dict.fromkeys((form(self.low), form(self.high))))


@dataclass(frozen=True)
class EncodingRate:
    """Throughput of a retriever in items per second, for queries and for documents."""

    queries: float
    documents: float

    def seconds(self, task: Task) -> float:
        """Return the seconds in which all queries and documents of the task are encoded once."""
        return task.size.queries / self.queries + task.size.documents / self.documents


Rates = Mapping[str, Range]
"""Pairs per second of one worker, by task id or, for tasks that are not named, by task type."""


@dataclass(frozen=True)
class TaskEstimate:
    """A row of an estimate.

    `counts` maps a column's name to a number of items; it begins with the queries. `gigabytes` is the download: None if
    unknown, 0 for embedded data. `rate` is the rate as text. `seconds` is the time of one worker, None without a rate.
    """

    task: Task
    counts: Mapping[str, int]
    gigabytes: float | None
    rate: str
    seconds: Range | None


def count_from_registry(task: Task, spec: RunSpec) -> dict[str, int]:
    """Return the queries and pairs of a task by the registry, at the run's depth and choice of queries."""
    queries = min(count_queries(task, spec.sample), spec.limit or task.size.queries)
    return {"queries": queries, "pairs": queries * min(spec.depth, task.size.documents)}


def estimate_scoring(task: Task, counts: Mapping[str, int], rate: Range | None) -> TaskEstimate:
    """Return the estimate of scoring a task's pairs at `rate` pairs per second."""
    seconds = None if rate is None else rate.time_of(counts["pairs"])
    return TaskEstimate(task, counts, _download(task), "-" if rate is None else rate.format(format_rate), seconds)


def estimate_run(spec: RunSpec, rates: Rates) -> list[TaskEstimate]:
    """Return the estimate of each selected task by the registry's sizes. Neither data nor model is loaded."""
    return [estimate_scoring(task, count_from_registry(task, spec), find_rate(rates, task)) for task in spec.tasks]


def estimate_lists(tasks: Iterable[Task], depth: int, rates: Mapping[str, EncodingRate]) -> list[TaskEstimate]:
    """Return the estimate of making each task's candidate list: encoding every query and document once, at the rate of
    the task's type."""
    found = []
    for task in tasks:
        size, rate = task.size, rates.get(task.type)
        pairs = size.queries * min(depth, size.documents)
        counts = {"queries": size.queries, "documents": size.documents, "pairs": pairs}
        told = "-" if rate is None else " / ".join(dict.fromkeys(map(format_rate, (rate.queries, rate.documents))))
        seconds = None if rate is None else Range(rate.seconds(task), rate.seconds(task))
        found.append(TaskEstimate(task, counts, _download(task), told, seconds))
    return found


def format_estimate(
    rows: Sequence[TaskEstimate],
    unit: str,
    work: str,
    workers: int = 1,
    price: float | None = None,
    screen: Screen = PLAIN,
) -> str:
    """Return a table with a row per task, and lines with the sums.

    Args:
        rows: The tasks' estimates, all with the same columns.
        unit: What rates count per second: "pairs" or "items".
        work: What the time is spent on: "scoring" or "encoding".
        workers: Workers that share each task's queries.
        price: Price of one worker for an hour.
        screen: The width to fit.
    """
    columns = list(rows[0].counts)
    scoring = work == "scoring"
    table = [("task", "type", *columns, "to fetch", *(("list",) if scoring else ()), f"{unit}/s", "time")]
    for row in rows:
        table.append(
            (
                row.task.id,
                row.task.type,
                *(f"{row.counts[column]:,}" for column in columns),
                "-" if row.task.source.kind != "hub" else format_size(row.gigabytes),
                *((_describe_list(row.task),) if scoring else ()),
                row.rate,
                "-" if row.seconds is None else row.seconds.format(format_duration),
            )
        )
    return "\n".join(
        [
            *format_table(table, left=2, drop=("type", "queries"), screen=screen),
            *(line for text in _sums(rows, columns, work, workers, price) for line in fold_text(text, screen)),
        ]
    )


def parse_rates(texts: Iterable[str]) -> Rates:
    """Read `[TYPE=]N` texts, N items per second; one without a type is for all types that are not named.

    Raises:
        MRBError: A text names no task type, no positive number, or a type twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        kind, _, number = text.rpartition("=")
        if kind and kind not in TYPES:
            raise MRBError(f"--rate {text}: {kind!r} is not a task type{suggest_names(kind, TYPES)}")
        if kind in found:
            raise MRBError(f"--rate {text}: given twice for {kind or 'all types'}")
        try:
            found[kind] = float(number)
        except ValueError:
            found[kind] = 0.0
        if not 0 < found[kind] < float("inf"):
            raise MRBError(f"--rate {text}: wanted [TYPE=]N, N per second")
    rest = found.pop("", None)
    return {kind: Range(rate, rate) for kind in TYPES if (rate := found.get(kind, rest)) is not None}


def read_rates(folder: Path) -> Rates:
    """Return the rates of one worker in the run in `folder`: of its tasks, and of their types.

    Raises:
        ResultError: There is no run, or none of its tasks was timed.
    """
    record = read_run(folder)
    workers = int(record.environment.get("workers", "1"))
    spent: dict[str, tuple[float, int]] = {}
    for task_id, timing in record.timings.items():
        for name in (task_id, record.get_task(task_id).type) if timing.pairs else ():
            seconds, pairs = spent.get(name, (0.0, 0))
            spent[name] = seconds + timing.seconds * workers, pairs + timing.pairs
    if not spent:
        raise ResultError(f"{folder / RUN_FILE}: no task was timed, so no rate is known")
    rates = {name: pairs / seconds for name, (seconds, pairs) in spent.items()}
    return {name: Range(rate, rate) for name, rate in rates.items()}


def find_rate(rates: Rates, task: Task) -> Range | None:
    """Return the task's own rate, else that of its type, else None."""
    return rates.get(task.id, rates.get(task.type))


def assume_encoding(first_stage: str, types: Iterable[str], gpu: Gpu) -> dict[str, EncodingRate]:
    """Return the rates of a first stage on a GPU by the arithmetic in `tasks/candidate_sets.toml`.

    Args:
        first_stage: Its name, as after `--first-stage`.
        types: The task types.
        gpu: The GPU.

    Returns:
        The rate for each type, if the first stage needs a GPU; a fusion's encoders work one after the other.

    Raises:
        MRBError: Nothing is known of the first stage.
    """
    found = {}
    for kind in types:
        seconds = [0.0, 0.0]
        for one in _find_encoders(first_stage):
            for place, side in enumerate(kind.split("2")) if one.gpu else ():
                seconds[place] += _assume_seconds(one, ITEM_KINDS[side], gpu)
        if all(seconds):
            found[kind] = EncodingRate(1 / seconds[0], 1 / seconds[1])
    return found


def estimate_gpu_hours(chosen: CandidateSet, task: Task, gpu: Gpu) -> float:
    """Return the hours of one GPU for the task's list in a candidate set (`assume_encoding`); 0 if it needs none."""
    rate = assume_encoding(chosen.first_stage(task), [task.type], gpu).get(task.type)
    return 0.0 if rate is None else rate.seconds(task) / 3600


def assume_scoring(parameters: float, gpu: Gpu) -> Rates:
    """Return the pairs per second of a reranker on a GPU: sustained operations / (2 x parameters x tokens of a pair).

    What an engine shares between pairs, and the patches of an image in a vision tower, are not in it.

    Args:
        parameters: Weights of the model, in 10^9.
        gpu: The GPU.
    """
    known = load_gpus()
    rates = {kind: known.sustain(gpu) / (2e-3 * parameters * known.tokens.count_pair(kind)) for kind in TYPES}
    return {kind: Range(rate, rate) for kind, rate in rates.items()}


def read_parameters(model: str) -> float:
    """Return the 10^9 weights of an installed reranker, by its card.

    Raises:
        MRBError: No adapter has this name, or its card does not state the size of this model.
    """
    known = find_known_models().get(model.lower())
    stated = next((entry.size for entry in find_model(model) if entry.role == "reranker"), "")
    size = re.fullmatch(r"([\d.]+)([BM])", "" if known is not None and known.options else stated)
    if size is None:
        raise MRBError(f"--gpu: the number of weights of {model} is not known; give --rate, or neither to time it here")
    return float(size[1]) / (1 if size[2] == "B" else 1000)


def describe_list_disk(tasks: Sequence[Task], first_stages: Mapping[str, str], depth: int) -> str:
    """Return in a line what the disk holds when the tasks' lists are made, beside vectors. First stages are by task id.

    Raises MRBError as `assume_encoding` does.
    """
    index = pairs = 0
    for task in tasks:
        index += sum(one.index_bytes for one in _find_encoders(first_stages[task.id])) * task.size.documents
        pairs += task.size.queries * min(depth, task.size.documents)
    indexes = f"indexes of {format_size(index / 1e9)}, " if index else ""
    return f"disk: {indexes}lists of at most {format_size(LIST_BYTES * pairs / 1e9)}, and the download"


def _find_encoders(first_stage: str) -> list[FirstStageCost]:
    known = {one.id: one for one in load_candidate_sets().encoders}
    for part in first_stage.split("+"):
        if part not in known:
            raise MRBError(
                f"what first stage {part} takes is not known ({', '.join(known)} are): omit --gpu, or give --rate"
            )
    return [known[part] for part in first_stage.split("+")]


def _assume_seconds(encoder: FirstStageCost, kind: Kind, gpu: Gpu) -> float:
    arithmetic = encoder.teraflops[kind] / load_gpus().sustain(gpu)
    return max(arithmetic, 1 / load_candidate_sets().most_per_second[kind])


def _download(task: Task) -> float | None:
    return 0.0 if task.source.kind != "hub" else task.size.gigabytes


def _sums(
    rows: Sequence[TaskEstimate], columns: Sequence[str], work: str, workers: int, price: float | None
) -> list[str]:
    known = [row.gigabytes for row in rows if row.gigabytes is not None]
    unknown = len(rows) - len(known)
    counts = {column: sum(row.counts[column] for row in rows) for column in columns}
    timed = [(row, row.seconds) for row in rows if row.seconds is not None]
    part = f" for {len(timed)} of {len(rows)}" if len(timed) < len(rows) else ""
    line = (
        f"{format_tasks(len(rows))}: "
        + ", ".join(f"{count:,} {column}" for column, count in counts.items())
        + f", {format_size(sum(known))} to fetch"
        + (f" and {format_tasks(unknown)} of unknown size" if unknown else "")
    )
    if not timed:
        return [line]
    lines = [f"{line}, {_total(timed, 1).format(format_duration)} of {work}{part}"]
    if workers > 1 or price is not None:
        total = _total(timed, workers)
        hours = total.scaled(workers / 3600)
        cost = "" if price is None else f", {hours.scaled(price).format('{:,.2f}'.format)} at {price:g} per worker-hour"
        noun = "1 worker" if workers == 1 else f"{workers:,} workers"
        lines.append(f"{noun}: {total.format(format_duration)} of {work}{part}{cost}")
    if work == "scoring":
        size = sum(QUERY_BYTES * row.counts["queries"] + PAIR_BYTES * row.counts["pairs"] for row in rows)
        lines.append(f"disk: journals of {format_size(size / 1e9)}, and the download on every machine")
    return lines


def _total(timed: Sequence[tuple[TaskEstimate, Range]], workers: int) -> Range:
    """Return the seconds of all tasks, each shared by at most as many workers as it has queries."""
    shares = [seconds.scaled(1 / max(1, min(workers, row.counts["queries"]))) for row, seconds in timed]
    return Range(sum(share.low for share in shares), sum(share.high for share in shares))


def _describe_list(task: Task) -> str:
    if task.source.kind == "folder":
        return "own"
    return "frozen" if task.candidates else "published" if list_published_sets(task.id) else "none yet"
