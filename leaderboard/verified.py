"""The records of `mrb verify`, for the mark beside a row that a re-run of the model agreed with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mrb.errors import ResultError
from mrb.results import parse_file
from mrb.submission.schema import Submission
from mrb.submission.verify import Verified


def read_verified(folders: Sequence[Path]) -> list[Verified]:
    """Every record in the folders. ResultError names a file that is none."""
    found = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    records = [parse_file(Verified, path) for path in found]
    for path, record in zip(found, records, strict=True):
        if path.stem != record.submission or not record.tasks:
            raise ResultError(f"{path}: a record of {record.submission!r} with {len(record.tasks)} tasks")
    return records


def fitting(records: Sequence[Verified], submissions: dict[str, Submission]) -> dict[str, Verified]:
    """The newest record of each submission, by name. One of other content than the submission has now marks nothing."""
    found: dict[str, Verified] = {}
    for record in sorted(records, key=lambda one: one.date):
        submission = submissions.get(record.submission)
        if submission is not None and submission.content_hash == record.content:
            found[record.submission] = record
    return found
