"""ViDoRe v3.1 as mteb publishes it: definitions and lists against its own constants, and from a Hub to runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mrb._util.hashing import hash_json
from mrb.candidates.candidate_sets import load_published_lists
from mrb.candidates.lists import read_parquet
from mrb.data.task import list_suite_tasks, load_suite
from mrb.results.run import load_run
from mrb.results.schema import read_result
from tests.builders.commands import start_commands
from tests.builders.hub.reranking import FIRST_STAGES, LANGUAGES, QUESTIONS, build_reranking, name_query, rank
from tests.builders.hub.server import Hub

# Written down from mteb 2.26.24 (vidore3_bench_reranking.py, descriptive_stats): domain -> questions, pages,
# judgements, and the commits of its repositories for BM25s, BGE-M3, Qwen3-VL-Embedding-2B and Nemotron-3.5-Embed-8B.
DOMAINS = {
    "computer-science": (215, 1360, 6294, ["7ea0214", "16e4156", "2a0ac53", "db6672a"]),
    "energy": (308, 2225, 6618, ["75b03f0", "39d566f", "4964d85", "185e9f5"]),
    "finance-en": (309, 2942, 8766, ["7187c21", "cbfb6aa", "670019b", "b577059"]),
    "finance-fr": (320, 2384, 8808, ["5c4b3ef", "8e96fda", "a439545", "6ac1d4b"]),
    "hr": (318, 1110, 10386, ["25dd9c8", "c4c411c", "c41fbd8", "98b1e4f"]),
    "industrial": (283, 5244, 9684, ["feb0844", "becf4ff", "11b26df", "02ea844"]),
    "pharmaceuticals": (364, 2313, 10392, ["6d20dfc", "f2561cf", "1ebaef4", "38938fd"]),
    "physics": (302, 1674, 13068, ["6e5866d", "8152b6f", "8db5892", "b481115"]),
}


def test_tasks_and_lists_are_those_of_mteb() -> None:
    suite = load_suite("vidore-v3.1")
    found = list_suite_tasks(suite)
    assert hash_json(list(suite.tasks)) == "a2700657e7c5d4e797bbdac4aa5a36b178dd0a4c59ce6212db2c5d4a8dc2e1df"  # frozen
    assert suite.candidate_sets == tuple(FIRST_STAGES) and suite.depth == 50 and suite.track is None
    assert [task.id for task in found] == [f"vidore3-{domain}" for domain in DOMAINS]
    published = {(one.task, one.candidate_set): one for one in load_published_lists().lists}
    assert len(published) == 32
    for task, (domain, (questions, pages, judged, commits)) in zip(found, DOMAINS.items(), strict=True):
        word = "".join(part.title() for part in domain.split("-"))
        part = task.source.parts[0]
        assert (task.size.queries, task.size.documents, task.size.qrels) == (6 * questions, pages, judged)
        assert part.revision == published[task.id, "bm25s"].commit  # the task reads the repository of BM25s
        assert (part.queries.config, *part.queries.more) == tuple(f"{language}-queries" for language in LANGUAGES)
        assert (task.type, task.cluster, task.rules.graded) == ("t2it", "positives", True)
        assert task.instruction == "Retrieve images or text relevant to the user's query."
        for (track, name), commit in zip(FIRST_STAGES.items(), commits, strict=True):
            one = published[task.id, track]
            assert one.repository == f"mteb/Vidore3{word}{name}Reranking.v2" and one.commit.startswith(commit)
            assert one.top_ranked == tuple(f"{language}-top_ranked" for language in LANGUAGES)


@pytest.fixture(scope="module")
def mrb(
    tmp_path_factory: pytest.TempPathFactory, environment: Callable[[Path, str], dict[str, str]]
) -> Iterator[Callable[..., tuple[Path, str, str]]]:
    """`mrb(*words)`: a command against a Hub that has all 32 repositories; returns its folder and what it said."""
    files = {
        (one.repository, one.commit): build_reranking(one.candidate_set, one.task.removeprefix("vidore3-"))
        for one in load_published_lists().lists
    }
    folder = tmp_path_factory.mktemp("vidore")
    with Hub(files) as hub:

        def run(*words: str, fails: bool = False) -> tuple[Path, str, str]:
            done = start_commands().run(words, folder, environment(folder, hub.url))
            assert (done.returncode != 0) == fails, done.stderr
            return folder, done.stdout, done.stderr

        yield run


@pytest.mark.hub
def test_a_published_table_becomes_a_list_in_its_order(mrb: Callable[..., tuple[Path, str, str]]) -> None:
    folder, said, _ = mrb("candidates", "pull", "bge-m3", "--task", "vidore3-hr", "--out", "lists")
    found = read_parquet(folder / "lists" / "vidore3-hr.parquet")
    made = found.provenance
    assert (made.first_stage, made.track, made.depth) == ("bge-m3", "bge-m3", 50)
    assert len(found) == 30  # five questions in six languages
    for query_id, doc_ids, scores in found.lists():
        assert doc_ids == rank("bge-m3", "hr", query_id)
        assert scores.tolist() == [-float(place) for place in range(1, len(doc_ids) + 1)]
    commit = "c4c411c26f9b7b92966001538a919c6395ed7149"
    assert found.sha256 in said and f"pulled: hf://datasets/mteb/Vidore3HrBGEm3Reranking.v2@{commit}" in said


@pytest.mark.hub
@pytest.mark.slow
def test_two_of_its_tasks_run_over_four_first_stages(mrb: Callable[..., tuple[Path, str, str]]) -> None:
    run = ("run", "--suite", "vidore-v3.1", "--model", "surface")
    _, _, told = mrb(*run, fails=True)
    assert "8 of 8 tasks" in told and "--candidate-set all: " + ", ".join(FIRST_STAGES) in told
    two = ("--task", "vidore3-hr", "--task", "vidore3-energy")
    folder, said, told = mrb(*run, *two, "--candidate-set", "all")
    assert "candidate set bge-m3: lists whose hash is not yet verified: 2; results record it" in told
    gains = said[said.index("Gain over the order of each") :]
    assert gains.count("mean of 4 sets") == 2 and "without a value: average over 8 tasks" in gains
    result = read_result(folder / "runs" / "surface--bge-m3" / "vidore3-hr" / "result.json")
    assert (result.candidates.track, result.counts.queries, result.data.loading.qrels) == ("bge-m3", 30, 42)
    # Six translations of a question are one unit, and mteb's mean over languages is the mean over the queries.
    values = load_run(folder / "runs" / "surface--bge-m3")["vidore3-hr"]
    assert len(set(values.clusters.tolist())) == 5
    ndcg = dict(zip(values.query_ids, values.values["nDCG@10"], strict=True))
    by_language = [
        sum(ndcg[name_query(question, language)] for question in range(QUESTIONS)) / QUESTIONS for language in LANGUAGES
    ]
    assert sum(by_language) / 6 == pytest.approx(result.measures["nDCG@10"].mean)
    _, said, _ = mrb("recompute", "runs/surface--nemotron-3.5-embed-8b")
    assert said.count(": identical") == 2
