"""The list of snapshots, what each changed, and the feed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from mrb.errors import ResultError
from mrb.leaderboard.build import build
from mrb.leaderboard.snapshots import list_snapshots, write_index
from tests.builders.pages import find_broken_links, read_pages
from tests.builders.run_folders import write_run_folder

ATOM = "{http://www.w3.org/2005/Atom}"
URL = "https://example.org/b"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board with three snapshots: the second adds a row, the third changes nothing, though its name sorts first."""
    folder = tmp_path_factory.mktemp("snapshots")
    tasks = ["mini-flag-t2i"]
    runs = [write_run_folder(folder / name, 0.5, tasks=tasks, queries=5) for name in ("one", "two")]
    build(runs[:1], folder / "site", snapshot_name="v1", url=URL)
    build(runs, folder / "site", snapshot_name="v2", url=URL)
    build(runs, folder / "site", snapshot_name="again", url=URL)
    return build(runs, folder / "site", url=URL).parent


def test_snapshots_are_listed_newest_first_with_what_each_changed(root: Path) -> None:
    assert [(kept.name, kept.number) for kept in list_snapshots(root)] == [("again", 3), ("v2", 2), ("v1", 1)]
    pages = read_pages(root)
    assert find_broken_links(root, pages) == []
    text = pages["snapshots/index.html"].text
    assert "v2 2026-11-27" in text and "MRB mini 1.0" in text and text.index("again") < text.index("v2")
    assert "New rows Model Rank nDCG@10 × 100 two no rank 1 task" in pages["changes/v2.html"].text
    assert "Nothing: the same rows" in pages["changes/again.html"].text and "changes/v1.html" not in pages


def test_the_feed_is_atom_with_ids_of_its_own_for_each_entry(root: Path) -> None:
    feed = ElementTree.parse(root / "feed.xml").getroot()
    entries = feed.findall(f"{ATOM}entry")
    assert [entry.findtext(f"{ATOM}title") for entry in entries] == ["Snapshot again", "Snapshot v2", "Snapshot v1"]
    ids = [one.findtext(f"{ATOM}id") for one in (feed, *entries)]
    assert len(set(ids)) == 4 and all(one and one.startswith("urn:uuid:") for one in ids)
    for one in (feed, *entries):
        assert one.findtext(f"{ATOM}updated") == "2026-11-27T00:00:00Z"
    contents = [(entry.findtext(f"{ATOM}content") or "").split() for entry in entries]
    assert " ".join(contents[1]) == "MRB mini 1.0 (mini-25) new: two, no rank" and contents[2][:3] == [
        "The",
        "first",
        "snapshot:",
    ]
    links = [link.attrib["href"] for link in feed.iter(f"{ATOM}link")]
    assert f"{URL}/changes/v2.html" in links and f"{URL}/feed.xml" in links


def test_an_older_snapshot_is_listed_and_a_damaged_one_named(root: Path, tmp_path: Path) -> None:
    old = tmp_path / "snapshots" / "old"
    (old / "data").mkdir(parents=True)
    (old / "index.html").write_text("")
    write_index(tmp_path)
    assert "older version of MRB" in (tmp_path / "snapshots" / "index.html").read_text()
    assert not (tmp_path / "feed.xml").exists()
    (old / "data" / "board.json").write_bytes((root / "snapshots" / "v1" / "data" / "board.json").read_bytes())
    with pytest.raises(ResultError, match="says that it is of snapshot 'v1'"):
        write_index(tmp_path)
