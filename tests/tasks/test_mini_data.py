"""The embedded data is frozen: its rows, its pixels and its candidate lists have these hashes for good."""

from __future__ import annotations

import hashlib
import io
import json
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mrb._util.hashing import dump_canonical_json, hash_bytes, hash_json
from mrb.candidates.lists import check_ids, check_task, read_parquet
from mrb.data.load import load_task_data
from mrb.data.task import Task, load_suite, load_task, locate_task_folder
from mrb.errors import DataError
from mrb.retrieval.first_stage import load_first_stage, make_candidates

pytestmark = pytest.mark.slow

MINI = load_suite("mini").tasks
DEV = load_suite("mini-dev").tasks
TRAIN = load_suite("mini-train").tasks
NOT_SHIPPED = "mini-page-t2vd-train"
MAX_BYTES = 12 * 1024 * 1024
# Task: (head of the data's content hash, head of the candidate list's hash). These do not change any more.
FROZEN = {
    "mini-faq-t2t": ("a717264d4176bd57", "d5cd79b35a2ff931"),
    "mini-emoji-i2i": ("fe9f8061ee9db381", "f445a7b5e67d2019"),
    "mini-flag-t2i": ("eb506f07e3b336ec", "279a7f8ec89c95d6"),
    "mini-page-t2vd": ("57469a96b44bb9f6", "1ce82e5613f8d33b"),
    "mini-flag-i2t": ("6ea5224fa593af50", "27ad235a52c9422f"),
    "mini-flag-t2it": ("71b333767689dd8a", "5f808d5c103cc55c"),
    "mini-fact-it2t": ("a4633002062612bd", "e43cc426ed254da5"),
    "mini-emoji-it2i": ("10196ae17332d8ed", "b675c7b452d3e1b3"),
    "mini-fact-it2it": ("a40ab1ee9d31a312", "1e1a39b6f079ac06"),
    "mini-section-t2vd": ("bd9582a6687c1232", "afe7318fa12761a6"),
}
OUTSIDE = ("mini-section-t2vd",)
"""Tasks that ship and are in no suite."""


@cache
def _pixels(encoded: bytes) -> str:
    from PIL import Image

    picture = Image.open(io.BytesIO(encoded)).convert("RGBA")
    head = f"{picture.mode} {picture.width}x{picture.height}\n".encode()
    return hash_bytes(head + picture.tobytes())


def _content(path: Path) -> str:
    """Over rows and decoded pixels, so that neither compression nor the encoding of a picture shows."""
    digest = hashlib.sha256()
    for row in pq.read_table(path).to_pylist():
        images = [image for image in (row.pop("image", None), *(row.pop("images", None) or ())) if image]
        shown = " ".join(_pixels(image["bytes"]) for image in images)
        digest.update(dump_canonical_json(row) + b"\t" + shown.encode() + b"\n")
    return digest.hexdigest()


def _tables(task: Task) -> dict[str, Path]:
    (part,) = task.source.parts
    stated = {"corpus": part.corpus, "queries": part.queries, "qrels": part.qrels, "side": part.side}
    folder = locate_task_folder() / "mini" / "data" / part.repository
    return {name: folder / table.config / f"{table.split}.parquet" for name, table in stated.items() if table}


@pytest.mark.parametrize("task_id", [*MINI, *DEV, *OUTSIDE])
def test_rows_and_pixels_are_those_of_the_definition(task_id: str) -> None:
    task = load_task(task_id)
    (part,) = task.source.parts
    assert part.content == hash_json({name: _content(path) for name, path in _tables(task).items()})


@pytest.mark.parametrize("task_id", [*MINI, *OUTSIDE])
def test_the_test_data_is_frozen(task_id: str) -> None:
    task = load_task(task_id)
    assert task.candidates is not None
    assert FROZEN[task_id] == (task.revision[:16], task.candidates.sha256[:16])


@pytest.mark.parametrize("task_id", [*MINI, *OUTSIDE])
def test_the_candidate_list_is_the_frozen_one_and_fits_its_task(task_id: str) -> None:
    task = load_task(task_id)
    assert task.candidates is not None
    found = read_parquet(locate_task_folder() / task.candidates.file)
    data = load_task_data(task)
    assert found.sha256 == task.candidates.sha256
    assert found.provenance.first_stage == task.candidates.first_stage
    assert found.provenance.depth == task.candidates.depth
    check_task(found.provenance, task, task_id)
    check_ids(found, data.queries.rows, data.corpus.rows, task_id)
    assert found.query_ids == tuple(data.queries)


@pytest.mark.parametrize("task_id", [*MINI, *DEV, *TRAIN, *OUTSIDE])
def test_sizes_are_those_of_the_definition(task_id: str) -> None:
    task = load_task(task_id)
    if task_id == NOT_SHIPPED:
        with pytest.raises(DataError, match="tasks/mini/build"):
            load_task_data(task, root=Path("nowhere"))
        return
    data = load_task_data(task)
    qrels = sum(map(len, data.qrels.values()))
    assert (len(data.queries), len(data.corpus), qrels) == (task.size.queries, task.size.documents, task.size.qrels)


def _shown(task_id: str) -> tuple[set[str], set[str]]:
    """(the texts of its documents, the pixels of its documents and queries)."""
    data = load_task_data(load_task(task_id))
    documents = [data.corpus.item(i) for i in data.corpus]
    queries = [data.queries.item(i) for i in data.queries]
    texts = {item.text for item in documents if item.text}
    return texts, {_pixels(item.image.encoded) for item in [*documents, *queries] if item.image}


@pytest.mark.parametrize("task_id", MINI)
def test_nothing_of_the_test_data_is_seen_in_development_or_training(task_id: str) -> None:
    texts, pixels = _shown(task_id)
    for split in ("dev", "train"):
        other = f"{task_id}-{split}"
        if other != NOT_SHIPPED:
            other_texts, other_pixels = _shown(other)
            assert not texts & other_texts
            assert not pixels & other_pixels


@pytest.mark.parametrize("task_id", [*MINI, *DEV])
def test_no_query_is_the_same_drawing_as_a_document(task_id: str) -> None:
    data = load_task_data(load_task(task_id))
    drawn = [{_pixels(t.item(i).image.encoded) for i in t if t.item(i).image} for t in (data.queries, data.corpus)]
    assert not drawn[0] & drawn[1]


def test_it_is_small_enough_and_its_checksums_are_listed() -> None:
    folder = locate_task_folder() / "mini"
    shipped = [p for p in folder.rglob("*") if p.is_file() and "build" not in p.parts and "train.parquet" not in p.name]
    assert sum(p.stat().st_size for p in shipped) < MAX_BYTES
    tables = json.loads((folder / "data" / "checksums.json").read_text())["tables"]
    for task_id in MINI:
        for name, path in _tables(load_task(task_id)).items():
            assert tables[f"{task_id}/{name}/test"]["sha256"] == _content(path)


def test_the_bytes_of_every_shipped_table_are_listed() -> None:
    folder = locate_task_folder() / "mini" / "data"
    listed = json.loads((folder / "files.json").read_text())
    assert {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in listed} == listed
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}
    assert {name for name in found if not name.startswith(f"{NOT_SHIPPED.removesuffix('-train')}/")} <= set(listed)
    assert {name for name in found if "/train." not in name} <= set(listed)


@pytest.mark.parametrize("task_id", [*MINI, *OUTSIDE])
def test_the_first_stage_makes_the_frozen_list_again(task_id: str) -> None:
    task = load_task(task_id)
    assert task.candidates is not None
    stated = task.candidates
    retriever = load_first_stage(stated.first_stage)
    made = make_candidates(load_task_data(task), retriever, stated.first_stage, stated.depth, stated.track)
    assert made.sha256 == stated.sha256


def test_sections_are_runs_of_the_pages_and_judged_by_which_of_them_they_show() -> None:
    """Derived again from the frozen task on single pages: pixels, judgements and the first stage's text."""
    single, made = (load_task_data(load_task(name)) for name in ("mini-page-t2vd", "mini-section-t2vd"))
    runs = {}
    for doc_id in made.corpus:
        first, last = (int(doc_id.split("-")[place]) for place in (1, -1))
        runs[doc_id] = [str(page) for page in range(first, last + 1)]
        shown = [image.encoded for image in made.corpus.item(doc_id).images]
        pages = [single.corpus.item(page).image for page in runs[doc_id]]
        assert shown == [page.encoded for page in pages if page is not None] and len(shown) == len(runs[doc_id])
        assert made.side is not None and single.side is not None
        assert made.side.item(doc_id).text == " ".join(single.side.item(page).text for page in runs[doc_id])
    assert made.corpus.most_images == made.task.images.per_document == 3
    for query_id in made.queries:
        assert made.queries.item(query_id).text == single.queries.item(query_id).text
        own = set(single.qrels[query_id])
        graded = {doc_id: 2 if own <= set(run) else 1 for doc_id, run in runs.items() if own & set(run)}
        assert made.qrels[query_id] == graded and 2 in graded.values()
