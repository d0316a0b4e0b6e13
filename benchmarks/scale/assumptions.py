"""What a plan takes for granted, in `scale.toml`, which names each number's source."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mrb._util.model import Model
from mrb.data.task import read_toml
from mrb.data.task_fields import Slug
from mrb.errors import MRBError

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Harness(Model):
    """Rates of everything but the model, and how unlike queries are; seconds, rows and pairs a second."""

    start_seconds: Positive
    rows_read_per_second: Positive
    rows_opened_per_second: Positive
    pairs_finished_per_second: Positive
    spread: Positive
    record_bytes: int = Field(gt=0)


class Arithmetic(Model):
    """A model's size: 10^9 parameters of the decoder's layers and of the vision tower, and what features take."""

    id: Slug
    decoder: Positive
    vision: Positive
    patches_per_token: int = Field(gt=0)
    feature_bytes: int = Field(gt=0)
    cache_mb: int = Field(ge=0)


class Assumed(Model):
    """The file `scale.toml`."""

    schema_version: Literal[1]
    harness: Harness
    sustained_teraflops: Positive
    models: tuple[Arithmetic, ...]

    def model(self, model_id: str) -> Arithmetic:
        """The model of a name; MRBError lists those there are."""
        for model in self.models:
            if model.id == model_id:
                return model
        known = ", ".join(model.id for model in self.models)
        raise MRBError(f"--assume {model_id}: no arithmetic of it is known; there is {known}")


@cache
def load_assumed() -> Assumed:
    """The assumptions of this version of MRB."""
    return read_toml(Assumed, Path(__file__).with_name("scale.toml"))
