"""The page of a task: its examples with images, what is not shown and why, and how its queries are spread."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mrb._util.hashing import hash_bytes
from mrb.data.load import load_task_data
from mrb.data.report import NEVER, came_from_live_hub
from mrb.data.task import load_suite, load_task
from mrb.errors import DataError
from mrb.leaderboard.build import build
from mrb.leaderboard.charts.queries import LEFT, RIGHT, make_spread, make_spread_plot
from mrb.leaderboard.examples import choose_queries, load_examples
from mrb.leaderboard.images import IMAGES, ImageStore
from mrb.leaderboard.tables.runs import read_runs
from tests.builders.pages import read_pages

Make = Callable[..., Path]
MINI = load_suite("mini").tasks


def test_shares_and_quantiles_of_known_values() -> None:
    values = np.array([1.0, 1 - 1e-12, 0.75, 0.74, 0.5, 0.49, 1e-12, 0.0])
    found = make_spread("x", "x", values)
    assert found.shares == (2 / 8, 1 / 8, 2 / 8, 1 / 8, 2 / 8)
    assert found.quantiles == tuple(np.percentile(values, [10, 25, 50, 75, 90]))
    assert sum(found.shares) == 1 and found.queries == 8


def test_the_bars_are_the_shares_of_the_values_that_runs_hold(make_run: Make, tmp_path: Path) -> None:
    names = {f"run-{n:02}": 0.04 * n for n in range(22)}
    runs = read_runs([make_run(name, skill, tasks=MINI[:1], queries=20) for name, skill in names.items()])
    plot = make_spread_plot(runs, MINI[0], labels={name: name for name in names})
    assert plot is not None and (len(plot.bars), len(plot.spreads), plot.left_out) == (20, 22, 2)
    values = runs[3].tasks[MINI[0]].values["nDCG@10"]
    solved = np.mean(values == 1)
    band, start, end = plot.bars[3].parts[0]
    assert (band, start) == (0, LEFT) and end == pytest.approx(LEFT + solved * (RIGHT - LEFT), abs=0.1)
    assert all(bar.parts[-1][2] == RIGHT for bar in plot.bars)


def test_runs_whose_values_are_not_at_hand_are_named(make_run: Make) -> None:
    from dataclasses import replace

    runs = read_runs([make_run(name, 0.5, tasks=MINI[:1]) for name in ("one", "two")])
    bare = replace(runs[1], tasks={MINI[0]: replace(runs[1].tasks[MINI[0]], values={})})
    labels = {"one": "One (org)", "two": "Two (org)"}
    plot = make_spread_plot([runs[0], bare], MINI[0], labels=labels)
    assert plot is not None and plot.missing == ("Two (org)",)
    assert make_spread_plot([bare], MINI[0], labels=labels) is None
    with_list = make_spread_plot(runs, MINI[0], np.array([1.0, 0.0]), labels=labels)
    assert with_list is not None and with_list.bars[0].spread.label == "first stage"
    assert with_list.bars[0].spread.shares == (0.5, 0, 0, 0, 0.5) and len(with_list.bars) == 3


def test_examples_are_the_task_s_own_and_every_image_is_there_once() -> None:
    images = ImageStore()
    for task_id in MINI:
        task = load_task(task_id)
        data = load_task_data(task)
        found = load_examples(task, images)
        assert len(found) == 3
        for query_id, example in zip(choose_queries(list(data.queries)), found, strict=True):
            item = data.queries.item(query_id)
            assert len(example.query.images) == len(item.images)
            assert example.query.text[:20] == " ".join(item.text.split())[:20]
            assert example.relevant == len(data.qrels[query_id]) >= len(example.positives) >= 1
            for shown, image in zip(example.query.images, item.images, strict=True):
                assert shown.path.startswith(f"{IMAGES}{image.sha256[:24]}.")
                assert image.open().size == (shown.width, shown.height)
    files = images.take_new()
    assert len({page.path for page in files}) == len(files) > 20 and images.take_new() == []


def test_which_queries_are_examples_follows_from_their_order_alone() -> None:
    assert choose_queries([str(n) for n in range(120)]) == ["20", "60", "100"]
    assert choose_queries(["a", "b"]) == ["a", "b"] and choose_queries(list("abcd")) == ["a", "c", "d"]


def test_a_image_over_the_caps_of_its_task_is_not_published() -> None:
    task = load_task("mini-flag-t2i")
    small = task.model_copy(update={"images": task.images.model_copy(update={"max_pixels": 10})})
    with pytest.raises(DataError, match="over the task's 10"):
        load_examples(small, ImageStore())


def test_the_page_shows_images_of_embedded_data_and_says_what_it_does_not_show(make_run: Make, tmp_path: Path) -> None:
    runs = [
        make_run("mini", 0.5, tasks=["mini-flag-t2i", "mini-emoji-i2i"]),
        make_run("hub", 0.5, suite=None, tasks=["scifact"]),
    ]
    root = build(runs, tmp_path / "site").parent
    pages = read_pages(root)
    shown = pages["tasks/mini-flag-t2i.html"]
    images = [attributes for tag, attributes in shown.tags if tag == "img"]
    assert len(images) == 3
    for attributes in images:
        path = root / "tasks" / (attributes["src"] or "")
        assert re.fullmatch(r"[0-9a-f]{24}", path.stem) and hash_bytes(path.read_bytes())[:24] == path.stem
        assert attributes["alt"] and attributes["width"] and attributes["height"]
    assert "../queries.html" in shown.links and "../queries/mini-flag-t2i.html" not in shown.links, "a toy’s list"
    assert "Licence of what is shown: mit and public domain" in shown.text and NEVER not in shown.text.lower()
    hub = pages["tasks/scifact.html"]
    assert not [tag for tag, _ in hub.tags if tag == "img"]
    assert "the board shows neither images nor texts of it" in hub.text
    assert "Never loaded live" in hub.text and not came_from_live_hub(load_task("scifact"))
    assert "Queries by nDCG@10 × 100" in hub.text and "60 queries, 60 documents" in hub.text
