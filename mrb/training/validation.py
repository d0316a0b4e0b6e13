"""Score development tasks during training with MRB's own evaluation and the current weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mrb.data.task import load_task
from mrb.engine.backbone import Backbone
from mrb.engine.batching import probed_tokens
from mrb.engine.engine import Engine
from mrb.engine.image_features import Pictures
from mrb.engine.prompt import Prompter
from mrb.engine.stats import Stats
from mrb.errors import TrainingError
from mrb.evaluation.measure import measure
from mrb.evaluation.plan import Float32, Plan, load_plan, make_requests
from mrb.evaluation.score import score_all
from mrb.evaluation.spec import TaskSpec
from mrb.metrics.measures import HEADLINE
from mrb.rerankers.declaration import LoadedReranker, not_covered
from mrb.rerankers.reranker import Request
from mrb.results.schema import RerankerInfo, Result
from mrb.training.model import Learner
from mrb.training.recipe import Evaluation

_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class DevResult:
    """A development task's headline measure: the model's mean with its interval, the first stage's mean, the oracle's
    mean.
    """

    task: str
    value: float
    low: float
    high: float
    first_stage: float
    oracle: float

    def row(self, step: int) -> dict[str, Any]:
        """Return a line of the results table."""
        return {"step": step, "measure": str(HEADLINE), **vars(self)}


class LiveReranker:
    """The learner with its current weights as an adapter: the engine, with the label rows of training as head."""

    def __init__(self, learner: Learner, prompter: Prompter, processor: Any | None) -> None:
        backbone = Backbone(learner.base)
        stats = Stats()
        batch_tokens = probed_tokens(backbone)
        pictures = None
        if processor is not None:
            cache = 64 * _MEGABYTE
            patches = 4 * batch_tokens
            pictures = Pictures(learner.base.model, processor, cache_bytes=cache, batch_patches=patches, stats=stats)
        score = prompter.layout.score

        def head(hidden: torch.Tensor) -> torch.Tensor:
            yes, no = learner.rows(hidden)
            difference: torch.Tensor = yes - no
            return difference if score == "difference" else yes

        self.engine = Engine(prompter, backbone, head, pictures, batch_tokens=batch_tokens, share=True, stats=stats)

    @torch.no_grad()
    def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """Yield (request.key, scores) for each request."""
        yield from self.engine.score_stream(requests)

    def close(self) -> None:
        """Stop the engine's threads."""
        self.engine.close()


@dataclass(frozen=True)
class Dev:
    """Scores the tasks of a recipe's evaluation section.

    `check` refuses what cannot be scored before training starts.
    """

    settings: Evaluation
    learner: Learner
    prompter: Prompter
    processor: Any | None

    def check(self) -> None:
        """Raise TrainingError, TaskError or CandidatesError for a task that the model or the disk does not cover."""
        for task_id in self.settings.tasks:
            plan = self._plan(task_id)
            reason = not_covered(_info(self.processor is not None), plan.data.task)
            if reason is not None:
                raise TrainingError(f"evaluation.tasks: {task_id}: {reason}")

    def __call__(self, accelerator: Any) -> list[DevResult]:
        """Return each task's result. The processes share the queries; all get the same result."""
        was_training = self.learner.training
        self.learner.eval()
        live = LiveReranker(self.learner, self.prompter, self.processor)
        try:
            with accelerator.autocast():
                return [self._task(task_id, live, accelerator) for task_id in self.settings.tasks]
        finally:
            live.close()
            self.learner.train(was_training)

    def _plan(self, task_id: str) -> Plan:
        return load_plan(TaskSpec(load_task(task_id), self.settings.depth, limit=self.settings.limit))

    def _task(self, task_id: str, live: LiveReranker, accelerator: Any) -> DevResult:
        from accelerate.utils import gather_object

        plan = self._plan(task_id)
        info = _info(self.processor is not None)
        reranker = LoadedReranker(live, info, 1)
        own = list(plan.entries())[accelerator.process_index :: accelerator.num_processes]
        requests = make_requests(plan, own, info.kind, uses_first_stage=False)
        scored = {item.entry.query_id: scores for item, scores in score_all(reranker, requests, task_id)}
        held: dict[str, Float32] = {}
        for part in gather_object([scored]):
            held |= part
        return _result(measure(plan, held, info).result)


def _info(images: bool) -> RerankerInfo:
    return RerankerInfo(
        name="training",
        kind="pointwise",
        inputs=("text", "image", "image+text") if images else ("text",),
        version="0",
        uses_first_stage=False,
        batch_invariant=False,
        options={},
        source="training",
        source_sha256=None,
    )


def _result(result: Result) -> DevResult:
    name = str(HEADLINE)
    own = result.measures[name]
    return DevResult(result.task, own.mean, own.low, own.high, result.first_stage[name].mean, result.oracle[name].mean)
