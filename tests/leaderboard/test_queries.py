"""The explorer's data and files: what runs did with each query, images that are safe, words that stay words."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

import mrb
from mrb.candidates.judgement_packs import build_pack, write_pack
from mrb.candidates.lists import build_candidates, read_parquet, write_parquet
from mrb.candidates.load import find_candidates
from mrb.data.items import ImageCaps, ImageHandle
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.errors import DataError, ResultError
from mrb.evaluation.packed_values import load_packed_judgements
from mrb.leaderboard.build import build, make_pages
from mrb.leaderboard.explorer import PER_PAGE, TOP, describe_spread, format_scores, to_hundredths, truncate
from mrb.leaderboard.images import copy_image, find_plain_kind
from mrb.leaderboard.page import format_gain, format_points
from mrb.leaderboard.scripts import make_data_script
from mrb.leaderboard.site import make_site
from mrb.leaderboard.tables import rankings
from mrb.leaderboard.tables.rankings import read_orders
from mrb.leaderboard.tables.runs import read_entries
from tests.builders.pages import Html, find_broken_links, read_pages
from tests.builders.submissions import submitted, trial_run
from tests.builders.toy import encoded

TASKS = ("mini-faq-t2t", "mini-flag-t2i")
LIMIT = PER_PAGE + 2
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("explorer") / "runs"
    return [trial_run(out, model=model, limit=LIMIT, tasks=TASKS) for model in ("surface", "random")]


@pytest.fixture(scope="module")
def root(runs: list[Path]) -> Path:
    return build(runs, runs[0].parent.parent / "site").parent


@pytest.fixture(scope="module")
def pages(root: Path) -> dict[str, Any]:
    return read_pages(root)


def _data(path: Path) -> Any:
    text = path.read_text(encoding="ascii")
    assert text.startswith("DATA.put(...[") and text.endswith("]);\n")
    key, value = json.loads(text.removeprefix("DATA.put(...").removesuffix(");\n"))
    assert path.as_posix().endswith(f"data/{key}.js")
    return value


def _values(page: Any, name: str) -> list[str]:
    return [attributes[name] for _, attributes in page.tags if name in attributes]


@pytest.mark.slow
def test_every_query_has_one_place_and_every_image_is_there(root: Path, pages: dict[str, Any]) -> None:
    for task_id in TASKS:
        parts = [pages[f"queries/{task_id}/{number}.html"] for number in (1, 2)]
        assert f"queries/{task_id}/3.html" not in pages
        anchors = [name for part in parts for name in part.ids if name[1:].isdigit()]
        assert anchors == [f"q{number}" for number in range(1, LIMIT + 1)]
        index = pages[f"queries/{task_id}.html"]
        assert sorted(map(int, _values(index, "data-number"))) == list(range(1, LIMIT + 1))
        assert f"queries/{task_id}.html" in pages["queries.html"].links
        assert f"../queries/{task_id}.html" in pages[f"tasks/{task_id}.html"].links
    images = [attributes for tag, attributes in pages["queries/mini-flag-t2i/1.html"].tags if tag == "img"]
    assert len(images) == 2 * TOP * PER_PAGE
    for image in images:
        assert image["loading"] == "lazy" and image["alt"].startswith("image of ")
        with Image.open(root / "queries" / "mini-flag-t2i" / image["src"]) as opened:
            assert (str(opened.width), str(opened.height)) == (image["width"], image["height"])
            assert not opened.info.keys() & {"exif", "xmp", "Comment"}
    assert pages["queries/mini-faq-t2t/1.html"].text.count("✓ relevant") > 10


def test_every_link_and_image_of_the_explorer_leads_somewhere(root: Path, pages: dict[str, Any]) -> None:
    assert find_broken_links(root, pages) == []
    assert any("?run=random#q" in link for link in pages["compare.html"].links), "compared queries lead here"
    scripts = {link.rpartition("/")[2] for page in pages.values() for link in page.links if link.endswith(".js")}
    assert {"queries.js", "lists.js", "gains.js", "compare.js"} <= scripts


def test_what_is_shown_is_what_the_run_wrote(runs: list[Path], root: Path, pages: dict[str, Any]) -> None:
    for run in runs:
        for task_id in TASKS:
            data, listed = (
                _data(root / f"data/queries/{task_id}/{run.name}.js"),
                _data(root / f"data/corpus/{task_id}.js"),
            )
            table = pq.read_table(run / task_id / "per_query.parquet")
            assert data["values"] == to_hundredths(table.column("nDCG@10").to_numpy())
            scored = pq.read_table(run / task_id / "scores.parquet").to_pylist()
            for row, query_id in enumerate(table.column("query_id").to_pylist()):
                pairs = {pair["doc_id"]: pair["score"] for pair in scored if pair["query_id"] == query_id}
                documents = [listed["documents"][place][0] for place in listed["lists"][row]]
                assert documents == list(pairs)
                own = [documents[place] for place in data["top"][row]]
                assert [pairs[doc_id] for doc_id in own] == sorted(pairs.values(), reverse=True)[:TOP]
                for place, rank in enumerate(data["ranks"][row]):
                    assert (rank <= TOP) == (documents[place] in own)
                    if rank <= TOP:
                        assert own[rank - 1] == documents[place]
    first, data = _data(root / "data/corpus/mini-faq-t2t.js"), _data(root / "data/queries/mini-faq-t2t/surface.js")
    shown = pages["queries/mini-faq-t2t/1.html"].text
    query = load_task_data(load_task("mini-faq-t2t")).queries.item("ask-faq/design#1").text
    before, after = first["values"][0], data["values"][0]
    values = f"{format_points(before)} → {format_points(after)} {format_gain(after - before)}"
    assert f"1 {query} nDCG@10 {values} ask-faq/design#1" in shown


def test_judged_documents_are_those_of_the_qrels(root: Path) -> None:
    data = load_task_data(load_task("mini-faq-t2t"))
    listed = _data(root / "data/corpus/mini-faq-t2t.js")
    for query_id, places, judged in zip(data.queries, listed["lists"], listed["judged"], strict=False):
        ids = [listed["documents"][place][0] for place in places]
        assert {ids[place]: grade for place, grade in judged} == {
            doc_id: grade for doc_id, grade in data.qrels[query_id].items() if doc_id in ids
        }


def test_a_submission_shows_the_same_orders_as_its_run(runs: list[Path], tmp_path: Path) -> None:
    made = submitted(runs[1], tmp_path)
    for task_id in TASKS:
        values = []
        for folder in (runs[1], made):
            site = make_site(read_entries([folder]))
            one = site.explored[task_id]
            orders = read_orders(one, one.runs[0], site.submissions.get(one.runs[0].name))
            values.append([order.tolist() for order in orders.orders] + [orders.values.tolist()])
        assert values[0] == values[1]


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs on another list than the frozen one of a task, that list, and its judgement pack."""
    folder = tmp_path_factory.mktemp("packed")
    task = load_task(TASKS[0])
    frozen = read_parquet(find_candidates(task, None))
    turned = [(query_id, ids[1:], [-float(n) for n in range(1, len(ids))]) for query_id, ids, _ in frozen.lists()]
    made = frozen.provenance.model_copy(update={"track": "near", "first_stage": "near"})
    listed = build_candidates(made, turned)
    path = folder / "lists" / "near" / f"{task.id}.parquet"
    write_parquet(listed, path)
    write_pack(build_pack(load_task_data(task), listed), path.with_suffix(".judgements"))
    for model in ("surface", "random"):
        asked = {"candidates": folder / "lists", "candidate_set": "near", "depth": 20, "limit": LIMIT}
        mrb.evaluate(model, tasks=task.id, out=folder / "runs", **asked)
    return folder


def test_a_pack_shows_the_queries_that_differ_most_by_ids_alone(packed: Path, tmp_path: Path) -> None:
    runs = sorted((packed / "runs").iterdir())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rankings, "MAX_PACKED_QUERIES", 5)
        root = build(runs, tmp_path / "site", packs=packed / "lists").parent
    tables = [pq.read_table(run / TASKS[0] / "per_query.parquet").to_pydict() for run in runs]
    pack = load_packed_judgements(packed / "lists" / "near" / f"{TASKS[0]}.judgements", load_task(TASKS[0]), 20)
    first = pack.measure_first_stage()["nDCG@10"][:LIMIT]
    spread = np.std([first, *(table["nDCG@10"] for table in tables)], axis=0).round(12)
    listed = read_parquet(packed / "lists" / "near" / f"{TASKS[0]}.parquet")
    text = Html(root / f"queries/{TASKS[0]}/1.html").text
    data = load_task_data(load_task(TASKS[0]))
    shown = [query_id for query_id in tables[0]["query_id"] if f" {query_id} nDCG@10" in text]
    places = [tables[0]["query_id"].index(query_id) for query_id in shown]
    assert len(shown) == 5 and min(spread[places]) >= sorted(spread)[-5]
    assert not any(data.queries.item(query_id).text in text for query_id in shown) and "5 of 17 queries" in text
    found = _data(root / f"data/corpus/{TASKS[0]}.js")
    assert not any(document[1] for document in found["documents"])
    for row, query_id in enumerate(shown):
        ids = [found["documents"][place][0] for place in found["lists"][row]]
        assert ids == listed.get(query_id)[0][:20]
    for run, table in zip(runs, tables, strict=True):
        own = _data(root / f"data/queries/{TASKS[0]}/{run.name}.js")
        assert own["values"] == to_hundredths(np.array(table["nDCG@10"])[places])
    assert find_broken_links(root, read_pages(root)) == []


def test_a_pack_without_its_list_gives_no_ids_of_candidates(packed: Path, tmp_path: Path) -> None:
    pack = f"{TASKS[0]}.judgements"
    (tmp_path / pack).write_bytes((packed / "lists" / "near" / pack).read_bytes())
    site = make_site(read_entries([packed / "runs" / "random--near"]), packs=tmp_path)
    (one,) = site.explored.values()
    assert one.packed and {one.name_document(one.plan.query_ids[0], place) for place in ("0", "7")} == {""}


def _damaged(runs: list[Path], tmp_path: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    copy = shutil.copytree(runs[0], tmp_path / "copy")
    path = copy / TASKS[0] / "scores.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    return copy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.slice(1), "not the scores of its candidates"),
        (lambda table: pa.concat_tables([table, table.slice(0, 1)]), "pairs, the task has"),
        (lambda table: table.drop_columns(["score"]), "columns query_id string, doc_id string; wanted"),
        (
            lambda table: table.set_column(2, "score", pa.array(np.arange(len(table)), pa.float32())),
            "its orders give",
        ),
    ],
)
def test_scores_that_are_not_those_of_the_result_are_refused(
    runs: list[Path], tmp_path: Path, change: Callable[[pa.Table], pa.Table], words: str
) -> None:
    site = make_site(read_entries([_damaged(runs, tmp_path, change)]))
    with pytest.raises(ResultError, match=words) as error:
        list(make_pages(site))
    assert "copy" in str(error.value)


def test_runs_that_cannot_be_shown_are_named_with_the_reason(runs: list[Path], tmp_path: Path, make_run: Build) -> None:
    bare = shutil.copytree(runs[0], tmp_path / "bare")
    for path in bare.glob("*/scores.parquet"):
        path.unlink()
    shorter = trial_run(tmp_path / "shorter", limit=3, tasks=TASKS).rename(tmp_path / "shorter" / "three")
    site = make_site(read_entries([*runs, bare, shorter, make_run("other-list", 0.5, tasks=TASKS)]))
    one = next(iter(site.explored.values()))
    assert {run.name for run in one.runs} == {"surface", "random"}
    assert dict(one.left_out) == {
        "bare": "has no scores.parquet",
        "three": "in another table: its numbers cannot be compared with these",
        "other-list": "scored on another list than the frozen one",
    }


def test_hostile_words_in_data_are_inert_and_come_back_as_written() -> None:
    hostile = "</script><script>alert(1)</script>\u2028\u202e\x00 é &amp;"
    page = make_data_script("queries/t/x", {"values": [[hostile, 1.5, None]]})
    assert page.path == "data/queries/t/x.js"
    assert page.data.isascii() and b"\x00" not in page.data
    (found, *_), *_ = json.loads(page.data.decode().removeprefix("DATA.put(...").removesuffix(");\n"))[1]["values"]
    assert found == "</script><script>alert(1)</script>\\u{2028}\\u{202e}\\u{0} é &amp;"
    with pytest.raises(ValueError, match="JSON"):
        make_data_script("x", float("nan"))


def _handle(data: bytes, **caps: int) -> ImageHandle:
    return ImageHandle(lambda: data, where="a test", caps=ImageCaps(**caps))


def test_a_plain_image_is_copied_and_any_other_encoded_anew() -> None:
    image = Image.effect_noise((20, 10), 50).convert("RGB")
    plain = encoded(image)
    assert copy_image(_handle(plain)) == ("png", plain, (20, 10))
    webp = encoded(image, "WEBP")
    assert copy_image(_handle(webp))[:2] == ("webp", webp)
    words = PngImagePlugin.PngInfo()
    words.add_text("Comment", "<script>alert(1)</script>")
    exif = Image.Exif()
    exif[0x010E] = "somebody"
    exif[0x0112] = 6
    others = {
        "words": encoded(image, pnginfo=words),
        "behind the end": plain + b"<script>",
        "jpeg": encoded(image, "JPEG", exif=exif.tobytes()),
        "webp with exif": encoded(image, "WEBP", exif=exif.tobytes()),
        "gif": encoded(image, "GIF"),
    }
    for name, data in others.items():
        kind, made, size = copy_image(_handle(data))
        assert (kind, find_plain_kind(made)) == ("webp", "webp"), name
        assert b"script" not in made and b"somebody" not in made, name
        with Image.open(io.BytesIO(made)) as opened:
            assert opened.size == size == ((10, 20) if "exif" in name or name == "jpeg" else (20, 10)), name


def test_a_image_that_cannot_be_decoded_or_is_too_large_is_refused() -> None:
    plain = encoded(Image.new("RGB", (40, 40)))
    for data, caps in ((plain[:60], {}), (b"<svg onload=alert(1)>", {}), (plain, {"max_pixels": 100})):
        with pytest.raises(DataError, match="a test"):
            copy_image(_handle(data, **caps))


def test_of_models_that_tie_on_a_query_none_is_named() -> None:
    values = {"a": 0.5, "b": 0.0, "c": 0.0, "d": 1.0}
    assert describe_spread(values) == "4 models: best 100.00 (d), median 25.00, worst 0.00 (2 models)"
    assert describe_spread(dict.fromkeys("abc", 1.0)) == "all 3 models: 100.00"
    assert describe_spread({"a": 0.5, "b": 0.0}) == ""


def test_numbers_and_texts_for_people() -> None:
    assert to_hundredths(np.array([0.0, 0.63092975, 1.0])) == [0, 6309, 10_000]
    assert (format_points(6309), format_gain(6309), format_gain(-5), format_gain(0)) == (
        "63.09",
        "+63.09",
        "\u22120.05",
        "0.00",
    )
    assert format_scores([-1.5, float("nan"), 123456.0]) == ["\u22121.5", "failed", "1.235e+05"]
    assert truncate(" a \n b ", 10) == "a b" and truncate("abcdef", 4) == "abc…"
