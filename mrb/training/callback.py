"""Evaluate a reranker while a trainer of sentence-transformers or transformers trains it, and log `mrb/...`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mrb.api import evaluate
from mrb.engine.training_mode import keep_training_mode
from mrb.metrics.measures import HEADLINE
from mrb.results.run import Run


class EvaluationCallback(TrainerCallback):
    """Evaluates the model in memory, in the main process, and logs through the trainer, so that the numbers go where
    its loss goes (console, TensorBoard, W&B): `mrb/TASK/nDCG@10` for each task, and `mrb/average/nDCG@10` over tasks.

    `runs` has (step, run) of each evaluation, for `mrb.compare`. The model's training mode is restored, and training is
    the same as without the callback.

    Args:
        trainer: A `CrossEncoderTrainer`, `SentenceTransformerTrainer` or transformers `Trainer`; the callback is not
            added to it here.
        suite: A suite, by id, as in `mrb.evaluate`.
        tasks: Tasks, by id.
        steps: Evaluate after every so many steps; None: whenever the trainer evaluates. Training ends with an
            evaluation in any case.
        at_start: Also evaluate before the first step.
        measures: The measures to log.
        make_reranker: Returns what `mrb.evaluate` takes, made of the trained model; None if the model itself is it, as
            a `CrossEncoder` is.
        options: Further arguments of `mrb.evaluate`, such as `limit` and `data`.

    Example:
        >>> def train(trainer, steps):
        ...     callback = EvaluationCallback(trainer, tasks=["mini-faq-t2t"], steps=steps, at_start=True)
        ...     trainer.add_callback(callback)
        ...     trainer.train()
        ...     return [(step, run["mini-faq-t2t"].result.measures["nDCG@10"].mean) for step, run in callback.runs]
    """

    def __init__(
        self,
        trainer: Any,
        suite: str | None = None,
        tasks: str | Sequence[str] | None = None,
        *,
        steps: int | None = None,
        at_start: bool = False,
        measures: Sequence[str] = (str(HEADLINE),),
        make_reranker: Callable[[Any], object] | None = None,
        **options: Any,
    ) -> None:
        self.runs: list[tuple[int, Run]] = []
        self._trainer = trainer
        self._steps = steps
        self._at_start = at_start
        self._measures = tuple(measures)
        self._make_reranker = make_reranker
        self._options = {"suite": suite, "tasks": tasks, **options}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate before the first step, if `at_start`."""
        if self._at_start:
            self._evaluate(state)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluate after every `steps` steps."""
        if self._steps is not None and state.global_step % self._steps == 0:
            self._evaluate(state)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Evaluate when the trainer does, without `steps`."""
        if self._steps is None:
            self._evaluate(state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Evaluate the trained model, unless the last step was evaluated."""
        self._evaluate(state)

    def _evaluate(self, state: TrainerState) -> None:
        if not state.is_world_process_zero or (self.runs and self.runs[-1][0] == state.global_step):
            return
        model = self._trainer.accelerator.unwrap_model(self._trainer.model)
        with keep_training_mode(model):
            model.eval()
            run = evaluate(model if self._make_reranker is None else self._make_reranker(model), **self._options)
        self.runs.append((state.global_step, run))
        self._trainer.log({f"mrb/{name}": value for name, value in self._list_values(run).items()})

    def _list_values(self, run: Run) -> dict[str, float]:
        found: dict[str, float] = {}
        for measure in self._measures:
            means = {task_id: scores.result.measures[measure].mean for task_id, scores in run.tasks.items()}
            found |= {f"{task_id}/{measure}": mean for task_id, mean in means.items()}
            if means:
                found[f"average/{measure}"] = sum(means.values()) / len(means)
        return found
