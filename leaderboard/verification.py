"""The records of `mrb submission verify`, shown as a mark on rows whose verification agreed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mrb.errors import ResultError
from mrb.results.schema import parse_file
from mrb.submission.schema import Submission
from mrb.submission.verify import VerificationRecord


def read_verified(folders: Sequence[Path]) -> list[VerificationRecord]:
    """Return every record in the folders. ResultError names a file that is none."""
    found = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    records = [parse_file(VerificationRecord, path) for path in found]
    for path, record in zip(found, records, strict=True):
        if path.stem != record.submission or not record.tasks:
            raise ResultError(f"{path}: a record of {record.submission!r} with {len(record.tasks)} tasks")
    return records


def match_records(
    records: Sequence[VerificationRecord], submissions: dict[str, Submission]
) -> dict[str, VerificationRecord]:
    """Return the newest record of each submission, by name. Records of an earlier content of the submission are
    ignored.

    Raises ResultError for a record of the submission's content that `mrb submission verify` cannot have written.
    """
    found: dict[str, VerificationRecord] = {}
    for record in sorted(records, key=lambda one: one.date):
        submission = submissions.get(record.submission)
        if submission is not None and submission.content_hash == record.content:
            _check_written(record, submission)
            found[record.submission] = record
    return found


def _check_written(record: VerificationRecord, submission: Submission) -> None:
    """Refuse a record whose reranker, tasks or counts cannot come from scoring this submission again."""
    where = f"the record of {record.submission} in verified/"
    if record.reranker != submission.reranker:
        raise ResultError(f"{where}: reranker differs from the submission's")
    if sorted([*record.tasks, *record.not_verified]) != sorted(submission.results):
        raise ResultError(f"{where}: tasks and not_verified are not the submission's tasks")
    for task_id, task in record.tasks.items():
        result = submission.results[task_id]
        counts = result.counts
        chosen = min(record.queries, counts.queries - counts.queries_without_candidates)
        most = min(chosen * result.candidates.depth, counts.pairs)
        for name, said, wanted in (
            ("queries", task.queries, task.queries == chosen),
            ("pairs", task.pairs, chosen <= task.pairs + task.failed_pairs <= most),
            ("failed_pairs", task.failed_pairs, task.failed_pairs <= counts.failed_pairs),
        ):
            if not wanted:
                raise ResultError(f"{where}: tasks.{task_id}.{name} is {said}, which this submission cannot give")
