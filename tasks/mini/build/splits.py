"""Which split something belongs to, and in which order a sample is drawn: fixed hashes, no random numbers."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TypeVar

SPLITS = ("test", "dev", "train")
Key = TypeVar("Key")


def fraction(*parts: str) -> float:
    """A number in [0, 1) that depends on nothing but the words given."""
    digest = sha256("\t".join(("mrb-mini", *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(kind: str, key: str, test: float, dev: float) -> str:
    """The split of one group (a country, an emoji family): the shares of test and dev are given, train is the rest."""
    position = fraction(kind, key)
    if position < test:
        return "test"
    return "dev" if position < test + dev else "train"


def sample(keys: Iterable[str], salt: str, count: int) -> list[str]:
    """At most `count` of the keys, drawn by hash and returned in their given order."""
    ordered = list(keys)
    drawn = set(sorted(ordered, key=lambda key: fraction(salt, key))[:count])
    return [key for key in ordered if key in drawn]


def groups(pairs: Iterable[tuple[str, str]], keys: Iterable[str]) -> Mapping[str, str]:
    """The smallest member of each key's group, where pairs of keys are joined into groups."""
    parent = {key: key for key in keys}

    def root(key: str) -> str:
        while parent[key] != key:
            key = parent[key]
        return key

    for left, right in pairs:
        low, high = sorted((root(left), root(right)))
        parent[high] = low
    return {key: root(key) for key in parent}
