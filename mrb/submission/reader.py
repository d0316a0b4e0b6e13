"""Read an untrusted submission folder: check names, kinds and sizes of files before any content."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from mrb._util.files import is_device_name, parse_json, read_limited
from mrb.data.own_tasks import make_own_suite
from mrb.data.task import Suite, Task, load_suite, load_task
from mrb.errors import MRBError, ResultError, format_first_problem, to_one_line
from mrb.metrics.measures import MEASURES
from mrb.results.schema import check_registry
from mrb.submission.rankings import MAX_RANKING_BYTES
from mrb.submission.schema import (
    MAX_SUBMISSION_BYTES,
    MAX_TASKS,
    RANKINGS_FOLDER,
    SCHEMA_VERSION,
    SUBMISSION_FILE,
    Submission,
)

MAX_TOTAL_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class ReceivedSubmission:
    """A submission as read from `folder`; nothing has been recomputed yet."""

    folder: Path
    submission: Submission
    suite: Suite

    @property
    def name(self) -> str:
        """The folder's name, which is also the row's name on the board."""
        return self.submission.model.folder

    def get_task(self, task_id: str) -> Task:
        """Return the definition of a task: the submission's own, or the registry's."""
        return self.submission.definitions.get(task_id) or load_task(task_id)

    def ranking_path(self, task_id: str) -> Path:
        """Return the path of a task's rankings file."""
        return self.folder / RANKINGS_FOLDER / f"{task_id}.parquet"


def is_submission(path: Path) -> bool:
    """Return whether `path` is meant as a submission folder: it contains an entry `submission.json` of any kind."""
    return os.path.lexists(path / SUBMISSION_FILE)


def list_submissions(path: Path) -> list[Path]:
    """Return the submissions in a folder, by name. Raises ResultError for two whose names differ only in case."""
    found = sorted(entry for entry in path.iterdir() if is_submission(entry))
    names: dict[str, Path] = {}
    for entry in found:
        other = names.setdefault(entry.name.casefold(), entry)
        if other != entry:
            raise ResultError(f"{entry}: {other.name!r} differs only in capitals; give a --variant")
    return found


def read_submission_folder(folder: Path, *, neighbours: bool = True) -> ReceivedSubmission:
    """Read the submission in `folder`: check its files, parse its text by the schema, and check it against the
    registry.

    Args:
        folder: The submission's folder.
        neighbours: Also refuse a sibling folder whose name differs only in case.

    Raises:
        ResultError: Names the file and what is wrong with it.
    """
    _check_folder(folder)
    submission = read_submission_file(folder / SUBMISSION_FILE)
    # realpath: `.` stands for the folder itself; that it is no symlink was checked above.
    name = Path(os.path.realpath(folder)).name
    if name != submission.model.folder:
        raise ResultError(f"{folder}: {SUBMISSION_FILE} is of {submission.model.folder!r}; the folder must be named so")
    if neighbours:
        _check_neighbours(folder)
    suite = _check_suite(folder, submission)
    _check_files(folder, {f"{task_id}.parquet" for task_id in submission.rankings})
    for task_id, result in submission.results.items():
        where = f"{folder / SUBMISSION_FILE}: results.{task_id}"
        check_registry(result, where, submission.definitions.get(task_id))
        if result.measures.keys() != {str(measure) for measure in MEASURES}:
            raise ResultError(f"{where}.measures: wanted {', '.join(map(str, MEASURES))}")
    return ReceivedSubmission(folder, submission, suite)


def read_submission_file(path: Path) -> Submission:
    """Return `submission.json`. ResultError names the file and the first wrong field."""
    data = read_limited(path, MAX_SUBMISSION_BYTES)
    _check_version(parse_json(data, path), path)
    try:
        # Validates the bytes as read: serialising the parsed value again would take as long as reading it.
        return Submission.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise ResultError(f"{path}: {format_first_problem(error)}") from error
    except RecursionError as error:
        raise ResultError(f"{path}: nested too deeply") from error


def _check_version(value: object, path: Path) -> None:
    """Raise ResultError if `value` has no version or one that this MRB does not read. Version 1 is the first."""
    if not isinstance(value, dict):
        raise ResultError(f"{path}: not an object")
    version = value.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise ResultError(f"{path}: schema_version is {to_one_line(repr(version), 40)}, wanted a whole number")
    if version != SCHEMA_VERSION:
        words = "newer than" if version > SCHEMA_VERSION else "older than what is read by"
        raise ResultError(f"{path}: schema_version {to_one_line(version, 40)} is {words} this MRB ({SCHEMA_VERSION})")


def _check_suite(folder: Path, submission: Submission) -> Suite:
    where = folder / SUBMISSION_FILE
    try:
        suite = make_own_suite(submission.definitions) if submission.definitions else load_suite(submission.suite)
    except MRBError as error:
        raise ResultError(f"{where}: {error}") from error
    if suite.version != submission.suite_version:
        raise ResultError(f"{where}: of suite {suite.id} {submission.suite_version}; this MRB has {suite.version}")
    stated = [*submission.results, *submission.training, *(item.task for item in submission.not_covered)]
    strange = sorted(set(stated) - set(suite.tasks))
    if strange:
        raise ResultError(f"{where}: {strange[0]!r} is not a task of suite {suite.id}")
    undeclared = [task_id for task_id in suite.tasks if task_id not in submission.training]
    if undeclared:
        raise ResultError(f"{where}: training has no entry for {undeclared[0]}; state `unknown` if it is not known")
    return suite


def _check_folder(folder: Path) -> None:
    """Check the folder and its content: one file and one folder, neither of them a link."""
    _expect(folder, stat.S_ISDIR, "a folder")
    if is_device_name(Path(os.path.realpath(folder)).name):
        raise ResultError(f"{folder}: it is a reserved device name on Windows")
    wanted = {SUBMISSION_FILE, RANKINGS_FOLDER}
    _refuse_others(folder, wanted)
    _expect(folder / SUBMISSION_FILE, stat.S_ISREG, "a file")
    _expect(folder / RANKINGS_FOLDER, stat.S_ISDIR, "a folder")
    size = (folder / SUBMISSION_FILE).lstat().st_size
    if size > MAX_SUBMISSION_BYTES:
        raise ResultError(f"{folder / SUBMISSION_FILE}: {size} bytes, more than {MAX_SUBMISSION_BYTES}")


def _check_files(folder: Path, wanted: set[str]) -> None:
    """Check the rankings folder: exactly the stated files, each a regular file within its size limit."""
    rankings = folder / RANKINGS_FOLDER
    _refuse_others(rankings, wanted)
    total = 0
    for name in sorted(wanted):
        size = _expect(rankings / name, stat.S_ISREG, "a file").st_size
        total += size
        if size > MAX_RANKING_BYTES:
            raise ResultError(f"{rankings / name}: {size} bytes, more than {MAX_RANKING_BYTES}")
    if total > MAX_TOTAL_BYTES:
        raise ResultError(f"{rankings}: {total} bytes in all, more than {MAX_TOTAL_BYTES}")


def _refuse_others(folder: Path, wanted: set[str]) -> None:
    """Refuse any entry of the folder that is not in `wanted`. Stops at the first one, however many there are."""
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if entry.name not in wanted or count > MAX_TASKS:
                raise ResultError(
                    f"{folder}: holds {to_one_line(repr(entry.name), 80)}, which is not part of a submission; wanted "
                    f"{to_one_line(', '.join(sorted(wanted)), 200)}"
                )


def _expect(path: Path, kind: object, words: str) -> os.stat_result:
    """Return the status of `path`, which must be of this kind and not a link."""
    assert callable(kind)
    try:
        found = path.lstat()
    except OSError as error:
        raise ResultError(f"{path}: cannot be read: {error.strerror}") from error
    if stat.S_ISLNK(found.st_mode):
        raise ResultError(f"{path}: a symbolic link; a submission holds plain files")
    if not kind(found.st_mode):
        raise ResultError(f"{path}: not {words}")
    return found


def _check_neighbours(folder: Path) -> None:
    """Refuse a sibling folder whose name differs only in case: on some file systems they would be one folder."""
    real = Path(os.path.realpath(folder))
    for entry in os.scandir(real.parent):
        if entry.name != real.name and entry.name.casefold() == real.name.casefold():
            raise ResultError(f"{folder}: {entry.name!r} differs only in capitals; give a --variant")
