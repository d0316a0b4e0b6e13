"""Emoji in two drawings: the same emoji in the other drawing, or the one that a change in words leads to."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import draw
import numpy as np
from sources import FLUENT, NOTO, TWEMOJI, BuildError, Library
from splits import fraction, sample, split_of
from tables import Item, TaskTables

TEST_SHARE, DEV_SHARE = 0.55, 0.12
I2I_QUERIES = {"test": 200, "dev": 80, "train": 10_000}
IT2I_QUERIES = {"test": 200, "dev": 80, "train": 600}
PER_FAMILY = 20
# Two drawings closer than this (mean absolute difference of 32 x 32 thumbnails, of 255) are taken for one.
# Clock faces and loudspeakers are a little further apart: hard, but fair.
NEAR_DUPLICATE = 1.5

TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}
MAN, WOMAN, PERSON = "1F468", "1F469", "1F9D1"
SIGNS = {"2642": "a man", "2640": "a woman"}
WORDS = {MAN: "a man", WOMAN: "a woman"}
COLOURED = {
    "heart": {
        "2764": "red", "1F9E1": "orange", "1F49B": "yellow", "1F49A": "green", "1F499": "blue",
        "1FA75": "light blue", "1F49C": "purple", "1F90E": "brown", "1F5A4": "black", "1FA76": "grey",
        "1F90D": "white", "1FA77": "pink",
    },
    "circle": {
        "1F534": "red", "1F7E0": "orange", "1F7E1": "yellow", "1F7E2": "green", "1F535": "blue",
        "1F7E3": "purple", "1F7E4": "brown", "26AB": "black", "26AA": "white",
    },
    "square": {
        "1F7E5": "red", "1F7E7": "orange", "1F7E8": "yellow", "1F7E9": "green", "1F7E6": "blue",
        "1F7EA": "purple", "1F7EB": "brown", "2B1B": "black", "2B1C": "white",
    },
}  # fmt: skip
# Subcategories whose members are variations of one drawing; a family never crosses splits.
WHOLE_SUBCATEGORIES = frozenset(
    (
        "arrow",
        "zodiac",
        "keycap",
        "geometric",
        "heart",
        "cat-face",
        "monkey-face",
        "alphanum",
        "book-paper",
        "sound",
    )
)
NAMED_FAMILIES = {
    "clock": range(0x1F550, 0x1F568),
    "moon": range(0x1F311, 0x1F31F),
    "globe": range(0x1F30D, 0x1F311),
    "mailbox": range(0x1F4EA, 0x1F4EE),
    "card-suit": (0x2660, 0x2663, 0x2665, 0x2666),
    "child": (0x1F466, 0x1F467, 0x1F9D2),
    "adult": (0x1F468, 0x1F469, 0x1F9D1),
    "older": (0x1F474, 0x1F475, 0x1F9D3),
    "claus": (0x1F385, 0x1F936, 0x1F384),
    "royal": (0x1F934, 0x1F478, 0x1FAC5),
    "hair": (0x1F471, 0x1F9B0, 0x1F9B1, 0x1F9B2, 0x1F9B3),
    "wheelchair": (0x1F9BC, 0x1F9BD),
    "couple": (0x1F46B, 0x1F46C, 0x1F46D, 0x1F491, 0x1F48F, 0x1F91D),
}


@dataclass(frozen=True)
class Emoji:
    """One emoji or skin tone variation: its code points (variation selectors removed), family and drawings."""

    code: str
    subcategory: str
    family: str
    toned: bool
    noto: bytes
    twemoji: bytes


@dataclass(frozen=True)
class Change:
    """A source emoji, a change in words, and the emoji it leads to."""

    kind: str
    source: str
    words: str
    target: str


def build_i2i(library: Library, split: str) -> TaskTables:
    """A Noto drawing -> the Twemoji drawing of the same emoji. Training adds distinct Fluent drawings as queries."""
    emoji = [e for e in _catalogue(library).values() if _plain(e) and _split(e) == split]
    kept = _distinct(emoji)
    drawn = set(sample([e.code for e in kept], "i2i", I2I_QUERIES[split]))
    queries = [Item(f"noto-{e.code.lower()}", image=e.noto) for e in kept if e.code in drawn]
    qrels = [(query.id, query.id.replace("noto-", "twemoji-"), 1) for query in queries]
    corpus = [Item(f"twemoji-{e.code.lower()}", image=e.twemoji) for e in kept]
    if split == "train":
        fluent = _fluent(library)
        extra = {fluent[e.code]: e.code for e in reversed(kept) if e.code in fluent}
        queries += [Item(f"fluent-{code.lower()}", image=drawing) for drawing, code in reversed(extra.items())]
        qrels += [(f"fluent-{code.lower()}", f"twemoji-{code.lower()}", 1) for code in reversed(extra.values())]
    return TaskTables(corpus, queries, qrels)


def build_it2i(library: Library, split: str) -> TaskTables:
    """A Noto drawing and a change in words -> the Twemoji drawing of the changed emoji."""
    catalogue = _catalogue(library)
    changes = [c for c in _changes(catalogue) if _split(catalogue[c.target]) == split]
    involved = {code for change in changes for code in (change.source, change.target)}
    # Gendered drawings come first: where a neutral person is drawn like a man, the neutral one is dropped.
    ordered = sorted(involved, key=lambda code: (not _gendered(code), code))
    kept = {e.code for e in _distinct([catalogue[code] for code in ordered])}
    asked = _balanced([c for c in changes if c.target in kept], catalogue, IT2I_QUERIES[split])
    queries = [Item(_change_id(change), text=change.words, image=catalogue[change.source].noto) for change in asked]
    qrels = [(_change_id(change), f"twemoji-{change.target.lower()}", 1) for change in asked]
    # Of what the split has, the corpus takes what a change could make of the sources that are asked about.
    sources = {change.source for change in asked}
    near = sources | {change.target for change in changes if change.source in sources}
    corpus = [Item(f"twemoji-{code.lower()}", image=catalogue[code].twemoji) for code in sorted(kept & near)]
    return TaskTables(corpus, queries, qrels)


def _change_id(change: Change) -> str:
    return f"{change.kind}-{change.source}-to-{change.target}".lower()


@cache
def _catalogue(library: Library) -> dict[str, Emoji]:
    """Every emoji that both sets draw, skin tone variations included, by code."""
    records = json.loads(library.members(NOTO, "package/emoji.json")[""])
    noto = library.members(NOTO, "package/img/google/64/", ".png")
    twemoji = library.members(TWEMOJI, "package/img/twitter/64/", ".png")
    catalogue = {}
    for record in sorted(records, key=lambda record: record["unified"]):
        if record["category"] in ("Flags", "Component") or _is_group(record["unified"]):
            continue
        for entry in _variants(record):
            if entry["image"] in noto and entry["image"] in twemoji:
                code = _code(entry["unified"])
                catalogue[code] = Emoji(
                    code=code,
                    subcategory=record["subcategory"],
                    family=_family(_code(record["unified"]), record["subcategory"]),
                    toned=entry is not record,
                    noto=draw.encode(draw.flatten(noto[entry["image"]])),
                    twemoji=draw.encode(draw.flatten(twemoji[entry["image"]])),
                )
    return catalogue


def _variants(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield record
    for tones, entry in record.get("skin_variations", {}).items():
        if "-" not in tones:
            yield entry


def _is_group(unified: str) -> bool:
    """Families and couples: their members are drawn so small that many look alike."""
    people = (MAN, WOMAN, PERSON, "1F466", "1F467", "1F9D2", "1F46A", "1F491", "1F48F")
    return unified == "1F46A" or sum(unified.count(person) for person in people) > 1


def _code(unified: str) -> str:
    return "-".join(part for part in unified.split("-") if part != "FE0F")


def _family(code: str, subcategory: str) -> str:
    """What an emoji is a variation of: the activity of a person, the shape of a coloured thing, else itself."""
    parts = code.split("-200D-")
    base = parts[1] if len(parts) > 1 and parts[0] in (MAN, WOMAN, PERSON) else parts[0]
    first = base.split("-")[0]
    for name, members in NAMED_FAMILIES.items():
        if int(first, 16) in members:
            return name
    return subcategory if subcategory in WHOLE_SUBCATEGORIES else first


def _split(emoji: Emoji) -> str:
    return split_of("emoji", emoji.family, TEST_SHARE, DEV_SHARE)


def _gendered(code: str) -> bool:
    return bool(re.search(r"-200D-26(40|42)\b", code)) or code.startswith((MAN, WOMAN))


def _plain(emoji: Emoji) -> bool:
    """Emoji for the same-emoji task: no skin tones, men, women or directions, whose drawings hardly differ."""
    return not (emoji.toned or "-200D-27A1" in emoji.code or ("-200D-" in emoji.code and _gendered(emoji.code)))


def _distinct(emoji: list[Emoji]) -> list[Emoji]:
    """The emoji in order, without those that either set draws like one before."""
    kept: list[int] = []
    noto = np.stack([draw.thumbnail(e.noto).ravel() for e in emoji])
    twemoji = np.stack([draw.thumbnail(e.twemoji).ravel() for e in emoji])
    for index in range(len(emoji)):
        nearest = [np.abs(looks[kept] - looks[index]).mean(axis=1).min(initial=255) for looks in (noto, twemoji)]
        if min(nearest) >= NEAR_DUPLICATE:
            kept.append(index)
    return [emoji[index] for index in kept]


def _fluent(library: Library) -> dict[str, bytes]:
    """Fluent drawings by code: the package names its drawings and lists the code points of each name."""
    names = json.loads(library.members(FLUENT, "package/chars.json")[""])
    icons = json.loads(library.members(FLUENT, "package/icons.json")[""])
    size = icons.get("width", 16), icons.get("height", 16)
    drawings = {}
    for sequence, name in sorted(names.items()):
        icon = icons["icons"].get(name)
        if icon is not None:
            width, height = icon.get("width", size[0]), icon.get("height", size[1])
            svg = (
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
            ).encode()
            drawings[_code(sequence.upper())] = svg
    if not drawings:
        raise BuildError("fluent-emoji-flat: no drawings found")
    return _LazyPng(drawings)


class _LazyPng(dict[str, bytes]):
    """SVG drawings that become PNG when asked for: only a third of them is."""

    def __getitem__(self, code: str) -> bytes:
        return draw.encode(draw.render_svg(super().__getitem__(code), draw.EMOJI_SIDE, draw.EMOJI_SIDE))


def _changes(catalogue: dict[str, Emoji]) -> list[Change]:
    """All changes whose source and target exist, in a fixed order."""
    rules: tuple[Callable[[str], Iterator[Change]], ...] = (_skin, _gender, _direction, _clock)
    found = [change for code in catalogue for rule in rules for change in rule(code)]
    found += list(_colours())
    return [c for c in found if c.source in catalogue and c.target in catalogue]


def _skin(code: str) -> Iterator[Change]:
    """The same person or hand with another skin tone; the source has the neutral yellow."""
    head, *tail = code.split("-")
    if not set(TONES) & set(code.split("-")):
        for tone, word in TONES.items():
            yield Change("skin", code, f"The same, with {word} skin tone.", "-".join((head, tone, *tail)))


def _gender(code: str) -> Iterator[Change]:
    """Man or woman instead: by the first code point of a sequence, or by the sign at its end."""
    head, *tail = code.split("-")
    for other, word in WORDS.items():
        if head in (MAN, WOMAN, PERSON) and head != other and tail:
            yield Change("gender", code, f"The same, but {word}.", "-".join((other, *tail)))
    for sign, word in SIGNS.items():
        if "2640" not in tail and "2642" not in tail:
            yield Change("gender", code, f"The same, but {word}.", f"{code}-200D-{sign}")
        elif sign not in tail:
            swapped = re.sub(r"-200D-26(40|42)", f"-200D-{sign}", code)
            yield Change("gender", code, f"The same, but {word}.", swapped)


def _direction(code: str) -> Iterator[Change]:
    yield Change("direction", code, "The same, facing right.", f"{code}-200D-27A1")


def _clock(code: str) -> Iterator[Change]:
    """Full hours (1F550 to 1F55B) to half hours (1F55C to 1F567)."""
    point = int(code, 16) if "-" not in code else 0
    if 0x1F550 <= point <= 0x1F55B:
        yield Change("clock", code, "Half an hour later.", f"{point + 12:X}")


def _colours() -> Iterator[Change]:
    for shades in COLOURED.values():
        for source in shades:
            for target, colour in shades.items():
                if source != target:
                    yield Change("colour", source, f"The same in {colour}.", target)


def _balanced(changes: list[Change], catalogue: dict[str, Emoji], count: int) -> list[Change]:
    """A sample by hash, taking the kinds in turn: skin tones alone would be three quarters, and few families have all.

    No family is asked about more than PER_FAMILY times for one kind of change.
    """
    by_kind: dict[str, list[Change]] = {}
    taken: Counter[tuple[str, str]] = Counter()
    for change in sorted(changes, key=lambda change: fraction("it2i", change.source)):
        family = change.kind, catalogue[change.target].family
        if taken[family] < PER_FAMILY:
            taken[family] += 1
            by_kind.setdefault(change.kind, []).append(change)
    chosen: list[Change] = []
    while len(chosen) < count and any(by_kind.values()):
        for kind in sorted(by_kind):
            if by_kind[kind] and len(chosen) < count:
                chosen.append(by_kind[kind].pop(0))
    return chosen
