"""GPUs for estimates: their figures, and what they are assumed to sustain. The data is `tasks/gpus.toml`."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from pydantic import Field

from mrb._util.model import Model
from mrb.data.task import locate_task_folder, read_toml
from mrb.errors import MRBError, suggest_names

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Gpu(Model):
    """A GPU.

    `teraflops` is the stated peak of dense bfloat16 products, `bandwidth` and `memory` are in 10^9 bytes (per second),
    `price` is in US dollars for an hour, as read at `price_source` in `price_date`.
    """

    id: str
    name: str
    teraflops: Positive
    bandwidth: Positive
    memory: Positive
    source: str
    price: Positive
    price_date: str
    price_source: str


class Tokens(Model):
    """Assumed tokens of the parts of a prompt."""

    template: int = Field(gt=0)
    query_text: int = Field(gt=0)
    document_text: int = Field(gt=0)
    image: int = Field(gt=0)
    page: int = Field(gt=0)

    def count_side(self, kind: str, text: int) -> int:
        """Return the tokens of a side of a task type (`t`, `i`, `vd`, `it`), whose text has `text` of them."""
        return self.count_visual(kind) + (text if "t" in kind else 0)

    def count_visual(self, kind: str) -> int:
        """Return the tokens of the side's image, 0 without one."""
        return self.page if kind == "vd" else self.image if "i" in kind else 0

    def count_pair(self, task_type: str) -> int:
        """Return the tokens of a query with one document."""
        query, document = task_type.split("2")
        return self.template + self.count_side(query, self.query_text) + self.count_side(document, self.document_text)


class Gpus(Model):
    """Content of `gpus.toml`. `sustained_share` is the assumed share of the peak."""

    schema_version: Literal[1]
    sustained_share: float = Field(gt=0, le=1)
    default: str
    tokens: Tokens
    gpus: tuple[Gpu, ...]

    def sustain(self, gpu: Gpu) -> float:
        """Return the 10^12 operations per second that the GPU is assumed to sustain."""
        return self.sustained_share * gpu.teraflops

    def describe(self, gpu: Gpu) -> str:
        """Return in words what an estimate for the GPU assumes."""
        share = f"{100 * self.sustained_share:.0f} %"
        return (
            f"{gpu.name}: assumed to sustain {self.sustain(gpu):.0f} TFLOP/s, {share} of its peak in bfloat16; nothing "
            f"was measured on a GPU. Price as read in {gpu.price_date}, unconfirmed (tasks/gpus.toml)."
        )


@cache
def load_gpus() -> Gpus:
    """Load the GPUs that this version of MRB knows."""
    return read_toml(Gpus, locate_task_folder() / "gpus.toml")


def find_gpu(gpu_id: str | None = None) -> Gpu:
    """Return the GPU of this id, or the default one. MRBError, which lists the known ones, if there is none."""
    known = load_gpus()
    wanted = gpu_id or known.default
    found = next((gpu for gpu in known.gpus if gpu.id == wanted), None)
    if found is None:
        names = [gpu.id for gpu in known.gpus]
        raise MRBError(f"--gpu {wanted}: there are {', '.join(names)}{suggest_names(wanted, names)}")
    return found
