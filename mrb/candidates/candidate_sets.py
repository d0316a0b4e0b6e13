"""Named candidate sets (`track` in the files of lists and results), what their first stages take, and published lists.

The data is in the package `mrb.tasks`: `candidate_sets.toml` and `published_lists.toml`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mrb._util.model import Model
from mrb.data.task import TYPES, Task, TypeName, load_task, locate_task_folder, read_toml
from mrb.data.task_fields import CandidateSetId, Repository, Sha1, Sha256, Slug
from mrb.errors import CandidatesError, TaskError
from mrb.hub.address import HubFolder

STANDARD_SET = "standard"
"""The candidate set of the frozen lists in the package, and of lists made without a name."""

Kind = Literal["text", "image", "page", "image+text"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ITEM_KINDS: dict[str, Kind] = {"t": "text", "i": "image", "vd": "page", "it": "image+text"}


class FirstStageCost(Model):
    """What a first stage takes, for estimates.

    One with a model has its checkpoint and 10^12 operations per item of each kind (`teraflops`). One that needs no GPU
    has the bytes of its index per document.
    """

    id: str
    gpu: bool = True
    model: str = ""
    teraflops: dict[Kind, Positive] = Field(default_factory=dict)
    index_bytes: int = Field(0, ge=0)


class CandidateSet(Model):
    """A candidate set: a first stage for each task type, and the depth.

    `publisher` says who made and published the lists of a set that MRB does not make; such a set is of some types only.
    """

    id: CandidateSetId
    title: str
    description: str
    depth: int = Field(gt=0)
    first_stages: dict[TypeName, str] = Field(min_length=1)
    publisher: str | None = None

    @model_validator(mode="after")
    def _every_type(self) -> Self:
        if self.publisher is None and set(self.first_stages) != set(TYPES):
            raise ValueError(f"candidate set {self.id!r} must name a first stage for each of {', '.join(TYPES)}")
        return self

    def first_stage(self, task: Task) -> str:
        """Return the first stage of the task's list, in the form that `--first-stage` takes.

        Raises:
            CandidatesError: Others make the lists of this set.
        """
        if self.publisher is not None:
            raise CandidatesError(
                f"the lists of candidate set {self.id} were made by {self.publisher}; `mrb candidates pull {self.id}` "
                "fetches them"
            )
        return self.first_stages[task.type]

    def list_accepted_names(self, task: Task) -> tuple[str, ...]:
        """Return the first-stage names that a list of the task may state.

        They are the task's first stage and the fusion of all first stages of the set. The fusion omits those that do
        not cover the task, so it gives the same list. Of a set that others publish, it is the first stage they name.
        """
        if self.publisher is not None:
            return (self.first_stages[task.type],)
        parts = dict.fromkeys(part for name in self.first_stages.values() for part in name.split("+"))
        return tuple(dict.fromkeys((self.first_stage(task), "+".join(parts))))


class CandidateSets(Model):
    """Content of the file `candidate_sets.toml`. `most_per_second` limits the items per second of each kind."""

    schema_version: Literal[1]
    most_per_second: dict[Kind, Positive]
    encoders: tuple[FirstStageCost, ...]
    sets: tuple[CandidateSet, ...]

    @model_validator(mode="after")
    def _known_first_stages(self) -> Self:
        known = {encoder.id for encoder in self.encoders}
        for one in self.sets:
            if one.publisher is not None:
                continue
            for part in {part for name in one.first_stages.values() for part in name.split("+")} - known:
                raise ValueError(f"candidate set {one.id!r} names {part!r}, whose cost is not stated")
        if len({one.id for one in self.sets}) < len(self.sets):
            raise ValueError("a candidate set is listed twice")
        return self


class PublishedList(Model):
    """A published list in a Hub data set at a commit, and the hash of its content.

    It is MRB's file `<task>.parquet` in `folder`, or the tables of mteb's form (`mrb.candidates.ranked_tables`) in the
    configs `top_ranked` of `split`. The hash of such a list may be absent until somebody has fetched it; a run records
    the hash that it saw. `pack_sha256` is the hash of the list's judgement pack, which lies beside it.
    """

    candidate_set: CandidateSetId
    task: Slug
    repository: Repository
    commit: Sha1
    folder: str = ""
    top_ranked: tuple[str, ...] = ()
    split: str = "test"
    sha256: Sha256 | None = None
    pack_sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _has_hash(self) -> Self:
        if self.sha256 is None and not self.top_ranked:
            raise ValueError(f"the list of {self.task} in {self.repository} needs its sha256")
        return self

    @property
    def place(self) -> HubFolder:
        """The repository, commit and folder."""
        return HubFolder(self.repository, self.commit, self.folder)


class PublishedLists(Model):
    """Content of the file `published_lists.toml`."""

    schema_version: Literal[1]
    lists: tuple[PublishedList, ...]

    @model_validator(mode="after")
    def _no_list_twice(self) -> Self:
        if len({(one.candidate_set, one.task) for one in self.lists}) < len(self.lists):
            raise ValueError("a task is listed twice in one candidate set")
        return self


@cache
def load_candidate_sets() -> CandidateSets:
    """Load the candidate sets of this version of MRB."""
    return read_toml(CandidateSets, locate_task_folder() / "candidate_sets.toml")


@cache
def load_published_lists() -> PublishedLists:
    """Load the published lists that this version of MRB knows.

    Raises:
        TaskError: A list names an unknown candidate set or task.
    """
    published = read_toml(PublishedLists, locate_task_folder() / "published_lists.toml")
    for one in published.lists:
        get_candidate_set(one.candidate_set)
        load_task(one.task)
    return published


def get_candidate_set(set_id: str) -> CandidateSet:
    """Return the candidate set of this name. TaskError, which lists the known ones, if there is none."""
    found = find_candidate_set(set_id)
    if found is None:
        known = ", ".join(one.id for one in load_candidate_sets().sets)
        raise TaskError(f"unknown candidate set {set_id!r}; there are: {known}")
    return found


def find_published_lists(chosen: CandidateSet, task_ids: Iterable[str]) -> list[PublishedList]:
    """Return the published lists of a candidate set for the named tasks, or all of them if no task is named.

    Raises:
        CandidatesError: The set has no published list, or none for a named task. Missing lists are never replaced.
    """
    lists = {one.task: one for one in load_published_lists().lists if one.candidate_set == chosen.id}
    where = f"candidate set {chosen.id}"
    if not lists:
        raise CandidatesError(
            f"{where}: no list of it has been published yet: somebody with a GPU has to make them first; "
            "`mrb candidates sets` says what makes each task's list and estimates the GPU-hours"
        )
    wanted = list(task_ids) or list(lists)
    for task_id in wanted:
        if task_id not in lists:
            raise CandidatesError(f"{where}: no list of task {load_task(task_id).id} has been published yet")
    return [lists[task_id] for task_id in wanted]


def find_published_list(set_id: str, task_id: str) -> PublishedList | None:
    """Return the published list of a task in a candidate set, None if there is none."""
    return next(
        (one for one in load_published_lists().lists if (one.candidate_set, one.task) == (set_id, task_id)), None
    )


def list_published_sets(task_id: str) -> list[str]:
    """Return the candidate sets in which a list of the task is published, in the order of the file."""
    return [one.candidate_set for one in load_published_lists().lists if one.task == task_id]


def find_candidate_set(set_id: str | None) -> CandidateSet | None:
    """Return the candidate set of this name, None for any other name: those are free for users."""
    return next((one for one in load_candidate_sets().sets if one.id == set_id), None)


def check_candidate_set(set_id: str, first_stage: str, depth: int, task: Task, where: str) -> None:
    """Refuse a list with the name of a known candidate set but another first stage or depth. Other names are free.

    Raises:
        CandidatesError: Names the list (`where`), the stated first stage and depth, and the expected ones.
    """
    known = find_candidate_set(set_id)
    if known is None or (known.publisher is not None and find_published_list(set_id, task.id) is None):
        return
    if first_stage in known.list_accepted_names(task) and depth == known.depth:
        return
    wanted = f"{known.list_accepted_names(task)[0]} at depth {known.depth}"
    raise CandidatesError(
        f"{where}: in candidate set {known.id} the list of {task.id} is made by {wanted}, not by {first_stage!r} at "
        f"depth {depth}; give it another --candidate-set"
    )
