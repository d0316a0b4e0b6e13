"""What a pair costs a worker: given, measured in a run, or from a model's arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assumptions import Arithmetic

from mrb.data.task import TYPES, Task
from mrb.engine.prompt_template import LEAST_SAVED
from mrb.evaluation.estimate import Rates
from mrb.evaluation.gpus import Tokens, load_gpus

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


def costs_of(rates: Rates) -> Costs:
    """The costs at these rates, pairs a second of one worker."""
    return {name: Cost(1 / rate.low) for name, rate in rates.items()}


def by_arithmetic(model: Arithmetic, teraflops: float, depth: int) -> Costs:
    """2 x parameters x tokens at `teraflops` sustained; the prefix is shared where the engine's rule says so."""
    tokens = load_gpus().tokens
    return {kind: _counted(model, tokens, kind, teraflops * 1e12, depth) for kind in TYPES}


def _counted(model: Arithmetic, tokens: Tokens, kind: str, speed: float, depth: int) -> Cost:
    query, document = kind.split("2")
    prefix = tokens.template + tokens.count_side(query, tokens.query_text)
    suffix, visual = tokens.count_side(document, tokens.document_text), tokens.count_visual(document)
    shared = prefix * (depth - 1) >= LEAST_SAVED * depth * (prefix + suffix)
    tower = 2e9 * model.vision * model.patches_per_token
    # A query's own picture goes through the tower once, whoever scores it: a part of each of its pairs.
    once = tower * tokens.count_visual(query) / depth
    read = prefix / depth + suffix if shared else prefix + suffix
    return Cost(
        pair=(2e9 * model.decoder * read + once) / speed,
        picture=tower * visual / speed,
        kept=model.cache_mb * MEGABYTE // (model.feature_bytes * visual) if visual else 0,
        prefix=prefix,
        suffix=suffix,
        shared=shared,
    )
