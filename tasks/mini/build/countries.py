"""Countries of the CIA World Factbook: their fields, their two flag drawings, their names masked out of texts."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import draw
from sources import CLDR_DERIVED, FACTBOOK, FLAG_ICONS, NOTO, TWEMOJI, Library
from splits import fraction, groups

# Territories that fly the flag of another country in at least one of the drawings: neither a drawing nor a
# description could tell them from it.
BORROWED_FLAG = frozenset(
    (
        "ac", "bl", "bq", "bv", "cp", "dg", "gf", "gp", "hm", "mf", "pm", "re", "sh", "sj", "ta", "um", "wf",
        "yt",
    )
)  # fmt: skip
# The flag has changed since the Factbook described it, so description and drawing disagree.
CHANGED_FLAG = frozenset(["mr", "sy"])
# A record that is not about the one country that the flag stands for: a union, a continent, a part of a territory,
# a territory whose record describes no flag.
NOT_ONE_COUNTRY = frozenset(("aq", "eh", "eu", "ps"))
# Flags that differ by shade or proportions only: either answers a description or a drawing of the other.
SAME_LOOK = (("id", "mc"), ("ro", "td"))
# Close relatives that stay in one split, although their drawings can be told apart.
RELATED = (("eg", "iq"), ("eg", "ye"), ("id", "sg"), ("lu", "nl"), ("md", "ro"), ("ad", "md"))
# Texts that touch a dispute or a war are left out: the tasks need neutral texts, not these.
CONTESTED = re.compile(
    r"occup|disput|claim|settlement|terror|\bwars?\b|military|nuclear|annex|conflict|invasi|\bcoup\b|uprising|killed",
    re.IGNORECASE,
)
TEST_SHARE, DEV_SHARE = 0.52, 0.13
MASK = "this country"
NOT_NAMES = frozenset(("none", "singular", "plural", "scotland", "wales", "england"))


def cut(text: str, limit: int) -> str:
    """The text up to a word boundary within `limit` characters."""
    if len(text) <= limit:
        return text
    return text[: limit + 1].rsplit(" ", 1)[0].rstrip(" ,;:(-")


@dataclass(frozen=True)
class Country:
    """One country or territory: ISO code, English name, Factbook record and flag drawings (PNG bytes)."""

    iso: str
    name: str
    record: dict[str, Any]
    icon: bytes
    noto: bytes
    twemoji: bytes
    split: str
    names: tuple[str, ...]

    def text(self, *path: str) -> str:
        """The text at a path of the record without its sub-entries, or an empty string."""
        return _clean(_entry(self.record, path).get("text") or "")

    def texts(self, *path: str) -> str:
        """The text at a path followed by those of its sub-entries, joined by semicolons, without notes."""
        return "; ".join(_leaves(_entry(self.record, path)))

    def masked(self, text: str) -> str:
        """The text without the country's names: they would give the answer away."""
        return self._pattern.sub(MASK, text)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.names, key=lambda name: (-len(name), name))
        return re.compile(
            r"(?<!\w)(?:[Tt]he )?(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)", re.IGNORECASE
        )


@cache
def load_countries(library: Library) -> dict[str, Country]:
    """The countries that have a Factbook record and a drawing in all three sets, by ISO code."""
    icons = {
        path.removesuffix(".svg"): content
        for path, content in library.members(FLAG_ICONS, "package/flags/4x3/", ".svg").items()
    }
    noto = _emoji_flags(library.members(NOTO, "package/img/google/64/1f1"))
    twemoji = _emoji_flags(library.members(TWEMOJI, "package/img/twitter/64/1f1"))
    labels = _cldr_names(library)
    records = _records(library)
    left_out = BORROWED_FLAG | CHANGED_FLAG | NOT_ONE_COUNTRY
    usable = sorted((set(records) & set(icons) & set(noto) & set(twemoji) & set(labels)) - left_out)
    leader = groups(((a, b) for a, b in (*SAME_LOOK, *RELATED) if a in usable and b in usable), usable)
    splits = assign_splits(leader)
    return {
        iso: Country(
            iso=iso,
            name=labels[iso],
            record=records[iso],
            icon=draw.encode(draw.render_svg(icons[iso], draw.FLAG_WIDTH, draw.FLAG_HEIGHT)),
            noto=draw.encode(draw.flatten(noto[iso])),
            twemoji=draw.encode(draw.flatten(twemoji[iso])),
            split=splits[iso],
            names=_names(records[iso], labels[iso]),
        )
        for iso in usable
    }


def assign_splits(leader: Mapping[str, str]) -> dict[str, str]:
    """Split by group leader: groups in hash order fill test, then dev, then train, to exact shares."""
    order = sorted(set(leader.values()), key=lambda iso: fraction("country", iso))
    members = {head: [iso for iso in leader if leader[iso] == head] for head in order}
    total, seen, splits = len(leader), 0, {}
    for head in order:
        position = seen / total
        split = "test" if position < TEST_SHARE else "dev" if position < TEST_SHARE + DEV_SHARE else "train"
        splits.update(dict.fromkeys(members[head], split))
        seen += len(members[head])
    return splits


def lookalikes(iso: str) -> tuple[str, ...]:
    """The countries whose flag a drawing or a description of this one may equally mean, itself first."""
    others = [b if a == iso else a for a, b in SAME_LOOK if iso in (a, b)]
    return (iso, *others)


def _records(library: Library) -> dict[str, dict[str, Any]]:
    """Factbook records by the country code that each record itself gives as its internet domain."""
    records: dict[str, dict[str, Any]] = {}
    for path, content in library.members(FACTBOOK, "package/", ".json").items():
        record = json.loads(content)
        if "/" not in path or not isinstance(record, dict):
            continue
        domain = _clean(_entry(record, ("Communications", "Internet country code")).get("text") or "")
        found = re.match(r"(?:metropolitan France - )?\.([a-z]{2})\b", domain)
        if found and found[1] not in records:
            records[found[1]] = record
    if "uk" in records:
        records["gb"] = records.pop("uk")
    return records


def _emoji_flags(drawings: dict[str, bytes]) -> dict[str, bytes]:
    """Flag drawings by ISO code: a flag emoji is two regional indicator letters."""
    flags = {}
    for path, content in drawings.items():
        found = re.fullmatch(r"([0-9a-f]{2})-1f1([0-9a-f]{2})\.png", path)
        if found:
            flags["".join(chr(int(part, 16) - 0xE6 + ord("a")) for part in found.groups())] = content
    return flags


def _cldr_names(library: Library) -> dict[str, str]:
    files = library.members(CLDR_DERIVED, "package/annotationsDerived/en/", ".json")
    annotations = json.loads(files["annotations.json"])["annotationsDerived"]["annotations"]
    names = {}
    for sequence, entry in annotations.items():
        spoken = entry.get("tts", [""])[0]
        if spoken.startswith("flag: ") and len(sequence) == 2:
            names["".join(chr(ord(letter) - 0x1F1E6 + ord("a")) for letter in sequence)] = spoken[6:]
    return names


def _names(record: dict[str, Any], label: str) -> tuple[str, ...]:
    """Every name of the country and its people that the record gives, without those too short to be safe."""
    names = {label, *re.split(r" & | \(|\)", label)}
    for entry in (
        "conventional long form",
        "conventional short form",
        "local long form",
        "local short form",
        "former",
    ):
        names.update(re.split(r"[;/,]", _text(record, "Government", "Country name", entry)))
    for entry in ("noun", "adjective"):
        for word in re.split(r"[,;/]| or ", _text(record, "People and Society", "Nationality", entry)):
            stem = re.sub(r"\(.*?\)", "", word).strip()
            names.update({stem, stem + "s", re.sub(r"(man|woman)$", "men", stem)})
    cleaned = {re.sub(r"\(.*?\)", "", name).strip(" ,.") for name in names}
    plain = {re.sub(r"^(the|note:?) ", "", name, flags=re.IGNORECASE) for name in cleaned}
    return tuple(
        sorted(name for name in plain if len(name) > 3 and name.lower() not in NOT_NAMES and name[0].isupper())
    )


def _text(record: dict[str, Any], *path: str) -> str:
    return _clean(_entry(record, path).get("text") or "")


def _entry(record: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for name in path:
        record = record.get(name) or {}
    return record


def _leaves(entry: dict[str, Any]) -> Iterator[str]:
    for name, value in entry.items():
        if name == "text":
            if value:
                yield _clean(value)
        elif isinstance(value, dict) and name != "note":
            yield from _leaves(value)


def _clean(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("++", ";")).strip(" ;")
