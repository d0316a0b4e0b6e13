"""`mrb submission validate`: every number, every byte and every field is held, and what is refused is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb._util.files import write_json
from mrb._util.hashing import hash_file
from mrb._util.json_diff import flatten_json
from mrb.candidates.load import load_candidates
from mrb.data.task import load_task
from mrb.errors import ResultError
from mrb.metrics.ranking import order_ties
from mrb.submission.reader import is_submission, list_submissions, read_submission_folder
from mrb.submission.validate import SAME, read_checked_rankings, validate_submission

TASK = "mini-faq-t2t"
Json = dict[str, Any]
Change = Callable[[Json], object]


def changed(folder: Path, change: Change) -> Path:
    """The submission with its text changed."""
    path = folder / "submission.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    return folder


def refused(folder: Path) -> str:
    """The one line with which a submission is refused."""
    with pytest.raises(ResultError) as caught:
        validate_submission(read_submission_folder(folder))
    message = str(caught.value)
    assert "\n" not in message and str(folder) in message
    return message


def _numbers(folder: Path) -> Iterator[tuple[str, float]]:
    value = json.loads((folder / "submission.json").read_text())
    parts = {key: value[key] for key in ("results", "averages")}
    yield from (
        (field, number)
        for field, number in flatten_json(parts)
        if isinstance(number, int | float) and not isinstance(number, bool) and not field.endswith("schema_version")
    )


def _put(value: Json, field: str, new: object) -> None:
    # Tasks and measures have no dots in their names, so the dotted path can be cut at them.
    *path, last = field.split(".")
    inner = value
    for name in path:
        inner = inner[name]
    inner[last] = new


@pytest.mark.slow
def test_every_changed_number_is_refused_by_name(pristine: Path, tmp_path: Path) -> None:
    numbers = list(_numbers(pristine))
    assert len(numbers) > 120
    folder = Path(shutil.copytree(pristine, tmp_path / pristine.name))
    original = json.loads((folder / "submission.json").read_text())
    otherwise = {"depth": "not one of its 26 candidates"}
    for field, number in numbers[::2]:
        value = json.loads(json.dumps(original))
        _put(value, field, number + (1 if isinstance(number, int) else 1e-7 if number < 0.5 else -1e-7))
        write_json(folder / "submission.json", value)
        *_, outer, leaf = field.split(".")
        named = outer if leaf in ("mean", "low", "high") else leaf
        assert otherwise.get(named, named) in refused(folder), field
    write_json(folder / "submission.json", original)
    assert validate_submission(read_submission_folder(folder)).recomputed == (TASK,)


def test_a_difference_below_the_tolerance_is_let_through(submission: Path) -> None:
    changed(
        submission,
        lambda v: _put(
            v, f"results.{TASK}.measures.nDCG@10.high", 1e-11 + v["results"][TASK]["measures"]["nDCG@10"]["high"]
        ),
    )
    assert validate_submission(read_submission_folder(submission)).recomputed == (TASK,)
    assert SAME == 1e-9


@pytest.mark.slow
def test_every_flipped_byte_of_a_ranking_is_refused(submission: Path) -> None:
    path = submission / "rankings" / f"{TASK}.parquet"
    data, received = path.read_bytes(), read_submission_folder(submission)
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ResultError, match=f"{TASK}.parquet: its SHA-256 is"):
            read_checked_rankings(received, TASK)


@pytest.mark.slow
def test_a_flipped_byte_with_the_hash_made_good_is_refused_or_changes_no_number(submission: Path) -> None:
    path = submission / "rankings" / f"{TASK}.parquet"
    data = path.read_bytes()
    named = 0
    for place in range(0, len(data), 23):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x81]) + data[place + 1 :])
        changed(submission, lambda v: _put(v, f"rankings.{TASK}.sha256", hash_file(path)))
        try:
            validate_submission(read_submission_folder(submission))
        except ResultError as error:
            assert str(submission) in str(error) and "\n" not in str(error)
            named += f"{TASK}.parquet: query " in str(error)
    assert named > 10


def _swapped(table: Json, first: int, second: int) -> None:
    for name, size in (("order", 1), ("scores", 4)):
        cells = bytearray(table[name][0])
        a, b = (slice(size * place, size * (place + 1)) for place in (first, second))
        cells[a], cells[b] = cells[b], cells[a]
        table[name][0] = bytes(cells)


def _tied(table: Json, first: int) -> None:
    """Two neighbours get one score, and stand against the order of the tie hash."""
    scores = table["scores"][0]
    same = scores[4 * first : 4 * first + 4]
    table["scores"][0] = scores[: 4 * first] + same + same + scores[4 * first + 8 :]
    listed, _ = load_candidates(load_task(TASK), None, 25).get(table["query_id"][0])
    order = bytearray(table["order"][0])
    pair = [listed[order[first]], listed[order[first + 1]]]
    if order_ties(TASK, table["query_id"][0], pair).tolist() == [0, 1]:
        order[first], order[first + 1] = order[first + 1], order[first]
    table["order"][0] = bytes(order)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: _swapped(t, 0, 24), "not finite, or rise with rank"),
        (lambda t: _tied(t, 3), "does not follow from its scores by the ranking rule, first at rank 4"),
        (lambda t: t["order"].__setitem__(0, t["order"][0][:1] * 25), "a position occurs twice"),
        (lambda t: t["order"].__setitem__(0, t["order"][0][:-1]), "100 bytes of scores for 24 candidates"),
        (lambda t: t["order"].__setitem__(0, bytes([200]) + t["order"][0][1:]), "positions outside depth 25"),
        (lambda t: t["query_id"].__setitem__(1, t["query_id"][0]), "occurs twice"),
        (lambda t: t["query_id"].__setitem__(1, "nobody asked"), "queries is .* gives"),
        (lambda t: [column.reverse() for column in t.values()], "queries is .* gives"),
        (lambda t: [column.pop() for column in t.values()], "11 rows; the result counts 12 queries"),
        (lambda t: t["scores"].__setitem__(0, b"\xff" * 100), "counts.failed_pairs is 0, .* gives 25"),
        (lambda t: t["scores"].__setitem__(0, b"\x00\x00\x80\x7f" * 25), "not finite, or rise with rank"),
        (lambda t: t["scores"].__setitem__(0, t["scores"][0][::-1]), "not finite, or rise with rank"),
    ],
)  # fmt: skip
def test_rankings_that_do_not_fit_are_refused_by_name(submission: Path, change: Change, words: str) -> None:
    path = submission / "rankings" / f"{TASK}.parquet"
    table = pq.read_table(path)
    columns = table.to_pydict()
    change(columns)
    _write(path, columns, table.schema)
    changed(submission, lambda v: _put(v, f"rankings.{TASK}.sha256", hash_file(path)))
    with pytest.raises(ResultError, match=words) as caught:
        validate_submission(read_submission_folder(submission))
    assert f"{TASK}.parquet" in str(caught.value)


def _write(path: Path, columns: Json, schema: Any) -> None:
    table = pa.table(columns, schema=schema)
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)


def test_an_order_with_its_numbers_left_as_they_were_is_refused_by_number(submission: Path) -> None:
    path = submission / "rankings" / f"{TASK}.parquet"
    table = pq.read_table(path)
    columns = table.to_pydict()
    # The orders of all queries turned round, under scores that fit: only the numbers are wrong.
    columns["order"] = [bytes(reversed(order)) for order in columns["order"]]
    _write(path, columns, table.schema)
    changed(submission, lambda v: _put(v, f"rankings.{TASK}.sha256", hash_file(path)))
    assert f"results.{TASK}.measures." in refused(submission) and "recomputed" in refused(submission)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["model"].update(name="other"), "the folder must be named so"),
        (lambda v: v.update(suite="mrb"), "suite_version|of suite mrb"),
        (lambda v: v.update(suite_version="9.9"), "of suite mini 9.9; this MRB has 1.0"),
        (lambda v: v.update(suite="nonsense"), "unknown suite 'nonsense'"),
        (lambda v: v["training"].pop("mini-flag-t2i"), "training has no entry for mini-flag-t2i"),
        (lambda v: v["training"].update(nfcorpus="clean"), "'nfcorpus' is not a task of suite mini"),
        (lambda v: v["training"].update({TASK: "perhaps"}), "training.mini-faq-t2t: Input should be 'trained-on'"),
        (lambda v: v.update(surprise=1), "surprise: unknown field"),
        (lambda v: v.pop("command"), "command: Field required"),
        (lambda v: v["rankings"].clear(), "results and rankings are not of the same tasks"),
        (lambda v: v["reranker"].update(version="2"), "belongs to another task or reranker"),
        (lambda v: v["timings"].update({"mini-flag-t2i": {"seconds": 1.0, "pairs": 1}}), "a task without a result"),
        (lambda v: v["not_covered"].append({"task": TASK, "reason": "x"}), "also listed as not covered"),
        (lambda v: v["results"][TASK]["data"].update(selection="sample"), "selection is 'sample'; suite mini takes"),
        (lambda v: v["rankings"][TASK].update(scores=False), "must have scores"),
        (lambda v: v["results"][TASK]["measures"].pop("MRR@10"), "do not hold the same measures"),
        (lambda v: v["averages"].update(tasks=v["averages"]["of_types"]["t2t"]), "averages.tasks.* give missing"),
        (lambda v: v["averages"]["of_types"].clear(), "averages.of_types.t2t.nDCG@5.* missing, the results give"),
        (lambda v: v["model"].update(active_parameters=2000), "more active parameters than parameters"),
        (lambda v: v.update(schema_version=2), r"schema_version 2 is newer than this MRB \(1\)"),
        (lambda v: v.update(schema_version=0), "schema_version 0 is older than what is read by this MRB"),
        (lambda v: v.update(schema_version=True), "schema_version is True, wanted a whole number"),
        (lambda v: v["results"][TASK].update(schema_version=2), "schema_version: Input should be 1"),
        (lambda v: v["command"].append("/home/bob"), "command.*holds a path, which must not be"),
        (lambda v: v["environment"].update(processor="box.local at 10.0.0.1"), "processor holds an address"),
        (lambda v: v["environment"].update(hostname="box"), "environment.hostname names a machine or a person"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(submission: Path, change: Change, words: str) -> None:
    with pytest.raises(ResultError, match=words) as caught:
        validate_submission(read_submission_folder(changed(submission, change)))
    assert "\n" not in str(caught.value)


def test_folders_of_submissions(pristine: Path, tmp_path: Path) -> None:
    for name in ("b__x", "a__x"):
        shutil.copytree(pristine, tmp_path / name)
    (tmp_path / "README.md").write_text("no submission")
    (tmp_path / "empty").mkdir()
    assert [path.name for path in list_submissions(tmp_path)] == ["a__x", "b__x"]
    assert not is_submission(tmp_path / "empty")
