"""`mrb train sweep NAME`: one recipe in several arms, each with several seeds, and a report on the results.

A sweep is a TOML file. OUT/ARM/seed-N is a run as `mrb train` makes it, so a killed sweep resumes within a run, and a
finished run is not repeated. OUT/report.md and its plots are rewritten after every run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from mrb.data.task import Model, Slug
from mrb.errors import TrainingError, first_problem, one_line
from mrb.training.recipe import RECIPES, LoadedRecipe, load_recipe
from mrb.training.record import TrainingRecord, read_training_record

Say = Callable[[str], None]
SWEEPS = RECIPES / "sweeps"


class Arm(Model):
    """One arm: `set` holds what differs from the sweep's recipe, a table per section."""

    name: Slug
    set: dict[str, dict[str, str | bool | int | float]]


class SweepSettings(Model):
    """A sweep's file: `recipe` is run for every arm and seed; the arms are compared with the arm `reference`."""

    schema_version: Literal[1]
    title: str = Field(max_length=120)
    recipe: str
    seeds: tuple[int, ...] = Field(min_length=1)
    reference: Slug
    arms: tuple[Arm, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _fits(self) -> SweepSettings:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names) or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("an arm or a seed is there twice")
        if self.reference not in names:
            raise ValueError(f"reference {self.reference!r} is none of the arms")
        return self


@dataclass(frozen=True)
class Run:
    """One arm with one seed: its recipe and its folder."""

    arm: str
    seed: int
    loaded: LoadedRecipe
    folder: Path

    @property
    def record(self) -> TrainingRecord | None:
        """The run's record if the run is finished and was made by this recipe, else None."""
        found = read_training_record(self.folder)
        return found if found is not None and found.finished and found.recipe_sha256 == self.loaded.sha256 else None


@dataclass(frozen=True)
class Sweep:
    """A sweep with its runs: all arms of the first seed, then of the next, so that an unfinished sweep is balanced."""

    name: str
    settings: SweepSettings
    runs: tuple[Run, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of the arms, in order."""
        return tuple(arm.name for arm in self.settings.arms)

    def finished(self) -> dict[tuple[str, int], tuple[Run, TrainingRecord]]:
        """Return the finished runs with their records, by arm and seed."""
        return {(run.arm, run.seed): (run, record) for run in self.runs if (record := run.record) is not None}


def sweep_names() -> list[str]:
    """Return the names of the packaged sweeps."""
    return sorted(path.stem for path in SWEEPS.glob("*.toml"))


def load_sweep(name: str, out: Path, changes: Sequence[str] = (), seeds: Sequence[int] = ()) -> Sweep:
    """Load the sweep in the file `name` (ends in .toml), or the packaged one of that name.

    `changes` are `section.name=value` settings for all arms; `seeds` replaces the file's seeds. Raises TrainingError
    that names what is wrong.
    """
    path = Path(name) if name.endswith(".toml") else SWEEPS / f"{name}.toml"
    if not path.is_file():
        raise TrainingError(f"no sweep {name!r}: give a .toml file or one of {', '.join(sweep_names())}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = SweepSettings.model_validate(content | ({"seeds": list(seeds)} if seeds else {}))
    except ValidationError as error:
        raise TrainingError(f"sweep {path}: {first_problem(error)}") from error
    except (OSError, ValueError) as error:
        raise TrainingError(f"sweep {path}: {one_line(error)}") from error
    beside = path.parent / f"{settings.recipe}.toml"
    recipe = str(beside) if beside.is_file() else settings.recipe
    runs = tuple(_run(recipe, arm, seed, changes, out) for seed in settings.seeds for arm in settings.arms)
    return Sweep(path.stem, settings, runs)


def run_sweep(sweep: Sweep, train: Callable[[Run], Any], report: Callable[[], Any], say: Say) -> None:
    """Train every unfinished run, and write the report after each."""
    for number, run in enumerate(sweep.runs, start=1):
        if run.record is not None:
            continue
        say(f"run {number} of {len(sweep.runs)}: {run.arm}, seed {run.seed}")
        train(run)
        report()


def _run(recipe: str, arm: Arm, seed: int, changes: Sequence[str], out: Path) -> Run:
    own = [f"{name}={_toml(value)}" for name, value in _named(arm.set)]
    loaded = load_recipe(recipe, [*changes, *own, f"schedule.seed={seed}"])
    return Run(arm.name, seed, loaded, out / arm.name / f"seed-{seed}")


def _named(changes: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield (section.name, value), a loss's name first because setting it clears the settings of other losses."""
    for section, values in changes.items():
        for name in sorted(values, key=lambda name: name != "name"):
            yield f"{section}.{name}", values[name]


def _toml(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
