"""Score development tasks during training with MRB's own evaluation and the current weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerCallback

from mrb.data.inputs import Inputs
from mrb.data.task import MODALITIES, load_task
from mrb.engine.batching import probe_token_budget
from mrb.engine.engine import Engine
from mrb.engine.image_features import ImageFeatureExtractor
from mrb.engine.prompt import Prompter
from mrb.engine.stats import Stats
from mrb.engine.vision import QwenTower
from mrb.errors import TrainingError
from mrb.evaluation.measure import measure
from mrb.evaluation.plan import Float32, Plan, load_plan, make_requests
from mrb.evaluation.score import score_all
from mrb.evaluation.spec import TaskSpec
from mrb.metrics.measures import HEADLINE
from mrb.rerankers.declaration import LoadedReranker, find_uncovered_inputs
from mrb.rerankers.reranker import Request
from mrb.results.schema import RerankerInfo
from mrb.training.encoder import make_backbone
from mrb.training.log import Table
from mrb.training.model import Learner
from mrb.training.recipe import Evaluation
from mrb.training.record import DevRecord

logger = logging.getLogger(__name__)

_MEGABYTE = 1024 * 1024


class LiveReranker:
    """The learner with its current weights as an adapter: the engine, with the label rows of training as head."""

    def __init__(self, learner: Learner, prompter: Prompter, processor: Any | None) -> None:
        backbone = make_backbone(learner.base)
        stats = Stats()
        batch_tokens = probe_token_budget(backbone)
        extractor = None
        if processor is not None:
            cache = 64 * _MEGABYTE
            patches = 4 * batch_tokens
            tower = QwenTower(learner.base.model, processor)
            extractor = ImageFeatureExtractor(
                tower, device=learner.base.device, cache_bytes=cache, batch_patches=patches, stats=stats
            )
        score = prompter.layout.score

        def head(hidden: torch.Tensor) -> torch.Tensor:
            yes, no = learner.rows(hidden)
            difference: torch.Tensor = yes - no
            return difference if score == "difference" else yes

        self.engine = Engine(prompter, backbone, head, extractor, batch_tokens=batch_tokens, share=True, stats=stats)

    @torch.no_grad()
    def score_stream(self, requests: Iterator[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """Yield (request.key, scores) for each request."""
        yield from self.engine.score_stream(requests)

    def close(self) -> None:
        """Stop the engine's threads."""
        self.engine.close()


@dataclass(frozen=True)
class DevEvaluator:
    """Scores the tasks of a recipe's evaluation section."""

    settings: Evaluation
    learner: Learner
    prompter: Prompter
    processor: Any | None

    @property
    def info(self) -> RerankerInfo:
        """The learner as a reranker."""
        return RerankerInfo(
            name="training",
            kind="pointwise",
            inputs=Inputs.both("text") if self.processor is None else Inputs.both(*MODALITIES),
            version="0",
            uses_first_stage=False,
            batch_invariant=False,
            options={},
            source="training",
            source_sha256=None,
        )

    def check_tasks(self) -> None:
        """Raise TrainingError, TaskError or CandidatesError for a task that the model or the disk does not cover."""
        for task_id in self.settings.tasks:
            reason = find_uncovered_inputs(self.info, self._load_plan(task_id).data.task)
            if reason is not None:
                raise TrainingError(f"evaluation.tasks: {task_id}: {reason}")

    def evaluate(self, accelerator: Any) -> list[DevRecord]:
        """Return each task's result. The processes share the queries; all get the same result."""
        was_training = self.learner.training
        self.learner.eval()
        try:
            with accelerator.autocast(), closing(LiveReranker(self.learner, self.prompter, self.processor)) as live:
                return [self._evaluate(task_id, live, accelerator) for task_id in self.settings.tasks]
        finally:
            self.learner.train(was_training)

    def _load_plan(self, task_id: str) -> Plan:
        return load_plan(TaskSpec(load_task(task_id), self.settings.depth, limit=self.settings.limit))

    def _evaluate(self, task_id: str, live: LiveReranker, accelerator: Any) -> DevRecord:
        from accelerate.utils import gather_object

        plan, info = self._load_plan(task_id), self.info
        own = list(plan.entries())[accelerator.process_index :: accelerator.num_processes]
        requests = make_requests(plan, own, info.kind, uses_first_stage=False)
        scored = score_all(LoadedReranker(live, info, 1), requests, task_id)
        scores: dict[str, Float32] = {}
        for part in gather_object([{item.entry.query_id: own for item, own in scored}]):
            scores |= part
        result, name = measure(plan, scores, info).result, str(HEADLINE)
        mean, first, oracle = result.measures[name], result.first_stage[name], result.oracle[name]
        return DevRecord(
            task=task_id,
            measure=name,
            value=mean.mean,
            low=mean.low,
            high=mean.high,
            first_stage=first.mean,
            oracle=oracle.mean,
        )


class DevCallback(TrainerCallback):
    """Scores the development tasks every `every` steps; prints the results and writes them to dev.csv.

    `save_best(step, results)` is called in the main process for a step that is the best so far, if the recipe asks.
    """

    def __init__(
        self, evaluator: DevEvaluator, table: Table, save_best: Callable[[int, list[DevRecord]], None]
    ) -> None:
        self._evaluator = evaluator
        self._table = table
        self._save_best = save_best
        self._scored = -1
        self.accelerator: Any = None
        self.last: list[DevRecord] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score before the first step, if the recipe says so."""
        if self._evaluator.settings.at_start and state.global_step == 0:
            self.score_step(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Score after a step, if it is due."""
        every = self._evaluator.settings.every
        if every and state.global_step % every == 0:
            self.score_step(state.global_step)
            if self.is_exhausted():
                patience = self._evaluator.settings.patience
                logger.info(f"step {state.global_step}  no gain in {patience} evaluations: training stops")
                control.should_training_stop = True

    def is_exhausted(self) -> bool:
        """Return whether the mean over tasks has not grown in the last `patience` evaluations, by the main process."""
        from accelerate.utils import broadcast_object_list

        patience = self._evaluator.settings.patience
        if patience is None:
            return False
        steps = {int(row["step"]) for row in self._table.read_rows()}
        best = self.find_best()
        (stops,) = broadcast_object_list([best is not None and sum(step > best for step in steps) >= patience])
        return bool(stops)

    def find_best(self) -> int | None:
        """Return the step with the best mean over tasks so far, the first of equals; None if none was scored."""
        values: dict[int, list[float]] = {}
        for row in self._table.read_rows():
            values.setdefault(int(row["step"]), []).append(float(row["value"]))
        return max(values, key=lambda step: sum(values[step]) / len(values[step]), default=None)

    def score_step(self, step: int) -> None:
        """Score after a step, unless that has been done."""
        if step == self._scored or not self._evaluator.settings.tasks:
            return
        self._scored = step
        self.last = self._evaluator.evaluate(self.accelerator)
        if self.accelerator.is_main_process:
            self._table.cut_after(step - 1)  # a resumed run may score the same step again
            for result in self.last:
                self._table.add_row({"step": step, **result.model_dump()})
            if self._evaluator.settings.keep_best and self.find_best() == step:
                self._save_best(step, self.last)
        for result in self.last:
            logger.info(
                f"step {step}  {result.task}  {HEADLINE} {100 * result.value:.2f} "
                f"[{100 * result.low:.2f}, {100 * result.high:.2f}]  first stage {100 * result.first_stage:.2f}"
            )
        mean = sum(result.value for result in self.last) / len(self.last)
        logger.info(f"step {step}  mean over {len(self.last)} development tasks {100 * mean:.2f}")
