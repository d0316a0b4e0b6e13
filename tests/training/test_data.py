"""Groups to train on: files, building, near-identity, test data left out, sampling, and `mrb train data`."""

from __future__ import annotations

import base64
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from mrb._util.hashing import hash_file
from mrb.cli.main import cli
from mrb.data.items import ImageHandle, Item
from mrb.data.task import load_task
from mrb.errors import DataError, MRBError, TrainingError
from mrb.training.data import contamination
from mrb.training.data.contamination import Checker, HeldOutIndex, format_dropped, list_held_out, load_held_out
from mrb.training.data.files import GroupFile, write_groups
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.likeness import Likeness, hash_image, hash_text
from mrb.training.data.mine_negatives import BuildOptions, GroupBuilder
from mrb.training.data.prepare import list_files
from mrb.training.recipe import DataSettings, DataTask
from tests.builders.toy import toy_candidates, toy_data


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all: test data is hashed once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(shared_cache))


def png(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def handle(data: bytes) -> ImageHandle:
    return ImageHandle(lambda: data, where="a test's picture")


def noise(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


PICTURE = png(noise(1))


def group(source: str = "toy", hard: int = 3, random: int = 2) -> TrainingGroup:
    negatives = [TrainingItem(Item(f"hard {n}"), f"h{n}", n + 1, 1 / (n + 1)) for n in range(hard)]
    negatives += [TrainingItem(Item(f"random {n}", handle(PICTURE)), f"r{n}") for n in range(random)]
    positives = [TrainingItem(Item("", handle(PICTURE)), "p0"), TrainingItem(Item("Grüße\n世界"), "p1")]
    return TrainingGroup("Find it.", source, TrainingItem(Item("what?"), "q"), positives, negatives)


def same(one: TrainingItem, other: TrainingItem) -> bool:
    return (one.item.content_hash, one.id, one.rank, one.score) == (
        other.item.content_hash,
        other.id,
        other.rank,
        None if other.score is None else pytest.approx(other.score, rel=1e-6),
    )


# Files


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_file_gives_back_what_was_written(tmp_path: Path, form: str, embed: bool) -> None:
    path = tmp_path / f"groups.{form}"
    assert write_groups(path, iter([group("one"), group("two", hard=0)]), embed=embed) == 2
    found = GroupFile(path)
    for written, read in zip([group("one"), group("two", hard=0)], found, strict=True):
        assert (read.instruction, read.source) == (written.instruction, written.source)
        for side in ("positives", "negatives"):
            assert all(same(a, b) for a, b in zip(getattr(written, side), getattr(read, side), strict=True))
        assert same(written.query, read.query)
        sent = pickle.loads(pickle.dumps(read))  # as a data loader's process sends it
        assert all(same(a, b) for a, b in zip(written.items, sent.items, strict=True))
    assert (tmp_path / "images").is_dir() == (not embed)
    assert [n.id for n in found[0].hard] == ["h0", "h1", "h2"]
    assert [n.id for n in found[0].random] == ["r0", "r1"]


def test_a_file_written_by_hand_is_read(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(PICTURE)
    rows = [
        {
            "source": "mine",
            "query": {"text": "a"},
            "positives": [{"image": "red.png"}],
            "negatives": [{"image": {"bytes": base64.b64encode(PICTURE).decode()}, "text": "x"}],
        }
    ]
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    (found,) = GroupFile(path)
    assert found.instruction == ""
    for item in (found.positives[0], found.negatives[0]):
        assert item.item.image is not None
        assert item.item.image.open().size == (40, 30)


def row(**changes: Any) -> dict[str, Any]:
    base = {"source": "s", "query": {"text": "q"}, "positives": [{"text": "p"}], "negatives": [{"text": "n"}]}
    return base | changes


REFUSED = {
    "no positive": (row(positives=[]), "row 1: not a group: positives"),
    "no source": (row(source=""), "source"),
    "unknown key": (row(label=1), "label: unknown field"),
    "item without content": (row(query={"id": "q"}), "row 1: not a group: query: Value error, an item with neither"),
    "rank 0": (row(negatives=[{"text": "n", "rank": 0}]), "rank"),
    "score nan": (row(negatives=[{"text": "n", "rank": 1, "score": float("nan")}]), "NaN is not a number"),
    "image twice": (row(query={"image": {"path": "a", "bytes": "YQ=="}}), "a path or bytes"),
    "absolute path": (row(query={"image": "/etc/passwd"}), "lies outside"),
    "path that climbs": (row(query={"image": "a/../../secret.png"}), "lies outside"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_row_that_is_no_group_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, words = REFUSED[case]
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "g.jsonl").write_text(json.dumps(content))
    with pytest.raises(TrainingError) as caught:
        list(GroupFile(folder / "g.jsonl"))
    assert words in str(caught.value)
    assert "g.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(PICTURE)
    folder = tmp_path / "inside"
    folder.mkdir()
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "g.jsonl").write_text(json.dumps(row(query={"image": "link.png"})))
    image = GroupFile(folder / "g.jsonl")[0].query.item.image
    assert image is not None
    with pytest.raises(DataError, match=r"g.jsonl, row 1, image link.png: .*lies outside"):
        image.open()


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text("{not json}\n")
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "list.jsonl").write_text("[1]\n")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    for name, words in {
        "bad.jsonl": "row 1: not JSON",
        "empty.jsonl": "holds no group",
        "list.jsonl": "not a JSON object",
        "bad.parquet": "damaged parquet",
        "other.parquet": "not a group",
        "none.jsonl": "no such file",
    }.items():
        with pytest.raises(TrainingError, match=words):
            GroupFile(tmp_path / name)[0]


# Likeness


def test_near_identical_items_are_known_and_others_are_not() -> None:
    picture = noise(3)
    lighter = Image.fromarray(np.clip(np.asarray(picture, np.int16) + 1, 0, 255).astype(np.uint8))
    moved = Image.fromarray(np.roll(np.asarray(picture), 4, axis=1))
    long = " ".join(f"word{n}" for n in range(60))
    near: Callable[..., bool] = lambda a, b: Likeness.of(a).near(Likeness.of(b))  # noqa: E731
    assert near(Item("", handle(png(picture))), Item("", handle(png(lighter))))
    assert near(Item("", handle(png(picture))), Item("", handle(png(picture, "BMP"))))
    assert not near(Item("", handle(png(picture))), Item("", handle(png(moved))))
    assert not near(Item("", handle(png(picture))), Item("", handle(png(picture.resize((60, 30))))))
    assert near(Item("The  Cat\n"), Item("the cat"))
    assert near(Item(long + " end"), Item(long))
    assert not near(Item(long), Item(long.replace("word30", "other").replace("word10", "other")))
    assert not near(Item("a cat"), Item("a dog"))
    assert not near(Item("cat", handle(png(picture))), Item("dog", handle(png(picture))))
    assert not near(Item("cat", handle(png(picture))), Item("cat"))


def test_keys_are_of_content_not_of_files() -> None:
    picture = noise(4)
    assert hash_image(handle(png(picture))) == hash_image(handle(png(picture, "BMP")))
    assert hash_image(handle(png(picture))) != hash_image(handle(png(picture.transpose(Image.Transpose.ROTATE_90))))
    assert hash_text("Ｈello  World") == hash_text("hello world")
    assert hash_text("hello world") != hash_text("helloworld")


# Building


def built(**options: Any) -> tuple[GroupBuilder, list[TrainingGroup]]:
    corpus = {"pos": "the answer", "copy": "The  ANSWER", "a": "alpha", "b": "beta", "c": "gamma", "d": "delta"}
    data = toy_data({"q": "a query"}, corpus, {"q": {"pos": 1}})
    candidates = toy_candidates({"q": ["a", "pos", "copy", "b", "c"]})
    builder = GroupBuilder(data, candidates, BuildOptions(**options))
    return builder, list(builder.build_groups())


def test_negatives_leave_out_positives_and_what_is_like_them() -> None:
    builder, (found,) = built(depth=4, random=10)
    assert [(n.id, n.rank) for n in found.hard] == [("a", 1), ("b", 4)]
    assert {n.id for n in found.random} == {"c", "d"}
    assert found.hard[0].score == pytest.approx(1)
    assert [p.id for p in found.positives] == ["pos"]
    assert (found.source, found.instruction) == ("toy", "Find it.")
    assert builder.counts["like_positive"] == 2  # the copy, in the list and in the corpus
    assert builder.counts["groups"] == 1


def test_random_negatives_are_the_same_in_every_build() -> None:
    sampled = [[n.id for n in built(depth=0, random=2)[1][0].random] for _ in range(2)]
    assert sampled[0] == sampled[1]
    assert len(sampled[0]) == 2


def test_a_query_without_negatives_makes_no_group() -> None:
    data = toy_data({"q": "x"}, {"p": "answer"}, {"q": {"p": 1}})
    builder = GroupBuilder(data, toy_candidates({"q": ["p"]}))
    assert list(builder.build_groups()) == []
    assert builder.counts["without_negatives"] == 1


def test_hard_negatives_need_a_list() -> None:
    data = toy_data({"q": "x"}, {"p": "answer", "n": "no"}, {"q": {"p": 1}})
    with pytest.raises(TrainingError, match="candidate list or a first stage"):
        list(GroupBuilder(data, None).build_groups())
    assert len(list(GroupBuilder(data, None, BuildOptions(depth=0)).build_groups())) == 1
    with pytest.raises(TrainingError, match="not 0 both"):
        BuildOptions(0, 0)


# Test data


def test_what_is_test_data_is_left_out_and_counted() -> None:
    from mrb.data.load import load_task_data

    task = load_task("mini-flag-t2it")
    data = load_task_data(task)
    index = load_held_out([task, load_task("fiqa")])
    assert (list(index.keys), index.unknown) == (["mini-flag-t2it"], ("fiqa",))
    query_id = next(iter(data.queries))
    document = data.corpus.item(next(iter(data.qrels[query_id])))
    assert document.image is not None
    seen = document.image.open().convert("RGB")
    clean = TrainingItem(Item("nothing of theirs"))
    checker = Checker(index)

    def group_of(query: Item, positive: Item, negative: Item) -> TrainingGroup:
        return TrainingGroup("", "s", TrainingItem(query), [TrainingItem(positive)], [TrainingItem(negative), clean])

    own = Item("my own")
    assert checker.clean(group_of(Item(data.queries.item(query_id).text.upper()), own, own)) is None
    assert checker.clean(group_of(own, Item("another text", handle(png(seen, "BMP"))), own)) is None  # its pixels
    assert checker.clean(group_of(own, Item(document.text + " \n"), own)) is None  # its text alone
    kept = checker.clean(group_of(own, own, document))
    assert kept is not None
    assert [n.item.text for n in kept.negatives] == ["nothing of theirs"]
    untouched = group_of(own, own, Item("x"))
    found = checker.clean(untouched)
    assert found is not None
    assert (len(found.positives), len(found.negatives)) == (1, 2)
    assert checker.dropped.groups == 3
    assert checker.dropped.negatives == 1
    assert set(checker.dropped.hits) == {"mini-flag-t2it"}


def test_a_document_that_answers_no_test_query_stays_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, corpus = {"q": "a query", "r": "one more"}, {"a": "the answer", "b": "judged 0", "c": "never judged"}
    data = toy_data(queries, corpus | {"d": "The  Answer"}, {"q": {"a": 1}, "r": {"a": 2}})
    monkeypatch.setattr(contamination, "load_task_data", lambda task: data)
    monkeypatch.setattr(contamination, "is_local", lambda task: True)
    index = load_held_out([data.task])
    assert [len(own[data.task.id]) for own in (index.keys, index.unjudged)] == [3, 2]
    checker = Checker(index)

    def clean(query: str, *documents: str) -> TrainingGroup | None:
        first, *others = (TrainingItem(Item(text)) for text in documents)
        return checker.clean(TrainingGroup("", "s", TrainingItem(Item(query)), [first], others))

    assert clean("mine", "JUDGED 0", "never judged") is not None
    assert clean("never judged", "my own", "another") is not None
    assert clean("mine", "never judged", "the answer") is None  # it lost its last negative
    assert clean("one more", "judged 0", "another") is None
    assert clean("mine", "my own", "another") is not None
    found = checker.dropped
    assert (found.groups, found.negatives, found.hits) == (2, 1, {data.task.id: 2})
    assert (found.unjudged, found.unjudged_hits) == (2, {data.task.id: 2})
    words = "2 groups use documents of a test corpus that no test query judges relevant (kept)"
    assert list(format_dropped(found))[1] == f"  {words}; by task: {data.task.id} 2"


def test_a_question_asked_of_many_pictures_is_no_test_data() -> None:
    from mrb.data.load import load_task_data

    data = load_task_data(load_task("mini-fact-it2t"))
    question = data.queries.item(next(iter(data.queries)))
    checker = Checker(load_held_out([data.task]))
    mine = TrainingItem(Item(question.text, handle(PICTURE)))
    others = [TrainingItem(Item("x"))]
    assert checker.clean(TrainingGroup("", "s", mine, others, others)) is not None
    assert checker.clean(TrainingGroup("", "s", TrainingItem(question), others, others)) is None  # its picture


def test_training_splits_are_not_held_against_themselves_and_all_others_are() -> None:
    ids = {task.id for task in list_held_out()}
    assert {"mini-flag-t2i", "mini-flag-t2i-dev", "fiqa"} <= ids
    assert not any(task_id.endswith("-train") for task_id in ids)


# The command


def run(*arguments: str) -> Any:
    result = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result


@pytest.mark.slow
def test_mrb_train_data_builds_a_training_split(tmp_path: Path) -> None:
    out = tmp_path / "groups"
    result = run("train", "data", "--task", "mini-flag-t2i-train", "--depth", "20", "--random", "5", "--out", str(out))
    assert "77 groups" in result.output
    assert "first stage colour-words" in result.output  # that of the test split
    found = GroupFile(out / "mini-flag-t2i-train.jsonl")
    assert len(found) == 77
    for one in found:
        assert one.positives
        assert [n.rank for n in one.hard] == sorted(n.rank or 0 for n in one.hard)
        assert all((n.rank or 0) <= 20 for n in one.hard)
        assert len(one.random) == 5
        assert all(n.item.image is not None for n in one.negatives)
    record = json.loads((out / "mini-flag-t2i-train.record.json").read_text())
    assert record["sha256"] == hash_file(found.path)
    assert "mini-flag-t2i" in record["checked_tasks"]
    assert "fiqa" in record["unknown_tasks"]
    assert record["dropped"]["groups"] == 0


@pytest.mark.slow
def test_training_on_a_test_split_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no group is left; 29 groups of test data"):
        run("train", "data", "--task", "mini-flag-t2i-dev", "--out", str(tmp_path / "g"))
    assert not list((tmp_path / "g").glob("*.jsonl"))


def test_mrb_train_data_says_what_is_wrong(tmp_path: Path) -> None:
    for arguments, words in {
        (): "name the tasks",
        ("--task", "no-such"): "unknown task",
        ("--task", "mini-flag-t2i-train", "--first-stage", "nope"): "unknown first stage",
        ("--task", "mini-page-t2vd-train"): "is missing",
    }.items():
        with pytest.raises(MRBError, match=words):
            run("train", "data", *arguments, "--out", str(tmp_path / "g"))


def test_groups_are_built_again_if_the_file_of_their_first_stage_changed(tmp_path: Path) -> None:
    file = tmp_path / "nearest.py"
    settings = DataSettings(tasks=(DataTask(task="mini-fact-it2t-train", first_stage=str(file)),), depth=2, random=1)

    def build(first: int) -> Path:
        file.write_text(
            "class Nearest:\n    def search(self, data, depth):\n        for query_id in data.queries:\n"
            f"            yield query_id, list(data.corpus)[{first}:][:depth], list(range(depth, 0, -1))\n"
        )
        (path,) = list_files(settings, HeldOutIndex({}, ()))
        return path

    built = build(0)
    assert build(0) == built
    again = build(10)  # another size: Python knows a changed file by its size and second
    assert next(iter(GroupFile(built))).hard != next(iter(GroupFile(again))).hard
