"""Groups from training files of other tools, in the layouts that their documentation shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from mrb.cli.main import cli
from mrb.errors import MRBError, TrainingError
from mrb.training.data.contamination import HeldOutIndex
from mrb.training.data.convert import convert_file
from mrb.training.data.dedup import hash_text
from mrb.training.data.files import GroupFile
from mrb.training.data.group import TrainingGroup
from mrb.training.data.write_dataset import DataRecord, read_record
from tests.builders.requests import picture

NOTHING = HeldOutIndex({}, ())


def put(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def converted(name: str, path: Path, **options: Any) -> tuple[DataRecord, list[TrainingGroup]]:
    record, out = convert_file(name, path, path.parent / "out", NOTHING, **options)
    assert read_record(out) == record
    return record, list(GroupFile(out))


def texts(group: TrainingGroup) -> list[str]:
    return [one.item.text for one in group.items]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_sentence_transformers(tmp_path: Path, form: str) -> None:
    """As `datasets` writes a set of (query, positive, negative_1, ..., negative_n), `mine_hard_negatives`' n-tuple."""
    datasets = pytest.importorskip("datasets")
    rows = {
        "query": ["who wrote it?", "where is it?"],
        "positive": ["She did.", "There."],
        "negative_1": ["He did.", "Here."],
        "negative_2": ["Nobody did.", None],
    }
    path = tmp_path / f"gooaq.{form}"
    made = datasets.Dataset.from_dict(rows)
    made.to_parquet(path) if form == "parquet" else made.to_json(path)
    record, groups = converted("sentence-transformers", path, instruction="Answer.", source="qa")
    assert [texts(group) for group in groups] == [
        ["who wrote it?", "She did.", "He did.", "Nobody did."],
        ["where is it?", "There.", "Here."],
    ]
    assert {(group.source, group.instruction) for group in groups} == {("qa", "Answer.")}
    assert [negative.rank for negative in groups[0].hard] == [1, 2]
    assert (record.format, list(record.files), record.counts["hard"]) == ("sentence-transformers", [path.name], 3)
    triplets = put(tmp_path / "t.jsonl", [{"anchor": "a", "positive": "p", "negative": "n"}])
    assert texts(converted("sentence-transformers", triplets)[1][0]) == ["a", "p", "n"]


def test_ms_swift(tmp_path: Path) -> None:
    images = tmp_path / "some"
    images.mkdir()
    for number in range(4):
        (images / f"{number}.png").write_bytes(picture(60, 50, number).encoded)
    system = {"role": "system", "content": "Find the page."}
    user = [{"role": "user", "content": "<image>sentence1"}]

    def document(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    rows = [
        {
            "messages": [system, *user],
            "images": ["some/0.png"],
            "positive_messages": [document("<image>sentence2")],
            "positive_images": [[str(images / "1.png")]],
            "negative_messages": [document("<image>"), document("sentence4")],
            "negative_images": [["some/2.png"], []],
        },
        {
            "messages": [{"role": "user", "content": "query"}],
            "positive_messages": [document("relevant_doc1"), document("relevant_doc2")],
            "negative_messages": [document("irrelevant_doc1")],
        },
        {"query": "query", "response": "relevant", "rejected_response": ["irrelevant1", "irrelevant2"]},
        {"messages": [{"role": "user", "content": "alone"}], "positive_messages": [document("p")], "label": 1.0},
    ]
    record, groups = converted("ms-swift", put(tmp_path / "swift.jsonl", rows))
    assert [texts(group) for group in groups] == [
        ["sentence1", "sentence2", "", "sentence4"],
        ["query", "relevant_doc1", "relevant_doc2", "irrelevant_doc1"],
        ["query", "relevant", "irrelevant1", "irrelevant2"],
        ["alone", "p"],
    ]
    assert [group.instruction for group in groups] == ["Find the page.", "", "", ""]
    shown = [one.item.image for one in groups[0].items]
    for number, image in enumerate(shown[:3]):
        assert image is not None and image.encoded == (images / f"{number}.png").read_bytes()
    assert shown[3] is None
    assert record.counts["without_negatives"] == 1


USER = [{"role": "user", "content": "q"}]
WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "columns": ("sentence-transformers", {"a": "x", "b": "y"}, "wanted the columns query"),
    "a column more": ("sentence-transformers", {"query": "q", "positive": "p", "score": 1}, "column 'score'"),
    "no text": ("sentence-transformers", {"query": "q", "positive": ["p"]}, "positive: wanted a text"),
    "empty": ("sentence-transformers", {"query": " ", "positive": "p"}, "query: an item with neither text nor image"),
    "no positive": ("ms-swift", {"messages": USER}, "no positive"),
    "turns": ("ms-swift", {"messages": USER * 2, "positive_messages": [USER]}, "messages: wanted one message"),
    "graded": ("ms-swift", {"messages": USER, "positive_messages": [USER], "label": 0.5}, "label: rows with it"),
    "tags": ("ms-swift", {"messages": USER, "images": ["a.png"], "positive_messages": [USER]}, "0 <image> tags"),
    "outside": (
        "ms-swift",
        {"messages": [{"role": "user", "content": "<image>"}], "images": ["/etc/a.png"], "positive_messages": [USER]},
        "image '/etc/a.png' is no file in .*--images",
    ),
    "missing": (
        "ms-swift",
        {"messages": [{"role": "user", "content": "<image>"}], "images": ["a.png"], "positive_messages": [USER]},
        "image a.png: cannot be read",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_row_of_another_form_is_refused_by_file_and_row(case: str, tmp_path: Path) -> None:
    name, row, words = WRONG[case]
    good: dict[str, Any] = {"messages": USER, "positive_messages": [USER]}
    good = {"query": "q", "positive": "p"} if name == "sentence-transformers" else good
    path = put(tmp_path / "g.jsonl", [good, row])
    with pytest.raises(MRBError, match=words) as caught:
        converted(name, path)
    assert str(caught.value).startswith(f"{path}, row 2")
    assert not list(tmp_path.glob("out/*.jsonl"))


def test_test_data_is_left_out_of_what_is_converted(tmp_path: Path) -> None:
    index = HeldOutIndex({"one": np.asarray([hash_text("of a test")], np.uint64)}, ())
    rows = [
        {"query": "a", "positive": "p", "negative": "of a test"},
        {"query": "b", "positive": "p", "negative_1": "Of a TEST", "negative_2": "n"},
        {"query": "of a test", "positive": "p"},
        {"query": "c", "positive": "p"},
    ]
    record, out = convert_file("sentence-transformers", put(tmp_path / "g.jsonl", rows), tmp_path / "out", index)
    assert [texts(group) for group in GroupFile(out)] == [["b", "p", "n"], ["c", "p"]]
    assert (record.dropped.groups, record.dropped.negatives, record.dropped.hits) == (2, 2, {"one": 3})
    with pytest.raises(TrainingError, match="no group is left, 1 are of test data"):
        convert_file("sentence-transformers", put(tmp_path / "h.jsonl", rows[2:3]), tmp_path / "out", index)


def test_the_command_converts_and_says_what_it_made(tmp_path: Path) -> None:
    path = put(tmp_path / "g.jsonl", [{"query": "own query", "positive": "own p", "negative": "own n"}])
    command = ["train", "data", "--from", "sentence-transformers", str(path), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    assert "g.jsonl: 1 groups, 1 positives, 1 hard and 0 random negatives" in done.output
    assert "from g.jsonl (sentence-transformers); 0 without a negative" in done.output
    for more, words in (
        (["--task", "mini-flag-t2i-train"], "give tasks or --from, not both"),
        (["--out", str(tmp_path)], "would be replaced by its own groups"),
    ):
        assert words in str(CliRunner().invoke(cli, [*command, *more]).exception)
