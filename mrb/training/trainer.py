"""The trainer: transformers' loop and accelerate's processes, with steps over whole groups."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from mrb.data.items import ImageHandle
from mrb.engine.image_features import ImageFeatureExtractor
from mrb.engine.vision import Features
from mrb.errors import MRBError, TrainingError
from mrb.training.dataset import Batch, GroupDataset, collate
from mrb.training.export import Exporter
from mrb.training.grad_cache import Loss, MicroBatchStep, StepResult
from mrb.training.launch import has_accelerator
from mrb.training.losses import Contrastive, Listwise, Supervised, Unified
from mrb.training.model import Learner
from mrb.training.recipe import LossSettings, Recipe
from mrb.training.skipped import SkippedGroups

WATCHED_STEPS = 3
"""One half of LoRA has no gradient while the other half is 0, and warm-up starts with a learning rate of 0."""

SUMS = ("tokens", "documents", "cut", "emptied", "missing", "skipped")
"""Values that are logged as sums since the last line; others are means."""


def build_loss(settings: LossSettings) -> Loss:
    """Return the loss of a recipe."""
    if settings.name == "contrastive":
        return Contrastive(settings.temperature)
    if settings.name == "supervised":
        return Supervised(settings.reduction, settings.positive_weight)
    if settings.name == "listwise":
        assert settings.target is not None  # the recipe is refused without
        return Listwise(settings.target, settings.temperature)
    assert settings.weight is not None and settings.direction is not None  # the recipe is refused without
    return Unified(
        settings.weight,
        settings.direction,
        tau=settings.tau,
        temperature=settings.temperature,
        reduction=settings.reduction,
        positive_weight=settings.positive_weight,
    )


def make_arguments(recipe: Recipe, folder: Path, steps: int, processes: int) -> TrainingArguments:
    """Return the recipe as transformers' arguments.

    Raises TrainingError if a step cannot be divided among the processes, or if `report_to` names an absent package.
    """
    schedule, memory, output = recipe.schedule, recipe.memory, recipe.output
    at_once = memory.queries * processes
    if schedule.queries % at_once:
        raise TrainingError(
            f"schedule.queries {schedule.queries} cannot be divided by {processes} processes x {memory.queries} "
            "(memory.queries)"
        )
    absent = [name for name in output.report_to if find_spec(name) is None]
    if absent:
        raise TrainingError(f"output.report_to names {absent[0]}, which is not installed: pip install {absent[0]}")
    gpu = has_accelerator()
    args = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=memory.queries,
        gradient_accumulation_steps=schedule.queries // at_once,
        learning_rate=schedule.learning_rate,
        lr_scheduler_type=schedule.decay if schedule.decay != "constant" else "constant_with_warmup",
        warmup_steps=round(schedule.warmup * steps),
        weight_decay=schedule.weight_decay,
        adam_beta1=schedule.betas[0],
        adam_beta2=schedule.betas[1],
        adam_epsilon=schedule.epsilon,
        max_grad_norm=schedule.clip,
        optim="adamw_torch_fused" if gpu else "adamw_torch",
        seed=schedule.seed,
        bf16=memory.precision == "bf16",
        use_cpu=not gpu,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataloader_num_workers=memory.workers if memory.workers is not None else 2 if gpu else 0,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        save_strategy="steps" if output.save_every else "no",
        save_steps=output.save_every or steps,
        save_total_limit=output.keep,
        logging_steps=output.log_every,
        logging_nan_inf_filter=False,
        report_to=list(output.report_to) or "none",
        disable_tqdm=True,
    )
    # The recipe decides, not the environment of `accelerate launch`.
    args.mixed_precision = "bf16" if args.bf16 else "no"
    # One process uses one GPU: with several, transformers would spread a batch by DataParallel.
    args._n_gpu = min(args.n_gpu, 1)
    return args


class RerankerTrainer(Trainer):
    """Trains a `Learner` on a `GroupDataset`.

    A step's loss is the mean over its queries, however it is split into micro-batches and processes: the loss of a
    micro-batch is divided by the queries of the whole step, not by the number of micro-batches.
    """

    def __init__(
        self,
        learner: Learner,
        dataset: GroupDataset,
        args: TrainingArguments,
        recipe: Recipe,
        extractor: ImageFeatureExtractor | None,
        exporter: Exporter,
        skipped: SkippedGroups,
        callbacks: list[TrainerCallback],
    ) -> None:
        super().__init__(model=learner, args=args, train_dataset=dataset, data_collator=collate, callbacks=callbacks)
        self.remove_callback(PrinterCallback)
        # This flag says whether the model divides by the number of micro-batches itself. `training_step` is ours, so it
        # changes nothing there; it is set for the rest of the loop.
        self.model_accepts_loss_kwargs = False
        self.recipe = recipe
        self.extractor = extractor
        self.exporter = exporter
        self.dataset = dataset
        self.skipped = skipped
        self.loss = build_loss(recipe.loss)
        self._resumable = True
        self._watch = GradientWatch(learner)
        self._sums: dict[str, list[float]] = {}

    def training_step(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Run forward and backward of one micro-batch; return its share of the step's loss, detached."""
        batch, features = self._compute_or_replace(inputs["batch"])
        batch = batch.move(self.args.device)
        model.train()
        step = MicroBatchStep(
            self.loss,
            forward=model,
            backward=self.accelerator.backward,
            no_sync=lambda: self._no_sync(model),
            chunk_tokens=self.recipe.memory.chunk_tokens,
            # DDP averages gradients over processes, so each process divides by its own queries of the step.
            queries=int(self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps),
            share=self.recipe.memory.share_prefix,
        )
        result = step(batch, features)
        if self.state.global_step < WATCHED_STEPS:
            last = self.state.global_step == WATCHED_STEPS - 1 and bool(self.accelerator.sync_gradients)
            self._watch.check(images=bool(batch.images), last=last)
        self._collect(batch, result)
        return result.value

    def _compute_or_replace(self, batch: Batch) -> tuple[Batch, dict[str, Features]]:
        """Return a batch and the features of its images.

        If an image cannot be decoded, the batch is read again with all its images, so that the group is named, or
        replaced if the recipe says so. No other process waits meanwhile: the batch keeps its size.
        """
        try:
            return batch, self.compute_features(batch.images)
        except MRBError:
            if self.extractor is not None:
                self.extractor.expect_nothing()
            read = collate([self.dataset.read(place, self._check_images) for place in batch.places])["batch"]
            if isinstance(read, MRBError):
                raise read from None
            return read, self.compute_features(read.images)

    @torch.no_grad()
    def _check_images(self, batch: Batch) -> None:
        """Raise MRBError for an image whose features cannot be computed."""
        if self.extractor is not None:
            self.extractor.fresh(batch.images)

    @contextlib.contextmanager
    def _no_sync(self, model: torch.nn.Module) -> Iterator[None]:
        """Forward and backward under DDP's `no_sync()`; no backend takes an optimiser step here."""
        state = self.accelerator.gradient_state
        before = bool(state.sync_gradients)
        state._set_sync_gradients(False)
        try:
            with self.accelerator.no_sync(model):
                yield
        finally:
            state._set_sync_gradients(before)

    def compute_features(self, images: list[ImageHandle]) -> dict[str, Features]:
        """Return the features of a batch's images, each distinct one computed once; with a graph if the tower is
        trained.
        """
        if self.extractor is None:
            if images:
                raise TrainingError("a group has an image, but the model takes no images")
            return {}
        if self.recipe.tuning.vision == "trained":
            if not images and self.args.world_size > 1:
                images = [make_blank()]
            with self.accelerator.autocast():
                return self.extractor.fresh(images)
        # A frozen tower saves nothing for backward. Images go one at a time: with batches, their composition would
        # depend on what is cached from earlier steps; after a restart nothing is, and the loss curve would differ by
        # rounding.
        with torch.no_grad():
            return {key: one for image in images for key, one in self.extractor.features([image]).items()}

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """Return a step's micro-batches; prefetching of their images starts here."""
        parts, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        for part in parts:
            if isinstance(part["batch"], MRBError):
                raise part["batch"]
        if self.extractor is not None:
            with contextlib.suppress(MRBError):  # an image that cannot be read is named where it is needed
                self.extractor.expect(image for part in parts for image in part["batch"].images)
        return parts, count

    def _collect(self, batch: Batch, result: StepResult) -> None:
        """Collect values to log with the loss: those of the supervised and the contrastive loss."""
        values = {"sft": float(Supervised()(result.groups)), "drift": result.drift}
        values |= {"tokens": float(batch.tokens), "documents": float(len(batch.prompts))}
        values |= {"cut": float(batch.cut), "emptied": float(batch.emptied)}
        if all((~group.labels).any() for group in result.groups):
            values["cl"] = float(Contrastive()(result.groups))
            if isinstance(self.loss, Unified):
                values |= self.loss.magnitudes(result.groups)
        values["missing"] = float(batch.missing)
        values["skipped"] = float(len(batch.skipped))
        self.skipped.add(self.state.global_step + 1, batch.skipped)
        for name, value in values.items():
            self._sums.setdefault(name, []).append(value)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the loop's values with our own: means over the micro-batches since the last line."""
        if "loss" in logs:
            names = ["sft", "cl", "weight_positive", "weight_negative", "drift", *SUMS]
            sums = torch.tensor([[sum(self._sums.get(n, ())), len(self._sums.get(n, ()))] for n in names])
            total = self.accelerator.reduce(sums.to(self.args.device), "sum").tolist()
            means = {n: value / count for n, (value, count) in zip(names, total, strict=True) if count}
            for name in SUMS:
                means[name] = total[names.index(name)][0]
            logs |= means
            self._sums = {}
            self.skipped.share(self.accelerator)
        super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.skipped.share(self.accelerator)
        super()._save_checkpoint(model, trial)

    def save_final(self, folder: Path) -> None:
        """Write the trained model into `folder`."""
        self.skipped.share(self.accelerator)
        self._resumable = False
        self.save_model(str(folder))

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None) -> None:
        if self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            self.exporter.save(folder, state_dict, final=not self._resumable)
            if self._resumable:
                self.exporter.save_state(folder, state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        self.exporter.load(Path(resume_from_checkpoint))


class GradientWatch:
    """Checks that every trained parameter has had a nonzero gradient after the first steps."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._waiting = {name for name, _ in learner.list_trained()}
        self._images = False

    def check(self, *, images: bool, last: bool) -> None:
        """Look at the gradients after a micro-batch, before the optimiser step.

        Raises TrainingError at the last look if a parameter has had none.
        """
        self._images = self._images or images
        for name, values in self._learner.list_trained():
            if name in self._waiting and values.grad is not None and bool(values.grad.any()):
                self._waiting.discard(name)
        # A tower without images has no gradient.
        left = sorted(name for name in self._waiting if self._images or ".visual." not in name)
        if last and left:
            raise TrainingError(
                f"{left[0]} had no gradient in {WATCHED_STEPS} steps ({len(left)} such parameters): it would not learn"
            )


def make_blank() -> ImageHandle:
    """Return a small white image."""
    buffer = io.BytesIO()
    Image.new("RGB", (56, 56), "white").save(buffer, "PNG")
    data = buffer.getvalue()
    return ImageHandle(lambda: data, where="a blank picture")
