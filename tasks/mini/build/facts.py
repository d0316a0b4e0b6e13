"""A flag and a question about its country: the paragraph that answers, alone or beside another drawing of the flag."""

import re
from collections import Counter

from countries import CONTESTED, SAME_LOOK, Country, cut, load_countries
from sources import Library
from splits import fraction, sample
from tables import Item, TaskTables

# Field of the record, question about it. Dry fields only: their texts hardly age and take no side.
FIELDS: dict[str, tuple[tuple[str, str], str]] = {
    "capital": (("Government", "Capital"), "Which city is the capital of the country with this flag?"),
    "climate": (("Geography", "Climate"), "What is the climate like in the country with this flag?"),
    "terrain": (("Geography", "Terrain"), "What does the land look like in the country with this flag?"),
    "resources": (
        ("Geography", "Natural resources"),
        "Which natural resources does the country with this flag have?",
    ),
    "languages": (
        ("People and Society", "Languages"),
        "Which languages are spoken in the country with this flag?",
    ),
    "exports": (
        ("Economy", "Exports - commodities"),
        "Which goods does the country with this flag sell abroad?",
    ),
    "anthem": (
        ("Government", "National anthem"),
        "What is the national anthem of the country with this flag?",
    ),
    "independence": (
        ("Government", "Independence"),
        "When did the country with this flag become independent?",
    ),
    "holiday": (
        ("Government", "National holiday"),
        "Which national holiday does the country with this flag keep?",
    ),
    "religions": (
        ("People and Society", "Religions"),
        "Which religions do people follow in the country with this flag?",
    ),
}
TEXT_LIMIT, SHORTEST = 500, 25
QUERIES = {"test": 200, "dev": 100, "train": 500}


def build_it2t(library: Library, split: str) -> TaskTables:
    """Noto flag + question -> paragraph. The side table is a labelled gallery: each document's flag-icons drawing."""
    facts = _facts(library, split)
    countries = load_countries(library)
    corpus = [Item(key, text=text) for key, text in facts.items()]
    side = [Item(key, image=countries[key[:2]].icon) for key in facts]
    queries, qrels = _ask(library, split, facts, "it2t")
    return TaskTables(corpus, queries, qrels, side)


def build_it2it(library: Library, split: str) -> TaskTables:
    """Noto flag + question -> paragraph beside the flag-icons drawing of the same country's flag."""
    facts = _facts(library, split)
    countries = load_countries(library)
    corpus = [Item(key, text=text, image=countries[key[:2]].icon) for key, text in facts.items()]
    queries, qrels = _ask(library, split, facts, "it2it")
    return TaskTables(corpus, queries, qrels)


def _facts(library: Library, split: str) -> dict[str, str]:
    """Paragraphs of a split by `<iso>-<field>`, without values that countries of any split share word for word."""
    countries = load_countries(library)
    facts = {}
    for country in countries.values():
        for field, (path, _) in FIELDS.items():
            plain = re.split(r"[;.,]? ?\bnote\b(?: -|:)", country.texts(*path))[0]
            text = cut(country.masked(plain), TEXT_LIMIT)
            if len(text) >= SHORTEST and not text.startswith("none") and not CONTESTED.search(text):
                facts[f"{country.iso}-{field}"] = text
    shared = Counter(" ".join(text.lower().split()) for text in facts.values())
    return {
        key: text
        for key, text in facts.items()
        if countries[key[:2]].split == split and shared[" ".join(text.lower().split())] == 1
    }


def _ask(
    library: Library, split: str, facts: dict[str, str], salt: str
) -> tuple[list[Item], list[tuple[str, str, int]]]:
    """Questions about countries with a flag that looks like no other, sampled evenly over the ten fields."""
    countries = load_countries(library)
    ambiguous = {iso for pair in SAME_LOOK for iso in pair}
    askable = [key for key in facts if key[:2] not in ambiguous]
    drawn: list[str] = []
    for field in FIELDS:
        keys = [key for key in askable if key.endswith(f"-{field}")]
        drawn += sample(keys, salt, QUERIES[split] // len(FIELDS))
    drawn.sort(key=lambda key: fraction(salt, "order", key))
    queries = [_question(countries[key[:2]], key) for key in drawn]
    return queries, [(query.id, key, 1) for query, key in zip(queries, drawn, strict=True)]


def _question(country: Country, key: str) -> Item:
    return Item(f"ask-{key}", text=FIELDS[key[3:]][1], image=country.noto)
