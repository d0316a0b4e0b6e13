"""What the rows of a table are searched by (their words) and filtered by (their facets)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from mrb.leaderboard.tables.fact_columns import RowSource
from mrb.leaderboard.tables.runs import RunCard
from mrb.submission.schema import ModelCard

SIZES = ((10**9, "under 1 B"), (5 * 10**9, "1 to 5 B"), (10**10, "5 to 10 B"), (10**15, "10 B and more"))
"""The upper bound of each size class, in parameters, and its words; a size is in the first class that it is below."""


@dataclass(frozen=True)
class Facet:
    """A filter: its key in addresses, its label, and each row's value ("" where it is not known).

    `words` says what the values mean; a value that it lacks is shown as it is. `asked` are the values that one can ask
    for, with their words, where they are not those of the rows.
    """

    key: str
    title: str
    read: Callable[[RowSource], str]
    words: tuple[tuple[str, str], ...] = ()
    asked: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Choice:
    """A filter as a page offers it: the values (with their words) that occur in its tables."""

    key: str
    title: str
    options: tuple[tuple[str, str], ...]


def fold_words(text: str) -> str:
    """Return a text as it is searched: lower case; what separates an organisation from a name ("/", "__") is a blank.

    >>> fold_words("Qwen__Qwen3-Reranker-8B")
    'qwen qwen3-reranker-8b'
    """
    return text.lower().replace("/", " ").replace("__", " ")


def join_words(card: RunCard, model: ModelCard | None) -> str:
    """Return the words that find a row: name, organisation, reranker, scoring, and the model's kind and licence."""
    own = (model.organisation, model.name, model.variant, model.kind, model.licence) if model else ()
    return " ".join(dict.fromkeys(fold_words(" ".join((card.name, *own, card.reranker, card.kind))).split()))


def find_size_class(parameters: int) -> str:
    """Return the words of the size class."""
    return next(words for bound, words in SIZES if parameters < bound)


def list_choices(boards: Iterable[Collection[tuple[str, ...]]]) -> list[Choice]:
    """Return the filters for the facets of these boards' rows; a facet that is the same in all rows is left out."""
    rows = [row for board in boards for row in board]
    found = []
    for place, facet in enumerate(FACETS):
        values = {row[place] for row in rows}
        if facet.asked:
            found.append(Choice(facet.key, facet.title, facet.asked))
        elif len(values) > 1:
            words = dict(facet.words)
            known = [value for value in words if value in values] + sorted(values - words.keys(), key=str.casefold)
            options = [(value, words.get(value, value)) for value in known if value]
            found.append(Choice(facet.key, facet.title, tuple(options)))
    return found


def _read_model(read: Callable[[ModelCard], str]) -> Callable[[RowSource], str]:
    return lambda source: read(source.submission.model) if source.submission else ""


def _read_size(model: ModelCard) -> str:
    return find_size_class(model.parameters) if model.parameters else ""


FACETS = (
    Facet("size", "Size", _read_model(_read_size), tuple((words, words) for _, words in SIZES)),
    Facet("licence", "Licence", _read_model(lambda model: model.licence)),
    Facet("weights", "Weights", _read_model(lambda model: "open" if model.open_weights else "closed")),
    Facet("inputs", "Inputs", lambda source: source.card.inputs),
    Facet("architecture", "Architecture", _read_model(lambda model: model.kind)),
    Facet("scoring", "Scoring", lambda source: source.card.kind),
    Facet("verified", "Verified", lambda source: "yes" if source.verified else "no", (("yes", "yes, by a re-run"),)),
    Facet(
        "training",
        "Training data",
        lambda source: source.worst_mark,
        asked=(("untrained", "not known to be trained on a task here"), ("clean", "declared clean on all")),
    ),
)
"""The filters; a row has one value of each, in this order."""
