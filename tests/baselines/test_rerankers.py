"""The rerankers that ship: what they declare is true, and they do what their cards say."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mrb.baselines.retrievers.colours import (
    COLOURS,
    SHADES,
    TONES,
    convert_to_lab,
    find_mentions,
    find_text_colours,
    name_pixels,
)
from mrb.baselines.retrievers.features import ImageCache, read_image_features
from mrb.baselines.retrievers.lexical import score_bm25, tokenize
from mrb.baselines.synthetic.flag_layout import match_layout
from mrb.baselines.synthetic.image_edits import edit_image, measure_tone
from mrb.data.items import ImageHandle, Item
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from mrb.rerankers.reranker import Request
from tests.builders.toy import encoded

NAMES = ("random", "constant", "bm25", "surface")


def handle(data: bytes) -> ImageHandle:
    return ImageHandle(lambda: data, where="test")


def picture(*colours: str, vertical: bool = False) -> ImageHandle:
    """Equal bands of colours, from the top or from the left."""
    image = Image.new("RGB", (48, 48))
    for place, colour in enumerate(colours):
        start, end = (n * 48 // len(colours) for n in (place, place + 1))
        image.paste(colour, (start, 0, end, 48) if vertical else (0, start, 48, end))
    return handle(encoded(image))


def arrow(colour: str, *, left: bool = False) -> ImageHandle:
    image = Image.new("RGB", (48, 48), "white")
    ImageDraw.Draw(image).polygon([(4, 4), (44, 24), (4, 30)], fill=colour)
    return handle(encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if left else image))


def scores(reranker: LoadedReranker, query: Item, candidates: Sequence[Item]) -> list[float]:
    return [float(s) for s in reranker.target.score(Request("Find it.", query, candidates, 0))]


def best(query: Item, candidates: Sequence[Item]) -> int:
    return int(np.argmax(scores(load_reranker("surface"), query, candidates)))


@pytest.fixture(scope="module")
def kinds() -> dict[str, list[Item]]:
    """Items of the three kinds."""
    texts = ["a red flag", "blue and white bands", "", "Strings are immutable", "gold star on green; since 1950"]
    images = [picture(*pair) for pair in (("red",), ("blue", "white"), ("black",), ("white",))]
    return {
        "text": [Item(text) for text in texts],
        "image": [Item("", image) for image in images],
        "image+text": [Item(text, image) for text, image in zip(texts, images, strict=False)],
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_covered_pair_of_kinds_gets_finite_scores(name: str, kinds: dict[str, list[Item]]) -> None:
    reranker = load_reranker(name)
    covered = reranker.info.inputs.query
    assert set(covered) == ({"text", "image+text"} if name == "bm25" else set(kinds))
    for query_kind in covered:
        for kind in covered:
            for query in kinds[query_kind]:
                found = scores(reranker, query, kinds[kind])
                assert len(found) == len(kinds[kind])
                assert np.isfinite(found).all()
    assert scores(reranker, kinds["text"][0], []) == []


@pytest.mark.parametrize("name", NAMES)
def test_declared_kind_is_true(name: str, kinds: dict[str, list[Item]]) -> None:
    """A pointwise score is the same bits alone, in any company and in any order, from a new instance too."""
    reranker = load_reranker(name)
    assert reranker.info.version == "1"
    assert reranker.info.batch_invariant
    candidates = [item for kind in reranker.info.inputs.document for item in kinds[kind]]
    query = kinds["image+text"][1]
    together = scores(reranker, query, candidates)
    assert scores(load_reranker(name), query, candidates) == together
    order = random.Random(1).sample(range(len(candidates)), len(candidates))
    assert scores(reranker, query, [candidates[n] for n in order]) == [together[n] for n in order]
    alone = [scores(reranker, query, [candidate])[0] for candidate in candidates]
    assert (alone == together) == (reranker.info.kind == "pointwise")


def test_random_is_uniform_and_seeded() -> None:
    items = [Item(f"document {n}") for n in range(4000)]
    first = scores(load_reranker("random"), Item("query"), items)
    assert len(set(np.float32(first).tolist())) > 3990
    assert np.histogram(first, bins=4, range=(0, 1))[0] == pytest.approx([1000] * 4, abs=100)
    for other in (
        scores(load_reranker("random", {"seed": "1"}), Item("query"), items),
        scores(load_reranker("random"), Item("another"), items),
    ):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.05


def test_constant_says_nothing(kinds: dict[str, list[Item]]) -> None:
    assert set(scores(load_reranker("constant"), kinds["text"][0], kinds["image"])) == {0.0}


def test_bm25_reranker_takes_its_statistics_from_the_request() -> None:
    documents = [Item("cat dog"), Item("cat cat bird"), Item("fish")]
    found = scores(load_reranker("bm25"), Item("The cats and a bird"), documents)
    # By hand: N = 3, mean length 2; cat: df 2, idf ln(1 + 1.5 / 2.5); bird: df 1, idf ln(1 + 2.5 / 1.5).
    cat, bird = np.log(1.6), np.log(1 + 2.5 / 1.5)
    long = 1.2 * (0.25 + 0.75 * 1.5)
    assert found == pytest.approx([cat / (1 + 1.2), cat * 2 / (2 + long) + bird / (1 + long), 0])
    assert score_bm25(tokenize("cat"), [[], []]) == [0, 0]


def test_colours_have_their_names() -> None:
    for name, shades in SHADES.items():
        shares = name_pixels(np.array(shades, np.float32))
        assert shares.sum(axis=-1) == pytest.approx(1, abs=1e-5)
        assert {COLOURS[row] for row in shares.argmax(axis=-1)} == {name}
    said = [COLOURS[row] for _, row in find_mentions("Golden stars, GREY skies, the Greens; a tanker is not tan")]
    assert said == ["yellow", "grey", "green", "brown"]
    weights = dict(zip(COLOURS, find_text_colours("red red red red blue"), strict=True))
    assert weights["red"] / weights["blue"] == pytest.approx(2)


def test_lab_is_the_standards() -> None:
    known = {(255, 255, 255): (100, 0, 0), (255, 0, 0): (53.24, 80.09, 67.20), (0, 0, 255): (32.30, 79.19, -107.86)}
    for rgb, lab in known.items():
        assert convert_to_lab(np.array(rgb, np.float32)) == pytest.approx(lab, abs=0.1)


def test_pictures_are_alike_whatever_their_size_and_margin() -> None:
    def drawn(size: int, margin: int, colour: str = "red") -> np.ndarray:
        image = Image.new("RGB", (size + 2 * margin,) * 2, "white")
        ImageDraw.Draw(image).ellipse([margin, margin, margin + size - 1, margin + size - 1], fill=colour)
        ImageDraw.Draw(image).ellipse([margin + size // 4] * 2 + [margin + 3 * size // 4] * 2, fill="blue")
        return read_image_features(handle(encoded(image))).vector

    assert drawn(64, 0) @ drawn(64, 0) == pytest.approx(1, abs=1e-5)
    assert drawn(64, 0) @ drawn(128, 30) > 0.97
    assert drawn(64, 0) @ drawn(64, 0, "green") < 0.9
    blank = read_image_features(handle(encoded(Image.new("RGB", (9, 9), "white"))))
    assert np.isfinite(blank.vector).all()


def test_an_image_is_read_once_and_the_cache_is_bounded() -> None:
    reads: list[str] = []

    def read(image: ImageHandle) -> object:
        reads.append(image.sha256)
        return read_image_features(image)

    cache = ImageCache(read, limit=2)
    a, b, c = (picture(colour) for colour in ("red", "green", "blue"))
    for image in (a, a, b, a, c, a, b):
        cache(image)
    assert reads == [a.sha256, b.sha256, c.sha256, b.sha256]


def test_layouts_of_flags() -> None:
    across = read_image_features(picture("red", "white", "blue")).colour_map
    down = read_image_features(picture("red", "white", "blue", vertical=True)).colour_map
    turned = read_image_features(picture("blue", "white", "red")).colour_map
    horizontal = "three equal horizontal bands of red (top), white, and blue; like that of another country"
    vertical = "three equal vertical bands of red (hoist side), white, and blue"
    assert match_layout(horizontal, across) > 0.75  # three bands do not fill eight rows evenly
    assert match_layout(vertical, down) > 0.75
    assert match_layout(horizontal, down) < 0.6
    assert match_layout(horizontal, turned) < 0.6
    plain = read_image_features(picture("red")).colour_map
    assert match_layout("red with a blue cross that reaches the edges", plain) < match_layout("red", plain)
    assert match_layout("blue with the flag of the UK in the upper hoist-side quadrant", plain) < 0.5
    assert match_layout("no colour is told", plain) == 0


def test_pictures_change_as_told() -> None:
    right = read_image_features(arrow("red"))
    left = read_image_features(arrow("red", left=True))
    turned = edit_image(right, "The same, facing left.")
    assert turned is not None
    assert turned.vector @ left.vector > 0.98 > right.vector @ left.vector
    blue = edit_image(right, "The same in blue.")
    assert blue is not None
    assert blue.vector @ read_image_features(arrow("blue")).vector > right.vector @ blue.vector
    assert edit_image(right, "Half an hour later.") is None


def test_skin_tones_are_looked_for() -> None:
    face = Image.new("RGB", (48, 48), "white")
    ImageDraw.Draw(face).ellipse([4, 4, 44, 44], fill=(104, 78, 62))
    shown = read_image_features(handle(encoded(face)))
    assert TONES[int(shown.tones.argmax())] == "dark"
    assert measure_tone("the same, with dark skin tone", shown) > 0.9
    assert measure_tone("the same, with medium-dark skin tone", shown) < 0.1
    assert measure_tone("the same", shown) == 0


def test_surface_prefers_what_fits() -> None:
    red, blue = picture("red"), picture("blue")
    assert best(Item("immutable strings"), [Item("lists change"), Item("a string is immutable")]) == 1
    assert best(Item("", red), [Item("", blue), Item("", picture("crimson"))]) == 1
    assert best(Item("a blue field"), [Item("", red), Item("", blue)]) == 1
    assert best(Item("", blue), [Item("a red field"), Item("a blue field")]) == 1
    assert best(Item("a blue field"), [Item("some country", red), Item("some country", blue)]) == 1
    assert best(Item("Which rivers?", red), [Item("mountains"), Item("two rivers")]) == 1
    assert best(Item("When was it founded?", red), [Item("by monks"), Item("in 1291")]) == 1
    assert (
        best(
            Item("facing left", arrow("red")),
            [
                Item("", arrow("red")),
                Item("", arrow("red", left=True)),
            ],
        )
        == 1
    )
    assert best(Item("which rivers", red), [Item("rivers", blue), Item("rivers", red)]) == 1
