"""Addresses of lists on the Hub, what is pushed, and what `--candidates` takes; nothing here needs a network."""

from __future__ import annotations

from pathlib import Path

import pytest

from mrb._util.files import write_json
from mrb.candidates.lists import Provenance, build_candidates, write_parquet
from mrb.candidates.pull_lists import find_local_lists, pull_lists
from mrb.candidates.push_lists import find_lists, push_lists
from mrb.data.task import load_task
from mrb.errors import CandidatesError, DataError, ResultError, TaskError
from mrb.hub.address import HubFolder, parse_address

TASK = load_task("mini-faq-t2t-dev")
COMMIT = "0123456789abcdef" * 2 + "01234567"
LISTS = [("q1", ["d1", "d2"], [2.0, 1.0]), ("q2", ["d2"], [0.5])]


def write(path: Path, **changed: object) -> str:
    """A list at `path`; its hash."""
    about = {
        "task": TASK.id,
        "list_hash": TASK.list_hash,
        "revision": TASK.revision,
        "first_stage": "toy",
        "track": "own",
    }
    candidates = build_candidates(Provenance.model_validate({**about, "depth": 5, **changed}), LISTS)
    write_parquet(candidates, path)
    return candidates.sha256


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("hf://datasets/org/lists", HubFolder("org/lists")),
        ("hf://datasets/org/lists/", HubFolder("org/lists")),
        ("hf://datasets/o_r-g/l.1/gme-2b/bm25+siglip", HubFolder("o_r-g/l.1", None, "gme-2b/bm25+siglip")),
        (f"hf://datasets/org/lists@{COMMIT}/a", HubFolder("org/lists", COMMIT, "a")),
        ("hf://datasets/org/lists@v1.0", HubFolder("org/lists", "v1.0")),
        ("hf://datasets/org/lists@refs%2Fpr%2F1", HubFolder("org/lists", "refs/pr/1")),
    ],
)
def test_an_address_is_read_and_written_back(text: str, wanted: HubFolder) -> None:
    assert parse_address(text) == wanted
    assert str(wanted) == text.rstrip("/") and parse_address(str(wanted)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "hf://org/lists",
        "hf://models/org/lists",
        "hf://datasets/lists",
        "hf://datasets/org/lists@",
        "hf://datasets/org/lists@a b",
        "hf://datasets/org/lists@..%2F..%2Fetc",
        "hf://datasets/org/lists@%2Fetc",
        "hf://datasets/org/lists/../../etc",
        "hf://datasets/org/lists/.git",
        "hf://datasets/org/lists//a",
        "hf://datasets/org/lists/a\\b",
        "hf://datasets/org/li\x1bsts",
        "hf://datasets/or--g/lists",
        "hf://datasets/org/lists.git",
        "hf://datasets/-org/lists",
        f"hf://datasets/org/{'n' * 97}",
        "hf://datasets/org/lists/nights.parquet",
    ],
)
def test_what_is_no_address_is_refused_in_one_clean_line(text: str) -> None:
    with pytest.raises(CandidatesError) as caught:
        parse_address(text)
    assert str(caught.value).isprintable() and "hf://" in str(caught.value)


def test_what_is_pushed_was_read_whole_and_is_of_its_task(tmp_path: Path) -> None:
    sha256 = write(tmp_path / "any-name.parquet")
    (found,) = find_lists(tmp_path)
    assert (found.about.sha256, found.about.queries, found.about.pairs, found.manifest) == (sha256, 2, 3, None)
    assert find_lists(tmp_path / "any-name.parquet") == [found]
    (tmp_path / ".other.parquet.12.0123abcd.tmp").write_bytes(b"half")
    assert find_lists(tmp_path) == [found]

    manifest = tmp_path / "any-name.manifest.json"
    write_json(manifest, {"schema_version": 1, "sha256": sha256})
    assert find_lists(tmp_path)[0].manifest == manifest
    write_json(manifest, {"schema_version": 1, "sha256": "0" * 64})
    with pytest.raises(CandidatesError, match="does not belong to the list"):
        find_lists(tmp_path)
    manifest.write_text("{")
    with pytest.raises(ResultError, match="not valid JSON"):
        find_lists(tmp_path)
    manifest.unlink()

    write(tmp_path / "again.parquet")
    with pytest.raises(CandidatesError, match="a second list for task mini-faq-t2t-dev"):
        find_lists(tmp_path)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"list_hash": "0" * 64}, CandidatesError, "list hash 000000000000"),
        ({"revision": "0" * 64}, CandidatesError, "made from data revision"),
        ({"task": "no-such"}, TaskError, "unknown task 'no-such'"),
        ({"track": "gme-2b"}, CandidatesError, "in candidate set gme-2b the list"),
    ],
)
def test_a_list_that_nobody_could_run_on_is_not_pushed(
    changed: dict[str, str], error: type[Exception], words: str, tmp_path: Path
) -> None:
    write(tmp_path / "list.parquet", **changed)
    with pytest.raises(error, match=words):
        find_lists(tmp_path)


def test_a_folder_or_file_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CandidatesError, match="no candidate list in this folder"):
        find_lists(tmp_path)
    with pytest.raises(CandidatesError, match=r"none\.parquet: cannot be read"):
        find_lists(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(CandidatesError, match=r"bad\.parquet: damaged parquet"):
        find_lists(tmp_path)


def test_words_of_a_list_that_would_reach_a_terminal_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CandidatesError, match="track"):
        write(tmp_path / "list.parquet", track="own\x1b[2J")
    assert not list(tmp_path.iterdir())


def test_without_network_only_what_is_here_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(tmp_path))
    monkeypatch.setenv("MRB_OFFLINE", "1")
    source = HubFolder("org/lists", COMMIT, "a")
    with pytest.raises(DataError, match="needs the network"):
        push_lists([], HubFolder("org/lists"), private=False)
    with pytest.raises(CandidatesError, match="no candidate list in the cache, and offline"):
        pull_lists(source, [])
    path = tmp_path / "candidates" / "org--lists" / COMMIT / "a" / f"{TASK.id}.parquet"
    sha256 = write(path)
    (path.parent / "notes.parquet").write_bytes(b"")
    pulled = pull_lists(source, [])
    assert (pulled.file(TASK.id), pulled.lists[TASK.id].sha256, pulled.passed_over) == (
        path,
        sha256,
        ("notes.parquet",),
    )
    given = find_local_lists(f"hf://datasets/org/lists@{COMMIT}/a", [TASK])
    assert given == (path.parent, {TASK.id: f"hf://datasets/org/lists@{COMMIT}/a"})
    assert find_local_lists(None, [TASK]) == (None, {})
    assert find_local_lists(str(tmp_path), [TASK]) == (tmp_path, {})
    with pytest.raises(CandidatesError, match="no such file or folder"):
        find_local_lists(str(tmp_path / "none"), [TASK])
