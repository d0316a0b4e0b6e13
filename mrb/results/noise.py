"""Read and write `noise.json` in a run's folder: how much a reranker's numbers change between two batch plans.

`mrb check MODEL --noise` measures it (`mrb.evaluation.check.noise_run`). An invalid file is refused by name. A file
that was measured on another reranker than the run's is never used. `schema/noise.json` in docs is `NoiseRecord` as JSON
Schema.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mrb._util.files import write_json
from mrb._util.model import Model
from mrb._util.printable import PrintableStr
from mrb.data.task_fields import Sha256, Slug
from mrb.results.schema import Fraction, RerankerInfo, parse_file

NOISE_FILE = "noise.json"
_ROUNDING = 1e-9

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0)]


class TaskNoise(Model):
    """The noise of one task, measured under two batch plans.

    `candidates` is the SHA-256 of the candidate list. `spread` is the standard deviation of the scores.
    `largest_difference` is the largest change of a score (of a rank for a listwise model). `rank_changes` counts
    candidates whose rank differs, `top_changes` queries whose set of top 10 candidates differs. `first` and `second`
    are nDCG@10 under the two plans, `mean_change` and `largest_change` the mean and the largest absolute change over
    queries, all as fractions.
    """

    candidates: Sha256
    queries: int = Field(ge=1)
    pairs: int = Field(ge=1)
    spread: Amount
    largest_difference: Amount
    rank_changes: Number
    top_changes: Number
    first: Fraction
    second: Fraction
    mean_change: Fraction
    largest_change: Fraction

    @model_validator(mode="after")
    def _verify_counts(self) -> Self:
        if self.rank_changes > self.pairs:
            raise ValueError(f"rank_changes is {self.rank_changes}, of {self.pairs} pairs")
        if self.top_changes > self.queries:
            raise ValueError(f"top_changes is {self.top_changes}, of {self.queries} queries")
        if self.mean_change > self.largest_change + _ROUNDING:
            raise ValueError(f"mean_change is {self.mean_change}, above largest_change, {self.largest_change}")
        if abs(self.second - self.first) > self.mean_change + _ROUNDING:
            raise ValueError(f"first and second lie further apart than mean_change, {self.mean_change}")
        return self


class NoiseRecord(Model):
    """The content of `noise.json`: the reranker, the batch plans, the environment and the noise of each task.

    `floor` is the mean of the tasks' `mean_change`. A difference of that size between two runs of one model means
    nothing.
    """

    schema_version: Literal[1]
    mrb_version: PrintableStr
    reranker: RerankerInfo
    plans: tuple[PrintableStr, PrintableStr]
    depth: int = Field(gt=0, le=10_000)
    tasks: dict[Slug, TaskNoise] = Field(min_length=1)
    floor: Fraction
    environment: dict[PrintableStr, PrintableStr]

    @model_validator(mode="after")
    def _verify_floor(self) -> Self:
        mean = math.fsum(task.mean_change for task in self.tasks.values()) / len(self.tasks)
        if abs(self.floor - mean) > _ROUNDING:
            raise ValueError(f"floor is {self.floor}, the tasks' mean_change averages to {mean}")
        return self

    @property
    def extent(self) -> str:
        """The number of tasks and the depth, in words."""
        return f"{len(self.tasks)} {'task' if len(self.tasks) == 1 else 'tasks'}, depth {self.depth}"


def write_noise(folder: Path, record: NoiseRecord) -> Path:
    """Write `noise.json` atomically into a run's folder and return its path."""
    path = folder / NOISE_FILE
    write_json(path, record.model_dump(mode="json"))
    return path


def read_noise(folder: Path) -> NoiseRecord | None:
    """Read the noise stored in a run's folder, or return None. Raises ResultError if the file is invalid."""
    path = folder / NOISE_FILE
    return parse_file(NoiseRecord, path) if path.exists() else None


def describe_other_reranker(record: NoiseRecord, info: RerankerInfo) -> str:
    """Describe in which fields the measured reranker differs from `info`; empty if they are the same reranker."""
    differing = record.reranker.describe_differences(info)
    return f"measured on another reranker ({differing})" if differing else ""
