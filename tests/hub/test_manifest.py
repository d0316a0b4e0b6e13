"""What several processes find of one repository ends in one manifest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from mrb.errors import ResultError
from mrb.hub import client as hub
from mrb.hub import manifest
from mrb.hub.manifest import Manifest, ReadTable, RemoteFile, VerifiedFile, locate_manifest, read_manifest, record

pytestmark = pytest.mark.slow

REPOSITORY, REVISION = "org/data", "a" * 40
FILES = (RemoteFile(path="corpus.parquet", size=1, git="b" * 40),)
EMPTY = Manifest(repository=REPOSITORY, revision=REVISION, files=FILES, tables={})
ROWS = ReadTable(files=("corpus.parquet",), rows=3, columns=("id", "text"))
CHECKED = VerifiedFile(sha256="c" * 64, size=1, modified_ns=1)
WRITER = """
import sys
from mrb.hub.manifest import Manifest, ReadTable, record
print("ready", flush=True)
sys.stdin.readline()
mine = Manifest(repository=sys.argv[2], revision=sys.argv[3], files=(), tables={})
for number in range(20):
    mine = record(mine, read={f"{sys.argv[1]}-{number}": ReadTable(files=(), rows=number, columns=())})
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(tmp_path))


def test_what_others_recorded_meanwhile_stays() -> None:
    record(EMPTY, read={"corpus": ROWS})
    # This process opened the manifest before that.
    found = record(EMPTY, checked={"corpus.parquet": CHECKED}, read={"qrels": ROWS})
    assert found.read == {"corpus": ROWS, "qrels": ROWS} and found.checked == {"corpus.parquet": CHECKED}
    assert read_manifest(REPOSITORY, REVISION) == found


def test_the_first_reading_of_a_table_stays_and_the_last_check_of_a_file() -> None:
    record(EMPTY, read={"corpus": ROWS}, checked={"corpus.parquet": CHECKED})
    later = CHECKED.model_copy(update={"modified_ns": 2})
    found = record(EMPTY, read={"corpus": ROWS.model_copy(update={"rows": 4})}, checked={"corpus.parquet": later})
    assert found.read == {"corpus": ROWS} and found.checked == {"corpus.parquet": later}


def test_processes_at_once_lose_nothing() -> None:
    names = ("one", "two", "three")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    started = [
        subprocess.Popen([sys.executable, "-c", WRITER, name, REPOSITORY, REVISION], text=True, **pipes)
        for name in names
    ]
    assert [process.stdout.readline() for process in started if process.stdout] == ["ready\n"] * 3
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        process.communicate(timeout=60)
    assert [process.returncode for process in started] == [0, 0, 0]
    found = read_manifest(REPOSITORY, REVISION)
    assert found is not None and len(found.read) == 20 * len(names)


def test_a_listing_that_another_process_made_first_is_added_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed_and_read_by_another(repository: str, revision: str) -> tuple[RemoteFile, ...]:
        record(EMPTY, read={"corpus": ROWS})
        return FILES

    monkeypatch.setattr(hub, "list_files", listed_and_read_by_another)
    assert hub.open_manifest(REPOSITORY, REVISION).read == {"corpus": ROWS}
    assert read_manifest(REPOSITORY, REVISION) == EMPTY.model_copy(update={"read": {"corpus": ROWS}})


def test_a_file_that_another_process_keeps_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    record(EMPTY)
    monkeypatch.setattr(manifest, "LOCK_SECONDS", 0.1)
    path = locate_manifest(REPOSITORY, REVISION)
    with (
        FileLock(path.with_suffix(".lock")),
        pytest.raises(ResultError, match=f"{path}: cannot be written: another process"),
    ):
        record(EMPTY, read={"corpus": ROWS})
    assert read_manifest(REPOSITORY, REVISION) == EMPTY
