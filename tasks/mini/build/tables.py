"""What a task is made of before it is written: items, judgements, and the rules that all of them keep."""

from collections import Counter
from dataclasses import dataclass, field

from draw import pixel_digest
from sources import BuildError


@dataclass(frozen=True)
class Item:
    """A query or a document: a readable id, and a text, an image (PNG bytes) or several, or both."""

    id: str
    text: str | None = None
    image: bytes | None = None
    images: tuple[bytes, ...] = ()

    @property
    def modality(self) -> str:
        shown = self.image or (self.images or None)
        return ",".join(name for name, value in (("image", shown), ("text", self.text)) if value is not None)

    @property
    def content(self) -> tuple[str | None, str | None]:
        """What a reader sees: text and pixels. Two items with equal content cannot be told apart."""
        text = None if self.text is None else " ".join(self.text.lower().split())
        shown = self.images if self.image is None else (self.image,)
        return text, " ".join(map(pixel_digest, shown)) if shown else None


@dataclass(frozen=True)
class TaskTables:
    """One split of one task. `side` holds what only a first stage may see, one row per document."""

    corpus: list[Item]
    queries: list[Item]
    qrels: list[tuple[str, str, int]]
    side: list[Item] = field(default_factory=list)


def verify(name: str, tables: TaskTables) -> None:
    """Raise BuildError if a rule of the suite is broken: a defect in the data must not pass unnoticed."""
    documents, queries = _ids(name, "corpus", tables.corpus), _ids(name, "queries", tables.queries)
    judged = {(query, document) for query, document, _ in tables.qrels}
    if len(judged) != len(tables.qrels):
        raise BuildError(f"{name}: a pair is judged twice")
    if strangers := {q for q, _ in judged} ^ queries:
        raise BuildError(f"{name}: queries without a judgement, or the reverse: {sorted(strangers)[:3]}")
    if strangers := {d for _, d in judged} - documents:
        raise BuildError(f"{name}: judged documents that are not in the corpus: {sorted(strangers)[:3]}")
    if tables.side and [item.id for item in tables.side] != [item.id for item in tables.corpus]:
        raise BuildError(f"{name}: the side table does not follow the corpus")
    for kind, items in (("documents", tables.corpus), ("queries", tables.queries)):
        seen = Counter(item.content for item in items)
        if twins := [item.id for item in items if seen[item.content] > 1]:
            raise BuildError(f"{name}: {kind} with equal content: {twins[:4]}")
    drawings = {item.content[1] for item in tables.corpus if item.content[1] is not None}
    if shared := [item.id for item in tables.queries if item.content[1] in drawings]:
        raise BuildError(f"{name}: the same drawing in query and document: {shared[:3]}")


def verify_disjoint(task: str, split: str, tables: TaskTables, seen: dict[str, str]) -> None:
    """Raise BuildError if a document or a query image of this split was seen in another; `seen` collects them all."""
    for item in (*tables.corpus, *(query for query in tables.queries if query.image is not None)):
        text, pixels = item.content
        key = pixels or text or ""
        if seen.setdefault(key, split) != split:
            raise BuildError(f"{task}: {item.id} of {split} is also in {seen[key]}")


def _ids(name: str, part: str, items: list[Item]) -> set[str]:
    ids = [item.id for item in items]
    if len(set(ids)) != len(ids):
        raise BuildError(f"{name}: an id occurs twice in {part}")
    if empty := [item.id for item in items if not item.modality or item.text == ""]:
        raise BuildError(f"{name}: nothing in {part} {empty[:3]}")
    return set(ids)
