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


class Tokens(Model):
    """Tokens of a prompt's parts."""

    template: int = Field(gt=0)
    query_text: int = Field(gt=0)
    document_text: int = Field(gt=0)
    image: int = Field(gt=0)
    page: int = Field(gt=0)

    def side(self, kind: str, text: int) -> int:
        """Tokens of a side of a task type (`t`, `i`, `vd`, `it`), whose text has `text` of them."""
        return self.visual(kind) + (text if "t" in kind else 0)

    def visual(self, kind: str) -> int:
        """Those of its picture; 0 where it has none."""
        return self.page if kind == "vd" else self.image if "i" in kind else 0


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
    tokens: Tokens
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
