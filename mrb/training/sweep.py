"""`mrb train sweep NAME`: train one recipe in several arms, each with several seeds, and keep a table of the results.

A sweep is a TOML file. OUT/ARM/seed-N is a run as `mrb train` makes it, so a killed sweep resumes within a run, and a
finished run is not repeated. OUT/results.csv is rewritten after every run.
"""

from __future__ import annotations

import csv
import io
import logging
import statistics
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from mrb._util.files import write_bytes
from mrb._util.format import format_table
from mrb._util.model import Model
from mrb.data.task_fields import Slug
from mrb.errors import TrainingError, format_first_problem, to_one_line
from mrb.training.recipe import LoadedRecipe, load_recipe
from mrb.training.recipe_content import RECIPES
from mrb.training.record import DevRecord, TrainingRecord, read_training_record

logger = logging.getLogger(__name__)

SWEEPS = RECIPES / "sweeps"
RESULTS = "results.csv"
_COLUMNS = ("arm", "seed", *DevRecord.model_fields)


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
            raise ValueError("an arm or a seed occurs twice")
        if self.reference not in names:
            raise ValueError(f"reference {self.reference!r} is not one of the arms")
        return self


@dataclass(frozen=True)
class SweepRun:
    """One arm with one seed: its recipe and its folder."""

    arm: str
    seed: int
    loaded: LoadedRecipe
    folder: Path

    def read_record(self) -> TrainingRecord | None:
        """Return the run's record if the run is finished and was made by this recipe, else None."""
        found = read_training_record(self.folder)
        return found if found is not None and found.finished and found.recipe_sha256 == self.loaded.sha256 else None


@dataclass(frozen=True)
class Sweep:
    """A sweep with its runs: all arms of the first seed, then of the next, so that an unfinished sweep is balanced."""

    name: str
    settings: SweepSettings
    runs: tuple[SweepRun, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of the arms, in order."""
        return tuple(arm.name for arm in self.settings.arms)

    def read_finished(self) -> dict[tuple[str, int], tuple[SweepRun, TrainingRecord]]:
        """Return the finished runs with their records, by arm and seed."""
        return {(run.arm, run.seed): (run, record) for run in self.runs if (record := run.read_record()) is not None}


def find_default_folder(name: str) -> Path:
    """Return the folder of a sweep if the user names none."""
    return Path("training") / (Path(name).stem if name.endswith(".toml") else name)


def load_sweep(name: str, out: Path, changes: Sequence[str] = (), seeds: Sequence[int] = ()) -> Sweep:
    """Load a sweep.

    Args:
        name: A file (ends in .toml), or the name of a packaged sweep.
        out: The sweep's folder.
        changes: Settings of all arms to replace, as `section.name=value`.
        seeds: Seeds instead of those of the file.

    Raises:
        TrainingError: Names what is wrong.
    """
    path = Path(name) if name.endswith(".toml") else SWEEPS / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in SWEEPS.glob("*.toml")))
        raise TrainingError(f"no sweep {name!r}: give a .toml file or one of {known}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        settings = SweepSettings.model_validate(content | ({"seeds": list(seeds)} if seeds else {}))
    except ValidationError as error:
        raise TrainingError(f"sweep {path}: {format_first_problem(error)}") from error
    except (OSError, ValueError) as error:
        raise TrainingError(f"sweep {path}: {to_one_line(error)}") from error
    beside = path.parent / f"{settings.recipe}.toml"
    recipe = str(beside) if beside.is_file() else settings.recipe
    runs = tuple(_load_run(recipe, arm, seed, changes, out) for seed in settings.seeds for arm in settings.arms)
    return Sweep(path.stem, settings, runs)


def run_sweep(sweep: Sweep, out: Path, train: Callable[[SweepRun], Any]) -> None:
    """Train every unfinished run, and write the results into `out` after each."""
    for number, run in enumerate(sweep.runs, start=1):
        if run.read_record() is None:
            logger.info(f"run {number} of {len(sweep.runs)}: {run.arm}, seed {run.seed}")
            train(run)
            write_results(sweep, out)


def write_results(sweep: Sweep, out: Path) -> Path:
    """Write results.csv into `out`, a row for each finished run and development task; return its path."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for (arm, seed), (_, record) in sweep.read_finished().items():
        rows.writerows([arm, seed, *result.model_dump().values()] for result in record.results)
    write_bytes(out / RESULTS, text.getvalue().encode())
    return out / RESULTS


def format_results(sweep: Sweep) -> list[str]:
    """Return the lines of a table: each finished run's measure x 100 by task, and its mean over tasks."""
    finished = sweep.read_finished()
    tasks = list(dict.fromkeys(result.task for _, record in finished.values() for result in record.results))
    table = [("arm", "seed", *tasks, "mean")]
    for arm, seed in sorted(finished, key=lambda key: (sweep.arms.index(key[0]), key[1])):
        values = {result.task: result.value for result in finished[arm, seed][1].results}
        means = [statistics.fmean(values.values())] if values else []
        table.append((arm, str(seed), *(f"{100 * value:.2f}" for value in [*values.values(), *means])))
    return format_table([row for row in table if len(row) == len(table[0])], 2)


def _load_run(recipe: str, arm: Arm, seed: int, changes: Sequence[str], out: Path) -> SweepRun:
    own = [f"{name}={_read_toml(value)}" for name, value in _list_changes(arm.set)]
    loaded = load_recipe(recipe, [*changes, *own, f"schedule.seed={seed}"])
    return SweepRun(arm.name, seed, loaded, out / arm.name / f"seed-{seed}")


def _list_changes(changes: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield (section.name, value), a loss's name first because setting it clears the settings of other losses."""
    for section, values in changes.items():
        for name in sorted(values, key=lambda name: name != "name"):
            yield f"{section}.{name}", values[name]


def _read_toml(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
