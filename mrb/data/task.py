"""Task and suite definitions: TOML files that are read into frozen pydantic models; unknown keys are refused.

The files are in the installed package `mrb.tasks` (the folder `tasks/` of the repository): one file per task, named
after its id, in `single/`, `cross/`, `fused/`, `mini/`, `vidore/` and `spare/`; suites are in `suites/`.
"""

from __future__ import annotations

from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator

from mrb._util.files import parse_toml
from mrb._util.hashing import hash_json
from mrb._util.model import Model
from mrb.data.task_fields import (
    IMAGE_RULES,
    SELF_MATCH_RULES,
    CandidateSetId,
    Cluster,
    FrozenCandidates,
    HttpsUrl,
    Images,
    MeasureName,
    Rules,
    Size,
    Slug,
    Source,
    SuiteId,
)
from mrb.errors import TaskError, format_first_problem, suggest_names, to_one_line

TypeName = Literal["t2t", "i2i", "t2i", "t2vd", "i2t", "t2it", "it2t", "it2i", "it2it"]
TYPES: tuple[TypeName, ...] = get_args(TypeName)
FAMILY_OF_TYPE = {
    "t2t": "single",
    "i2i": "single",
    "t2i": "cross",
    "t2vd": "cross",
    "i2t": "cross",
    "t2it": "fused",
    "it2t": "fused",
    "it2i": "fused",
    "it2it": "fused",
}
FAMILIES = ("single", "cross", "fused")
HEADLINE_MEASURE = "nDCG@10"
"""The measure that ranks models on every task, whatever measure its source uses (`Task.source_measure`)."""

MAX_DEFINITION_BYTES = 1024 * 1024

Modality = Literal["text", "image", "image+text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
_MODALITIES: dict[str, Modality] = {"t": "text", "i": "image", "vd": "image", "it": "image+text"}


M = TypeVar("M", bound=Model)


class Task(Model):
    """One test set: its type and instruction, the source of its data, and the rules of its judgements.

    `cluster` states which queries are not independent in the confidence intervals: those with the same image, the same
    text, a common positive document (directly or through others), or exactly the same positives with the same grades
    (one question in several languages).

    `twin_of` is the task of which this one is the decontaminated twin (`mrb.results.contamination`).

    A task that is not in the registry is a task of one's own (`mrb.data.own_tasks`). It may leave out what only readers
    of the registry need: description, status, languages, licence, citation, sizes.
    """

    schema_version: Literal[1]
    id: Slug
    title: str = Field(max_length=80)
    type: TypeName
    description: str = Field(default="", max_length=1000)
    instruction: str = Field(min_length=1, max_length=500)
    source_measure: MeasureName
    status: Literal["confirmed", "inferred"] | None = None
    status_reason: str = Field(default="", max_length=1000)
    languages: tuple[str, ...] = ()
    licence: str = ""
    licence_note: str = ""
    citation: str = ""
    homepage: HttpsUrl | None = None
    cluster: Cluster = "none"
    defects: tuple[str, ...] = ()
    superseded_by: Slug | None = None
    twin_of: Slug | None = None
    size: Size = Size(queries=0, documents=0)
    source: Source
    rules: Rules = Rules()
    images: Images = Images()
    candidates: FrozenCandidates | None = None

    @property
    def family(self) -> str:
        """`single`, `cross` or `fused`, by the type."""
        return FAMILY_OF_TYPE[self.type]

    @property
    def repository(self) -> str:
        """The repository of the first part."""
        return self.source.parts[0].repository

    @property
    def query_modality(self) -> Modality:
        """The modality of a query."""
        return _get_modality(self.type.split("2")[0])

    @property
    def document_modality(self) -> Modality:
        """The modality of a document; a page (`vd`) is an image."""
        return _get_modality(self.type.split("2")[1])

    @property
    def revision(self) -> str:
        """The identity of the data: the part's commit or content hash, or a hash over those of several parts."""
        pins = [part.revision or part.content or "" for part in self.source.parts]
        return pins[0] if len(pins) == 1 else hash_json(pins)

    @cached_property
    def hash(self) -> str:
        """The SHA-256 (64 hex digits) over what decides a score: id, type, instruction, cluster rule, image limits,
        judgement rules, and the name and commit (or content hash) of each part.

        It leaves out information for readers, where and in which format the tables lie, the candidate list (which has
        its own hash) and the source's measure (computed from the same ranking).
        """
        fields = self.model_dump(mode="json", include={"type", "cluster"})
        # A rule at its default does nothing. Left out, a rule that is added later changes no hash.
        return hash_json(
            self._list_basis | fields | {"rules": self.rules.model_dump(mode="json", exclude_defaults=True)}
        )

    @cached_property
    def list_hash(self) -> str:
        """The SHA-256 (64 hex digits) over what decides a candidate list: id, instruction, image limits, the rules on
        self-matches, and the name and commit (or content hash) of each part.

        A list stays valid when rules on judgements, clusters or the type change.
        """
        selves = self.rules.model_dump(mode="json", include=set(SELF_MATCH_RULES), exclude_defaults=True)
        return hash_json(self._list_basis | {"rules": selves})

    @property
    def _list_basis(self) -> dict[str, Any]:
        """The fields that decide both lists and scores.

        The id is part of the hash that orders equal scores. The instruction decides a list too, because embedding
        models read it with each query.
        """
        return {
            "id": self.id,
            "instruction": self.instruction,
            "images": self.images.model_dump(mode="json", include=IMAGE_RULES),
            "parts": [[part.name, part.revision or part.content] for part in self.source.parts],
        }

    @property
    def qrels(self) -> Literal["cleaned", "raw"]:
        """`cleaned` if the rules may drop judgements outside the corpus, `raw` if these are kept."""
        return "raw" if self.rules.raw_qrels else "cleaned"

    def with_qrels(self, qrels: Literal["cleaned", "raw"]) -> Task:
        """Return the task with cleaned or raw judgements. The hashes differ, so results of the two never compare."""
        if qrels == self.qrels:
            return self
        # `model_copy` would keep the cached hash.
        fields = self.model_dump()
        return Task.model_validate({**fields, "rules": {**fields["rules"], "raw_qrels": qrels == "raw"}})


class Sample(Model):
    """A fixed sample of at most `queries` queries per task (`mrb.data.sampling`)."""

    queries: int = Field(gt=0)


class SubSuite(Model):
    """A named part of a suite, with averages of its own: the suite's tasks of `types`, or `tasks`.

    It is frozen with the suite and shares everything else with it. `--suite` names it SUITE-ID, as in `mrb-text-query`.
    """

    id: Slug
    title: str
    description: str
    types: tuple[TypeName, ...] = ()
    tasks: tuple[Slug, ...] = ()

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if bool(self.types) == bool(self.tasks):
            raise ValueError("wanted either types or tasks")
        return self


class Suite(Model):
    """A named, versioned, frozen list of tasks.

    A sub-suite is a suite too, made by `list_sub_suites`: `part_of` is then the id of the suite that declares it.

    `track` is the candidate set of the tasks' frozen lists. A suite whose tasks have the lists of several first stages
    names their sets in `candidate_sets` instead; a run reranks one of them.
    """

    schema_version: Literal[1]
    id: SuiteId
    version: str = Field(pattern=r"^[0-9]+\.[0-9]+$")
    title: str
    description: str
    depth: int = Field(gt=0)
    track: str | None = None
    candidate_sets: tuple[CandidateSetId, ...] = ()
    sample: Sample | None = None
    tasks: tuple[Slug, ...] = Field(min_length=1)
    sub_suites: tuple[SubSuite, ...] = ()
    part_of: SuiteId | None = None

    @model_validator(mode="after")
    def _no_task_twice(self) -> Self:
        if len(set(self.tasks)) != len(self.tasks):
            raise ValueError("a task is listed twice")
        if len({part.id for part in self.sub_suites}) != len(self.sub_suites):
            raise ValueError("two sub-suites have one id")
        if outside := {task_id for part in self.sub_suites for task_id in part.tasks} - set(self.tasks):
            raise ValueError(f"a sub-suite lists {min(outside)!r}, which the suite does not")
        if (self.track is None) == (not self.candidate_sets):
            raise ValueError("a suite states either track or candidate_sets")
        return self


def locate_task_folder() -> Path:
    """Return the folder of the installed task definitions and the embedded data."""
    return Path(str(resources.files("mrb.tasks")))


def load_task(task_id: str) -> Task:
    """Load a task by id: one of the registry, or one of the user's own (`mrb.data.own_tasks`).

    Raises TaskError if it is unknown (with similar names) or malformed.
    """
    if is_registered(task_id):
        return _load_registered(task_id)
    from mrb.data.own_tasks import find_own_task  # it needs this module

    own = find_own_task(task_id)
    if own is None:
        from mrb.data.folder_files import is_data_folder

        plain = len(task_id) <= 100 and Path(task_id).name == task_id
        if plain and is_data_folder(Path(task_id)):
            raise TaskError(f"unknown task {task_id!r}; a data folder is named with a slash: {task_id}/")
        raise TaskError(
            f"unknown task {task_id!r}{suggest_names(task_id, list(_list_task_files()))}; `mrb tasks` lists them; "
            "one of your own is found through --data FOLDER, --task FILE.toml or the environment variable MRB_TASKS"
        )
    return own


def is_registered(task_id: str) -> bool:
    """Return whether the registry has a task of this id."""
    return task_id in _list_task_files()


@cache
def _load_registered(task_id: str) -> Task:
    return read_task(_list_task_files()[task_id])


def read_task(path: Path) -> Task:
    """Read a task from a TOML file. Raises TaskError, which names the file and the first invalid field."""
    task = read_toml(Task, path)
    if task.id != path.stem:
        raise TaskError(f"{path}: the id {task.id!r} differs from the file's name")
    return task


@cache
def load_suite(suite_id: str) -> Suite:
    """Load a suite or a sub-suite by id. Raises TaskError if it is unknown or malformed."""
    known = {one.id: one for suite in list_suites() for one in (suite, *list_sub_suites(suite))}
    if suite_id not in known:
        listed = list(known)
        raise TaskError(f"unknown suite {suite_id!r}{suggest_names(suite_id, listed)}; there are: {', '.join(listed)}")
    return known[suite_id]


def list_sub_suites(suite: Suite) -> tuple[Suite, ...]:
    """Return the sub-suites of `suite` as suites with its version, depth, candidate set and sample."""
    return tuple(_make_sub_suite(suite, part) for part in suite.sub_suites)


def _make_sub_suite(suite: Suite, part: SubSuite) -> Suite:
    chosen = part.tasks or [task_id for task_id in suite.tasks if load_task(task_id).type in part.types]
    fields = {
        "id": f"{suite.id}-{part.id}",
        "title": f"{suite.title}, {part.title}",
        "description": part.description,
        "tasks": tuple(task_id for task_id in suite.tasks if task_id in chosen),
        "sub_suites": (),
        "part_of": suite.id,
    }
    return suite.model_copy(update=fields)


def list_tasks() -> list[Task]:
    """Return all defined tasks, in and outside the suites, sorted by id."""
    return [read_task(path) for _, path in sorted(_list_task_files().items())]


def list_suites() -> list[Suite]:
    """Return all defined suites, sorted by id, without their sub-suites."""
    return sorted(
        (read_toml(Suite, path) for path in (locate_task_folder() / "suites").glob("*.toml")),
        key=lambda suite: suite.id,
    )


def list_suite_tasks(suite: Suite) -> list[Task]:
    """Return the suite's tasks in its order. Raises TaskError if one is not defined."""
    files = _list_task_files()
    missing = [task_id for task_id in suite.tasks if task_id not in files]
    if missing:
        raise TaskError(f"suite {suite.id} lists {missing[0]!r}, which is not defined ({len(missing)} such in all)")
    return [read_task(files[task_id]) for task_id in suite.tasks]


@cache
def _list_task_files() -> dict[str, Path]:
    root = locate_task_folder()
    folders = [root / name for name in (*FAMILIES, "mini", "vidore", "spare")]
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def read_toml(model: type[M], path: Path) -> M:
    """Read a definition from a TOML file. Raises TaskError, which names the file and the first invalid field."""
    stated = read_toml_values(path)
    try:
        return model.model_validate(stated)
    except ValidationError as error:
        raise TaskError(f"{path}: {format_first_problem(error)}") from error


def read_toml_values(path: Path) -> dict[str, Any]:
    """Read the values of a definition's TOML file. TaskError: the file cannot be read, is too large, or no TOML."""
    try:
        if path.stat().st_size > MAX_DEFINITION_BYTES:
            raise TaskError(f"{path}: larger than {MAX_DEFINITION_BYTES} bytes")
        return parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(f"{to_one_line(path, 120)}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise TaskError(f"{path}: not valid TOML: {error}") from error


def _get_modality(letters: str) -> Modality:
    return _MODALITIES[letters]
