"""`mrb candidates make --workers N`: the same files as one process, whoever is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import MRB, Done, run_mrb

pytestmark = pytest.mark.slow

TASK = "mini-faq-t2t"
SLOW = ("--set", "seconds=0.02")
FILES = (f"{TASK}.parquet", f"{TASK}.manifest.json")
ENCODER = """
import os, time, zlib
import numpy as np

with open("built", "a") as file:
    file.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")


class Words:
    batch_size = 10
    shard_rows = 50

    def __init__(self, seconds: float = 0.0, fail: str = ""):
        self.seconds = seconds
        self.fail = fail
        if fail == "building":
            raise ValueError("no such weights")
        if fail == "identity":
            self.version = str(os.getpid())

    def _rows(self, items):
        time.sleep(self.seconds)
        if self.fail == "nan":
            return np.full((len(items), 256), np.nan)
        if self.fail == "exit":
            os._exit(7)
        if self.fail == "some" and any("library" in item.text for item in items):
            raise ValueError("cannot read it")
        rows = np.zeros((len(items), 256), np.float32)
        for row, item in enumerate(items):
            for word in item.text.lower().split():
                rows[row, zlib.crc32(word.encode()) % 256] += 1
        with open(f"encoded-{os.getpid()}", "a") as file:
            file.write("x" * len(items))
        weight = float(open("weight").read()) if os.path.exists("weight") else 1.0
        return weight * rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)

    def encode_queries(self, items, instruction):
        return self._rows(items)

    encode_documents = _rows
"""


def _start(folder: Path, *options: str, model: str = "words") -> subprocess.Popen[str]:
    command = [MRB, "candidates", "make", "--first-stage", model, "--task", TASK, "--depth", "20", *options]
    environment = {**os.environ, "MRB_CACHE": str(folder / "cache"), "CUDA_VISIBLE_DEVICES": "5,7"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def _run(folder: Path, *options: str, model: str = "words") -> Done:
    command = ["candidates", "make", "--first-stage", model, "--task", TASK, "--depth", "20", *options]
    return run_mrb(folder, *command, MRB_CACHE=str(folder / "cache"), CUDA_VISIBLE_DEVICES="5,7")


def _finish(folder: Path, *options: str, model: str = "words") -> dict[str, bytes]:
    done = _run(folder, *options, model=model)
    assert done.returncode == 0, done.stderr
    return {name: (folder / "candidates" / name).read_bytes() for name in FILES}


def _refused(folder: Path, *options: str, model: str = "words") -> str:
    done = _run(folder, *options, model=model)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert not (folder / "candidates").exists()
    return line


def _shards(folder: Path) -> list[Path]:
    return list((folder / "cache" / "first-stages").glob("vectors-*/*.npy"))


def _encoded(folder: Path) -> dict[int, int]:
    """How many items each process has encoded."""
    return {int(path.name.partition("-")[2]): path.stat().st_size for path in folder.glob("encoded-*")}


def _built(folder: Path) -> list[tuple[int, str]]:
    path = folder / "built"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(line.split()[0]), line.split()[1]) for line in lines]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_until(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.005)


Folders = Callable[[str], Path]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    def get(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "words.py").write_text(ENCODER)
        return folder

    return get


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one process has made the list."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "words.py").write_text(ENCODER)
    _finish(folder, *SLOW)
    return folder


@pytest.fixture(scope="module")
def wanted(alone: Path) -> dict[str, bytes]:
    """The files that one process has made."""
    return {name: (alone / "candidates" / name).read_bytes() for name in FILES}


def test_one_two_and_three_workers_write_the_same_bytes(
    folders: Folders, alone: Path, wanted: dict[str, bytes]
) -> None:
    for workers in (2, 3):
        folder = folders(f"on-{workers}")
        assert _finish(folder, *SLOW, "--workers", str(workers)) == wanted
        encoded = _encoded(folder)
        assert len(encoded) == workers, "each worker has had a share"
        more = sum(encoded.values()) - sum(_encoded(alone).values())
        assert 0 <= more <= 2 * 4 * (workers - 1), "each item is encoded once, but for those that a late worker checks"
        assert not _shards(folder), "vectors leave when the list is written"
        # The command itself imports the file to see what it holds, and builds no encoder; a worker sees one GPU.
        assert sorted(gpu for pid, gpu in _built(folder) if pid in encoded) == ["5", "5", "7"][3 - workers :]


def test_workers_leave_out_what_fails_as_one_process_does_and_go_on_with_other_tasks(folders: Folders) -> None:
    some = ("--set", "fail=some")
    found = _finish(folders("one"), *some, "--allow-failures", "500")
    assert b'"failed"' in found[FILES[1]]
    folder = folders("two")
    assert _finish(folder, *some, "--allow-failures", "500", "--workers", "2") == found
    shutil.rmtree(folder / "candidates")
    done = _run(folder, *some, "--workers", "2", "--task", "mini-flag-t2i")
    assert done.returncode == 2 and f"1 of 2 tasks have no list: {TASK}; why: " in done.stderr.splitlines()[-1]
    assert [path.stem for path in (folder / "candidates").glob("*.parquet")] == ["mini-flag-t2i"]


def test_a_killed_worker_is_told_in_one_line_and_the_same_command_goes_on(
    folders: Folders, wanted: dict[str, bytes]
) -> None:
    folder = folders("cut")
    process = _start(folder, *SLOW, "--workers", "2")
    _wait_until(lambda: len(_shards(folder)) >= 3 and len(_encoded(folder)) == 2)
    victim, other = sorted(_encoded(folder))
    os.kill(victim, signal.SIGKILL)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 2
    (line,) = told.splitlines()
    assert f"(process {victim}) was killed by SIGKILL" in line
    assert f"while encoding task {TASK}, shard " in line
    assert "the same command continues" in line
    assert not _alive(other), "the others end with it"
    kept = {path: path.stat().st_mtime_ns for path in _shards(folder)}
    _finish(folder, *SLOW, "--workers", "2", "--keep-embeddings")
    after = {path: path.stat().st_mtime_ns for path in _shards(folder)}
    assert len(after) > len(kept)
    assert {path: after[path] for path in kept} == kept, "what was made is not made again"
    shutil.rmtree(folder / "candidates")
    assert _finish(folder, *SLOW) == wanted, "one process goes on with what several have made"


@pytest.mark.parametrize("model", ["words", "bm25+words"])
def test_a_kept_list_is_verified_by_a_worker_before_it_is_reused(folders: Folders, model: str) -> None:
    folder = folders("kept")
    workers = ("--workers", "2")
    made = _finish(folder, *workers, model=model)
    before = sum(_encoded(folder).values())
    assert _finish(folder, *workers, model=model) == made
    assert sum(_encoded(folder).values()) == before + 1 + 4, "a query and four documents are encoded again"
    (folder / "weight").write_text("1.1")  # as if it were trained again: nothing that it states has changed
    done = _run(folder, *workers, model=model)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "query '" in line and "by words and scores" in line and "--fresh" in line
    assert {name: (folder / "candidates" / name).read_bytes() for name in FILES} == made
    assert _finish(folder, *workers, "--fresh", model=model) != made


def test_workers_end_with_the_command(folders: Folders, wanted: dict[str, bytes]) -> None:
    folder = folders("cut")
    process = _start(folder, *SLOW, "--workers", "2")
    _wait_until(lambda: len(_encoded(folder)) == 2)
    process.kill()
    process.communicate()
    _wait_until(lambda: not any(_alive(pid) for pid in _encoded(folder)))
    assert _finish(folder, *SLOW, "--workers", "3") == wanted


def test_ctrl_c_ends_the_workers(folders: Folders) -> None:
    folder = folders("cut")
    process = _start(folder, *SLOW, "--workers", "2")
    _wait_until(lambda: len(_encoded(folder)) == 2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode != 0
    assert not any(_alive(pid) for pid in _encoded(folder))


@pytest.mark.parametrize(
    ("options", "model", "wanted"),
    [
        (("--set", "fail=building"), "words", "building it fails: ValueError: no such weights (words.py, line 17)"),
        (("--set", "fail=nan"), "words", "is not finite"),
        (("--set", "fail=exit"), "words", "ended with exit code 7 while encoding task mini-faq-t2t, shard "),
        (("--set", "fail=identity"), "words", "of 2 declares other values than the first"),
        ((), "bm25", "bm25 searches by itself, in one process; omit --workers"),
    ],
)
def test_mistakes_are_told_in_one_line(options: tuple[str, ...], model: str, wanted: str, folders: Folders) -> None:
    folder = folders("wrong")
    assert wanted in _refused(folder, *options, "--workers", "2", model=model)
    assert not any(_alive(pid) for pid, _ in _built(folder))
