"""Generated data sets in the layout that mteb publishes: what `mteb_side_by_side.py` compares on.

The layout is that of `mteb/Vidore3*Reranking.v2` and of mteb's text reranking sets: one configuration a table, named
`<subset>-corpus`, `-queries`, `-qrels`, `-top_ranked`, or `corpus`, `queries`, `default`, `top_ranked` without subsets;
a README with `configs:`; parquet files; `top_ranked` rows of `query-id` and a list `corpus-ids`.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

WORDS = [f"{a}{b}{c}" for a in ("re", "con", "de", "pro") for b in ("fer", "duc", "mit", "pon") for c in ("t", "er")]
TABLES = {"corpus": "corpus", "queries": "queries", "qrels": "default", "top_ranked": "top_ranked"}
"""Table -> its configuration where a data set has no subsets."""


@dataclass(frozen=True)
class Case:
    """A shape of task: a task class of mteb, and what its generated tables hold.

    Args:
        name: Its name on the command line.
        task: The task class of mteb that loads it.
        query: What a query has: text, image or both.
        document: What a document has.
        subsets: The subsets, such as languages.
        queries: Number of queries a subset.
        depth: Number of candidates of a query; with `short`, at most.
        grades: Grades of judged documents.
        titles: Documents have a title.
        unlisted: Each so many-th query has no candidate list (0: none).
        outside: One judged document of each query is in no list.
        short: Lists have 1 to `depth` documents, fewer than the ten of the measure.
        unjudged: Each so many-th query has judgements of grade 0 alone.
    """

    name: str
    task: str
    query: tuple[str, ...] = ("text",)
    document: tuple[str, ...] = ("text",)
    subsets: tuple[str, ...] = ("default",)
    queries: int = 30
    depth: int = 25
    grades: tuple[int, ...] = (1,)
    titles: bool = False
    unlisted: int = 0
    outside: bool = False
    short: bool = False
    unjudged: int = 0

    def takes(self, scorer: str) -> bool:
        """Return whether a scorer covers it: the real cross-encoder reads texts alone."""
        return scorer != "cross-encoder" or (*self.query, *self.document) == ("text", "text")


_SIX = ("french", "spanish", "english", "german", "italian", "portuguese")
CASES = {
    case.name: case
    for case in (
        Case("text", "AskUbuntuDupQuestions"),
        Case("titles-graded", "SciDocsRR", titles=True, grades=(3, 2, 1, 0, -1)),
        Case("page-images", "VisRAGRetArxivQA", document=("image",), queries=12, depth=15),
        Case("image-query", "CIRRIT2IRetrieval", query=("image", "text"), document=("image",), queries=12, depth=15),
        Case(
            "vidore-v3.1",
            "Vidore3EnergyBGEm3Reranking.v2",
            document=("image", "text"),
            subsets=_SIX,
            queries=8,
            depth=50,
            grades=(2, 1),
        ),
        Case("languages", "WikipediaRerankingMultilingual", subsets=("bg", "de", "hi"), queries=20),
        Case("unlisted-queries", "StackOverflowDupQuestions", unlisted=5),
        Case("judged-outside-list", "AskUbuntuDupQuestions", outside=True, grades=(2, 1)),
        Case("short-lists", "StackOverflowDupQuestions", depth=7, short=True, outside=True),
        Case("only-grade-0", "SciDocsRR", unjudged=6),
    )
}


def write_subset(case: Case, subset: str, folder: Path, prefix: str) -> None:
    """Add the tables of a subset to the data set in `folder`; `prefix` is the subset's name in configurations."""
    import datasets

    rng = np.random.default_rng(zlib.crc32(f"{case.name}/{subset}".encode()))
    documents = 4 * case.depth
    text = datasets.Value("string")
    corpus = _make_items(rng, "d", documents, case.document, 12)
    queries = _make_items(rng, "q", case.queries, case.query, 5)
    if case.titles:
        corpus["title"] = [" ".join(rng.choice(WORDS, 2)) for _ in range(documents)]
    qrels, lists = _make_lists(case, rng, documents)
    types = {"image": datasets.Image(), "score": datasets.Value("int32"), "corpus-ids": datasets.Sequence(text)}
    for table, rows in {"corpus": corpus, "queries": queries, "qrels": qrels, "top_ranked": lists}.items():
        name = f"{prefix}-{table}" if prefix else table
        features = datasets.Features({column: types.get(column, text) for column in rows})
        path = folder / name / "test.parquet"
        path.parent.mkdir(parents=True)
        datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    _add_to_readme(folder, prefix)


def _make_items(
    rng: np.random.Generator, letter: str, count: int, parts: tuple[str, ...], words: int
) -> dict[str, Any]:
    rows: dict[str, Any] = {"id": [f"{letter}{n}" for n in range(count)]}
    for part in parts:
        made = [_make_image(rng) if part == "image" else " ".join(rng.choice(WORDS, words)) for _ in range(count)]
        rows[part] = made if part == "image" else [f"{text} {n}" for n, text in enumerate(made)]  # no text twice
    return rows


def _make_image(rng: np.random.Generator) -> dict[str, Any]:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (24, 16, 3), np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def _make_lists(case: Case, rng: np.random.Generator, documents: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tables qrels and top_ranked."""
    qrels: dict[str, list[Any]] = {"query-id": [], "corpus-id": [], "score": []}
    lists: dict[str, list[Any]] = {"query-id": [], "corpus-ids": []}
    for n in range(case.queries):
        listed = [f"d{place}" for place in rng.permutation(documents)]
        cut = int(rng.integers(1, case.depth + 1)) if case.short else case.depth
        few = rng.choice(cut, min(cut, max(2, len(case.grades))), replace=False)
        judged = [listed[place] for place in few]
        judged += [listed[cut]] if case.outside else []
        zero = case.unjudged and n % case.unjudged == 0
        for place, document in enumerate(judged):
            # The first grade is a relevant one, so that each query has at least one relevant document.
            grade = 0 if zero else case.grades[0 if place == 0 else int(rng.integers(len(case.grades)))]
            for column, value in (("query-id", f"q{n}"), ("corpus-id", document), ("score", grade)):
                qrels[column].append(value)
        if not case.unlisted or n % case.unlisted:
            lists["query-id"].append(f"q{n}")
            lists["corpus-ids"].append(listed[:cut])
    return qrels, lists


def _add_to_readme(folder: Path, prefix: str) -> None:
    file = folder / "README.md"
    known = yaml.safe_load(file.read_text(encoding="utf-8").split("---")[1])["configs"] if file.exists() else []
    for table, plain in TABLES.items():
        name = f"{prefix}-{table}" if prefix else plain
        place = f"{prefix}-{table}" if prefix else table
        known.append({"config_name": name, "data_files": [{"split": "test", "path": f"{place}/test.parquet"}]})
    file.write_text(f"---\n{yaml.safe_dump({'configs': known})}---\n", encoding="utf-8")
