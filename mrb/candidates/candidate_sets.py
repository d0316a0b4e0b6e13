"""Named tracks of first-stage lists, what they are estimated to cost, and where their published lists lie.

Both are data of the package `mrb.tasks`: `tracks.toml` and `published_lists.toml`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mrb.data.task import TYPES, Model, Repository, Sha1, Sha256, Slug, Task, load_task, read_toml, task_folder
from mrb.errors import CandidatesError, TaskError

STANDARD_TRACK = "standard"
"""The track of the frozen lists that are part of the package, and of lists made without a name."""

Kind = Literal["text", "image", "page", "image+text"]
TrackId = Annotated[str, Field(pattern=r"^[a-z0-9]+([-+][a-z0-9]+)*$", max_length=64)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_KINDS: dict[str, Kind] = {"t": "text", "i": "image", "vd": "page", "it": "image+text"}


class Estimate(Model):
    """What the estimate of GPU-hours assumes; `tasks/tracks.toml` has the formula."""

    basis: str
    sustained_teraflops: Positive
    most_per_second: dict[Kind, Positive]
    without_gpu: tuple[str, ...]


class Encoder(Model):
    """A retriever that runs a model: its checkpoint, and the arithmetic of an item of each kind in 10^12 operations."""

    id: str
    model: str
    teraflops: dict[Kind, Positive]


class Track(Model):
    """A way to make lists: a first stage for each task type, and the depth."""

    id: TrackId
    title: str
    description: str
    depth: int = Field(gt=0)
    first_stages: dict[str, str]

    @model_validator(mode="after")
    def _every_type(self) -> Self:
        if set(self.first_stages) != set(TYPES):
            raise ValueError(f"track {self.id!r} must name a first stage for each of {', '.join(TYPES)}")
        return self

    def first_stage(self, task: Task) -> str:
        """What makes the task's list on this track, as `--first-stage` takes it."""
        return self.first_stages[task.type]

    def names(self, task: Task) -> tuple[str, ...]:
        """The names under which a list of the task may have been made: the task's first stage, or the fusion of all
        that the track has, which leaves out those that do not cover the task and so gives the same list."""
        parts = dict.fromkeys(part for name in self.first_stages.values() for part in name.split("+"))
        return tuple(dict.fromkeys((self.first_stage(task), "+".join(parts))))


class Tracks(Model):
    """The file `tracks.toml`."""

    schema_version: Literal[1]
    estimate: Estimate
    encoders: tuple[Encoder, ...]
    tracks: tuple[Track, ...]

    @model_validator(mode="after")
    def _known_first_stages(self) -> Self:
        known = {encoder.id for encoder in self.encoders} | set(self.estimate.without_gpu)
        for track in self.tracks:
            for part in {part for name in track.first_stages.values() for part in name.split("+")} - known:
                raise ValueError(f"track {track.id!r} names {part!r}, of which no cost is stated")
        if len({track.id for track in self.tracks}) < len(self.tracks):
            raise ValueError("a track is listed twice")
        return self

    def gpu_hours(self, track: Track, task: Task) -> float:
        """Estimated hours of one GPU for the task's list on the track; 0 where no encoder takes part."""
        encoders = {encoder.id: encoder for encoder in self.encoders}
        query, document = (_KINDS[side] for side in task.type.split("2"))
        sides = ((task.size.queries, query), (task.size.documents, document))
        parts = [encoders[part] for part in track.first_stage(task).split("+") if part in encoders]
        return sum(count * self._seconds(encoder, kind) for encoder in parts for count, kind in sides) / 3600

    def _seconds(self, encoder: Encoder, kind: Kind) -> float:
        arithmetic = encoder.teraflops[kind] / self.estimate.sustained_teraflops
        return max(arithmetic, 1 / self.estimate.most_per_second[kind])


class PublishedList(Model):
    """A list that somebody has made and shared: a file of a Hub data set at a commit, and the hash of its content."""

    track: TrackId
    task: Slug
    repository: Repository
    commit: Sha1
    folder: str = ""
    sha256: Sha256


class PublishedLists(Model):
    """The file `published_lists.toml`."""

    schema_version: Literal[1]
    lists: tuple[PublishedList, ...]

    @model_validator(mode="after")
    def _no_list_twice(self) -> Self:
        if len({(one.track, one.task) for one in self.lists}) < len(self.lists):
            raise ValueError("a task is listed twice on one track")
        return self


@cache
def load_tracks() -> Tracks:
    """The tracks of this version of MRB."""
    return read_toml(Tracks, task_folder() / "tracks.toml")


@cache
def load_published() -> PublishedLists:
    """The published lists that this version of MRB knows; TaskError if one is of no track or task."""
    published = read_toml(PublishedLists, task_folder() / "published_lists.toml")
    for one in published.lists:
        find_track(one.track)
        load_task(one.task)
    return published


def find_track(track_id: str) -> Track:
    """The track of a name; TaskError lists those there are."""
    track = named_track(track_id)
    if track is None:
        known = ", ".join(track.id for track in load_tracks().tracks)
        raise TaskError(f"unknown track {track_id!r}; there are: {known}")
    return track


def published_on(track: Track, task_ids: Iterable[str]) -> list[PublishedList]:
    """The published lists of the track: of these tasks, or all where none is named.

    CandidatesError if there is none at all, or none of a named task: lists are never made up for what is missing.
    """
    lists = {one.task: one for one in load_published().lists if one.track == track.id}
    if not lists:
        raise CandidatesError(
            f"track {track.id}: no list of it has been published yet: somebody with a GPU has to make them first; "
            "`mrb tracks` says what makes each task's list and estimates the GPU-hours"
        )
    wanted = list(task_ids) or list(lists)
    for task_id in wanted:
        if task_id not in lists:
            raise CandidatesError(f"track {track.id}: no list of task {load_task(task_id).id} has been published yet")
    return [lists[task_id] for task_id in wanted]


def named_track(track_id: str | None) -> Track | None:
    """The track of this name, None for a name that is anybody's."""
    return next((track for track in load_tracks().tracks if track.id == track_id), None)


def check_track(track_id: str, first_stage: str, depth: int, task: Task, where: str) -> None:
    """Refuse a list that has the name of a track but is made in another way; other names are anybody's."""
    track = named_track(track_id)
    if track is None or (first_stage in track.names(task) and depth == track.depth):
        return
    stated = f"{track.first_stage(task)} at depth {track.depth}"
    raise CandidatesError(
        f"{where}: track {track.id} has the list of {task.id} made by {stated}, not by {first_stage!r} at depth {depth}"
        "; give it another track name"
    )
