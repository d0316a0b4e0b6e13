"""Flags and their descriptions: text to image, image to text, text to image with text."""

import re

from countries import CONTESTED, Country, cut, load_countries, lookalikes
from sources import Library
from tables import Item, TaskTables

LOOK_LIMIT, DESCRIPTION_LIMIT, PROFILE_LIMIT = 240, 400, 400


def build_t2i(library: Library, split: str) -> TaskTables:
    """What a flag looks like, in words -> its flag-icons drawing."""
    chosen = _described(library, split)
    queries = [Item(f"{c.iso}-look", text=_look(c)) for c in chosen]
    corpus = [Item(f"{c.iso}-flag", image=c.icon) for c in chosen]
    return TaskTables(corpus, queries, _qrels(chosen, "look", "flag"))


def build_i2t(library: Library, split: str) -> TaskTables:
    """A Noto drawing of a flag -> its description. Training adds the other two drawings as queries."""
    chosen = _described(library, split)
    queries = [Item(f"{c.iso}-noto", image=c.noto) for c in chosen]
    qrels = _qrels(chosen, "noto", "description")
    if split == "train":
        for drawing in ("icon", "twemoji"):
            queries += [Item(f"{c.iso}-{drawing}", image=getattr(c, drawing)) for c in chosen]
            qrels += _qrels(chosen, drawing, "description")
    corpus = [Item(f"{c.iso}-description", text=cut(_description(c), DESCRIPTION_LIMIT)) for c in chosen]
    return TaskTables(corpus, queries, qrels)


def build_t2it(library: Library, split: str) -> TaskTables:
    """A flag description -> the flag-icons drawing together with a few words on where the country lies."""
    chosen = _described(library, split)
    queries = [Item(f"{c.iso}-description", text=cut(_description(c), DESCRIPTION_LIMIT)) for c in chosen]
    corpus = [Item(f"{c.iso}-country", text=_profile(c), image=c.icon) for c in chosen]
    return TaskTables(corpus, queries, _qrels(chosen, "description", "country"))


def _described(library: Library, split: str) -> list[Country]:
    """The countries of a split whose record describes a flag of their own."""
    countries = load_countries(library).values()
    return [c for c in countries if c.split == split and len(_description(c)) > 40]


def _description(country: Country) -> str:
    text = country.text("Government", "Flag description")
    if re.match(r"the flag of .* is used", text):
        return ""
    # From "note" on, records compare the flag with others or tell of its use.
    return country.masked(re.split(r"[;.,]? ?\bnote\b", text)[0].strip(" ;"))


def _look(country: Country) -> str:
    """The opening clauses of the description: they say what is seen, the later ones what it stands for."""
    text = _description(country)
    whole_clauses = text[: LOOK_LIMIT + 1].rpartition(";")[0]
    return whole_clauses if len(whole_clauses) > LOOK_LIMIT // 2 else cut(text, LOOK_LIMIT)


def _profile(country: Country) -> str:
    """Where the country lies and what is special about its geography: dry facts that do not mention the flag."""
    note = country.texts("Geography", "Geography - note")
    parts = [country.texts("Geography", "Location"), "" if CONTESTED.search(note) else note]
    return cut(country.masked(". ".join(part for part in parts if part)), PROFILE_LIMIT)


def _qrels(chosen: list[Country], query: str, document: str) -> list[tuple[str, str, int]]:
    present = {c.iso for c in chosen}
    return [(f"{c.iso}-{query}", f"{iso}-{document}", 1) for c in chosen for iso in lookalikes(c.iso) if iso in present]
