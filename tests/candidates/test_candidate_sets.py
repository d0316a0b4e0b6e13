"""The candidate sets: what the file says, the estimate by hand, lists that say a set's name, and what is published."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mrb.candidates import candidate_sets
from mrb.candidates.lists import Provenance, build_candidates, read_parquet, write_parquet
from mrb.candidates.load import check_candidates
from mrb.cli.candidates import command as candidates_command
from mrb.cli.candidates.sets import sets as command
from mrb.data.task import TYPES, list_suite_tasks, load_suite, load_task, read_toml
from mrb.errors import CandidatesError, MRBError, TaskError
from mrb.evaluation.estimate import assume_scoring, estimate_gpu_hours
from mrb.evaluation.gpus import find_gpu, load_gpus

DOCS = Path(__file__).parents[2] / "docs" / "first-stages.md"
FILE = Path(candidate_sets.__file__).parents[1] / "tasks" / "candidate_sets.toml"


def said(*arguments: str) -> str:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_two_sets_name_a_first_stage_for_every_type() -> None:
    assert [one.id for one in candidate_sets.load_candidate_sets().sets][:2] == ["gme-2b", "bm25+siglip"]
    gme, cheap = candidate_sets.load_candidate_sets().sets[:2]
    assert all(one.publisher == "mteb" for one in candidate_sets.load_candidate_sets().sets[2:])
    assert gme.depth == cheap.depth == 100
    assert set(gme.first_stages) == set(cheap.first_stages) == set(TYPES)
    for kind, first_stage in cheap.first_stages.items():
        query, document = kind.split("2")
        both_text = "t" in query and document in ("t", "it")
        image = "i" in query or document != "t"
        assert first_stage == "+".join([*(["bm25"] if both_text else []), *(["siglip"] if image else [])])


def test_gpu_hours_by_hand() -> None:
    gme, cheap = candidate_sets.load_candidate_sets().sets[:2]
    gpu = find_gpu()
    assert (gpu.id, gpu.teraflops, load_gpus().sustained_share) == ("rtx-4090", 165.2, 0.25)
    # scifact: 300 queries and 5183 passages, 0.45e12 operations each, 41.3e12 a second.
    assert estimate_gpu_hours(gme, load_task("scifact"), gpu) == pytest.approx(5483 * 0.45 / 41.3 / 3600)
    assert estimate_gpu_hours(cheap, load_task("scifact"), gpu) == 0
    # visualnews-t2i on SigLIP: 19995 texts and 542246 images, at the 2000 and 300 a second that reading lets through.
    by_hand = (19995 / 2000 + 542246 / 300) / 3600
    assert estimate_gpu_hours(cheap, load_task("visualnews-t2i"), gpu) == pytest.approx(by_hand)
    # On a GPU of 0.1e12 a second the arithmetic is what takes long: 0.011e12 and 0.035e12 operations an item.
    slow = gpu.model_copy(update={"teraflops": 0.4})
    by_hand = (19995 * 0.011 + 542246 * 0.035) / 0.1 / 3600
    assert estimate_gpu_hours(cheap, load_task("visualnews-t2i"), slow) == pytest.approx(by_hand)


def test_pairs_a_second_by_hand() -> None:
    # t2i: 60 tokens of prompt, 30 of the query and 256 of the image, 2 operations for each of 8.29e9 weights.
    h100 = find_gpu("h100")
    assert assume_scoring(8.29, h100)["t2i"].low == pytest.approx(0.25 * 989.4e12 / (2 * 8.29e9 * (60 + 30 + 256)))
    with pytest.raises(MRBError, match="--gpu h10: there are rtx-4090, a100, h100, h200"):
        find_gpu("h10")


def test_the_command_says_what_the_file_says_and_that_it_is_an_estimate() -> None:
    text, rows = said(), said("bm25+siglip")
    assert "nothing was measured on a GPU" in " ".join(text.split()) and "0 of 40 lists published" in text
    assert [line.split()[0] for line in rows.splitlines() if line.endswith("none yet")] == [
        task.id for task in list_suite_tasks(load_suite("mrb"))
    ]
    found = json.loads(said("--json"))
    made = [one for one in found["sets"] if one["publisher"] is None]
    hours = {one["id"]: sum(row["gpu_hours_estimated"] for row in one["tasks"]) for one in made}
    assert hours == {"gme-2b": pytest.approx(148.9, abs=0.1), "bm25+siglip": pytest.approx(3.44, abs=0.01)}
    assert all(row["published"] is None for one in made for row in one["tasks"])
    assert json.loads(said("gme-2b", "--json"))["sets"] == found["sets"][:1]
    with pytest.raises(TaskError, match="unknown candidate set 'gme'; there are: gme-2b, bm25\\+siglip, bm25s"):
        CliRunner().invoke(command, ["gme"], catch_exceptions=False)


def test_the_hours_in_the_docs_are_what_the_command_prints() -> None:
    page = " ".join(DOCS.read_text(encoding="utf-8").split())
    hours = re.search(r"All 40 tasks take ([\d.]+) GPU-hours for `gme-2b` and ([\d.]+) for `bm25\+siglip`", page)
    assert hours and ["all", "40", *hours.groups()] in [line.split() for line in said().splitlines()]


def test_a_set_that_leaves_a_type_out_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "candidate_sets.toml"
    path.write_text(FILE.read_text().replace('i2i = "gme-2b"\n', "", 1))
    with pytest.raises(TaskError, match="must name a first stage for each of"):
        read_toml(candidate_sets.CandidateSets, path)
    path.write_text(FILE.read_text().replace('i2i = "siglip"', 'i2i = "clip"'))
    with pytest.raises(TaskError, match="names 'clip', whose cost is not stated"):
        read_toml(candidate_sets.CandidateSets, path)


@pytest.mark.parametrize(("first_stage", "depth"), [("bm25", 100), ("gme-2b", 50)])
def test_a_list_that_says_a_set_it_is_not_on_is_refused(first_stage: str, depth: int, tmp_path: Path) -> None:
    task = load_task("scifact")
    about = {"task": task.id, "list_hash": task.list_hash, "revision": task.revision, "track": "gme-2b"}
    lists = [("q1", ["d1", "d2"], [2.0, 1.0])]
    path = tmp_path / "scifact.parquet"
    write_parquet(build_candidates(Provenance(**about, first_stage=first_stage, depth=depth), lists), path)
    with pytest.raises(CandidatesError, match="set gme-2b the list of scifact is made by gme-2b at depth 100"):
        check_candidates(task, path, 10)
    write_parquet(build_candidates(Provenance(**about, first_stage="gme-2b", depth=100), lists), path)
    check_candidates(task, path, 10)


@pytest.mark.parametrize(
    ("task_id", "names"),
    [("scifact", ["bm25", "bm25+siglip"]), ("nights", ["siglip", "bm25+siglip"]), ("edis", ["bm25+siglip"])],
)
def test_the_fusion_of_the_whole_set_is_a_name_for_every_type(task_id: str, names: list[str]) -> None:
    task = load_task(task_id)
    for name in ("bm25", "siglip", "bm25+siglip", "siglip+bm25"):
        if name in names:
            candidate_sets.check_candidate_set("bm25+siglip", name, 100, task, "here")
        else:
            with pytest.raises(CandidatesError, match="here: in candidate set"):
                candidate_sets.check_candidate_set("bm25+siglip", name, 100, task, "here")


def test_make_takes_the_first_stage_of_the_set(tmp_path: Path) -> None:
    arguments = ["make", "--task", "mini-faq-t2t-dev", "--candidate-set", "bm25+siglip", "--out", str(tmp_path)]
    done = CliRunner().invoke(candidates_command, arguments)
    assert done.exit_code == 0, done.output
    made = read_parquet(tmp_path / "mini-faq-t2t-dev.parquet").provenance
    assert (made.first_stage, made.track, made.depth) == ("bm25", "bm25+siglip", 100)
    for more in (["--first-stage", "pixels"], ["--depth", "50"]):
        failed = CliRunner().invoke(candidates_command, [*arguments, *more])
        assert isinstance(failed.exception, MRBError) and "in candidate set bm25+siglip the list" in str(
            failed.exception
        )


def test_no_list_is_published_and_that_is_said() -> None:
    assert not {one.candidate_set for one in candidate_sets.load_published_lists().lists} & {"gme-2b", "bm25+siglip"}
    with pytest.raises(CandidatesError, match="no list of it has been published yet"):
        candidate_sets.find_published_lists(candidate_sets.get_candidate_set("gme-2b"), [])


def test_an_entry_of_the_published_lists_is_read(tmp_path: Path) -> None:
    path = tmp_path / "published_lists.toml"
    entry = (
        f'candidate_set = "gme-2b"\ntask = "nights"\nrepository = "o/n"\ncommit = "{"a" * 40}"\nsha256 = "{"b" * 64}"\n'
    )
    path.write_text(f"schema_version = 1\n[[lists]]\n{entry}")
    (found,) = read_toml(candidate_sets.PublishedLists, path).lists
    assert (found.candidate_set, found.task, found.folder) == ("gme-2b", "nights", "")
    path.write_text(f"schema_version = 1\n[[lists]]\n{entry}[[lists]]\n{entry}")
    with pytest.raises(TaskError, match="a task is listed twice in one candidate set"):
        read_toml(candidate_sets.PublishedLists, path)
    # Only a list of mteb's tables may be without a hash: MRB's files state theirs.
    path.write_text(f"schema_version = 1\n[[lists]]\n{entry.replace('sha256', '#')}")
    with pytest.raises(TaskError, match="the list of nights in o/n needs its sha256"):
        read_toml(candidate_sets.PublishedLists, path)
    path.write_text(path.read_text() + 'top_ranked = ["en-top_ranked"]\n')
    assert read_toml(candidate_sets.PublishedLists, path).lists[0].sha256 is None


def test_a_set_that_others_publish_binds_only_the_tasks_that_it_has() -> None:
    page, other = load_task("vidore3-hr"), load_task("edis")
    candidate_sets.check_candidate_set("bge-m3", "bge-m3", 50, page, "here")
    candidate_sets.check_candidate_set(
        "bge-m3", "my-own", 100, other, "here"
    )  # the name is free where mteb has no list
    with pytest.raises(CandidatesError, match="set bge-m3 the list of vidore3-hr is made by bge-m3 at depth 50"):
        candidate_sets.check_candidate_set("bge-m3", "bge-m3", 100, page, "here")
    arguments = ["make", "--task", "vidore3-hr", "--candidate-set", "bge-m3"]
    failed = CliRunner().invoke(candidates_command, arguments)
    assert "were made by mteb; `mrb candidates pull bge-m3` fetches them" in str(failed.exception)
    assert "not yet verified" in said("bge-m3")
