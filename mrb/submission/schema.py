"""Schema of `submission.json`, and the names that a submission may have.

```text
<organisation>__<model>[__<variant>]/submission.json            `Submission`
<organisation>__<model>[__<variant>]/rankings/<task>.parquet    the order of every query's candidates
```

`docs/schema/submission.json` is the model as JSON Schema. `docs/submitting.md` explains every part.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mrb._util.files import is_device_name
from mrb._util.hashing import hash_json
from mrb._util.model import Model
from mrb._util.printable import PrintableStr
from mrb._util.redact import is_secret_name
from mrb.data.own_tasks import OWN_SUITE
from mrb.data.task_fields import Sha256, Slug, SuiteId
from mrb.results.schema import (
    Definitions,
    NotCovered,
    RerankerInfo,
    Result,
    TaskTiming,
    omit_no_definitions,
)
from mrb.results.suite_averages import SuiteAverages
from mrb.submission.private_text import find_private_text, is_personal_name

SCHEMA_VERSION = 1
SUBMISSION_FILE = "submission.json"
RANKINGS_FOLDER = "rankings"
MAX_SUBMISSION_BYTES = 4 * 1024 * 1024
MAX_TASKS = 200

Mark = Literal["trained-on", "related", "clean", "unknown"]
MARKS = get_args(Mark)
"""What says most first."""
ModelKind = Literal["lexical", "bi-encoder", "cross-encoder", "generative", "api", "other"]
# ASCII only, so that no name can imitate another; no dot or underscore at the end or doubled.
_NAME = r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*"
# No user, no port, no single-word host; ASCII only, so that no host can imitate another.
_LINK = r"^https://[a-z0-9-]+(\.[a-z0-9-]+)*\.[a-z]{2,24}(/[A-Za-z0-9._~+%/?&=#:,-]*)?$"


def _refuse_private(text: str) -> str:
    found = find_private_text(text)
    if found is not None:
        raise ValueError(f"holds {found}, which must not be in a submission")
    return text


def _refuse_device_name(name: str) -> str:
    if is_device_name(name):
        raise ValueError("is a reserved device name on Windows")
    return name


Name = Annotated[str, Field(max_length=46, pattern=f"^{_NAME}$"), AfterValidator(_refuse_device_name)]
Link = Annotated[str, Field(max_length=300, pattern=_LINK)]
PublicText = Annotated[str, Field(max_length=4000), AfterValidator(_refuse_private)]
Parameters = Annotated[int, Field(gt=0, le=10**14)]


class ModelCard(Model):
    """What the submitter says about the model; nothing here can be computed.

    `parameters` counts all parameters, `active_parameters` those that one token passes through. `kind` says how the
    model is built, while `reranker.kind` says what it sees of a list. `variant` tells submissions of one model apart.
    """

    organisation: Name
    name: Name
    variant: Name | Literal[""] = ""
    parameters: Parameters | None = None
    active_parameters: Parameters | None = None
    links: tuple[Link, ...] = Field(default=(), max_length=10)
    licence: Annotated[str, Field(max_length=64, pattern=r"^([A-Za-z0-9][A-Za-z0-9.+() -]*)?$")] = ""
    open_weights: bool = False
    kind: ModelKind = "other"

    @property
    def folder(self) -> str:
        """Name of the submission's folder."""
        return "__".join(filter(None, (self.organisation, self.name, self.variant)))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.active_parameters is not None and self.active_parameters > (self.parameters or 0):
            raise ValueError("more active parameters than parameters")
        if len(self.folder) > 96:
            raise ValueError(f"the folder's name {self.folder} is longer than 96 letters")
        return self


class RankingInfo(Model):
    """One rankings file: its SHA-256, whether it holds scores, and the hash of its query ids, one per line."""

    sha256: Sha256
    scores: bool
    queries: Sha256


class Submission(Model):
    """A submitted run: the model, what was run, every result, and the hash of every rankings file.

    `training` says for each task of the suite what the model was trained on: the task's training split or test set
    (trained-on), data made from the same source (related), none of these (clean), or unknown. `definitions` are those
    of tasks of the submitter's own, then the suite is `own`; the field is absent without any.
    """

    schema_version: Literal[1]
    mrb_version: PrintableStr
    model: ModelCard
    suite: SuiteId
    suite_version: PrintableStr
    reranker: RerankerInfo
    training: dict[Slug, Mark] = Field(max_length=MAX_TASKS)
    not_covered: tuple[NotCovered, ...] = Field(max_length=MAX_TASKS)
    command: tuple[PublicText, ...] = Field(max_length=200)
    environment: dict[PrintableStr, PrintableStr] = Field(max_length=64)
    timings: dict[Slug, TaskTiming] = Field(max_length=MAX_TASKS)
    rankings: dict[Slug, RankingInfo] = Field(max_length=MAX_TASKS)
    averages: SuiteAverages
    results: dict[Slug, Result] = Field(min_length=1, max_length=MAX_TASKS)
    definitions: Definitions = Field(default_factory=dict)

    @property
    def content_hash(self) -> str:
        """Identity of the submission: a hash of its whole content and, through their hashes, of its rankings."""
        return hash_json(self.model_dump(mode="json"))

    @model_serializer(mode="wrap")
    def _without_no_definitions(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return omit_no_definitions(handler(self))

    @model_validator(mode="after")
    def _own_suite(self) -> Self:
        if (self.suite == OWN_SUITE) != bool(self.definitions):
            raise ValueError(f"suite {self.suite!r} with {len(self.definitions)} definitions; own tasks are suite own")
        return self

    @model_validator(mode="after")
    def _one_run(self) -> Self:
        if self.results.keys() != self.rankings.keys():
            raise ValueError("results and rankings are not of the same tasks")
        for task_id, result in self.results.items():
            if result.task != task_id or result.reranker != self.reranker:
                raise ValueError(f"results.{task_id} belongs to another task or reranker")
        strange = sorted(self.timings.keys() - self.results.keys())
        if strange:
            raise ValueError(f"timings.{strange[0]} belongs to a task without a result")
        if any(item.task in self.results for item in self.not_covered):
            raise ValueError("a task with a result is also listed as not covered")
        return self

    @model_validator(mode="after")
    def _nothing_private(self) -> Self:
        options, environment = self.reranker.options, self.environment
        texts = {"reranker.source": self.reranker.source, "reranker.version": self.reranker.version}
        texts |= {f"reranker.options.{name}": value for name, value in options.items() if isinstance(value, str)}
        texts |= {f"environment.{name}": value for name, value in environment.items()}
        for where, text in texts.items():
            found = find_private_text(text)
            if found is None and is_secret_name(where.rpartition(".")[2]) and text and not text.startswith("("):
                found = "a secret"
            if found is not None:
                raise ValueError(f"{where} holds {found}, which must not be in a submission")
        personal = next((name for name in environment if is_personal_name(name)), None)
        if personal is not None:
            raise ValueError(f"environment.{personal} names a machine or a person")
        return self
