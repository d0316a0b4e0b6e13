"""`ocr-bm25` with its real reader: what stands in a picture counts as text, on either side, and is read once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rapidocr_onnxruntime
from PIL import Image, ImageDraw, ImageFont

from mrb.baselines.rerankers import ocr_bm25
from mrb.baselines.retrievers.lexical import score_bm25, tokenize
from mrb.data.inputs import Inputs
from mrb.data.items import ImageHandle, Item
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from mrb.rerankers.reranker import Request
from tests.builders.command import run_mrb
from tests.builders.services import harness, picture

pytestmark = pytest.mark.torch


def page(*lines: str) -> ImageHandle:
    """Black writing on white."""
    image = Image.new("RGB", (420, 40 + 40 * len(lines)), "white")
    font = ImageFont.load_default(size=28)
    for row, line in enumerate(lines):
        ImageDraw.Draw(image).text((20, 20 + 40 * row), line, fill="black", font=font)
    return picture(image)


SNAKES = page("Pythons are snakes", "that live in Asia")
STRINGS = page("Python strings are", "immutable objects")
BLANK = picture(Image.new("RGB", (120, 90), "white"))
CANDIDATES = [
    Item("", SNAKES),
    Item("", STRINGS),
    Item("", BLANK),
    Item("immutable"),
    Item("a page", STRINGS),
    Item(""),
]


@pytest.fixture(scope="module")
def reranker() -> LoadedReranker:
    return load_reranker("ocr-bm25")


def scores(reranker: LoadedReranker, query: Item, candidates: list[Item]) -> list[float]:
    return harness(reranker, [Request("", query, candidates, 0)])[0]


def test_the_text_in_pictures_is_scored_as_bm25_scores_text(reranker: LoadedReranker) -> None:
    read = reranker.target._reader
    shown = []
    for item in CANDIDATES:
        lines = (read(np.asarray(item.image.open())[:, :, ::-1])[0] or []) if item.image else []
        shown.append(" ".join([item.text, *(line[1] for line in lines)]))
    assert "immutable" in shown[1].lower()
    assert shown[2].strip() == ""
    query = "Which strings are immutable?"
    found = scores(reranker, Item(query), CANDIDATES)
    assert found == pytest.approx(score_bm25(tokenize(query), [tokenize(text) for text in shown]), abs=1e-6)
    assert found[1] > found[3] > found[0] >= found[2] == found[5] == 0


def test_a_query_may_be_a_picture(reranker: LoadedReranker) -> None:
    found = scores(reranker, Item("", page("immutable objects")), CANDIDATES)
    assert int(np.argmax(found)) == 1
    assert scores(reranker, Item("", BLANK), CANDIDATES) == [0] * len(CANDIDATES)


def test_each_picture_is_read_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr_bm25, "CACHE_IMAGES", 2)
    reads: list[Image.Image] = []

    def read(image: Image.Image) -> Any:
        reads.append(image)
        return [(None, "snakes" if image.tobytes() == SNAKES.open().tobytes() else "others", 0.9)], 0.0

    monkeypatch.setattr(rapidocr_onnxruntime, "RapidOCR", lambda: read)
    reranker = load_reranker("ocr-bm25")
    twice = Item("", picture(SNAKES.open()))  # the same bytes behind another handle
    first = scores(reranker, Item("snakes"), [Item("", SNAKES), Item("", STRINGS), twice])
    assert len(reads) == 2
    scores(reranker, Item("snakes"), [Item("", BLANK)])
    assert scores(reranker, Item("snakes"), [Item("", SNAKES), Item("", STRINGS), twice]) == first
    assert len(reads) == 4  # the blank page drove the snakes out


def test_it_is_setwise_and_says_so(reranker: LoadedReranker) -> None:
    assert reranker.info.kind == "setwise"
    assert reranker.info.inputs == Inputs.both("text", "image", "image+text")
    assert reranker.info.version == "1, rapidocr-onnxruntime 1.4.4"
    together = scores(reranker, Item("immutable strings"), CANDIDATES)
    assert scores(reranker, Item("immutable strings"), [CANDIDATES[3]])[0] != together[3]


def test_a_missing_system_library_is_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    stand_in = tmp_path / "rapidocr_onnxruntime"
    stand_in.mkdir()
    said = "libGL.so.1: cannot open shared object file: No such file or directory"
    (stand_in / "__init__.py").write_text(f"raise ImportError({said!r})\n")
    done = run_mrb(tmp_path, "check", "ocr-bm25", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
    assert "apt-get install libgl1 libglib2.0-0" in done.stderr
