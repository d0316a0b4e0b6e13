"""`mini-panel` on its real weights: small, the same score in any company; and its training."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

from mrb.baselines.mini_panel import train_pages
from mrb.baselines.mini_panel.four_bits import GROUP, pack_weight, unpack_weight
from mrb.baselines.mini_panel.pages import LineReader, count_trigrams, find_lines, match_title, read_page
from mrb.baselines.mini_panel.panel import PAGE_SIDE, WEIGHTS, MiniPanel
from mrb.baselines.mini_panel.pooling import HalvingPool
from mrb.baselines.mini_panel.train import RECORD, main, make_weights
from mrb.baselines.mini_panel.training_data import HeldOut, list_texts
from mrb.baselines.mini_panel.weights import FILES, load_network
from mrb.data.items import ImageHandle, Item
from mrb.data.load import load_task_data
from mrb.data.task import load_task
from mrb.errors import AdapterError
from mrb.rerankers.reranker import Request

pytestmark = pytest.mark.torch

TASKS = (
    "faq-t2t",
    "emoji-i2i",
    "flag-t2i",
    "flag-i2t",
    "page-t2vd",
    "flag-t2it",
    "fact-it2t",
    "emoji-it2i",
    "fact-it2it",
)
LIMIT = 14_000_000


@pytest.fixture(scope="module")
def panel() -> MiniPanel:
    return MiniPanel()


def make_image(image: Image.Image) -> ImageHandle:
    held = io.BytesIO()
    image.save(held, "PNG")
    return ImageHandle(held.getvalue, where="made")


def draw_page(*lines: str) -> Image.Image:
    page = Image.new("L", (600, 800), 255)
    for row, line in enumerate(lines):
        ImageDraw.Draw(page).text((60, 60 + 40 * row), line, font=ImageFont.load_default(16), fill=0)
    return page


def test_what_ships_is_small() -> None:
    assert {path.name for path in WEIGHTS.iterdir()} == {*FILES, RECORD}
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= LIMIT


@pytest.mark.parametrize("name", TASKS)
def test_a_score_depends_on_its_pair_only(panel: MiniPanel, name: str) -> None:
    data = load_task_data(load_task(f"mini-{name}-dev"))
    query = data.queries.item(next(iter(data.queries)))
    candidates = [data.corpus.item(doc_id) for doc_id in list(data.corpus)[:6]]
    together = panel.score(Request("", query, candidates, 0))
    alone = [MiniPanel().score(Request("", query, [one], 0))[0] for one in candidates[:2]]
    again = panel.score(Request("other words", query, candidates[::-1], 1))[::-1]
    assert len(set(together)) > 1 and np.isfinite(together).all()
    np.testing.assert_allclose(together[:2], alone, atol=1e-5)
    np.testing.assert_allclose(together, again, atol=1e-5)


def test_candidates_of_every_kind_in_one_list(panel: MiniPanel) -> None:
    flag = make_image(Image.new("RGB", (64, 48), "red"))
    page = make_image(draw_page("Installing from source", "one line more"))
    candidates = [Item("a red flag"), Item("", flag), Item("a flag", images=(flag, page)), Item("", page), Item("")]
    for query in (Item("red"), Item("", flag), Item("the same in blue", page), Item("")):
        scores = panel.score(Request("", query, candidates, 0))
        assert len(scores) == len(candidates) and np.isfinite(scores).all()


def test_a_page_is_read(panel: MiniPanel) -> None:
    titles = ("Installing from source", "Reading a sequence file", "Questions")
    pages = [Item("", make_image(draw_page("12", title, "something else"))) for title in titles]
    for place, title in enumerate(titles):
        assert int(np.argmax(panel.score(Request("", Item(title), pages, 0)))) == place
    grey = np.asarray(draw_page(*titles))
    lines = find_lines(grey)
    assert len(lines) == 3 and all(line.left < 70 for line in lines)
    assert find_lines(np.full((PAGE_SIDE, PAGE_SIDE), 255, np.uint8)) == []
    reader = load_network(WEIGHTS, "pages", LineReader())
    assert match_title(count_trigrams(titles[0]), read_page(reader, grey)) > 0.7


def test_a_part_can_be_left_out(panel: MiniPanel) -> None:
    request = Request("", Item("How do I copy a file?"), [Item("Use shutil.copyfile."), Item("Copy a file")], 0)
    whole = np.asarray(panel.score(request))
    parts = [np.asarray(MiniPanel(without=name).score(request)) for name in ("meaning", "words")]
    np.testing.assert_allclose(whole, sum(parts), atol=1e-6)
    with pytest.raises(AdapterError, match="mini-panel: without=reader: the parts are meaning, words, kinds, drawings"):
        MiniPanel(without="reader")


def test_missing_or_broken_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"mini-panel: there is no .*vocabulary\.txt; python -m mrb\.baselines"):
        MiniPanel(tmp_path)
    for name in FILES:
        (tmp_path / name).write_bytes((WEIGHTS / name).read_bytes())
    (tmp_path / "pages.safetensors").write_bytes((WEIGHTS / "flags.safetensors").read_bytes())
    with pytest.raises(AdapterError, match=r"mini-panel: .*pages\.safetensors cannot be read"):
        MiniPanel(tmp_path)


def test_four_bits_keep_a_weight_nearly() -> None:
    weight = torch.randn(10, 4 * GROUP, generator=torch.Generator().manual_seed(0))
    packed, scales = pack_weight(weight)
    assert packed.shape == (10, 2 * GROUP) and scales.shape == (10, 4)
    error = (unpack_weight(packed, scales) - weight).square().mean()
    assert error < 0.015
    assert torch.equal(unpack_weight(*pack_weight(torch.zeros(1, GROUP))), torch.zeros(1, GROUP))


def test_held_out_texts_are_not_trained_on() -> None:
    held_out = HeldOut()
    test = load_task_data(load_task("mini-faq-t2t"))
    relevant = next(iter(next(iter(test.qrels.values()))))
    assert held_out.has_text(test.corpus.item(relevant).text)
    assert held_out.hits["mini-faq-t2t"] == 1
    kept = list_texts("faq-t2t", held_out)
    assert kept and not any(held_out.has_text(text) for text in kept)


def test_fonts_that_are_not_installed_are_named_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(train_pages, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path / "panel")])
    assert ended.value.code == 2 and not (tmp_path / "panel").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "the package matplotlib with fonts is not installed; pip install 'mrb[panel]'"


@pytest.mark.slow
def test_a_short_training_makes_every_part_and_continues(tmp_path: Path) -> None:
    make_weights(tmp_path, steps=2, fonts=[None], copies=1)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, RECORD}
    request = Request("", Item("red"), [Item("a red flag"), Item("", make_image(draw_page("red")))], 0)
    scores = MiniPanel(tmp_path).score(request)
    assert np.isfinite(scores).all()
    kept = (tmp_path / "drawings.safetensors").stat().st_mtime_ns
    make_weights(tmp_path, steps=2, fonts=[None], copies=1)
    assert (tmp_path / "drawings.safetensors").stat().st_mtime_ns == kept


@pytest.mark.parametrize("rows_only", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 16, 10), (1, 1, 5, 7)])
def test_pooling_without_gradient_is_torchs(rows_only: bool, shape: tuple[int, ...]) -> None:
    images, pool = torch.randn(shape), HalvingPool(rows_only)
    with torch.no_grad():
        assert torch.equal(pool(images), functional.max_pool2d(images, (2, 1) if rows_only else 2))
    assert torch.equal(pool(images), functional.max_pool2d(images, (2, 1) if rows_only else 2))
