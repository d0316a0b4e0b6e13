"""Lists between mteb and MRB, both ways: mteb writes predictions that MRB imports; MRB's exports, read by mteb.

For a Python that has mteb and this repository's packages:

    python -m benchmarks.mteb_predictions FOLDER [--golden FILE]

mteb loads the 40 sets of the registry from a Hub on loopback. Ids come from its own loaders, the files from its own
writer; scores are made up. `--golden` writes all files as one JSON object, name -> content;
tests/builders/hub/mteb_predictions.json is one. What it prints: docs/first-stages.md.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mrb.data.mteb_facts import load_mteb_names
from mrb.data.task import load_suite


def write_made_up_predictions(folder: Path) -> None:
    """Load each set by mteb from the Hub at HF_ENDPOINT and write its predictions, all scores made up."""
    import mteb

    meta = SimpleNamespace(name="made-up/scores", revision="1")
    model: Any = SimpleNamespace(mteb_model_meta=meta)
    names = load_mteb_names().same
    for task_id in load_suite("mrb").tasks:
        for name in names[task_id]:
            task: Any = mteb.get_task(name)
            task.load_data()
            task.convert_v1_dataset_format_to_v2(None)  # as its `evaluate` does
            for subset, splits in task.dataset.items():
                for split, data in splits.items():
                    documents = list(data["corpus"]["id"])
                    found = {
                        query: {document: (place * 7 + rank * 5) % 13 / 16 for rank, document in enumerate(documents)}
                        for place, query in enumerate(data["queries"]["id"])
                    }
                    task._save_task_predictions(found, model, folder, split, subset)


def compare_exports(predictions: Path, out: Path, depth: int) -> tuple[int, int]:
    """Import each set's predictions, export the lists in both forms and let mteb read them.

    Returns:
        The numbers of files that mteb read, and of queries; AssertionError if a query's order differs in one.
    """
    import mteb
    from mteb.abstasks.retrieval_dataset_loaders import RetrievalDatasetLoader

    from mrb.candidates.export_lists import write_predictions, write_top_ranked
    from mrb.candidates.score_files import import_candidates
    from mrb.candidates.task_scores import find_id_forms, read_task_scores
    from mrb.data.load import load_task_data
    from mrb.data.task import load_task

    files = queries = 0
    names = load_mteb_names().same
    for task_id in load_suite("mrb").tasks:
        task = load_task(task_id)
        scores = read_task_scores(predictions, task)
        data = load_task_data(task)
        lists = import_candidates(
            data, scores, first_stage="made-up", depth=depth, candidate_set="imported", skip_unknown=True
        ).candidates
        write_predictions(lists, task, out / "predictions")
        tables = write_top_ranked(lists, task, out / task_id)
        for part, name, table in zip(task.source.parts, names[task_id], tables, strict=True):
            ids = find_id_forms(task, part)
            wanted = {query: doc_ids for query, doc_ids, _ in lists.lists() if query.startswith(ids.part)}
            split = part.qrels.split
            other: Any = mteb.get_task(name)
            other.load_data()
            other.convert_v1_dataset_format_to_v2(None)
            other.convert_to_reranking(out / "predictions", top_k=depth)
            found = other.dataset["default"][split]["top_ranked"]
            assert wanted == {
                ids.read_query(query): [ids.read_document(one) for one in docs] for query, docs in found.items()
            }, name
            loader: Any = RetrievalDatasetLoader(str(table.parent.parent), revision=None, split=split)
            found = loader._load_top_ranked(None)
            assert wanted == {ids.part + query: [ids.part + one for one in docs] for query, docs in found.items()}, name
            files += 2
            queries += len(wanted)
    return files, queries


def main() -> None:
    """Read the options, start the Hub, write the files and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--golden", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    from tests.builders.hub.repositories import repositories
    from tests.builders.hub.server import Hub

    # mteb reads no data set without a README, and needs the image column that it then removes.
    left_out = {"no_readme", "tsv", "no_image_column"}
    plain = [replace(one, odd=tuple(name for name in one.odd if name not in left_out)) for one in repositories()]
    files = {(one.name, one.revision): one.files() for one in plain}
    with Hub(files) as hub, tempfile.TemporaryDirectory() as home:
        os.environ.update(HF_ENDPOINT=hub.url, HF_HOME=home, HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1")
        os.environ["MRB_CACHE"] = f"{home}/mrb"
        write_made_up_predictions(options.folder)
        read, queries = compare_exports(options.folder, Path(home) / "exported", depth=8)
    written = {path.name: json.loads(path.read_text()) for path in sorted(options.folder.glob("*.json"))}
    print(f"{len(written)} files of mteb's imported; {read} exported ones read by mteb: {queries} queries, equal order")
    if options.golden:
        options.golden.write_text(json.dumps(written, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
