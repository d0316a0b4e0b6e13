"""Embedded data that is not what the definition says is refused by name; what was built elsewhere is taken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb.data import load
from mrb.data.load import load_task_data, locate_embedded_data
from mrb.data.task import load_task
from mrb.errors import DataError

TASK = "mini-flag-t2i"


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one task's data in place of the installed one, and an empty cache."""
    root = tmp_path / "data"
    shutil.copytree(locate_embedded_data() / TASK, root / TASK)
    for path in locate_embedded_data().glob("*.json"):
        shutil.copy(path, root)
    monkeypatch.setattr(load, "locate_embedded_data", lambda: root)
    monkeypatch.setenv("MRB_CACHE", str(tmp_path / "cache"))
    return root


def rewritten(path: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    """The file with its rows changed, and compressed in another way."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path, compression="gzip")


def test_the_shipped_files_are_known_by_their_bytes(copied: Path, tmp_path: Path) -> None:
    assert len(load_task_data(load_task(TASK)).queries) > 50
    assert not (tmp_path / "cache").exists()


def test_the_same_rows_in_other_bytes_are_taken_and_remembered(copied: Path, tmp_path: Path) -> None:
    rewritten(copied / TASK / "queries" / "test.parquet", lambda rows: None)
    for _ in range(2):
        assert len(load_task_data(load_task(TASK)).queries) > 50
    assert len(list((tmp_path / "cache" / "embedded").iterdir())) == 1


CHANGES: dict[str, tuple[str, Callable[[list[dict[str, object]]], object]]] = {
    "a word": ("queries", lambda rows: rows[3].update(text="another flag")),
    "a row less": ("qrels", lambda rows: rows.pop()),
    "two rows exchanged": ("queries", lambda rows: rows.insert(0, rows.pop())),
    "an image of another row": ("corpus", lambda rows: rows[0].update(image=rows[1]["image"])),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_content_is_refused_by_name(copied: Path, name: str) -> None:
    table, change = CHANGES[name]
    path = copied / TASK / table / "test.parquet"
    rewritten(path, change)
    with pytest.raises(DataError) as caught:
        load_task_data(load_task(TASK))
    assert str(caught.value).startswith(f"task {TASK}: {path} is damaged: its rows and images are not those")


@pytest.mark.parametrize("at", [100, -5000, -2])
def test_a_flipped_byte_is_refused_by_name(copied: Path, at: int) -> None:
    path = copied / TASK / "corpus" / "test.parquet"
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"task {TASK}: {path} is damaged: "):
        load_task_data(load_task(TASK))


def test_a_record_of_other_data_is_refused(copied: Path) -> None:
    path = copied / "checksums.json"
    path.write_text(path.read_text().replace("a", "b"))
    with pytest.raises(DataError, match=r"checksums\.json is not that of the task's definition"):
        load_task_data(load_task(TASK))
