"""The named tracks: what the file says, the estimate by hand, lists that say a track's name, and what is published."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mrb.candidates import candidate_sets as tracks
from mrb.candidates.lists import Provenance, build_candidates, read_parquet, write_parquet
from mrb.candidates.load import check_candidates
from mrb.cli.candidates import command as candidates_command
from mrb.cli.tracks import command
from mrb.data.task import TYPES, list_suite_tasks, load_suite, load_task, read_toml
from mrb.errors import CandidatesError, MRBError, TaskError
from mrb.evaluation.estimate import estimate_gpu_hours

DOCS = Path(__file__).parents[2] / "docs" / "first-stages.md"
FILE = Path(tracks.__file__).parents[1] / "tasks" / "tracks.toml"


def said(*arguments: str) -> str:
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def test_the_two_tracks_name_a_first_stage_for_every_type() -> None:
    assert [track.id for track in tracks.load_candidate_sets().tracks][:2] == ["gme-2b", "bm25+siglip"]
    gme, cheap = tracks.load_candidate_sets().tracks[:2]
    assert all(track.publisher == "mteb" for track in tracks.load_candidate_sets().tracks[2:])
    assert gme.depth == cheap.depth == 100
    assert set(gme.first_stages) == set(cheap.first_stages) == set(TYPES)
    for kind, first_stage in cheap.first_stages.items():
        query, document = kind.split("2")
        both_text = "t" in query and document in ("t", "it")
        image = "i" in query or document != "t"
        assert first_stage == "+".join([*(["bm25"] if both_text else []), *(["siglip"] if image else [])])


def test_gpu_hours_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    known = tracks.load_candidate_sets()
    gme, cheap = known.tracks[:2]
    # scifact: 300 queries and 5183 passages, 0.45e12 operations each, 40e12 a second.
    assert estimate_gpu_hours(gme, load_task("scifact")) == pytest.approx(5483 * 0.45 / 40 / 3600)
    assert estimate_gpu_hours(cheap, load_task("scifact")) == 0
    # visualnews-t2i on SigLIP: 19995 texts and 542246 images, at the 2000 and 300 a second that reading lets through.
    assert estimate_gpu_hours(cheap, load_task("visualnews-t2i")) == pytest.approx((19995 / 2000 + 542246 / 300) / 3600)
    # On a GPU of 0.1e12 a second the arithmetic is what takes long: 0.011e12 and 0.035e12 operations an item.
    slow = known.model_copy(update={"estimate": known.estimate.model_copy(update={"sustained_teraflops": 0.1})})
    by_hand = (19995 * 0.011 + 542246 * 0.035) / 0.1 / 3600
    monkeypatch.setattr("mrb.evaluation.estimate.load_candidate_sets", lambda: slow)
    assert estimate_gpu_hours(cheap, load_task("visualnews-t2i")) == pytest.approx(by_hand)


def test_the_command_says_what_the_file_says_and_that_it_is_an_estimate() -> None:
    text, rows = said(), said("bm25+siglip")
    assert "nothing was measured on a GPU" in " ".join(text.split()) and "0 of 40 lists published" in text
    assert [line.split()[0] for line in rows.splitlines() if line.endswith("none yet")] == [
        task.id for task in list_suite_tasks(load_suite("mrb"))
    ]
    found = json.loads(said("--json"))
    made = [track for track in found["tracks"] if track["publisher"] is None]
    hours = {track["id"]: sum(row["gpu_hours_estimated"] for row in track["tasks"]) for track in made}
    assert hours == {"gme-2b": pytest.approx(153.7, abs=0.1), "bm25+siglip": pytest.approx(3.44, abs=0.01)}
    assert all(row["published"] is None for track in made for row in track["tasks"])
    assert json.loads(said("gme-2b", "--json"))["tracks"] == found["tracks"][:1]
    with pytest.raises(TaskError, match="unknown candidate set 'gme'; there are: gme-2b, bm25\\+siglip, bm25s"):
        CliRunner().invoke(command, ["gme"], catch_exceptions=False)


def test_the_table_in_the_docs_is_what_the_command_prints() -> None:
    table = re.search(r"```\n(type   tasks.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert table and table.group(1) in said()


def test_a_track_that_leaves_a_type_out_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tracks.toml"
    path.write_text(FILE.read_text().replace('i2i = "gme-2b"\n', "", 1))
    with pytest.raises(TaskError, match="must name a first stage for each of"):
        read_toml(tracks.CandidateSets, path)
    path.write_text(FILE.read_text().replace('i2i = "siglip"', 'i2i = "clip"'))
    with pytest.raises(TaskError, match="'clip', whose cost is not stated"):
        read_toml(tracks.CandidateSets, path)


@pytest.mark.parametrize(("first_stage", "depth"), [("bm25", 100), ("gme-2b", 50)])
def test_a_list_that_says_a_track_it_is_not_on_is_refused(first_stage: str, depth: int, tmp_path: Path) -> None:
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
def test_the_fusion_of_the_whole_track_is_a_name_for_every_type(task_id: str, names: list[str]) -> None:
    task = load_task(task_id)
    for name in ("bm25", "siglip", "bm25+siglip", "siglip+bm25"):
        if name in names:
            tracks.check_candidate_set("bm25+siglip", name, 100, task, "here")
        else:
            with pytest.raises(CandidatesError, match="here: in candidate set"):
                tracks.check_candidate_set("bm25+siglip", name, 100, task, "here")


def test_make_takes_the_first_stage_of_the_track(tmp_path: Path) -> None:
    arguments = ["make", "--task", "mini-faq-t2t-dev", "--track", "bm25+siglip", "--out", str(tmp_path)]
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
    assert not {one.track for one in tracks.load_published_lists().lists} & {"gme-2b", "bm25+siglip"}
    with pytest.raises(CandidatesError, match="no list of it has been published yet"):
        tracks.find_published_lists(tracks.find_candidate_set("gme-2b"), [])


def test_an_entry_of_the_published_lists_is_read(tmp_path: Path) -> None:
    path = tmp_path / "published_lists.toml"
    entry = f'track = "gme-2b"\ntask = "nights"\nrepository = "o/n"\ncommit = "{"a" * 40}"\nsha256 = "{"b" * 64}"\n'
    path.write_text(f"schema_version = 1\n[[lists]]\n{entry}")
    (found,) = read_toml(tracks.PublishedLists, path).lists
    assert (found.track, found.task, found.folder) == ("gme-2b", "nights", "")
    path.write_text(f"schema_version = 1\n[[lists]]\n{entry}[[lists]]\n{entry}")
    with pytest.raises(TaskError, match="a task is listed twice in one candidate set"):
        read_toml(tracks.PublishedLists, path)
    # Only a list of mteb's tables may be without a hash: MRB's files state theirs.
    path.write_text(f"schema_version = 1\n[[lists]]\n{entry.replace('sha256', '#')}")
    with pytest.raises(TaskError, match="the list of nights in o/n needs its sha256"):
        read_toml(tracks.PublishedLists, path)
    path.write_text(path.read_text() + 'top_ranked = ["en-top_ranked"]\n')
    assert read_toml(tracks.PublishedLists, path).lists[0].sha256 is None


def test_a_set_that_others_publish_binds_only_the_tasks_that_it_has() -> None:
    page, other = load_task("vidore3-hr"), load_task("edis")
    tracks.check_candidate_set("bge-m3", "bge-m3", 50, page, "here")
    tracks.check_candidate_set("bge-m3", "my-own", 100, other, "here")  # the name is free where mteb has no list
    with pytest.raises(CandidatesError, match="set bge-m3 the list of vidore3-hr is made by bge-m3 at depth 50"):
        tracks.check_candidate_set("bge-m3", "bge-m3", 100, page, "here")
    arguments = ["make", "--task", "vidore3-hr", "--track", "bge-m3"]
    failed = CliRunner().invoke(candidates_command, arguments)
    assert "were made by mteb; `mrb candidates pull bge-m3` fetches them" in str(failed.exception)
    assert "not yet verified" in said("bge-m3")
