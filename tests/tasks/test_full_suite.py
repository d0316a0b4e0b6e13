"""Each of the 40 tasks through the real clients: pull, first stage, run. The repositories' content and layout come from
repositories.toml, which was not made from the tasks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mrb.hub.table_discovery import detect_format
from tests.builders.commands import start_commands
from tests.builders.hub import import_predictions, sized
from tests.builders.hub.repositories import DOCUMENTS, QUERIES, Repository, repositories
from tests.builders.hub.server import Hub

pytestmark = pytest.mark.hub

Mrb = Callable[..., subprocess.CompletedProcess[str]]
TABLE = repositories()
TASKS = list(dict.fromkeys(repository.task for repository in TABLE))
FIRST_STAGES = {
    "t2t": "bm25",
    "i2i": "pixels",
    "t2i": "colour-words",
    "t2vd": "colour-words",
    "i2t": "colour-words",
    "t2it": "bm25+colour-words",
    "it2t": "bm25",
    "it2i": "pixels",
    "it2it": "gallery",
}
DEPTH = 8


@dataclass(frozen=True)
class Walked:
    """What the commands left: the folder, the summaries that `mrb data pull` and `mrb data table` printed, by task, the
    table's last line, the rows that `mrb data check --remote` printed, its requests, and those made after the pull."""

    folder: Path
    url: str
    summary: dict[str, list[str]]
    table: dict[str, list[str]]
    told: str
    doctor: list[str]
    asked: list[str]
    after_pull: list[str]


@pytest.fixture(scope="session")
def walked(
    tmp_path_factory: pytest.TempPathFactory,
    all_files: dict[tuple[str, str], dict[str, bytes]],
    environment: Callable[[Path, str], dict[str, str]],
) -> Iterator[Walked]:
    """All 40 pulled, with candidates, and run with `surface`: a process a command, not one a task."""
    folder = tmp_path_factory.mktemp("forty")
    with Hub(all_files) as hub:

        def mrb(*arguments: str) -> str:
            done = start_commands().run(arguments, folder, environment(folder, hub.url))
            assert done.returncode == 0, done.stderr
            return done.stdout

        hub.requests.clear()
        command = [sys.executable, sized.__file__, "data", "check", "--remote"]
        done = subprocess.run(
            command, cwd=folder, env=environment(folder, hub.url), capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        doctor, asked = done.stdout.splitlines()[1:], list(hub.requests)
        lines = mrb("data", "pull", "--suite", "mrb").splitlines()
        hub.requests.clear()
        for first_stage in sorted(set(FIRST_STAGES.values())):
            tasks = {repository.task for repository in TABLE if FIRST_STAGES[repository.type] == first_stage}
            named = [word for task in sorted(tasks) for word in ("--task", task)]
            mrb("candidates", "make", *named, "--first-stage", first_stage, "--depth", str(DEPTH))
        run = ("run", "--suite", "mrb", "--model", "surface", "--candidates", "candidates", "--depth", str(DEPTH))
        mrb(*run)
        mrb(*run, "--workers", "2", "--name", "two")
        *table, told = mrb("data", "table").splitlines()
        print("\n".join(table))
        yield Walked(folder, hub.url, _by_task(lines), _by_task(table), told, doctor, asked, list(hub.requests))


def test_predictions_that_mteb_wrote_become_lists_of_all_forty(
    walked: Walked, environment: Callable[[Path, str], dict[str, str]]
) -> None:
    command = [sys.executable, import_predictions.__file__]
    done = subprocess.run(
        command, env=environment(walked.folder, walked.url), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = {row[0]: [int(number) for number in row[1:]] for row in map(str.split, done.stdout.splitlines())}
    assert found == {task: [QUERIES * len(of(task)), QUERIES * len(of(task)) * DEPTH, 0] for task in TASKS}


def _by_task(lines: list[str]) -> dict[str, list[str]]:
    return {line.split()[0]: line.split() for line in lines[1:]}


def of(task: str) -> list[Repository]:
    return [repository for repository in TABLE if repository.task == task]


def test_the_table_has_forty_tasks() -> None:
    assert len(TASKS) == 40 and len(TABLE) == 51


def test_the_registry_names_the_repositories_of_the_table() -> None:
    from mrb.data.task import list_suite_tasks, load_suite

    registered = {
        (task.id, part.repository, part.revision, task.type)
        for task in list_suite_tasks(load_suite("mrb"))
        for part in task.source.parts
    }
    assert registered == {(r.task, r.name, r.revision, r.type) for r in TABLE}


@pytest.mark.parametrize("task", TASKS)
def test_two_workers_that_read_the_data_themselves_end_in_the_same_bytes(task: str, walked: Walked) -> None:
    for name in ("result.json", "scores.parquet", "per_query.parquet"):
        one, two = (walked.folder / "runs" / run / task / name for run in ("surface", "two"))
        assert one.read_bytes() == two.read_bytes(), name


@pytest.mark.parametrize("task", TASKS)
def test_task(task: str, walked: Walked) -> None:
    parts = of(task)
    odd = set(parts[0].odd)
    outside = 2 if "missing_documents" in odd else 0
    no_query = 1 if "missing_queries" in odd else 0
    zeros = 3 if "zeros" in odd else 0
    result = json.loads((walked.folder / "runs" / "surface" / task / "result.json").read_text())
    assert result["data"]["loading"] == {
        "queries": QUERIES * len(parts),
        "documents": (DOCUMENTS + ("query_is_document" in odd)) * len(parts),
        "qrels": 7 * len(parts),
        "queries_in_table": (QUERIES + 2) * len(parts),
        "queries_without_positives": 0,
        "qrels_outside_corpus": outside,
        "qrels_outside_queries": no_query,
        "qrels_not_positive": zeros,
    }
    assert walked.summary[task][2:8] == [
        str(n)
        for n in (
            QUERIES * len(parts),
            result["data"]["loading"]["documents"],
            7 * len(parts),
            outside,
            no_query,
            zeros,
        )
    ]
    assert "query-id" in walked.summary[task]
    read = (
        (QUERIES + 2) * len(parts),
        result["data"]["loading"]["documents"],
        7 * len(parts) + outside + no_query + zeros,
    )
    row = walked.table[task]
    repeated = 0
    assert row[1:10] == [str(n) for n in (*read, 7 * len(parts), outside, no_query, zeros, repeated)] + [walked.url]
    assert row[10] == "queries:" and {"corpus:", "qrels:", "query-id", "corpus-id", "score"} <= set(row)
    assert result["counts"]["queries_without_candidates"] == 0
    assert 0 < result["measures"]["nDCG@10"]["mean"] <= result["oracle"]["nDCG@10"]["mean"] <= 1
    scores = pq.read_table(walked.folder / "runs" / "surface" / task / "scores.parquet")
    assert scores.num_rows == result["counts"]["pairs"] > 0
    if "query_is_document" in odd:
        assert not any(
            q == d for q, d in zip(scores["query_id"].to_pylist(), scores["doc_id"].to_pylist(), strict=True)
        )


def test_the_table_lists_the_forty_and_calls_none_live(walked: Walked) -> None:
    assert sorted(walked.table) == sorted(TASKS) and len(walked.table) == 40
    assert walked.told == "0 of 40 were loaded from the live Hub (https://huggingface.co)"


def test_the_doctor_finds_each_repository_as_the_registry_says(walked: Walked) -> None:
    rows = [line.split() for line in walked.doctor]
    assert sorted((row[0], row[1]) for row in rows) == sorted((r.task, r.name) for r in TABLE)
    assert {row[-1] for row in rows} == {"ok"}


def test_the_doctor_asks_little_of_the_api(walked: Walked) -> None:
    """Of 51 repositories. Without a token the live Hub allows 500 calls of its API in five minutes, and 3,000 of
    files."""
    calls = [asked for asked in walked.asked if " /api/" in asked and "/api/agent-harnesses" not in asked]
    assert len(TABLE) <= len(calls) < 60
    assert len(walked.asked) < 400


def test_the_other_format_is_read_alike(hub: Hub, mrb: Mrb, walked: Walked) -> None:
    """No public document says of most BEIR repositories whether they hold JSON lines or parquet."""
    tasks = {repository.task for repository in TABLE if repository.layout == "beir"}
    for repository in TABLE:
        if repository.task in tasks:
            odd = set(repository.odd) - {"tsv"} ^ {"parquet"}
            other = replace(repository, odd=tuple(sorted(odd))).files()
            assert not set(other) & {path for path in repository.files() if detect_format(path) is not None}
            hub.repositories[repository.name, repository.revision] = other
    done = mrb("data", "pull", *(word for task in sorted(tasks) for word in ("--task", task)))
    assert done.returncode == 0, done.stderr
    found = _by_task(done.stdout.splitlines())
    assert len(tasks) == 13 and {task: row[2:8] for task, row in found.items()} == {
        task: walked.summary[task][2:8] for task in tasks
    }


def test_an_empty_disk_says_never_loaded_live(hub: Hub, mrb: Mrb) -> None:
    done = mrb("data", "table")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("never loaded live") == 40 and "0 of 40" in done.stdout
    assert hub.requests == []


def test_nothing_is_asked_for_after_the_pull(walked: Walked) -> None:
    assert walked.after_pull == []


def test_cqadupstack_is_the_mean_of_its_forums(walked: Walked) -> None:
    folder = walked.folder / "runs" / "surface" / "cqadupstack"
    table = pq.read_table(folder / "per_query.parquet").to_pandas()
    means = table.groupby(table["query_id"].str.partition("/")[0])["nDCG@10"].mean()
    result = json.loads((folder / "result.json").read_text())
    assert len(means) == 12 and result["measures"]["nDCG@10"]["mean"] == pytest.approx(means.mean(), abs=1e-12)
    scores = pq.read_table(folder / "scores.parquet").to_pandas()
    forums = scores[["query_id", "doc_id"]].map(lambda name: name.partition("/")[0])
    assert (forums["query_id"] == forums["doc_id"]).all()


def test_only_rows_that_a_list_names_are_kept(walked: Walked) -> None:
    import pyarrow as pa

    for path in (walked.folder / "mrb" / "reduced").glob("*.arrow"):
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all().to_pandas()
        unlisted = table[~table["listed"]]
        assert unlisted["text"].isna().all() and unlisted["images"].isna().all()
