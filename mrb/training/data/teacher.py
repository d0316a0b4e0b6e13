"""`mrb train data --from groups --teacher MODEL`: the scores of a teacher for the documents of own groups.

The documents of each query are a candidate list of an own task, which the teacher scores as in `mrb run`. So a killed
command continues where its journal ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mrb._util.hashing import hash_file, hash_json
from mrb.candidates.lists import build_candidates, make_provenance, write_parquet
from mrb.candidates.own_lists import OWN_SET
from mrb.data.load import load_task_data
from mrb.errors import MRBError, TrainingError
from mrb.training.data.contamination import Checker, HeldOutIndex
from mrb.training.data.files import GroupFile
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.own_groups import OwnGroups, make_id, make_own_tasks
from mrb.training.data.rows import Form
from mrb.training.data.write_dataset import DataRecord, write_dataset


def write_teacher(
    path: Path,
    model: str,
    options: Mapping[str, str],
    folder: Path,
    index: HeldOutIndex,
    form: Form,
    *,
    embed: bool,
    fresh: bool = False,
) -> tuple[DataRecord, Path]:
    """Write the groups of a file to `FOLDER/NAME-taught.FORM`, each document with the teacher's score.

    The scores of a whole file are in memory: shards keep it small.

    Args:
        path: The file of groups.
        model: The teacher, as after `mrb run --model`.
        options: Its options.
        folder: Output folder.
        index: Hashes of test data.
        form: "jsonl" or "parquet".
        embed: Whether images are stored in the file itself.
        fresh: Discard the scores that the teacher gave before.

    Returns:
        The record, and the file.

    Raises:
        TrainingError: A pair has no score.
        MRBError: The file is not one of groups, or the teacher fails.
    """
    file, checker = GroupFile(path), Checker(index)
    wanted: dict[tuple[str, str], dict[str, dict[str, None]]] = {}
    for group in file:
        documents = wanted.setdefault((group.source, group.instruction), {}).setdefault(make_id(group.query), {})
        documents.update((make_id(one), None) for one in (*group.positives, *group.negatives))
    found, name = {}, model
    for own in make_own_tasks([path], by_content=True):
        key = own.source, own.instruction
        name, found[key] = _score(own, wanted[key], model, options, fresh=fresh)

    def teach(group: TrainingGroup) -> TrainingGroup:
        scores = found[group.source, group.instruction][make_id(group.query)]

        def add(one: TrainingItem) -> TrainingItem:
            score = scores[make_id(one)]
            if math.isnan(score):
                raise TrainingError(f"the teacher has no score for document {one.id or make_id(one)}")
            return replace(one, teacher=score)

        return replace(group, positives=[*map(add, group.positives)], negatives=[*map(add, group.negatives)])

    def read_groups() -> Iterator[TrainingGroup]:
        for row, group in enumerate(file):
            try:
                kept = checker.clean(teach(group))
            except MRBError as error:
                raise file.locate_error(row, error) from error
            if kept is not None:
                yield kept

    out = folder / f"{path.stem}-taught.{form}"
    files = {path.name: hash_file(path)}
    record = write_dataset(
        out, read_groups(), checker, {}, embed=embed, task=path.stem, format="groups", files=files, teacher=name
    )
    return record, out


def refuse_equal_names(files: Sequence[Path]) -> None:
    """Raise TrainingError if two files of groups would be written to one file."""
    first: dict[str, Path] = {}
    for path in files:
        other = first.setdefault(path.stem, path)
        if other != path:
            raise TrainingError(f"{other} and {path} would both be written as {path.stem}-taught; rename one of them")


def _score(
    own: OwnGroups,
    wanted: Mapping[str, Mapping[str, None]],
    model: str,
    options: Mapping[str, str],
    *,
    fresh: bool,
) -> tuple[str, dict[str, dict[str, float]]]:
    """Return the name of the teacher, and its scores by query and document."""
    from mrb.api import evaluate
    from mrb.results.export import read_lists

    depth = max(map(len, wanted.values()))
    queries = load_task_data(own.task).queries
    lists = ((query_id, list(wanted[query_id]), range(0, -len(wanted[query_id]), -1)) for query_id in queries)
    made = build_candidates(make_provenance(own.task, "groups", depth, OWN_SET), lists)
    path = own.folder.parent / f"{own.task.id}.parquet"
    write_parquet(made, path)
    out = own.folder.parent / "teachers" / hash_json(dict(options))[:16]
    run = evaluate(model, data=own.folder, candidates=path, depth=depth, out=out, options=options, fresh=fresh)
    return run.record.reranker.name, {
        query_id: dict(zip(doc_ids, scores.tolist(), strict=True))
        for query_id, doc_ids, scores in read_lists(run, own.task.id)
    }
