"""Read other tools' scores of one task, with the ids that mteb gives its queries and documents turned into the task's.

mteb writes `<name>_predictions.json` for each of its tasks. Two families have other ids there than in their tables:
ViDoRe's are `query-<split>-<id>` and `corpus-<split>-<id>`, and CQADupStack is twelve tasks, with a file each.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mrb.candidates.score_files import Format, Scores, read_scores
from mrb.data.mteb_facts import load_mteb_names
from mrb.data.task import Task
from mrb.data.task_fields import Part
from mrb.errors import ResultError

logger = logging.getLogger(__name__)
PREDICTIONS = "_predictions.json"


def read_task_scores(
    path: Path, task: Task, form: Format | None = None, *, subset: str | None = None, split: str | None = None
) -> Scores:
    """Read the scores of a task from a file of another tool, or from the folder of mteb's predictions.

    Args:
        path: The file, or a folder with a prediction file of mteb for each part of the task.
        task: The task; its ids are those of the answer.
        form: The file's format, as for `read_scores`.
        subset: Of a file with several, as for `read_scores`; so is `split`.

    Raises:
        ResultError: As `read_scores`; or the folder lacks a file.
    """
    if not path.is_dir():
        part = _find_part(path, task)
        scores = read_scores(path, form, subset=subset, split=split)
        return _turn_ids(scores, task, part) if part else scores
    if form not in (None, "mteb"):
        raise ResultError(f"{path}: a folder is read as mteb's predictions, not as {form}")
    found: dict[str, Mapping[str, float]] = {}
    for part, file in _list_predictions(path, task):
        found |= _turn_ids(read_scores(file, "mteb", subset=subset, split=split), task, part)
    return found


def _list_predictions(folder: Path, task: Task) -> Iterator[tuple[Part, Path]]:
    """Yield each part with its prediction file. ResultError: the set is not mteb's, or a file is missing."""
    names = load_mteb_names().same.get(task.id)
    if names is None:
        raise ResultError(f"{folder}: a folder is read as mteb's predictions, and no set of mteb is known as {task.id}")
    for part, name in zip(task.source.parts, names, strict=True):
        file = folder / f"{name}{PREDICTIONS}"
        if not file.is_file():
            whose = f"{task.id} {part.name}".rstrip()
            raise ResultError(f"{folder}: has no {file.name}, mteb's predictions for {whose}")
        yield part, file


def _find_part(path: Path, task: Task) -> Part | None:
    """Return the part of the task that a file is of: the only one, or by the name that mteb gives the file."""
    if len(task.source.parts) == 1:
        return task.source.parts[0]
    names = load_mteb_names().same.get(task.id, ())
    by_file = {f"{name}{PREDICTIONS}": part for part, name in zip(task.source.parts, names, strict=False)}
    return by_file.get(path.name.removesuffix(".gz"))


def _turn_ids(scores: Scores, task: Task, part: Part) -> Scores:
    ids = find_id_forms(task, part)
    found = {
        ids.read_query(query): {ids.read_document(doc): docs[doc] for doc in docs} for query, docs in scores.items()
    }
    if len(found) < len(scores):
        raise ResultError(
            f"{task.id}: two queries of the file are one of the task, such as {_find_double(scores, ids)}"
        )
    for query, docs in scores.items():
        if len(found[ids.read_query(query)]) < len(docs):
            raise ResultError(f"{task.id}, query {query!r}: two of its documents in the file are one of the task")
    if found.keys() != scores.keys():
        first = next(iter(scores))
        logger.info(f"{task.id}: ids are read as the task's: {first!r} is {ids.read_query(first)!r}")
    return found


def _find_double(scores: Scores, ids: IdForms) -> str:
    seen: dict[str, str] = {}
    pairs = ((seen.setdefault(ids.read_query(query), query), query) for query in scores)
    return next(f"{first!r} and {second!r}" for first, second in pairs if first != second)


@dataclass(frozen=True)
class IdForms:
    """How mteb's files spell the ids of a part of a task.

    Args:
        part: What the task's ids begin with, and mteb's do not.
        query: What mteb's query ids begin with, and the task's do not; `document`: its document ids.
    """

    part: str
    query: str
    document: str

    def read_query(self, found: str) -> str:
        """Return the task's id of a query of mteb."""
        return self.part + found.removeprefix(self.query)

    def read_document(self, found: str) -> str:
        """Return the task's id of a document of mteb."""
        return self.part + found.removeprefix(self.document)

    def write_query(self, query_id: str) -> str:
        """Return mteb's id of a query of the task."""
        return self.query + query_id.removeprefix(self.part)

    def write_document(self, doc_id: str) -> str:
        """Return mteb's id of a document of the task."""
        return self.document + doc_id.removeprefix(self.part)


def find_id_forms(task: Task, part: Part) -> IdForms:
    """Return how mteb spells the ids of a part of a task.

    Example:
        >>> from mrb.data.task import load_task
        >>> pages = load_task("docvqa")
        >>> find_id_forms(pages, pages.source.parts[0]).read_query("query-test-7")
        '7'
    """
    before = f"{part.name}/" if len(task.source.parts) > 1 else ""
    # The ids of these tables are whole numbers, so none of them begins like mteb's.
    if task.source.schema_family != "vidore" or task.source.kind != "hub":
        return IdForms(before, "", "")
    return IdForms(before, f"query-{part.queries.split}-", f"corpus-{part.corpus.split}-")
