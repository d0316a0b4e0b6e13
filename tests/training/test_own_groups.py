"""`mrb train data --from groups`: negatives of own groups by any first stage."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mrb.cli.main import cli
from mrb.data.items import Item
from mrb.data.load import load_task_data
from mrb.errors import TrainingError
from mrb.evaluation.run import JOURNAL_FILE
from mrb.training.data import own_groups
from mrb.training.data.contamination import HeldOutIndex
from mrb.training.data.files import GroupFile, write_groups
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.mine_negatives import BuildOptions, GroupBuilder
from mrb.training.data.own_groups import make_own_tasks
from mrb.training.data.teacher import refuse_equal_names, write_teacher
from mrb.training.data.write_dataset import make_groups, read_record
from tests.builders.requests import picture
from tests.builders.toy import toy_candidates, toy_data

NOTHING = HeldOutIndex({}, ())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MRB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def group(query: str, positive: str, negative: str = "", source: str = "Beers", instruction: str = "") -> TrainingGroup:
    negatives = [TrainingItem(Item(negative))] if negative else []
    return TrainingGroup(instruction, source, TrainingItem(Item(query)), [TrainingItem(Item(positive))], negatives)


def ungraded() -> TrainingGroup:
    return TrainingGroup("", "Beers", TrainingItem(Item("none?")), [TrainingItem(Item("x"), grade=0)], [])


BEERS = [
    group("which beer has wheat?", "wheat beer is brewed with wheat"),
    group("which beer is dark?", "stout is a dark beer"),
    group("which beer is cold?", "lager is a beer brewed cold", "cider is no beer"),
    group("which beer has wheat?", "weissbier is a beer of wheat"),
]


def mine(tmp_path: Path, *options: str) -> Any:
    command = ["train", "data", "--from", "groups", str(tmp_path / "own"), "--first-stage", "bm25", *options]
    return CliRunner().invoke(cli, [*command, "--out", str(tmp_path / "out")])


def test_the_command_mines_among_all_documents_of_the_groups(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "own").mkdir()
    write_groups(tmp_path / "own" / "a.jsonl", BEERS[:2])
    write_groups(tmp_path / "own" / "b.parquet", BEERS[2:])
    done = mine(tmp_path, "--random", "1")
    assert done.exit_code == 0, (done.output, done.exception)
    found = {one.query.item.text: one for one in GroupFile(tmp_path / "out" / "beers-mined.jsonl")}
    wheat = found["which beer has wheat?"]
    assert {one.item.text for one in wheat.positives} == {
        BEERS[0].positives[0].item.text,
        BEERS[3].positives[0].item.text,
    }
    assert (wheat.source, wheat.instruction) == ("Beers", "")
    for one in found.values():
        positives = {other.item.text for other in one.positives}
        assert one.hard and not positives & {other.item.text for other in one.negatives}
        assert [other.rank for other in one.hard] == sorted(other.rank or 0 for other in one.hard)
    assert "cider is no beer" in {one.item.text for one in found["which beer is dark?"].hard}
    record = read_record(tmp_path / "out" / "beers-mined.jsonl")
    assert record is not None and (record.first_stage, record.depth, record.random) == ("bm25", 100, 1)
    before = {path: path.stat().st_mtime_ns for path in cache.glob("own-*/**/*.parquet")}
    assert len(before) == 3  # queries, documents, the list
    again = mine(tmp_path, "--random", "1")
    assert again.exit_code == 0 and {path: path.stat().st_mtime_ns for path in before} == before
    same = read_record(tmp_path / "out" / "beers-mined.jsonl")
    assert same is not None and same.sha256 == record.sha256


def test_more_documents_and_percentage(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    write_groups(tmp_path / "own" / "a.jsonl", BEERS[:2])
    rows = [
        {"_id": "c1", "title": "Ale", "text": "ale is a beer which has little wheat"},
        {"_id": "c2", "text": "a dark beer is dark"},
    ]
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert mine(tmp_path, "--corpus", str(corpus), "--random", "0").exit_code == 0
    wheat, dark = GroupFile(tmp_path / "out" / "beers-mined.jsonl")
    assert wheat.hard[0].item.text == "Ale ale is a beer which has little wheat" and wheat.hard[0].id == "c1"
    assert dark.hard[0].id == "c2"
    done = mine(tmp_path, "--corpus", str(corpus), "--percent", "95", "--random", "1")
    assert done.exit_code == 0 and "left out by margin or percentage:" in done.output, done.output
    kept = list(GroupFile(tmp_path / "out" / "beers-mined.jsonl"))
    assert all(one.negatives for one in kept) and "c2" not in [one.id for one in kept[1].hard]
    corpus.write_text('{"_id": "c1", "text": 5}\n')
    assert str(mine(tmp_path, "--corpus", str(corpus)).exception) == f"{corpus}, row 1: title and text are texts"
    assert "give --first-stage NAME" in str(
        CliRunner().invoke(cli, ["train", "data", "--from", "groups", str(tmp_path / "own")]).exception
    )


def test_instructions_sources_and_pictures_stay_apart(tmp_path: Path) -> None:
    pictured = [TrainingItem(Item("", picture(60, 50, number)), f"p{number}") for number in range(3)]
    groups = [
        group("a", "b", source="one", instruction="Find one."),
        group("c", "d", source="one", instruction="Find another."),
        *(TrainingGroup("", "two", TrainingItem(Item(f"number {n}")), [pictured[n]], []) for n in range(3)),
    ]
    path = tmp_path / "mixed.parquet"
    write_groups(path, groups, embed=True)
    made = make_own_tasks([path])
    assert [(one.task.id, one.source, one.task.instruction) for one in made] == [
        ("one-mined", "one", "Find one."),
        ("one-mined-2", "one", "Find another."),
        ("two-mined", "two", "Find the documents that are relevant to the query."),
    ]
    two = made[2]
    options = BuildOptions(depth=0, random=2)
    record = make_groups(load_task_data(two.task), tmp_path / "out", NOTHING, options=options, own=two)
    assert record.counts["random"] == 6
    for number, one in enumerate(GroupFile(tmp_path / "out" / "two-mined.jsonl")):
        shown = one.positives[0].item.image
        assert shown is not None and shown.encoded == pictured[number].item.image.encoded  # type: ignore[union-attr]
        assert {other.id for other in one.negatives} == {"p0", "p1", "p2"} - {f"p{number}"}


def test_margin_and_percentage_are_of_the_lowest_positive() -> None:
    """As `mine_hard_negatives` of sentence-transformers: absolute_margin, relative_margin = 1 - percent / 100."""
    corpus = {"p1": "one", "p2": "two", "a": "alpha", "b": "beta", "c": "gamma", "q": "the query"}
    data = toy_data({"q": "the query"}, corpus, {"q": {"p1": 1, "p2": 1}})
    scored = toy_candidates({"q": ["q", "p1", "a", "p2", "b", "c"]})  # 1, 0.999, ...

    def hard(**options: Any) -> list[str]:
        builder = GroupBuilder(data, scored, BuildOptions(random=1, **options))
        return [one.id for found in builder.build_groups() for one in found.hard]

    assert hard() == ["a", "b", "c"]  # a document that is the query is none
    assert hard(margin=0.0) == ["b", "c"]
    assert hard(margin=0.0015) == ["c"]
    assert hard(percent=100) == ["b", "c"] and hard(percent=99.85) == ["c"]
    assert hard(percent=99.85, margin=0.1) == []
    absent = toy_data({"q": "the query"}, corpus | {"p3": "three"}, {"q": {"p1": 1, "p3": 1}})
    builder = GroupBuilder(absent, scored, BuildOptions(random=1, margin=0.0))
    assert [one.id for found in builder.build_groups() for one in found.hard] == []
    assert builder.counts["near_positive"] == 4
    builder = GroupBuilder(absent, scored, BuildOptions(random=1, percent=100))
    assert [one.id for found in builder.build_groups() for one in found.hard] == []
    for options in ({"margin": math.nan}, {"percent": math.nan}, {"margin": -1.0}):
        with pytest.raises(TrainingError, match="give a number from 0"):
            BuildOptions(**options)
    with pytest.raises(TrainingError, match="depth is 0"):
        BuildOptions(depth=0, margin=0.1)


def test_sources_that_an_id_cannot_tell_apart_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    sources = ["数据", "新闻", "My Set", "my-set", "x" * 60 + "1", "x" * 60 + "2"]
    write_groups(path, [group(f"query {n}", f"positive {n}", source=source) for n, source in enumerate(sources)])
    made = make_own_tasks([path])
    assert [one.source for one in made] == sources
    for number, one in enumerate(made):
        queries = load_task_data(one.task).queries
        assert [queries.item(query_id).text for query_id in queries] == [f"query {number}"]


def test_two_processes_may_write_the_same_groups(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    write_groups(path, BEERS)
    write = own_groups._write_folders

    def write_twice(*args: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(own_groups, "_write_folders", write)
            make_own_tasks([path])  # the other process is faster
        write(*args)

    monkeypatch.setattr(own_groups, "_write_folders", write_twice)
    (own,) = make_own_tasks([path])
    assert len(load_task_data(own.task).queries) == 3
    assert len(list((cache / "own-groups").iterdir())) == 1


def test_groups_without_a_relevant_document_are_counted(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    write_groups(tmp_path / "own" / "a.jsonl", [*BEERS, ungraded()])
    done = mine(tmp_path, "--random", "1")
    assert "left out as all their positives have grade 0: 1 group\n" in done.output, (done.output, done.exception)
    record = read_record(tmp_path / "out" / "beers-mined.jsonl")
    assert record is not None and record.counts["without_positives"] == 1
    assert "none?" not in {one.query.item.text for one in GroupFile(tmp_path / "out" / "beers-mined.jsonl")}


def test_files_that_a_teacher_would_write_as_one_are_refused(tmp_path: Path) -> None:
    refuse_equal_names([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])
    with pytest.raises(TrainingError, match=r"x/a.jsonl and .*y/a.parquet would both be written as a-taught"):
        refuse_equal_names([tmp_path / "x" / "a.jsonl", tmp_path / "y" / "a.parquet"])


def test_a_teacher_with_another_option_scores_again(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write_groups(path, [BEERS[2], ungraded()])
    (tmp_path / "times.py").write_text(
        "def times(request, k=1.0):\n    return [len(one.text) * float(k) for one in request.candidates]\n"
    )
    for factor in ("2", "3"):
        _, out = write_teacher(
            path, str(tmp_path / "times.py"), {"k": factor}, tmp_path / "out", NOTHING, "jsonl", embed=False
        )
        for one in GroupFile(out):
            assert [item.teacher for item in one.items[1:]] == [len(i.item.text) * int(factor) for i in one.items[1:]]


def test_a_teacher_whose_file_changed_scores_again_if_it_is_said(tmp_path: Path) -> None:
    path, teacher = tmp_path / "a.jsonl", tmp_path / "times.py"
    write_groups(path, BEERS[2:3])
    command = [
        "train",
        "data",
        "--from",
        "groups",
        str(path),
        "--teacher",
        str(teacher),
        "--out",
        str(tmp_path / "out"),
    ]

    def teach(factor: int, *more: str) -> Any:
        teacher.write_text(
            f"def times(request):\n    return [len(one.text) * {factor} for one in request.candidates]\n"
        )
        return CliRunner().invoke(cli, [*command, *more])

    assert teach(2).exit_code == 0
    assert "--fresh starts over" in str(teach(3).exception)
    assert teach(3, "--fresh").exit_code == 0
    (taught,) = GroupFile(tmp_path / "out" / "a-taught.jsonl")
    assert [one.teacher for one in taught.items[1:]] == [len(one.item.text) * 3 for one in taught.items[1:]]


def test_a_teacher_scores_every_document(tmp_path: Path, cache: Path) -> None:
    """The scores are those of the adapter itself, and the journal of its run is kept."""
    (tmp_path / "own").mkdir()
    groups = [*BEERS, group("which beer has wheat?", "ale of wheat", "wheat", source="Other", instruction="Find it.")]
    write_groups(tmp_path / "own" / "a.jsonl", groups)
    (tmp_path / "longest.py").write_text(
        "def longest(request):\n    return [len(one.text) + 0.5 for one in request.candidates]\n"
    )
    command = ["train", "data", "--from", "groups", str(tmp_path / "own"), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*command, "--teacher", f"{tmp_path / 'longest.py'}"])
    assert done.exit_code == 0, (done.output, done.exception)
    taught = list(GroupFile(tmp_path / "out" / "a-taught.jsonl"))
    assert [one.query.item.text for one in taught] == [one.query.item.text for one in groups]
    for before, after in zip(groups, taught, strict=True):
        assert [one.item.text for one in after.items] == [one.item.text for one in before.items]
        assert [one.teacher for one in after.items[1:]] == [len(one.item.text) + 0.5 for one in before.items[1:]]
        assert (after.source, after.instruction) == (before.source, before.instruction)
    record = read_record(tmp_path / "out" / "a-taught.jsonl")
    assert record is not None and record.format == "groups" and list(record.files) == ["a.jsonl"]
    assert record.teacher == "longest"
    assert len(list(cache.glob(f"own-groups/*/teachers/*/longest/*/{JOURNAL_FILE}"))) == 2  # one for each instruction
    for more, words in (
        (["--first-stage", "bm25", "--teacher", "bm25"], "find the negatives first"),
        (["--set", "a=1"], "--set and --fresh work with"),
    ):
        assert words in str(CliRunner().invoke(cli, [*command, *more]).exception)
