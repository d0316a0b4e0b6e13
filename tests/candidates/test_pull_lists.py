"""Lists pushed to a Hub and pulled from it through the real client, and runs on them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import read_refusal
from tests.builders.hub import TASKS
from tests.builders.hub.server import TOKEN, Hub

pytestmark = pytest.mark.hub

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]
PLACE = "hf://datasets/org/lists"
LOGGED_IN = {"HF_TOKEN": TOKEN}


@pytest.fixture
def pushed(hub: Hub, mrb: Mrb, made: Path) -> str:
    """The commit of both lists, in the folder `first` of org/lists."""
    done = mrb("candidates", "push", str(made), f"{PLACE}/first", env=LOGGED_IN)
    assert done.returncode == 0, done.stderr
    return hub.branches["org/lists", "main"]


def hashes(text: str) -> dict[str, str]:
    """Task -> hash of the table that push and pull print."""
    rows = [line.split() for line in text.splitlines() if line.startswith("mini-")]
    return {row[0]: row[-1] for row in rows}


def refused(done: Done, *words: str) -> None:
    read_refusal(done, *words)
    assert TOKEN not in done.stdout + done.stderr and "signed" not in done.stdout + done.stderr


def test_what_is_pushed_is_what_is_pulled(
    hub: Hub, mrb: Mrb, made: Path, tmp_path: Path, environment: Callable[[Path, str], dict[str, str]]
) -> None:
    done = mrb("candidates", "push", str(made), f"{PLACE}/first", env=LOGGED_IN)
    assert done.returncode == 0, done.stderr
    commit = hub.branches["org/lists", "main"]
    assert f"pushed: {PLACE}@{commit}/first" in done.stdout and TOKEN not in done.stdout + done.stderr
    steps = ["repos/create", "/preupload/main", "lfs/objects/batch", "PUT /lfs/", "/verify", "/commit/main"]
    at = [next(row for row, asked in enumerate(hub.requests) if step in asked) for step in steps]
    assert at == sorted(at)
    files = hub.repositories["org/lists", commit]
    names = {f"first/{task}.parquet" for task in TASKS} | {f"first/{TASKS[0]}.manifest.json"}
    names |= {f"first/{task}.judgements" for task in TASKS} | {"first/README.md"}
    assert set(files) - {".gitattributes"} == names

    elsewhere = {"HF_HOME": str(tmp_path / "hf2"), "MRB_CACHE": str(tmp_path / "mrb2")}
    there = mrb("candidates", "pull", f"{PLACE}/first", "--out", "copied", env=elsewhere)
    assert there.returncode == 0, there.stderr
    assert hashes(there.stdout) == hashes(done.stdout) and len(hashes(there.stdout)) == 2
    assert f"pulled: {PLACE}@{commit}/first" in there.stdout
    for word in ("bm25", "colour-words", "tried", "30"):
        assert word in there.stdout.split()
    for task in TASKS:
        assert (tmp_path / "copied" / f"{task}.parquet").read_bytes() == (made / f"{task}.parquet").read_bytes()
    assert {path.name for path in (tmp_path / "copied").iterdir()} == {f"{task}.parquet" for task in TASKS}


def test_a_judgement_pack_travels_with_its_list_and_alone(hub: Hub, mrb: Mrb, made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "lists")
    task = TASKS[0]
    done = mrb("candidates", "pack", f"lists/{task}.parquet")
    assert done.stdout.startswith(f"lists/{task}.judgements: "), done.stderr
    assert mrb("candidates", "push", "lists", PLACE, env=LOGGED_IN).returncode == 0
    commit = hub.branches["org/lists", "main"]
    hub.repositories["org/lists", commit]["notes.judgements"] = b"no task has this name"
    assert f"{task}.judgements" in hub.repositories["org/lists", commit]

    hub.requests.clear()
    (tmp_path / "results").mkdir()
    assert mrb("run", "--model", "random", "--suite", "mini", "--limit", "2").returncode == 0
    words = ("submission", "make", "runs/random", "--organisation", "o", "--model-name", "m", "--allow-incomplete")
    assert mrb(*words, "--to", "results").returncode == 0
    done = mrb("leaderboard", "build", "results", "--candidates", PLACE)
    assert done.returncode == 0, done.stderr
    assert "passed over: notes.judgements: no task has this name" in done.stderr
    assert [asked for asked in hub.requests if f"{task}.judgements" in asked]
    assert not [asked for asked in hub.requests if ".parquet" in asked], "lists are not fetched for a board"

    (tmp_path / "lists" / f"{TASKS[1]}.judgements").write_bytes(
        (tmp_path / "lists" / f"{task}.judgements").read_bytes()
    )
    refused(mrb("candidates", "push", "lists", PLACE, env=LOGGED_IN), f"{TASKS[1]}.judgements: its task is {task}")


def test_a_submission_is_pushed_as_the_folder_that_it_is(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    assert mrb("run", "--model", "random", "--suite", "mini", "--limit", "2").returncode == 0
    submit = (
        "submission",
        "make",
        "runs/random",
        "--organisation",
        "org",
        "--model-name",
        "random",
        "--allow-incomplete",
        "--to",
    )
    refused(mrb(*submit, "hf://datasets/org/results"), "needs a token")
    refused(mrb(*submit, "https://example.org/results"), "neither a folder nor hf://")
    assert not (tmp_path / "submissions").exists()
    done = mrb(*submit, "hf://datasets/org/results", env=LOGGED_IN)
    assert done.returncode == 0, done.stderr
    commit = hub.branches["org/results", "main"]
    assert f"pushed: hf://datasets/org/results@{commit}" in done.stdout and TOKEN not in done.stdout + done.stderr
    made = tmp_path / "submissions"
    names = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    files = hub.repositories["org/results", commit]
    assert set(files) - {".gitattributes"} == names and "org__random/submission.json" in names


def test_a_run_takes_an_address_and_records_the_commit(
    hub: Hub, mrb: Mrb, pushed: str, made: Path, tmp_path: Path
) -> None:
    run = ("run", "--model", "surface", "--task", TASKS[0], "--depth", "20", "--limit", "5")
    done = mrb(*run, "--candidates", f"{PLACE}/first")
    assert done.returncode == 0, done.stderr
    assert "depth 20, candidate set tried" in done.stdout
    record = json.loads((tmp_path / "runs" / "surface" / "run.json").read_text())
    address = f"{PLACE}@{pushed}/first"
    assert record["pulled"] == {TASKS[0]: address}
    result = json.loads((tmp_path / "runs" / "surface" / TASKS[0] / "result.json").read_text())
    assert result["candidates"]["track"] == "tried"
    pulled = mrb("candidates", "pull", address, "--task", TASKS[0])
    assert hashes(pulled.stdout) == {TASKS[0]: result["candidates"]["sha256"]}
    assert mrb("recompute", "runs/surface", "--candidates", address).returncode == 0
    # Another task of the same run on a local list of the same set: what was recorded of the first one stays.
    done = mrb(*run[:4], TASKS[1], *run[5:], "--candidates", str(made))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs" / "surface" / "run.json").read_text())["pulled"] == {TASKS[0]: address}


def test_offline_a_commit_or_a_branch_asked_before_is_enough(hub: Hub, mrb: Mrb, pushed: str, made: Path) -> None:
    pull = ("candidates", "pull")
    offline = {"MRB_OFFLINE": "1"}
    refused(mrb(*pull, f"{PLACE}/first", env=offline), "offline", "never asked")
    refused(mrb(*pull, f"{PLACE}@{pushed}/first", env=offline), "no candidate list in the cache, and offline")
    assert mrb(*pull, f"{PLACE}/first", "--task", TASKS[0]).returncode == 0
    hub.requests.clear()
    for name in ("MRB_OFFLINE", "HF_HUB_OFFLINE"):
        for address in (f"{PLACE}/first", f"{PLACE}@main/first", f"{PLACE}@{pushed}/first"):
            done = mrb(*pull, address, env={name: "1"})
            assert done.returncode == 0 and list(hashes(done.stdout)) == [TASKS[0]], done.stderr
    refused(
        mrb(*pull, f"{PLACE}/first", "--task", TASKS[1], env=offline), TASKS[1], "not in the cache, and MRB is offline"
    )
    refused(mrb(*pull, f"{PLACE}@other/first", env=offline), "offline", "never asked")
    refused(mrb(*pull, f"{PLACE}@{'c' * 40}/first", env=offline), "no candidate list in the cache")
    refused(mrb("candidates", "push", str(made), PLACE, env={**LOGGED_IN, **offline}), "needs the network")
    # With the commit named and its list here, nothing is asked for online either.
    assert mrb(*pull, f"{PLACE}@{pushed}/first", "--task", TASKS[0]).returncode == 0
    assert hub.requests == []


def test_a_branch_moves_and_a_commit_does_not(hub: Hub, mrb: Mrb, pushed: str, tmp_path: Path) -> None:
    first = mrb("candidates", "pull", f"{PLACE}/first", "--task", TASKS[0])
    made = mrb(
        "candidates", "make", "--task", TASKS[0], "--first-stage", "bm25", "--depth", "10", "--candidate-set", "tried"
    )
    assert made.returncode == 0, made.stderr
    assert mrb("candidates", "push", "candidates/tried", f"{PLACE}/first", env=LOGGED_IN).returncode == 0
    later = hub.branches["org/lists", "main"]
    assert later != pushed and f"first/{TASKS[1]}.parquet" in hub.repositories["org/lists", later]
    second = mrb("candidates", "pull", f"{PLACE}/first", "--task", TASKS[0])
    again = mrb("candidates", "pull", f"{PLACE}@{pushed}/first", "--task", TASKS[0])
    assert hashes(second.stdout) != hashes(first.stdout) == hashes(again.stdout)
    assert f"@{later}/first" in second.stdout and f"@{pushed}/first" in again.stdout
    refused(mrb("candidates", "pull", f"{PLACE}@{'b' * 40}/first"), "no such revision")
    refused(mrb("candidates", "pull", f"{PLACE}@branch/first"), "no such revision")


def test_what_a_pull_cannot_find_is_said(hub: Hub, mrb: Mrb, pushed: str) -> None:
    pull = ("candidates", "pull")
    refused(mrb(*pull, "hf://datasets/org/none"), "org/none", "no such repository", "hf auth login")
    refused(mrb(*pull, f"{PLACE}/second"), "second", "no such file or folder")
    refused(mrb(*pull, PLACE), "no candidate list there")
    refused(mrb(*pull, f"{PLACE}/first", "--task", "nights"), "no list for task nights", *TASKS)
    run = ("run", "--model", "surface", "--candidates", f"{PLACE}/first")
    refused(mrb(*run, "--task", TASKS[0], "--task", "mini-faq-t2t"), "no list for task mini-faq-t2t")
    hub.faults["/datasets/org/lists"] = ["gated"]
    refused(mrb(*pull, f"{PLACE}/first"), "restricted", "hf auth login")
    refused(mrb(*pull, f"{PLACE}/first", env={"HF_ENDPOINT": "http://127.0.0.1:9"}), "cannot be reached")
    for address in ("hf://models/a/b", f"{PLACE}/../x", f"{PLACE}@a..b", "hf://datasets/a--b/c", f"{PLACE}/x.parquet"):
        refused(mrb(*pull, address), address)


def test_private_lists_want_the_token(hub: Hub, mrb: Mrb, made: Path) -> None:
    push = ("candidates", "push", str(made / f"{TASKS[0]}.parquet"), PLACE)
    refused(mrb(*push), "needs a token", "hf auth login")
    refused(mrb(*push, env={"HF_TOKEN": "hf_another"}), "401")
    assert not hub.has("org/lists")
    assert mrb(*push, "--private", env=LOGGED_IN).returncode == 0
    assert hub.private == {"org/lists"}
    refused(mrb("candidates", "pull", PLACE), "no such repository, or it is private", "hf auth login")
    done = mrb("candidates", "pull", PLACE, env=LOGGED_IN)
    assert done.returncode == 0 and TOKEN not in done.stdout + done.stderr
    hub.private.clear()
    before = hub.branches["org/lists", "main"]
    refused(mrb(*push, "--private", env=LOGGED_IN), "--private", "public", "nothing was sent")
    hub.faults["/preupload/"] = ["forbidden"]
    refused(mrb(*push, env=LOGGED_IN), "403", "permissions")
    refused(mrb(*push[:-1], f"{PLACE}@main", env=LOGGED_IN), "main branch")
    hub.faults["PUT /lfs/"] = ["forbidden"]
    hub.uploads.clear()
    refused(mrb(*push[:-1], f"{PLACE}/new", env=LOGGED_IN), "403", "permissions")
    hub.faults["/batch"] = ["gated"]
    refused(mrb(*push[:-1], f"{PLACE}/new", env=LOGGED_IN), "restricted")
    assert hub.branches["org/lists", "main"] == before


@pytest.mark.parametrize("part", ["/repos/create", "/preupload/", "/batch", "PUT /lfs/", "/verify", "/commit/"])
def test_a_passing_fault_of_a_push_is_overcome(part: str, hub: Hub, mrb: Mrb, made: Path) -> None:
    hub.faults[part] = ["500"]
    done = mrb("candidates", "push", str(made), PLACE, env=LOGGED_IN)
    assert done.returncode == 0, done.stderr
    assert hub.faults == {part: []}
    assert mrb("candidates", "pull", PLACE).returncode == 0


def test_a_push_of_what_is_there_makes_no_commit(hub: Hub, mrb: Mrb, made: Path, pushed: str) -> None:
    done = mrb("candidates", "push", str(made), f"{PLACE}/first", env=LOGGED_IN)
    assert done.returncode == 0, done.stderr
    assert hub.branches["org/lists", "main"] == pushed and f"pushed: {PLACE}@{pushed}/first" in done.stdout


def test_a_listing_in_pages_is_read_to_its_end(hub: Hub, mrb: Mrb, pushed: str) -> None:
    hub.page = 1
    done = mrb("candidates", "pull", f"{PLACE}/first")
    assert done.returncode == 0 and len(hashes(done.stdout)) == 2


def test_a_track_without_published_lists(mrb: Mrb, hub: Hub) -> None:
    refused(mrb("candidates", "pull", "gme-2b"), "gme-2b", "no list of it has been published yet")
    refused(mrb("candidates", "pull", "bm25+siglip", "--task", "nights"), "no list of it has been published yet")
    refused(mrb("candidates", "pull", "gme"), "unknown candidate set", "gme-2b, bm25+siglip")
    assert hub.requests == []


class Claimed(bytes):
    """A file that the Hub lists as five gigabytes."""

    def __len__(self) -> int:
        return 5 * 1024**3


def rewritten(made: Path, **changed: object) -> bytes:
    """The first task's list with other metadata."""
    import io

    import pyarrow.parquet as pq

    table = pq.read_table(made / f"{TASKS[0]}.parquet")
    metadata = {**json.loads(table.schema.metadata[b"mrb"]), **changed}
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({b"mrb": json.dumps(metadata).encode()}), file)
    return file.getvalue()


HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "no parquet": (lambda made: b"#!/bin/sh\nrm -rf /\n", "damaged parquet"),
    "half a file": (lambda made: (made / f"{TASKS[0]}.parquet").read_bytes()[:-100], "damaged parquet"),
    "another task's": (lambda made: (made / f"{TASKS[1]}.parquet").read_bytes(), "not for"),
    "another definition": (lambda made: rewritten(made, list_hash="0" * 64), "list hash 000000000000"),
    "another revision": (lambda made: rewritten(made, revision="0" * 64), "made from data revision 000000000000"),
    "another content": (lambda made: rewritten(made, sha256="0" * 64), "the content's hash is"),
    "shallower than it is": (lambda made: rewritten(made, depth=3), "in a list of depth 3"),
    "not on its track": (lambda made: rewritten(made, track="gme-2b"), "in candidate set gme-2b the list"),
    "words for a terminal": (lambda made: rewritten(made, track="own\x1b[2J"), "track"),
    "keys of its own": (lambda made: rewritten(made, run="rm -rf /"), "run"),
    "too large": (lambda made: Claimed(b"PAR1"), "larger than"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_list_of_its_task_is_refused_by_name_and_not_kept(
    name: str, hub: Hub, mrb: Mrb, made: Path, tmp_path: Path
) -> None:
    data, why = HOSTILE[name]
    hub.repositories["org/lists", "1" * 40] = {f"first/{TASKS[0]}.parquet": data(made)}
    hub.branches["org/lists", "main"] = "1" * 40
    done = mrb("candidates", "pull", f"{PLACE}/first")
    refused(done, f"{PLACE}@{'1' * 40}/first", f"first/{TASKS[0]}.parquet", why)
    assert str(tmp_path) not in done.stderr and "\x1b" not in done.stderr
    assert not [*(tmp_path / "hf").rglob("*.parquet"), *(tmp_path / "mrb").rglob("*.parquet")]


def test_a_run_on_what_is_no_list_leaves_nothing(hub: Hub, mrb: Mrb, made: Path, tmp_path: Path) -> None:
    hub.repositories["org/lists", "1" * 40] = {f"{TASKS[0]}.parquet": rewritten(made, sha256="0" * 64)}
    hub.branches["org/lists", "main"] = "1" * 40
    refused(mrb("run", "--model", "surface", "--task", TASKS[0], "--candidates", PLACE), "the content's hash is")
    assert not (tmp_path / "runs").exists()


def test_other_files_beside_lists_are_passed_over(hub: Hub, mrb: Mrb, made: Path, tmp_path: Path) -> None:
    files = {f"{TASKS[0]}.parquet": (made / f"{TASKS[0]}.parquet").read_bytes(), "no-task.parquet": b"PAR1"}
    files |= {"README.md": b"# Lists\n", f"sub/{TASKS[1]}.parquet": b"PAR1", f".{TASKS[1]}.parquet.1.tmp": b"PAR1"}
    hub.repositories["org/lists", "1" * 40] = files
    hub.branches["org/lists", "main"] = "1" * 40
    done = mrb("candidates", "pull", PLACE, "--out", "copied")
    assert done.returncode == 0, done.stderr
    assert list(hashes(done.stdout)) == [TASKS[0]] and "passed over: no-task.parquet" in done.stdout
    assert [path.name for path in (tmp_path / "copied").iterdir()] == [f"{TASKS[0]}.parquet"]
    assert [asked for asked in hub.requests if "GET" in asked and "/resolve/" in asked] == [
        f"GET /datasets/org/lists/resolve/{'1' * 40}/{TASKS[0]}.parquet"
    ]


@pytest.mark.parametrize("fault", ["drop", "429", "500", "slow", "corrupt"])
def test_a_passing_fault_of_a_pull_is_overcome(fault: str, hub: Hub, mrb: Mrb, pushed: str) -> None:
    hub.faults[f"GET /datasets/org/lists/resolve/{pushed}/first/{TASKS[0]}"] = [fault]
    done = mrb("candidates", "pull", f"{PLACE}/first")
    assert done.returncode == 0 and len(hashes(done.stdout)) == 2, done.stderr
    assert hub.faults == {key: [] for key in hub.faults}


def test_a_wrong_checksum_twice_is_refused_and_not_kept(hub: Hub, mrb: Mrb, pushed: str, tmp_path: Path) -> None:
    hub.faults[f"GET /datasets/org/lists/resolve/{pushed}/first/{TASKS[0]}"] = ["corrupt", "corrupt"]
    refused(mrb("candidates", "pull", f"{PLACE}/first"), f"first/{TASKS[0]}.parquet", "checksum", "twice")
    assert not list(tmp_path.rglob(f"{TASKS[0]}.parquet"))
    assert mrb("candidates", "pull", f"{PLACE}/first").returncode == 0


def test_published_lists_are_held_to_their_hash(hub: Hub, mrb: Mrb, pushed: str) -> None:
    script = """
import sys
from mrb.errors import CandidatesError
from mrb.candidates.pull_lists import pull_published
from mrb.candidates.candidate_sets import PublishedList
commit, task, sha256, track = sys.argv[1:]
about = {"task": task, "repository": "org/lists", "commit": commit, "folder": "first"}
try:
    (found,) = pull_published([PublishedList(candidate_set=track, sha256=sha256, **about)])
    print(found.lists[task].sha256)
except CandidatesError as error:
    print("refused:", error)
"""
    sha256 = hashes(mrb("candidates", "pull", f"{PLACE}/first").stdout)[TASKS[0]]
    for stated, track, words in (
        (sha256, "tried", sha256),
        ("0" * 64, "tried", f"refused: {PLACE}@{pushed}/first: the list of {TASKS[0]} has hash {sha256}"),
        (sha256, "other", "in candidate set tried; published is"),
    ):
        done = mrb("-P", "-c", script, pushed, TASKS[0], stated, track, python=True)
        assert done.returncode == 0 and words in done.stdout, done.stdout + done.stderr


def test_a_published_pack_is_pulled_and_held_to_its_hash(hub: Hub, mrb: Mrb, made: Path, tmp_path: Path) -> None:
    script = """
import sys
from mrb.candidates import pull_packs
from mrb.candidates.candidate_sets import PublishedList, PublishedLists
from mrb.candidates.judgement_packs import find_pack
from mrb.errors import CandidatesError
commit, task, sha256, pack = sys.argv[1:]
about = {"candidate_set": "tried", "task": task, "repository": "org/lists", "commit": commit}
one = PublishedList(**about, sha256=sha256, pack_sha256=pack)
pull_packs.load_published_lists = lambda: PublishedLists(schema_version=1, lists=(one,))
try:
    print(find_pack(task, pull_packs.find_local_packs(None), sha256))
except CandidatesError as error:
    print("refused:", error)
"""
    shutil.copytree(made, tmp_path / "lists")
    pack = mrb("candidates", "pack", f"lists/{TASKS[0]}.parquet").stdout.split()[-1]
    sha256 = hashes(mrb("candidates", "push", "lists", PLACE, env=LOGGED_IN).stdout)[TASKS[0]]
    commit = hub.branches["org/lists", "main"]
    for stated, words in (("0" * 64, f"has hash {pack}, published is 0000"), (pack, f"/packs/{pack}/{TASKS[0]}.jud")):
        done = mrb("-P", "-c", script, commit, TASKS[0], sha256, stated, python=True)
        assert done.returncode == 0 and words in done.stdout, done.stdout + done.stderr
    hub.requests.clear()
    done = mrb("-P", "-c", script, commit, TASKS[0], sha256, pack, python=True)
    assert f"/packs/{pack}/" in done.stdout and not hub.requests
