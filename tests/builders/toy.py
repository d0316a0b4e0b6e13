"""Small tasks built in memory: real `TaskData`, `Candidates` and `Plan`, nothing mocked."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from mrb.candidates import lists
from mrb.candidates.lists import Candidates, Provenance
from mrb.data.items import DecodeCache
from mrb.data.stats import Counts
from mrb.data.task import Task
from mrb.data.task_data import ItemTable, TaskData
from mrb.evaluation.plan import Plan, make_plan

Content = str | bytes | tuple[str | None, bytes | None] | None


def toy_task(**fields: Any) -> Task:
    """An embedded task; any field of `Task` may be given."""
    table = {"config": "default", "split": "test"}
    base = {
        "schema_version": 1,
        "id": "toy",
        "title": "Toy",
        "type": "t2t",
        "description": "A toy.",
        "instruction": "Find it.",
        "source_measure": "nDCG@10",
        "status": "confirmed",
        "status_reason": "made for a test",
        "languages": ["en"],
        "licence": "CC0-1.0",
        "citation": "none",
        "size": {"queries": 3, "documents": 5},
        "source": {
            "kind": "embedded",
            "schema_family": "beir",
            "format": "parquet",
            "parts": [
                {
                    "repository": "toy",
                    "content": "0" * 64,
                    "corpus": {**table, "config": "corpus"},
                    "queries": {**table, "config": "queries"},
                    "qrels": table,
                }
            ],
        },
    }
    return Task.model_validate({**base, **fields})


def toy_table(name: str, rows: Mapping[str, Content]) -> ItemTable:
    """A table of items: a text, encoded image bytes, or both for each id."""
    pairs = [value if isinstance(value, tuple) else _pair(value) for value in rows.values()]
    texts = pa.chunked_array([pa.array([text for text, _ in pairs], pa.string())])
    images = pa.chunked_array([pa.array([image for _, image in pairs], pa.binary())])
    return ItemTable(name, {item_id: row for row, item_id in enumerate(rows)}, texts, images, cache=DecodeCache())


def toy_data(
    queries: Mapping[str, Content],
    corpus: Mapping[str, Content],
    qrels: Mapping[str, Mapping[str, int]],
    task: Task | None = None,
) -> TaskData:
    """A task's data held in memory."""
    counts = Counts(
        queries=len(queries),
        documents=len(corpus),
        qrels=sum(map(len, qrels.values())),
        queries_in_table=len(queries),
        queries_without_positives=0,
        qrels_outside_corpus=0,
        qrels_not_positive=0,
    )
    return TaskData(task or toy_task(), toy_table("queries", queries), toy_table("corpus", corpus), qrels, counts)


def toy_candidates(rankings: Mapping[str, Sequence[str]], depth: int = 100, task: Task | None = None) -> Candidates:
    """A list whose scores fall from 1.0 in steps of 0.001."""
    task = task or toy_task()
    made = Provenance(
        task=task.id,
        task_hash=task.hash,
        revision=task.revision,
        first_stage="toy",
        track="test",
        depth=depth,
    )
    return lists.build(
        made, [(query, ids, [1.0 - 0.001 * rank for rank in range(len(ids))]) for query, ids in rankings.items()]
    )


def toy_plan(n_queries: int = 3, n_docs: int = 5, depth: int = 100, task: Task | None = None) -> Plan:
    """Query `q7` has the text "query words 7", document `doc-3` "document words 3"; every query has all documents."""
    docs = {f"doc-{n}": f"document words {n}" for n in range(n_docs)}
    queries = {f"q{n}": f"query words {n}" for n in range(n_queries)}
    # Each query's first-stage order is rotated, so that no two are alike.
    names = list(docs)
    rankings = {q: names[n % n_docs :] + names[: n % n_docs] for n, q in enumerate(queries)}
    data = toy_data(queries, docs, {q: {names[0]: 1} for q in queries}, task)
    return make_plan(data, toy_candidates(rankings, task=task), depth)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """`image` as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _pair(value: str | bytes | None) -> tuple[str | None, bytes | None]:
    return (None, value) if isinstance(value, bytes) else (value, None)


def _fixture_of(function: Callable[..., Any]) -> Any:
    return pytest.fixture(name=function.__name__, scope="session")(lambda: function)


def trial_run(
    out: Path,
    *,
    model: str = "random",
    limit: int = 12,
    tasks: Sequence[str] = ("mini-faq-t2t",),
    allow_failures: int = 0,
    **options: str,
) -> Path:
    """A real run of the first queries of tasks of mini, its command as a user's with paths in it."""
    from mrb.evaluation.run import run
    from mrb.evaluation.spec import select_tasks

    command = ["mrb", "run", "--model", model, "--suite", "mini", "--out", "/home/somebody/runs"]
    command += [word for name, value in options.items() for word in ("--set", f"{name}={value}")]
    spec = replace(
        select_tasks("mini", tasks, (), None),
        model=model,
        options=options,
        out=out,
        limit=limit,
        command=command,
        allow_failures=allow_failures,
    )
    return run(spec, say=lambda line: None).folder


def submitted(run_folder: Path, to: Path, *, allow_incomplete: bool = True, **card: Any) -> Path:
    """The submission of a run of mini, by "mrb", training unknown."""
    from mrb.data.task import load_suite
    from mrb.submission.build import ModelDeclaration, build_submission
    from mrb.submission.schema import Mark, ModelCard

    made = ModelCard(**{"organisation": "mrb", "name": "random", "parameters": 1000, **card})
    training: dict[str, Mark] = dict.fromkeys(load_suite("mini").tasks, "unknown")
    return build_submission(
        run_folder, ModelDeclaration(made, training), to, lambda line: None, allow_incomplete=allow_incomplete
    )


def forge(folder: Path, scores_of: Callable[[Plan, str], Sequence[float]], tasks: Sequence[str] | None = None) -> Path:
    """Rewrite a submission of mini so that the order in `tasks` (default: all of its) is that of other scores, and
    every number and hash in it fits again. `scores_of(plan, query_id)` are in first-stage order, NaN: failed."""
    import json

    import numpy as np

    from mrb._util.hashing import sha256_file
    from mrb.data.task import load_suite
    from mrb.evaluation.measure import measure
    from mrb.results.recompute import load_result_plan
    from mrb.results.run import Run, suite_averages, task_scores
    from mrb.submission.rankings import rank_queries, write_rankings
    from mrb.submission.rankings import restore_scores as stated_scores
    from mrb.submission.reader import read_submission_folder
    from mrb.submission.validate import read_checked_rankings

    received = read_submission_folder(folder)
    made = received.submission
    value = json.loads((folder / "submission.json").read_text())
    found = {}
    for task_id, result in made.results.items():
        plan, path, keep = (
            load_result_plan(result, None, None, "here"),
            received.ranking_path(task_id),
            made.rankings[task_id],
        )
        scores = stated_scores(plan, read_checked_rankings(received, task_id), path)
        if tasks is None or task_id in tasks:
            scores = {query_id: np.array(scores_of(plan, query_id), np.float32) for query_id in plan.query_ids}
        measured = measure(plan, scores, made.reranker)
        found[task_id] = task_scores(measured.result, measured.per_query)
        write_rankings(path, rank_queries(plan, scores, keep_scores=keep.scores), scores=keep.scores)
        value["results"][task_id] = measured.result.model_dump(mode="json")
        value["rankings"][task_id]["sha256"] = sha256_file(path)
    run = Run(folder, None, found)  # type: ignore[arg-type]
    value["averages"] = suite_averages(run, load_suite("mini")).model_dump(mode="json")
    (folder / "submission.json").write_text(json.dumps(value))
    return folder


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What MRB keeps between commands goes into a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `random` on 12 queries of one task of mini; not to be changed."""
    return trial_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def pristine(trial: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submission of `trial`; not to be changed."""
    return submitted(trial, tmp_path_factory.mktemp("submissions"))


@pytest.fixture
def submission(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / pristine.name))


# Test files are imported one by one and cannot import this one, so the builders reach them as fixtures.
_task = _fixture_of(toy_task)
_table = _fixture_of(toy_table)
_data = _fixture_of(toy_data)
_candidates = _fixture_of(toy_candidates)
_plan = _fixture_of(toy_plan)
_encoded = _fixture_of(encoded)
_trial_run = _fixture_of(trial_run)
_submitted = _fixture_of(submitted)
_forge = _fixture_of(forge)
