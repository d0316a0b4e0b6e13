"""Submissions that lie and do not fit together are found by validating.

Every lie is written as its author would: hashes and counts made good after it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mrb._util.hashing import hash_file
from mrb.errors import ResultError
from mrb.leaderboard.build import build
from mrb.submission.reader import read_submission_folder
from mrb.submission.validate import validate_submission
from tests.builders.lies import IMAGES, TEXT

pytestmark = pytest.mark.slow


Json = dict[str, Any]


def _text(change: Callable[[Json], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        value = json.loads((folder / "submission.json").read_text())
        change(value)
        (folder / "submission.json").write_text(json.dumps(value))

    return apply


def _exchange_rankings(folder: Path) -> None:
    """Each task's orders stand under the other's name, their hashes and counts with them."""
    one, other = (folder / "rankings" / f"{task_id}.parquet" for task_id in (TEXT, IMAGES))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)

    def change(value: Json) -> None:
        value["rankings"][TEXT], value["rankings"][IMAGES] = value["rankings"][IMAGES], value["rankings"][TEXT]
        value["results"][TEXT]["counts"], value["results"][IMAGES]["counts"] = (
            value["results"][IMAGES]["counts"],
            value["results"][TEXT]["counts"],
        )

    _text(change)(folder)


def _rewrite_rows(change: Callable[[list[Json]], list[Json]]) -> Callable[[Path], None]:
    """Rows of the text task's rankings changed; hash, ids and counts follow."""

    def apply(folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        from mrb.results.run import hash_query_ids

        path = folder / "rankings" / f"{TEXT}.parquet"
        table = pq.read_table(path)
        rows = change(table.to_pylist())
        made = pa.Table.from_pylist(rows, table.schema)
        pq.write_table(made, path, compression="none", use_dictionary=False, write_statistics=False)

        def follow(value: Json) -> None:
            ids = hash_query_ids(row["query_id"] for row in rows)
            value["rankings"][TEXT].update(sha256=hash_file(path), queries=ids)
            counts = value["results"][TEXT]["counts"]
            counts.update(queries=len(rows), pairs=sum(len(row["order"]) for row in rows))

        _text(follow)(folder)

    return apply


def _measures(value: Json) -> Json:
    found: Json = value["results"][TEXT]["measures"]["nDCG@10"]
    return found


VALIDATED: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "a higher number": (_text(lambda v: _measures(v).update(mean=_measures(v)["high"])), "measures.nDCG@10.mean"),
    "a narrower interval": (_text(lambda v: _measures(v).update(low=_measures(v)["mean"])), "measures.nDCG@10.low"),
    "a lower first stage": (
        _text(lambda v: v["results"][TEXT]["first_stage"]["nDCG@10"].update(mean=0.0, low=0.0)),
        "first_stage.nDCG@10.mean",
    ),
    "a higher oracle": (
        _text(lambda v: v["results"][TEXT]["oracle"]["nDCG@10"].update(mean=1.0, high=1.0)), "oracle.nDCG@10.mean"
    ),
    "an average of other numbers": (
        _text(lambda v: v["averages"]["of_types"]["t2t"]["nDCG@10"].update(mean=0.9, high=0.95)),
        "averages.of_types.t2t.nDCG@10 is 0.9, the results give",
    ),
    "an average over tasks that are not there": (
        _text(lambda v: v["averages"].update(tasks=v["averages"]["of_types"]["t2t"])), "averages.tasks"
    ),
    "an average's interval": (
        _text(lambda v: v["averages"]["of_types"]["t2t"]["MRR@10"].update(high=1.0)), "MRR@10.high is 1.0, recomputed"
    ),
    "a smaller depth": (_text(lambda v: v["results"][TEXT]["candidates"].update(depth=10)), "outside depth 10"),
    "a deeper list": (_text(lambda v: v["results"][TEXT]["candidates"].update(list_depth=60)), "list_depth is 60"),
    "a greater depth": (
        _text(lambda v: v["results"][TEXT]["candidates"].update(depth=40)), "the order is not one of its 40"
    ),
    "another list": (
        _text(lambda v: v["results"][TEXT]["candidates"].update(sha256="ab" * 32)), "not on the task's frozen list"
    ),
    "the other task's list": (
        _text(
            lambda v: v["results"][TEXT]["candidates"].update(sha256=v["results"][IMAGES]["candidates"]["sha256"])
        ),
        "not on the task's frozen list",
    ),
    "another first stage's name": (
        _text(lambda v: v["results"][TEXT]["candidates"].update(first_stage="better")), "candidates.first_stage"
    ),
    "a trial as a whole task": (
        _text(lambda v: v["results"][TEXT]["data"].update(selection="all")), "12 queries, the task has"
    ),
    "a whole task as raw": (_text(lambda v: v["results"][TEXT]["data"].update(qrels="raw")), "task_hash is"),
    "another revision": (_text(lambda v: v["results"][TEXT]["data"].update(revision="0" * 40)), "data.revision is"),
    "fewer ties": (_text(lambda v: v["results"][TEXT]["counts"].update(tied_at_10=0.5)), "counts.tied_at_10 is 0.5"),
    "failures that are none": (
        _text(lambda v: v["results"][TEXT]["counts"].update(failed_pairs=1)), "counts.failed_pairs is 1"
    ),
    "orders exchanged between tasks": (_exchange_rankings, "query '.*' where '.*' belongs"),
    "a query twice": (
        _rewrite_rows(lambda rows: [*rows[:5], {**rows[4], "query_id": rows[4]["query_id"]}, *rows[6:]]), "occurs twice"
    ),
    "its worst query left out": (_rewrite_rows(lambda rows: [*rows[:4], *rows[5:]]), "where '.*' belongs"),
    "a query more": (
        _rewrite_rows(lambda rows: [*rows, {**rows[0], "query_id": "one more"}]), "query 'one more' where '.*' belongs"
    ),
    "two queries' orders exchanged": (
        _rewrite_rows(
            lambda rows: [{**rows[1 - n], "query_id": rows[n]["query_id"]} if n < 2 else rows[n] for n in range(12)]
        ),
        "order is not one of|does not follow|recomputed",
    ),
    "candidates left out": (
        _rewrite_rows(lambda rows: [{**row, "order": row["order"][:9], "scores": row["scores"][:36]} for row in rows]),
        "the order is not one of its 25 candidates",
    ),
    "another version's suite": (_text(lambda v: v.update(suite_version="0.1")), "of suite mini 0.1"),
    "a schema to come": (_text(lambda v: v.update(schema_version=2)), "schema_version 2 is newer"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALIDATED)
def test_what_does_not_fit_together_is_found_by_validating(folder: Path, name: str) -> None:
    lie, words = VALIDATED[name]
    lie(folder)
    with pytest.raises(ResultError, match=words) as caught:
        validate_submission(read_submission_folder(folder))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_the_board_refuses_averages_that_do_not_follow_from_the_results(folder: Path, tmp_path: Path) -> None:
    VALIDATED["an average of other numbers"][0](folder)
    with pytest.raises(ResultError, match=r"averages.of_types.t2t.nDCG@10 is 0.9, the results give"):
        build([folder], tmp_path / "site")
