"""The fields of a task definition: where its data lies, the rules of its judgements, image limits and sizes."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mrb._util.model import Model
from mrb.data.items import ImageCaps

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
SuiteId = Annotated[str, Field(pattern=r"^[a-z0-9]+([-.][a-z0-9]+)*$", max_length=64)]
CandidateSetId = Annotated[str, Field(pattern=r"^[a-z0-9]+([-+.][a-z0-9]+)*$", max_length=64)]
Sha1 = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Repository = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=96)]
PinnedCopy = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+@[0-9a-f]{40}$")]
HttpsUrl = Annotated[str, Field(pattern=r"^https://[^\s<>\"']+$", max_length=300)]
Cluster = Literal["none", "query_image", "query_text", "document", "positives"]
MeasureName = Annotated[str, Field(pattern=r"^(nDCG|Recall|HitRate|MRR)@[1-9][0-9]{0,2}$")]


class Table(Model):
    """The location of one table of a part: config and split in its repository or local folder.

    `alternatives` are other (config, split) pairs of the same table in public copies. They are tried in order if the
    first pair is missing. `more` are further configs of the same columns and split, whose rows follow: the queries of a
    set that keeps each language in a config of its own.
    """

    config: str
    split: str
    alternatives: tuple[tuple[str, str], ...] = ()
    more: tuple[str, ...] = ()


class Part(Model):
    """One repository of a task at its pinned revision. Most tasks have one part; CQADupStack has twelve.

    If a task has several parts, `name` prefixes every id as `name/id`. `repository` is `owner/name` on the Hub, or the
    folder of embedded data. `revision` is the commit (40 hex digits); embedded data has a `content` hash instead (64
    hex digits, over rows and decoded pixels). `copies` are other public uploads of the same tables
    (`owner/name@commit`), for information only: the loader never reads them.
    """

    name: Slug | Literal[""] = ""
    repository: Repository
    revision: Sha1 | None = None
    content: Sha256 | None = None
    copies: tuple[PinnedCopy, ...] = ()
    corpus: Table
    queries: Table
    qrels: Table
    side: Table | None = None

    @model_validator(mode="after")
    def _one_pin(self) -> Self:
        if (self.revision is None) == (self.content is None):
            raise ValueError(f"part {self.repository!r} needs either a revision (a Hub commit) or a content hash")
        return self


class Source(Model):
    """The source of the data: a Hub repository, the package, or a folder of the user's own (`mrb.data.folder_task`).

    `schema_family` names the column layout (docs/design/task-definitions.md describes each).

    `format` is the format of the files at the pinned revision (`json`: one object per line); `format_confirmed` is
    false if no public document states it. `seen_live` is the day on which `mrb data check --remote` confirmed this
    source on the live Hub; None if that never happened.
    """

    kind: Literal["hub", "embedded", "folder"]
    schema_family: Literal["beir", "mbeir", "umrb", "flickr", "vidore"]
    format: Literal["parquet", "json"]
    format_confirmed: bool = True
    seen_live: date | None = None
    parts: tuple[Part, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for part in self.parts:
            if self.kind == "hub" and (part.revision is None or "/" not in part.repository):
                raise ValueError(f"part {part.repository!r} of a Hub source needs `owner/name` and a revision")
            if self.kind != "hub" and part.content is None:
                raise ValueError(f"part {part.repository!r} of a source that is not on the Hub needs a content hash")
        names = {part.name for part in self.parts}
        if len(self.parts) > 1 and ("" in names or len(names) < len(self.parts)):
            raise ValueError("several parts need a name each, all different")
        if len({part.repository for part in self.parts}) < len(self.parts):
            raise ValueError("a repository is listed twice")
        return self


class Rules(Model):
    """The rules that turn raw tables into the judged task. Loading counts their effects; results publish the counts.

    - `drop_qrels_outside_corpus`: drop judgements of documents that the corpus lacks.
    - `drop_qrels_outside_queries`: drop judgements of queries that the query table lacks.
    - `drop_identical_ids`: queries are in the corpus too; remove a query from its own candidates.
    - `drop_query_image_from_candidates`: remove the reference image of a composed query from its candidates.
    - `graded`: grades above 1 occur.
    - `zero_grades_listed`: the qrels hold rows that mean "not relevant".
    - `average_over_parts`: the score is the unweighted mean over the parts.
    - `raw_qrels`: keep what `drop_qrels_outside_corpus` would drop, also in the ideal of nDCG. No shipped definition
      has it; `--raw-qrels` sets it.
    - `duplicates`: for a pair judged twice with different grades, or an id that two rows have: "refuse" the data, or
      take the "first" judgement or the greatest grade ("max"), and the first row of the id. A judgement repeated with
      the same grade is always taken once.
    """

    drop_qrels_outside_corpus: bool = False
    drop_qrels_outside_queries: bool = False
    drop_identical_ids: bool = False
    drop_query_image_from_candidates: bool = False
    graded: bool = False
    zero_grades_listed: bool = False
    average_over_parts: bool = False
    raw_qrels: bool = False
    duplicates: Literal["refuse", "first", "max"] = "refuse"


MOST_IMAGES = 1000
"""The greatest number of images of one item that a definition may state."""
IMAGE_RULES = {"max_pixels", "max_bytes", "downscale_pixels"}
"""The fields of `Images` that decide pixels, or which image is refused. The others describe the data."""
SELF_MATCH_RULES = ("drop_identical_ids", "drop_query_image_from_candidates")
"""The rules that remove candidates. The others decide judgements and averages."""


class Images(Model):
    """Image limits. `largest` is the greatest documented width and height, which may be those of two images.

    `per_query` and `per_document` are the greatest numbers of images of one item. Data with more is refused; a reranker
    that takes fewer does not cover the task.

    An image over `max_pixels` or `max_bytes` is refused; one over `downscale_pixels` is shrunk to it when decoded.
    """

    largest: tuple[int, int] | None = None
    per_query: int = Field(default=1, ge=1, le=MOST_IMAGES)
    per_document: int = Field(default=1, ge=1, le=MOST_IMAGES)
    max_pixels: int = ImageCaps.max_pixels
    max_bytes: int = ImageCaps.max_bytes
    downscale_pixels: int | None = None

    @model_validator(mode="after")
    def _limits_fit(self) -> Self:
        if self.downscale_pixels is not None and not 0 < self.downscale_pixels <= self.max_pixels:
            raise ValueError("downscale_pixels must lie between 1 and max_pixels")
        if self.largest is not None and self.largest[0] * self.largest[1] > self.max_pixels:
            raise ValueError("max_pixels is under the documented largest image")
        return self

    @property
    def caps(self) -> ImageCaps:
        """The limits in the form that `ImageHandle` takes."""
        return ImageCaps(self.max_bytes, self.max_pixels, self.downscale_pixels)


class Size(Model):
    """Documented sizes: judged queries, documents, rows of the published qrels, and those with a grade other than 0.

    `positives` is stated where the rows also hold judgements of grade 0. `gigabytes` is the documented download size,
    in which small text tables may be missing. What no source states is None. Of an own task on the Hub, 0 queries or
    documents mean that nobody stated them.
    """

    queries: int = Field(ge=0)
    documents: int = Field(ge=0)
    qrels: int | None = None
    positives: int | None = None
    gigabytes: float | None = None


class FrozenCandidates(Model):
    """The task's published candidate list. `file` is relative to the task folder."""

    file: str
    sha256: Sha256
    first_stage: str
    track: str
    depth: int = Field(gt=0)
