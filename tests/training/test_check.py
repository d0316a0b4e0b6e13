"""The check of files of groups: what it finds, what it leaves, and when it is not repeated."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from mrb.cli.main import cli
from mrb.errors import MRBError, TrainingError
from mrb.training.data import contamination
from mrb.training.data import prepare as preparation
from mrb.training.data.check import FileChecker
from mrb.training.data.check_record import CheckRecord, read_check
from mrb.training.data.contamination import Checker, HeldOutIndex, Keys
from mrb.training.data.files import GroupFile, open_image, write_groups
from mrb.training.data.likeness import hash_image, hash_text
from mrb.training.data.prepare import Prepared, prepare
from mrb.training.recipe import DataSettings


def png(width: int, height: int, seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def row(**changes: Any) -> dict[str, Any]:
    base = {"source": "own", "query": {"text": "own query"}, "positives": [{"text": "own positive"}]}
    return {**base, "negatives": [{"text": "own negative"}], **changes}


def put(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in rows))
    return path


def prepared(*names: Path | str) -> Prepared:
    return prepare(DataSettings(groups=tuple(map(str, names)), tasks=()))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of images, most of them bad."""
    for width, height in ((1, 5000), (5000, 8), (40, 30)):
        (tmp_path / f"{width}x{height}.png").write_bytes(png(width, height))
    (tmp_path / "half.png").write_bytes(png(40, 30)[:900])
    (tmp_path / "empty.png").write_bytes(b"")
    return tmp_path


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> HeldOutIndex:
    """Test data of two tasks: two texts, and an image. Their corpora hold a text and an image more."""
    image, other = (hash_image(open_image(Path(), _image_row(png(40, 30, seed)))) for seed in (7, 8))
    keys = {"one": [hash_text("of one"), hash_text("of both")], "two": [hash_text("of both"), image]}
    unjudged = {"one": [hash_text("unjudged")], "two": [hash_text("unjudged"), other]}
    index = HeldOutIndex(sort_keys(keys), ("three",), sort_keys(unjudged))
    replace_index(monkeypatch, index)
    return index


def sort_keys(keys: dict[str, list[int]]) -> dict[str, Keys]:
    return {task: np.unique(np.asarray(own, np.uint64)) for task, own in keys.items()}


def replace_index(monkeypatch: pytest.MonkeyPatch, index: HeldOutIndex) -> None:
    for module in (preparation, contamination):
        monkeypatch.setattr(module, "load_held_out", lambda tasks: index)


def _image_row(data: bytes) -> Any:
    from mrb.training.data.files import ImageRow

    return ImageRow(bytes=base64.b64encode(data).decode())


BAD = {
    "no positives": ({"positives": []}, "row 2: not a group: positives: List should have at least 1 item"),
    "half a character": ({"query": {"text": "half \ud83d"}}, "row 2: not JSON: .*half of a character"),
    "thin": (
        {"positives": [{"text": "x", "image": "1x5000.png"}]},
        r"row 2, image 1x5000.png: .*1 x 5000 pixels is too thin",
    ),
    "wide": ({"query": {"image": "5000x8.png"}}, r"row 2, image 5000x8.png: .*5000 x 8 pixels is too thin"),
    "half": ({"negatives": [{"image": "half.png"}]}, "row 2, image half.png: damaged image"),
    "none": ({"negatives": [{"image": "none.png"}]}, "row 2, image none.png: cannot be read: No such file"),
    "empty": ({"negatives": [{"image": "empty.png"}]}, "row 2, image empty.png: not an image"),
    "base64": ({"negatives": [{"image": {"bytes": "%%"}}]}, "row 2: an image given as bytes: not base64"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_group_that_cannot_be_trained_on_is_refused_with_file_and_row(case: str, images: Path) -> None:
    changes, words = BAD[case]
    path = put(images / "groups.jsonl", [row(), row(**changes)])
    with pytest.raises(MRBError, match=words) as caught:
        prepared(path)
    assert str(caught.value).startswith(f"{path}, row 2")
    assert len(str(caught.value).splitlines()) == 1


def test_all_that_is_wrong_is_found_in_one_pass_and_can_be_put_right(images: Path) -> None:
    path = put(images / "groups.jsonl", [row(), *(row(**changes) for changes, _ in BAD.values()), "{not json}"])
    with pytest.raises(TrainingError, match=rf"row 2: .* \(and 8 more rows; `mrb train check {path}` lists them\)"):
        prepared(path)
    done = CliRunner().invoke(cli, ["train", "check", str(path)])
    assert str(done.exception) == "9 groups, listed above, cannot be trained on; mend or remove them"
    for number, (_, words) in enumerate(BAD.values(), start=2):
        assert re.search(words.replace("row 2", f"row {number}"), done.output)
    assert "row 10: not JSON" in done.output
    # The record names no file: what looks like a private path would be replaced, with the row.
    record = json.loads((images / "groups.check.json").read_text())
    assert all(problem.startswith("row ") for problem in record["problems"])
    path = put(images / "groups.jsonl", [row(negatives=[{"image": "none.png"}])])
    with pytest.raises(TrainingError, match="No such file"):
        prepared(path)
    (images / "none.png").write_bytes(png(40, 30))
    assert prepared(path).groups == 1, "what was bad is looked at again, though the file is the same"


def test_bad_groups_are_left_out_if_the_recipe_says_so(images: Path) -> None:
    path = put(images / "groups.jsonl", [row(), *(row(**changes) for changes, _ in BAD.values()), row(negatives=[])])
    settings = DataSettings(groups=(str(path),), on_error="skip", max_skipped=8)
    found = prepare(settings)
    assert (found.groups, found.left_out.bad, found.left_out.no_negatives) == (1, 8, 1)
    with pytest.raises(TrainingError, match=r"8 groups so far cannot be trained on, data.max_skipped is 7"):
        prepare(settings.model_copy(update={"max_skipped": 7}))


def _same_as_one_by_one(path: Path, index: HeldOutIndex, record: CheckRecord) -> None:
    """What the check counts is what the checker of single groups counts."""
    checker = Checker(index)
    kept = [checker.clean(group) for group in GroupFile(path)]
    assert record.dropped == checker.dropped
    (source,) = prepared(path).sources
    left = [group for group in kept if group is not None and group.negatives]
    assert len(source) == len(left)
    for place, group in enumerate(left):
        assert [one.id for one in source.group(place).items] == [one.id for one in group.items]


ROWS = [
    row(),
    row(query={"text": "Of  ONE"}),
    row(positives=[{"text": "of both", "id": "a"}, {"text": "mine", "id": "b"}]),
    row(positives=[{"text": "of both"}]),
    row(negatives=[{"text": "of one", "image": "a.png"}, {"text": "x", "id": "c"}, {"image": "test.png"}]),
    row(query={"image": "test.png", "text": "q"}),
    row(query={"image": "a.png", "text": "of one"}),
    row(negatives=[{"text": "of one"}]),
    row(negatives=[]),
    row(negatives=[{"text": "of both", "image": "test.png"}, {"text": "y"}]),
    row(negatives=[{"text": "unjudged"}, {"image": "corpus.png"}]),
    row(query={"text": "unjudged"}, negatives=[{"text": "of one"}, {"image": "corpus.png"}]),
    row(positives=[{"text": "of both"}, {"text": "mine"}], negatives=[{"image": "corpus.png"}]),
    row(query={"text": "of one"}, negatives=[{"image": "corpus.png"}]),
]
IMAGES = {"a.png": 3, "test.png": 7, "corpus.png": 8}


@pytest.mark.parametrize("form", ["jsonl", "parquet", "embedded"])
def test_what_is_test_data_is_left_out(form: str, tmp_path: Path, index: HeldOutIndex) -> None:
    for name, seed in IMAGES.items():
        (tmp_path / name).write_bytes(png(40, 30, seed))
    path = put(tmp_path / "g.jsonl", ROWS)
    if form != "jsonl":
        path = tmp_path / "other" / "g.parquet"
        write_groups(path, GroupFile(tmp_path / "g.jsonl"), embed=form == "embedded")
    with FileChecker(index, processes=1) as checker:
        record, table = checker.check(path)
    assert (record.groups, record.no_negatives, record.bad) == (14, 1, 0)
    assert record.dropped.groups == 5, "a row that never had negatives is not test data"
    assert record.dropped.hits == {"one": 9, "two": 6}
    assert (record.dropped.unjudged, record.dropped.unjudged_hits) == (3, {"one": 2, "two": 3})
    assert table.states.tolist() == [0, 2, 0, 2, 0, 2, 0, 2, 1, 0, 0, 0, 0, 2]
    _same_as_one_by_one(path, index, record)


@pytest.mark.slow
def test_several_processes_find_what_one_finds(tmp_path: Path, index: HeldOutIndex, monkeypatch: Any) -> None:
    monkeypatch.setattr("mrb.training.data.rows.STRETCH_BYTES", 200)
    for name, seed in IMAGES.items():
        (tmp_path / name).write_bytes(png(40, 30, seed))
    rows = [*ROWS * 20, "{}", row(query={"image": "none.png"})]
    path = put(tmp_path / "g.jsonl", rows)
    found = []
    for processes in (1, 2):
        with FileChecker(index, processes) as checker:
            record, table = checker.check(path)
        found.append((record.model_dump(exclude={"seconds", "processes"}), table))
    assert found[0][0] == found[1][0]
    assert found[0][0]["bad"] == 2
    for name, values in vars(found[0][1]).items():
        assert np.array_equal(values, getattr(found[1][1], name)), name


def end_process(code: int, index: HeldOutIndex) -> None:
    os._exit(code)


@pytest.mark.slow
def test_a_process_that_is_ended_ends_the_check_in_one_line(tmp_path: Path, index: HeldOutIndex) -> None:
    with FileChecker(index, 2) as checker, pytest.raises(TrainingError, match="ended from outside"):
        list(checker._map(end_process, [1, 2]))


def test_labels_that_contradict_each_other_are_reported(images: Path) -> None:
    path = put(
        images / "g.jsonl",
        [
            row(),
            row(negatives=[{"text": "Own  positive"}, {"text": "x"}]),
            row(positives=[{"image": "40x30.png"}, {"image": "40x30.png", "text": ""}]),
            row(positives=[{"image": "40x30.png"}], negatives=[{"image": "40x30.png", "text": "with a text"}]),
        ],
    )
    done = CliRunner().invoke(cli, ["train", "check", str(path)])
    assert done.exit_code == 0, done.output
    assert "1 with a document that is both positive and negative, 1 with a positive twice" in done.output
    assert f"{path}, row 2: a document is both positive and negative" in done.output
    assert f"{path}, row 3: a positive is there twice" in done.output


def test_a_check_is_not_repeated(tmp_path: Path, index: HeldOutIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "data" / "g.jsonl", ROWS[:5])
    for name, seed in (("a.png", 3), ("test.png", 7)):
        (path.parent / name).write_bytes(png(40, 30, seed))
    done = CliRunner().invoke(cli, ["train", "check", str(path)])
    assert done.exit_code == 0, done.output
    first = prepared(path)
    checked = FileChecker.check
    monkeypatch.setattr(FileChecker, "check", None)
    assert prepared(path).records == first.records
    again = CliRunner().invoke(cli, ["train", "check", str(path)])
    assert "checked before" in again.output
    # A copy has another time of change, and the same content.
    copy = tmp_path / "copy"
    shutil.copytree(path.parent, copy)
    os.utime(copy / "g.jsonl", (1, 1))
    assert prepared(copy / "g.jsonl").records[0].sha256 == first.records[0].sha256
    assert read_check(copy / "g.jsonl", index) is not None
    # Other content, and another index, are checked.
    for act in (
        lambda: put(path, ROWS[:4]),
        lambda: replace_index(monkeypatch, HeldOutIndex({}, ())),
    ):
        act()
        monkeypatch.setattr(FileChecker, "check", None)
        with pytest.raises(TypeError):
            prepared(path)
        monkeypatch.setattr(FileChecker, "check", checked)
        assert prepared(path).groups >= 2


def test_only_a_task_that_shares_something_with_a_file_has_it_checked_anew(
    tmp_path: Path, index: HeldOutIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png(40, 30, 3))
    path = put(tmp_path / "g.jsonl", [row(), row(query={"text": "of one"}), row(positives=[{"image": "a.png"}])])
    first = prepared(path)
    picture = hash_image(open_image(tmp_path, _image_row(png(40, 30, 3))))
    checked = FileChecker.check

    def change(new: dict[str, list[int]], unjudged: dict[str, list[int]], gone: str = "") -> HeldOutIndex:
        keys, others = (
            {task: own for task, own in one.items() if task != gone} for one in (index.keys, index.unjudged)
        )
        made = HeldOutIndex(keys | sort_keys(new), (), others | sort_keys(unjudged))
        replace_index(monkeypatch, made)
        return made

    monkeypatch.setattr(FileChecker, "check", None)
    for made in (change({"new": [1, 2]}, {"new": [3]}), change({}, {}, gone="two"), change({}, {})):
        replace_index(monkeypatch, made)
        assert prepared(path).records == first.records
        assert prepared(path).contamination.checked == tuple(sorted(made.keys))
        found = read_check(path, made)
        assert found is not None and found[0].checked == made.identity
    for made in (
        change({"new": [hash_text("own negative")]}, {}),
        change({"new": [picture]}, {}),
        change({"new": []}, {"new": [picture]}),
        change({}, {}, gone="one"),  # of which the file has a query
    ):
        assert read_check(path, made) is None
        with pytest.raises(TypeError):
            prepared(path)
    monkeypatch.setattr(FileChecker, "check", checked)
    assert prepared(path).groups == 3


def test_the_record_is_in_the_cache_if_the_folder_cannot_be_written_to(
    tmp_path: Path, index: HeldOutIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "g.jsonl", [row()])
    monkeypatch.setattr("mrb.training.data.check_record.os.access", lambda place, how: False)
    assert prepared(path).groups == 1
    assert not list(tmp_path.glob("*.check.*"))
    assert read_check(path, index) is not None


# Several files


def test_shards_of_one_source_are_one_source(tmp_path: Path) -> None:
    for shard in range(3):
        rows = [row(query={"text": f"{shard}-{n}"}, source="mine" if n else "yours") for n in range(4)]
        put(tmp_path / "own" / f"p{shard}.jsonl", rows)
    names = [str(tmp_path / "own" / f"p{shard}.jsonl") for shard in range(3)]
    for given in (names, [str(tmp_path / "own" / "p*.jsonl")], [str(tmp_path / "own")]):
        found = prepared(*given)
        assert [(source.name, len(source)) for source in found.sources] == [("yours", 3), ("mine", 9)]
        yours, mine = found.sources
        assert [yours.group(n).query.item.text for n in range(3)] == ["0-0", "1-0", "2-0"]
        texts = [mine.group(n).query.item.text for n in range(9)]
        assert texts == [f"{shard}-{n}" for shard in range(3) for n in range(1, 4)]
        assert str(mine.locate_error(4, MRBError("x"))) == f"{names[1]}, row 3: x"
        assert [file.name for file in found.records[1].files] == ["p0.jsonl", "p1.jsonl", "p2.jsonl"]
        assert [file.groups for file in found.records[1].files] == [3, 3, 3]


def test_files_that_are_named_wrongly_are_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "own" / "p0.jsonl", [row()])
    (tmp_path / "empty").mkdir()
    roundabout = tmp_path / "empty" / ".." / "own" / "p0.jsonl"
    for names, words in {
        (str(tmp_path / "own"), str(path)): "p0.jsonl: is in both .*own' and .*p0.jsonl'; name each file",
        (str(path), str(path)): "name each file of groups once",
        (str(path), str(roundabout)): "name each file of groups once",
        (str(tmp_path / "own" / "q*.jsonl"),): r"q\*.jsonl: no such file of groups",
        (str(tmp_path / "empty"),): "empty: no such file of groups",
    }.items():
        with pytest.raises(TrainingError, match=words):
            prepared(*names)


# Rows


def test_a_row_does_not_touch_images_that_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    negatives = [{"image": f"{n}.png"} for n in range(133)]
    path = put(tmp_path / "g.jsonl", [row(negatives=negatives)])
    file = GroupFile(path)
    monkeypatch.setattr(Path, "resolve", None)
    monkeypatch.setattr(Path, "read_bytes", None)
    assert len(file[0].negatives) == 133


def test_parquet_is_read_by_row_group_and_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(tmp_path / "cache"))
    source = GroupFile(put(tmp_path / "g.jsonl", [row(query={"text": str(n)}) for n in range(200)]))
    write_groups(tmp_path / "g.parquet", source)
    assert pq.ParquetFile(tmp_path / "g.parquet").num_row_groups == 4
    found = GroupFile(tmp_path / "g.parquet")
    for n in (199, 0, 63, 64, 1):
        assert found[n].query.item.text == str(n)
    assert not (tmp_path / "cache").exists()
    large = tmp_path / "large.parquet"
    monkeypatch.setattr("mrb.training.data.rows.MAX_ROW_BYTES", 1000)
    pq.write_table(pq.read_table(tmp_path / "g.parquet"), large)
    with pytest.raises(TrainingError, match=r"large.parquet: row group 1 has more than 1000 bytes .*row_group_size=64"):
        GroupFile(large)
