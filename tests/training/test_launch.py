"""How training is started: what a GPU run alone does, on a CPU; backends of accelerate that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mrb.errors import TrainingError
from mrb.training import run, trainer
from mrb.training.recipe import LoadedRecipe
from mrb.training.run import train
from tests.builders.training import read_curve, recipe_of, toy_groups

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]


@pytest.fixture
def small(tmp_path: Path, tiny: Tiny, training_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MRB_CACHE", str(training_cache))
    return lambda *changes: recipe_of(tmp_path, tiny("qwen2_5_vl"), toy_groups(tmp_path), changes)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ACCELERATE_USE_FSDP", "true", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "true", "DeepSpeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "true", "Megatron-LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "true", "a parallelism config"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "torch.compile"),
    ],
)
def test_what_splits_or_compiles_the_model_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    recipe = recipe_of(tmp_path, tmp_path / "no-model", tmp_path / "no-groups.jsonl")
    with pytest.raises(TrainingError, match=rf"^{words} \({variable}.* is not supported: ") as caught:
        train(recipe, tmp_path / "out", fresh=False, command=())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_a_gpu_run_alone_does_gives_the_same_curve(
    small: Callable[..., LoadedRecipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small("schedule.steps=3", "loss.name=contrastive", "model.layout=gmr-cl")
    train(recipe, tmp_path / "cpu", fresh=False, command=())
    made: list[Any] = []

    def keep(*given: Any) -> Any:
        made.append(trainer.make_arguments(*given))
        return made[-1]

    for module in (run, trainer):
        monkeypatch.setattr(module, "has_accelerator", lambda: True)
    monkeypatch.setattr(run, "make_arguments", keep)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)  # a machine with several, of which it takes one
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")  # as `accelerate config` may have been told
    train(recipe, tmp_path / "gpu", fresh=False, command=())
    (args,) = made
    assert not args.use_cpu
    assert args.dataloader_num_workers == 2
    assert args.optim == "adamw_torch_fused"
    cpu, gpu = (read_curve(tmp_path / name) for name in ("cpu", "gpu"))
    assert len(cpu) == 3
    for one, other in zip(cpu, gpu, strict=True):
        assert other == pytest.approx(one, rel=1e-5)


def test_a_whole_model_in_half_precision_trains_and_is_scored(
    small: Callable[..., LoadedRecipe], tmp_path: Path
) -> None:
    from mrb.training.record import read_training_record

    changes = ("tuning.method=full", "memory.precision=bf16", "schedule.steps=1", "schedule.queries=2")
    tasks = ("evaluation.tasks=['mini-flag-t2i-dev']", "evaluation.limit=2", "evaluation.depth=4")
    train(small(*changes, *tasks), tmp_path / "out", fresh=False, command=())
    record = read_training_record(tmp_path / "out")
    assert record is not None
    assert 0 < record.results[0].value <= 1
