"""What a pair costs a worker: given, measured in a run, or from a model's arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mrb.data.task import TYPES, Task, load_task
from mrb.engine.prompt_template import LEAST_SAVED
from mrb.errors import MRBError, ResultError, close_names
from mrb.results.schema import RUN_FILE, read_run
from mrb.scale.assumed import Arithmetic, Tokens, load_assumed

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Cost:
    """Seconds that one worker takes for a pair, and, apart from that, for a document's picture in the vision tower
    wherever it is not kept; `kept` is how many pictures' features a worker keeps.

    `prefix` and `suffix` are the tokens before and after the seam, where they are known, `shared` whether the prefix
    goes through the model once a query.
    """

    pair: float
    picture: float = 0.0
    kept: int = 0
    prefix: int = 0
    suffix: int = 0
    shared: bool = False

    def spared(self, depth: int) -> float:
        """The part of the tokens, 0 to 1, that a shared prefix spares a query of `depth` candidates."""
        if not self.shared:
            return 0.0
        return self.prefix * (depth - 1) / (depth * (self.prefix + self.suffix))


Costs = Mapping[str, Cost]
"""By task, or by type for the tasks that are not named."""


def cost_of(costs: Costs, task: Task) -> Cost | None:
    """The task's own cost, else that of its type; None where neither is known."""
    return costs.get(task.id, costs.get(task.type))


def given(rates: Iterable[str]) -> Costs:
    """Of `[TYPE=]N` texts, N pairs a second; one without a type holds for all that are not named. MRBError names what
    is no type, no positive number, or stands twice."""
    found: dict[str, Cost] = {}
    for text in rates:
        kind, _, number = text.rpartition("=")
        if kind and kind not in TYPES:
            raise MRBError(f"--rate {text}: {kind!r} is no task type{close_names(kind, TYPES)}")
        if kind in found:
            raise MRBError(f"--rate {text}: given twice for {kind or 'all types'}")
        found[kind] = Cost(1 / _rate(text, number))
    if "" in found:
        rest = found.pop("")
        return {**dict.fromkeys(TYPES, rest), **found}
    return found


def of_run(folder: Path) -> Costs:
    """Measured in the run in `folder`: a task's pairs over its seconds, a worker of those that it had; a type has that
    of its tasks together. ResultError if there is no run or nothing was timed."""
    record = read_run(folder)
    workers = int(record.environment.get("workers", "1"))
    timed = {load_task(task_id): timing for task_id, timing in record.timings.items() if timing.pairs}
    if not timed:
        raise ResultError(f"{folder / RUN_FILE}: no task was timed, so no rate is known")
    found = {task.id: Cost(timing.seconds * workers / timing.pairs) for task, timing in timed.items()}
    for kind in dict.fromkeys(task.type for task in timed):
        of_type = [timing for task, timing in timed.items() if task.type == kind]
        seconds, pairs = sum(timing.seconds for timing in of_type), sum(timing.pairs for timing in of_type)
        found[kind] = Cost(seconds * workers / pairs)
    return found


def by_arithmetic(model: Arithmetic, teraflops: float, depth: int) -> Costs:
    """2 x parameters x tokens at `teraflops` sustained; the prefix is shared where the engine's rule says so."""
    tokens = load_assumed().tokens
    return {kind: _counted(model, tokens, kind, teraflops * 1e12, depth) for kind in TYPES}


def _counted(model: Arithmetic, tokens: Tokens, kind: str, speed: float, depth: int) -> Cost:
    query, document = kind.split("2")
    prefix = tokens.template + tokens.side(query, tokens.query_text)
    suffix, visual = tokens.side(document, tokens.document_text), tokens.visual(document)
    shared = prefix * (depth - 1) >= LEAST_SAVED * depth * (prefix + suffix)
    tower = 2e9 * model.vision * model.patches_per_token
    # A query's own picture goes through the tower once, whoever scores it: a part of each of its pairs.
    once = tower * tokens.visual(query) / depth
    read = prefix / depth + suffix if shared else prefix + suffix
    return Cost(
        pair=(2e9 * model.decoder * read + once) / speed,
        picture=tower * visual / speed,
        kept=model.cache_mb * MEGABYTE // (model.feature_bytes * visual) if visual else 0,
        prefix=prefix,
        suffix=suffix,
        shared=shared,
    )


def _rate(text: str, number: str) -> float:
    try:
        rate = float(number)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise MRBError(f"--rate {text}: wanted [TYPE=]N, N pairs a second")
    return rate
