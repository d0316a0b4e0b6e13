"""A disk that is full, a cache that cannot be written, a process that is killed, and what such ends leave behind: one
line, or the same command goes on; nothing half-written is ever read as whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import MRB
from tests.builders.hub import TASKS
from tests.builders.hub.server import TOKEN, Hub, is_large, sha256

pytestmark = pytest.mark.hub

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]
Environment = Callable[[Path, str], dict[str, str]]
TASK = TASKS[0]
COMMIT = "1" * 40
LISTS = ("candidates", "pull", "hf://datasets/org/lists", "--task", TASK)
DATA = ("data", "pull", "--task", "nights")
NIGHTS = "datasets--mteb--mbeir_nights_task4"
CORPUS = "corpus-00000-of-00001.parquet"
SLOW = {LISTS: f"{TASK}.parquet", DATA: CORPUS}
BOTH = pytest.mark.parametrize("command", [LISTS, DATA], ids=["lists", "data"])


@pytest.fixture(autouse=True)
def lists(hub: Hub, made: Path) -> None:
    """A list in org/lists."""
    name = f"{TASK}.parquet"
    hub.repositories["org/lists", COMMIT] = {name: (made / name).read_bytes()}
    hub.branches["org/lists", "main"] = COMMIT


@pytest.fixture
def shell(tmp_path: Path, hub: Hub, environment: Environment) -> Callable[..., Done]:
    """`shell(script, *prefix)`: as root of a mount namespace of its own, with the caches in `tmp_path`."""

    def run(script: str, *prefix: str) -> Done:
        unshare = prefix or ("unshare", "--mount", "--user", "--map-root-user")
        variables = environment(tmp_path, hub.url)
        command = [*unshare, "bash", "-c", script]
        return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300)

    return run


def one_line(done: Done, *words: str) -> str:
    """The one line that the first `mrb` of the script ended in."""
    assert "exit 2" in done.stdout and "Traceback" not in done.stderr, done.stdout + done.stderr
    line = next(line for line in done.stderr.splitlines() if line.startswith("mrb: "))
    assert all(word in line for word in words), line
    return line


def asked_for(hub: Hub, part: str) -> bool:
    return any(asked.startswith("GET") and part in asked for asked in hub.requests)


def words(command: tuple[str, ...]) -> str:
    return " ".join([MRB, *command])


@BOTH
def test_a_disk_without_room_is_said_before_the_first_byte(
    command: tuple[str, ...], shell: Callable[..., Done], tmp_path: Path, hub: Hub
) -> None:
    (tmp_path / "hf").mkdir(exist_ok=True)
    done = shell(f"mount -t tmpfs -o size=1m tmpfs hf; {words(command)}; echo exit $?")
    one_line(done, "MB to fetch", "MB left", "HF_HOME")
    assert not asked_for(hub, SLOW[command])


@BOTH
def test_a_disk_that_fills_up_in_mid_pull(
    command: tuple[str, ...], shell: Callable[..., Done], tmp_path: Path, hub: Hub
) -> None:
    (tmp_path / "hf").mkdir(exist_ok=True)
    hub.faults[f"GET /datasets/{'org/lists' if command == LISTS else 'mteb/mbeir_nights_task4'}/resolve"] = ["slow"] * 9
    # The rest of the disk is taken while the file comes in, and given back for the second try.
    done = shell(f"""
        mount -t tmpfs -o size=80m tmpfs hf
        {words(command)} & mrb=$!
        until ls hf/hub/*/blobs/*.incomplete >/dev/null 2>&1; do sleep 0.02; done
        dd if=/dev/zero of=hf/filler bs=4k status=none 2>/dev/null
        wait $mrb; echo exit $?
        find hf/hub -name '*.parquet' -o -name '*.incomplete'
        rm hf/filler
        {words(command)} >&2; echo again $?
    """)
    one_line(done, "the disk is full")
    assert done.stdout.splitlines()[-2:] == ["exit 2", "again 0"], done.stdout


@BOTH
def test_a_limit_on_the_size_of_files(
    command: tuple[str, ...], shell: Callable[..., Done], mrb: Mrb, tmp_path: Path
) -> None:
    one_line(shell(f"ulimit -f 2; {words(command)}; echo exit $?"), "cannot be written")  # blocks of 1024 bytes
    assert not list((tmp_path / "hf").rglob("*.incomplete"))
    assert mrb(*command).returncode == 0


@pytest.mark.parametrize("size", ["4k", "4k"])
@BOTH
def test_the_cache_of_mrb_itself_is_full(
    command: tuple[str, ...], size: str, shell: Callable[..., Done], tmp_path: Path
) -> None:
    (tmp_path / "mrb").mkdir(exist_ok=True)
    done = shell(f"""
        mount -t tmpfs -o size={size} tmpfs mrb
        {words(command)}; echo exit $?
        find mrb -type f -name '*.tmp'; find mrb -name '*.parquet' -o -name '*.arrow'
        mount -o remount,size=10m mrb
        {words(command)} >&2; echo again $?
    """)
    one_line(done, "cannot be written", "No space left")
    assert done.stdout.splitlines()[-2:] == ["exit 2", "again 0"], done.stdout


@pytest.mark.parametrize("cache", ["hf", "mrb"])
@BOTH
def test_a_cache_that_cannot_be_written(
    command: tuple[str, ...], cache: str, shell: Callable[..., Done], mrb: Mrb, tmp_path: Path
) -> None:
    (tmp_path / cache).mkdir(exist_ok=True)
    done = shell(f"mount -t tmpfs -o ro tmpfs {cache}; {words(command)}; echo exit $?")
    one_line(done, "cannot be written", str(tmp_path / cache))
    # The same of a folder of somebody else: root writes where it likes unless its capabilities are taken away.
    (tmp_path / cache).rename(tmp_path / "moved")
    (tmp_path / cache).mkdir(mode=0o555)
    prefix = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ("env",)
    one_line(shell(f"{words(command)}; echo exit $?", *prefix), "cannot be written", str(tmp_path / cache))
    (tmp_path / cache).chmod(0o755)
    assert mrb(*command).returncode == 0


def test_caches_that_hold_everything_are_read_where_they_cannot_be_written(
    shell: Callable[..., Done], mrb: Mrb, hub: Hub
) -> None:
    pinned = (*LISTS[:2], f"{LISTS[2]}@{COMMIT}", *LISTS[3:])
    assert mrb(*pinned).returncode == mrb(*DATA).returncode == 0
    hub.requests.clear()
    closed = "for c in hf mrb; do mount --bind $c $c; mount -o remount,bind,ro $c; done"
    done = shell(f"{closed}; {words(pinned)} && HF_DATASETS_CACHE=/tmp/$$ {words(DATA)}; e=$?; rm -r /tmp/$$; exit $e")
    assert done.returncode == 0, done.stderr
    assert hub.requests == []
    # `datasets` wants a lock even for what it has, so it needs a folder that can be written.
    one_line(shell(f"{closed}; {words(DATA)}; echo exit $?"), "Read-only file system", "HF_DATASETS_CACHE")


def test_a_damaged_file_that_cannot_be_removed(shell: Callable[..., Done], mrb: Mrb, tmp_path: Path) -> None:
    assert mrb(*DATA).returncode == 0
    blob = next((tmp_path / "hf").rglob(CORPUS)).resolve()
    blob.write_bytes(b"PAR1" + blob.read_bytes()[4:-4] + b"PAR2")
    closed = "mount --bind hf hf; mount -o remount,bind,ro hf"
    done = shell(f"{closed}; {words(DATA)}; echo exit $?")
    one_line(done, CORPUS, "cannot be removed", "Read-only file system")


def test_the_disk_of_the_tables_is_full(shell: Callable[..., Done]) -> None:
    script = f"""
        mkdir tables; mount -t tmpfs -o size=4k tmpfs tables; export HF_DATASETS_CACHE=tables
        {words(DATA)}; echo exit $?
        mount -o remount,size=10m tables
        {words(DATA)} >&2; echo again $?
    """
    done = shell(script)
    one_line(done, "No space left", "HF_DATASETS_CACHE")
    assert done.stdout.splitlines()[-2:] == ["exit 2", "again 0"], done.stdout


@BOTH
def test_killed_in_mid_pull_the_same_command_finishes(
    command: tuple[str, ...], hub: Hub, mrb: Mrb, tmp_path: Path, environment: Environment
) -> None:
    whole = mrb(*command)
    assert whole.returncode == 0, whole.stderr
    elsewhere = {"HF_HOME": str(tmp_path / "hf2"), "MRB_CACHE": str(tmp_path / "mrb2")}
    hub.requests.clear()
    hub.faults[SLOW[command]] = ["", "slow"]  # the HEAD, then the GET
    variables = {**environment(tmp_path, hub.url), **elsewhere}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([MRB, *command], cwd=tmp_path, env=variables, **quiet) as running:
        while not asked_for(hub, SLOW[command]):
            time.sleep(0.02)
        time.sleep(0.4)
        running.send_signal(signal.SIGKILL)
    assert list((tmp_path / "hf2").rglob("*.incomplete")) and not list((tmp_path / "mrb2").rglob(SLOW[command]))
    again = mrb(*command, env=elsewhere)
    assert again.returncode == 0, again.stderr
    assert again.stdout == whole.stdout  # hashes for lists, counts for data
    (one,), (other,) = (list((tmp_path / hf).rglob(SLOW[command])) for hf in ("hf", "hf2"))
    assert one.resolve().name == other.resolve().name == sha256(other.read_bytes())
    if command == DATA:
        assert mrb("data", "check", "--task", "nights", env=elsewhere).returncode == 0


def test_what_a_killed_process_leaves_is_not_taken_for_data(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    whole = [mrb(*command).stdout for command in (LISTS, DATA)]
    # The same again from nothing, but with the leftovers of every kind that a killed process can leave.
    for path in [*(tmp_path / "hf").rglob("*"), *(tmp_path / "mrb").rglob("*")]:
        if path.is_symlink() or path.is_file():
            path.unlink()
    for blobs in (tmp_path / "hf" / "hub").glob("datasets--*/blobs"):
        for name in ("0" * 64, *_digests(hub)):
            (blobs / f"{name}.incomplete").write_bytes(b"PAR1 half of a file")
            (blobs / f"{name}.0123abcd.incomplete").write_bytes(b"PAR1 half of a file")
    lists = tmp_path / "mrb" / "candidates" / "org--lists" / COMMIT
    for folder, name in (
        (lists, f".{TASK}.parquet.1.0123abcd.tmp"),
        (tmp_path / "mrb" / "candidates" / "org--lists" / "revisions", ".main.json.1.0123abcd.tmp"),
        (tmp_path / "mrb" / "hub" / "mteb--mbeir_nights_task4", f".{'c' * 40}.json.1.0123abcd.tmp"),
        (tmp_path / "mrb" / "reduced", ".nights.arrow.1.0123abcd.tmp"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"half of a file")
    assert "never fetched" in mrb("data", "info", "--task", "nights").stdout
    offline = {"MRB_OFFLINE": "1"}
    assert "no candidate list in the cache" in mrb("candidates", "pull", f"{LISTS[2]}@{COMMIT}", env=offline).stderr
    assert [mrb(*command).stdout for command in (LISTS, DATA)] == whole
    pushed = mrb("candidates", "push", str(lists), "hf://datasets/org/lists", env={"HF_TOKEN": TOKEN})
    assert pushed.returncode == 0, pushed.stderr
    # Of all that lies there, only the card that push writes is new on the Hub.
    before, after = (hub.repositories["org/lists", commit] for commit in (COMMIT, hub.branches["org/lists", "main"]))
    assert after == {**before, "README.md": after["README.md"]}


def _digests(hub: Hub) -> list[str]:
    """The names that the client would give to the blobs of all files."""
    return [sha256(data) for files in hub.repositories.values() for path, data in files.items() if is_large(path)]


def test_a_list_damaged_in_the_cache_is_fetched_again(mrb: Mrb, made: Path, tmp_path: Path) -> None:
    whole = mrb(*LISTS)
    (path,) = (tmp_path / "mrb" / "candidates").rglob(f"{TASK}.parquet")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(bytes(data))
    refused = mrb(*LISTS, env={"MRB_OFFLINE": "1"})
    assert refused.returncode == 2 and f"{TASK}.parquet" in refused.stderr and "Traceback" not in refused.stderr
    assert mrb(*LISTS).stdout == whole.stdout
    assert path.read_bytes() == (made / f"{TASK}.parquet").read_bytes()


def test_the_record_of_a_branch_is_whole_or_refused(mrb: Mrb, tmp_path: Path) -> None:
    assert mrb(*LISTS).returncode == 0
    (record,) = (tmp_path / "mrb" / "candidates").rglob("main.json")
    record.write_text(json.dumps({"schema_version": 1, "commit": "main"}))
    done = mrb(*LISTS, env={"MRB_OFFLINE": "1"})
    assert done.returncode == 2 and "main.json" in done.stderr and "delete it" in done.stderr
    assert mrb(*LISTS).returncode == 0
