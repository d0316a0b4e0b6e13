"""Groups from training files of other tools, in the layouts that their documentation shows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from mrb.cli.main import cli
from mrb.errors import MRBError, TrainingError
from mrb.training.data.contamination import HeldOutIndex
from mrb.training.data.convert import ConvertOptions, convert_file
from mrb.training.data.files import GroupFile
from mrb.training.data.group import TrainingGroup
from mrb.training.data.likeness import hash_text
from mrb.training.data.write_dataset import DataRecord, read_record
from tests.builders.requests import picture

NOTHING = HeldOutIndex({}, ())


def put(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def converted(name: str, path: Path, **options: Any) -> tuple[DataRecord, list[TrainingGroup]]:
    record, out = convert_file(name, path, path.parent / "out", NOTHING, options=ConvertOptions(**options))
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
    scored = put(tmp_path / "s.jsonl", [{"query": "q", "positive": "p", "negative_1": "n", "score": [0.9, 0.2]}])
    assert [one.teacher for one in converted("sentence-transformers", scored)[1][0].items] == [
        None,
        pytest.approx(0.9),
        pytest.approx(0.2),
    ]
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
    "columns": (
        "sentence-transformers",
        {"a": "x", "b": "y"},
        "wanted one of the columns query, anchor, question as query; there are a, b",
    ),
    "a column more": (
        "sentence-transformers",
        {"query": "q", "positive": "p", "score": 1},
        "column 'score' is not known",
    ),
    "scores": (
        "sentence-transformers",
        {"query": "q", "positive": "p", "score": [1, 2]},
        "score: wanted a list of 1 finite number,",
    ),
    "no text": ("sentence-transformers", {"query": ["q"], "positive": "p"}, "query: wanted a text or an image"),
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
    with pytest.raises(TrainingError, match="no group is left; 1 group of test data"):
        convert_file("sentence-transformers", put(tmp_path / "h.jsonl", rows[2:3]), tmp_path / "out", index)


@pytest.mark.parametrize(
    ("form", "row", "words"),
    [
        ("sentence-transformers", {"positive": {"path": "a\0.png"}}, "is no file in"),
        ("sentence-transformers", {"positive": {"path": "\\\\a.png"}}, "is no file in"),
        ("sentence-transformers", {"positive": "p", "score": [1e39]}, "wanted a list of 1 finite number"),
        ("sentence-transformers", {"positive": "p", "score": [10**400]}, "wanted a list of 1 finite number"),
        ("ms-swift", {"response": "p", "rejected_response": 5}, "rejected_response: wanted a list"),
        ("ms-swift", {"messages": [{"role": "user", "content": "q"}], "positive_messages": 5}, "wanted a list"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_row(
    tmp_path: Path, form: str, row: dict[str, Any], words: str
) -> None:
    path = put(tmp_path / "g.jsonl", [{"query": "q"} | row])
    with pytest.raises(TrainingError, match=f"g.jsonl, row 1: .*{words}"):
        convert_file(form, path, tmp_path / "out", NOTHING)


def test_scores_of_a_table_are_finite_and_a_file_is_no_folder(tmp_path: Path) -> None:
    path, index = tmp_path / "g.parquet", NOTHING
    pq.write_table(pa.Table.from_pylist([{"query": "q", "positive": "p", "scores": [math.nan]}]), path)
    for form in ("jsonl", "parquet"):
        with pytest.raises(TrainingError, match="row 1: scores: wanted a list of 1 finite number"):
            convert_file("sentence-transformers", path, tmp_path / "out", index, form=form)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="is converted from a file"):
        convert_file("sentence-transformers", tmp_path, tmp_path / "out", index)
    with pytest.raises(TrainingError, match="is converted from a folder"):
        convert_file("m-beir", path, tmp_path / "out", index)


def test_an_image_may_have_a_name_that_begins_with_dots(tmp_path: Path) -> None:
    (tmp_path / "..a.png").write_bytes(picture(60, 50, 1).encoded)
    path = put(tmp_path / "g.jsonl", [{"query": "q", "positive": {"path": "..a.png"}}])
    _, out = convert_file("sentence-transformers", path, tmp_path / "out", NOTHING)
    assert next(iter(GroupFile(out))).positives[0].item.image is not None


def test_the_command_converts_and_says_what_it_made(tmp_path: Path) -> None:
    path = put(tmp_path / "g.jsonl", [{"query": "own query", "positive": "own p", "negative": "own n"}])
    command = ["train", "data", "--from", "sentence-transformers", str(path), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    assert "g.jsonl: 1 group, 1 positive, 1 hard and 0 random negatives" in done.output
    assert "from g.jsonl (sentence-transformers); 0 without a negative" in done.output
    for more, words in (
        (["--task", "mini-flag-t2i-train"], "give tasks, --data or --from, one of them"),
        (["--out", str(tmp_path)], "would be replaced by its own groups"),
        (["--split", "dev"], "--config and --split name a part of a Hub data set"),
        (["--first-stage", "bm25"], "has its own negatives; convert it, then mine others with --from groups"),
        (["--teacher", "bm25"], "--corpus and --teacher work with --from groups only"),
        (["--columns", "query=query,query=positive"], "query is given twice"),
        (["--fresh"], "--set and --fresh work with --teacher only"),
        (["--name", "../../other"], "--name ../../other: wanted letters, digits"),
    ):
        assert words in str(CliRunner().invoke(cli, [*command, *more]).exception)


def put_mbeir(folder: Path) -> None:
    """The layout that the data set's card describes: one query of text for an image, one of both for a text."""
    for number in range(4):
        path = folder / "mbeir_images" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(60, 50, number).encoded)

    def document(did: str, text: str | None, image: int | None) -> dict[str, Any]:
        modality = ",".join(name for name, value in (("image", image), ("text", text)) if value is not None)
        path = None if image is None else f"mbeir_images/{image}.jpg"
        return {"did": did, "txt": text, "img_path": path, "modality": modality, "src_content": None}

    pool = [document(f"9:{n}", None, n) for n in range(3)]
    pool += [document(f"4:{n}", f"text {n}", None) for n in range(5)]
    put(folder / "cand_pool" / "global" / "mbeir_union_train_cand_pool.jsonl", pool)
    queries = [
        {
            "qid": "9:1",
            "query_txt": "a cat",
            "query_img_path": None,
            "query_modality": "text",
            "query_src_content": None,
        }
        | {"pos_cand_list": ["9:0"], "neg_cand_list": []},
        {"qid": "4:1", "query_txt": "what?", "query_img_path": "mbeir_images/3.jpg", "query_modality": "image,text"}
        | {"pos_cand_list": [{"did": "4:2"}], "neg_cand_list": [{"did": "4:0"}], "query_src_content": None},
    ]
    put(folder / "query" / "union_train" / "mbeir_union_up_train.jsonl", queries)
    lines = [
        ["query_modality", "cand_modality", "dataset_name", "dataset_id", "prompt_1", "prompt_2"],
        ["text", "image", "MSCOCO", "9", "Find the image.", "Find a picture."],
        ["image,text", "text", "InfoSeek", "4", "Find the answer.", ""],
    ]
    (folder / "instructions").mkdir()
    (folder / "instructions" / "query_instructions.tsv").write_text("".join("\t".join(line) + "\n" for line in lines))


def test_mbeir(tmp_path: Path) -> None:
    put_mbeir(tmp_path / "M-BEIR")
    options = ConvertOptions(source="mbeir", random=2)
    record, out = convert_file("m-beir", tmp_path / "M-BEIR", tmp_path / "out", NOTHING, options=options)
    coco, infoseek = GroupFile(out)
    assert (coco.source, coco.instruction, texts(coco)[0]) == ("mbeir-mscoco", "Find the image.", "a cat")
    assert [one.id for one in coco.positives] == ["9:0"]
    assert {one.id for one in coco.random} <= {"9:1", "9:2"} and coco.random and not coco.hard
    image = coco.positives[0].item.image
    assert image is not None and image.encoded == (tmp_path / "M-BEIR" / "mbeir_images" / "0.jpg").read_bytes()
    assert (infoseek.source, infoseek.instruction) == ("mbeir-infoseek", "Find the answer.")
    assert infoseek.query.item.image is not None and infoseek.query.item.text == "what?"
    assert texts(infoseek)[1:3] == ["text 2", "text 0"] and [one.id for one in infoseek.hard] == ["4:0"]
    assert {one.id for one in infoseek.random} <= {"4:1", "4:3", "4:4"}
    assert len(record.files) == 3 and record.random == 2
    again, _ = convert_file("m-beir", tmp_path / "M-BEIR", tmp_path / "more", NOTHING, options=options)
    assert again.sha256 == record.sha256, "random negatives are the same in every build"


def test_mbeir_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "M-BEIR"
    put_mbeir(folder)
    pool = folder / "cand_pool" / "global" / "mbeir_union_train_cand_pool.jsonl"
    lines = pool.read_text().splitlines(keepends=True)
    for content, words in (
        (lines[1:], "mbeir_union_up_train.jsonl, row 1: document 9:0 is in no file of cand_pool/global"),
        ([*lines, lines[0]], "row 9: document 9:0 is there twice"),
    ):
        pool.write_text("".join(content))
        with pytest.raises(TrainingError, match=words):
            convert_file("m-beir", folder, tmp_path / "out", NOTHING)
    pool.unlink()
    with pytest.raises(TrainingError, match=r"M-BEIR: no cand_pool/global/.*; wanted the folder of TIGER-Lab/M-BEIR"):
        convert_file("m-beir", folder, tmp_path / "out", NOTHING)


def test_a_folder_in_beirs_layout_gives_groups_of_its_train_judgements(tmp_path: Path) -> None:
    """What `mrb train data --task FOLDER` makes of corpus.jsonl, queries.jsonl and qrels/train.tsv."""
    folder = tmp_path / "beir" / "beers"
    documents = {
        "d1": "wheat beer is brewed with wheat",
        "d2": "lager is brewed cold",
        "d3": "stout is dark and roasted",
    }
    put(folder / "corpus.jsonl", [{"_id": key, "title": "", "text": text} for key, text in documents.items()])
    queries = {"q1": "which beer is brewed with grain?", "q2": "which beer is dark?"}
    put(folder / "queries.jsonl", [{"_id": key, "text": text} for key, text in queries.items()])
    (folder / "qrels").mkdir()
    for split, line in (("train", "q1\td1\t1"), ("test", "q2\td3\t1")):
        (folder / "qrels" / f"{split}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{line}\n")
    (folder / "task.toml").write_text('split = "train"\ninstruction = "Find the text on the beer."\n')
    command = ["train", "data", "--task", str(folder), "--first-stage", "bm25", "--random", "1"]
    done = CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, (done.output, done.exception)
    (group,) = GroupFile(tmp_path / "out" / "beers.jsonl")
    assert (group.query.id, group.positives[0].id, group.instruction) == ("q1", "d1", "Find the text on the beer.")
    assert [one.id for one in group.hard][:1] == ["d2"]
    record = read_record(tmp_path / "out" / "beers.jsonl")
    assert record is not None and (record.task, record.first_stage) == ("beers", "bm25")
