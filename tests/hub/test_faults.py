"""A Hub that fails, and one that lies: a retry that succeeds, or one line and exit code 2."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import Hub

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]
NIGHTS = ("mteb/mbeir_nights_task4", "c798fa2f5173dc9fe0c727fd0abfd2f94cbc2f23")
CORPUS = "corpus/corpus-00000-of-00001.parquet"
PULL = ("data", "pull", "--task", "nights")


def refused(done: Done, *words: str) -> None:
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stderr
    assert lines[-1].startswith("mrb: ") and "Traceback" not in done.stderr
    assert all(word in lines[-1] for word in words), lines[-1]


@pytest.mark.parametrize("fault", ["drop", "429", "500", "slow", "corrupt"])
def test_a_passing_fault_is_overcome(fault: str, hub: Hub, mrb: Mrb) -> None:
    hub.faults[f"GET /datasets/{NIGHTS[0]}/resolve/{NIGHTS[1]}/{CORPUS}"] = [fault]
    done = mrb(*PULL)
    assert done.returncode == 0, done.stderr
    assert hub.faults == {key: [] for key in hub.faults}  # it did meet the fault
    assert mrb("data", "verify", "--task", "nights").returncode == 0


@pytest.mark.parametrize("fault", ["429", "500"])
def test_a_listing_that_fails_once_is_asked_for_again(fault: str, hub: Hub, mrb: Mrb) -> None:
    hub.faults["/tree/"] = [fault]
    assert mrb(*PULL).returncode == 0


def test_a_listing_in_pages_is_read_to_its_end(hub: Hub, mrb: Mrb) -> None:
    hub.page = 2
    assert mrb(*PULL).returncode == 0
    files = len(hub.repositories[NIGHTS])
    assert sum("/tree/" in asked for asked in hub.requests) == -(-files // 2) > 2
    assert mrb("data", "verify", "--task", "nights").returncode == 0


def test_a_wrong_checksum_twice_is_refused_and_not_kept(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    hub.faults[f"GET /datasets/{NIGHTS[0]}/resolve/{NIGHTS[1]}/{CORPUS}"] = ["corrupt", "corrupt"]
    refused(mrb(*PULL), CORPUS, "checksum", "twice")
    assert not list((tmp_path / "hf").rglob(Path(CORPUS).name))
    assert mrb(*PULL).returncode == 0


def test_gated_missing_and_gone(hub: Hub, mrb: Mrb) -> None:
    hub.faults["/tree/"] = ["gated"]
    refused(mrb(*PULL), NIGHTS[0], "restricted", "hf auth login")
    files = hub.repositories.pop(NIGHTS)
    refused(mrb(*PULL), NIGHTS[0], "no such repository")
    hub.repositories[NIGHTS[0], "a" * 40] = files
    refused(mrb(*PULL), NIGHTS[0], NIGHTS[1][:12], "no such revision")


def test_offline(hub: Hub, mrb: Mrb) -> None:
    for name in ("MRB_OFFLINE", "HF_HUB_OFFLINE"):
        refused(mrb(*PULL, env={name: "1"}), NIGHTS[0], "offline", "mrb data pull")
    assert hub.requests == []
    assert mrb(*PULL).returncode == 0
    hub.requests.clear()
    for name in ("MRB_OFFLINE", "HF_HUB_OFFLINE"):
        assert mrb(*PULL, env={name: "1"}).returncode == 0
        assert "complete" in mrb("data", "info", "--task", "nights", env={name: "1"}).stdout
    assert hub.requests == []


@pytest.mark.parametrize("network", ["none", "offline"])
def test_another_revision_is_refused_with_a_warm_cache(network: str, mrb: Mrb) -> None:
    assert mrb(*PULL).returncode == 0
    script = """
import time
from mrb.task import load_task
from mrb.loading.load import load_task_data
from mrb.errors import DataError
task = load_task("nights")
part = task.source.parts[0].model_copy(update={"revision": "b" * 40})
other = task.model_copy(update={"source": task.source.model_copy(update={"parts": (part,)})})
assert len(load_task_data(task).corpus) == 12
started = time.monotonic()
try:
    load_task_data(other)
except DataError as error:
    print(error)
assert time.monotonic() - started < 15  # the client alone goes on for 25 seconds
"""
    env = {"HF_ENDPOINT": "http://127.0.0.1:9"} if network == "none" else {"MRB_OFFLINE": "1"}
    done = mrb("-c", script, env=env, python=True)
    assert done.returncode == 0, done.stderr
    assert "bbbbbbbbbbbb" in done.stdout and ("cannot be reached" in done.stdout or "offline" in done.stdout)


def test_a_file_changed_on_disk_is_found(mrb: Mrb, tmp_path: Path) -> None:
    assert mrb(*PULL).returncode == 0
    blob = next((tmp_path / "hf").rglob(Path(CORPUS).name)).resolve()
    data = bytearray(blob.read_bytes())
    data[100] ^= 1
    blob.write_bytes(bytes(data))
    refused(mrb("data", "verify", "--task", "nights"), CORPUS, "not what the Hub lists")
    assert mrb(*PULL).returncode == 0
    assert "checksums are right" in mrb("data", "verify", "--task", "nights").stdout


def test_columns_that_do_not_fit(hub: Hub, mrb: Mrb) -> None:
    files = hub.repositories["mteb/scidocs", "f8c2fcf00f625baaa80f62ec5bd9e1fff3b8ae88"]
    files["corpus.jsonl"] = b'{"key": "d1", "text": "words"}\n'
    refused(
        mrb("data", "pull", "--task", "scidocs"), "mteb/scidocs", "corpus/corpus", "key, text", "_id, id, corpus-id"
    )
    refused(mrb("data", "doctor", "--task", "scidocs"), "key, text", "_id, id, corpus-id")
    files["README.md"] = b"---\nconfigs: []\n---\n"
    del files["corpus.jsonl"]
    refused(mrb("data", "doctor", "--task", "scidocs"), "corpus: tables found", "wanted one of: corpus/corpus")


def test_the_doctor_reads_no_data(hub: Hub, mrb: Mrb) -> None:
    done = mrb("data", "doctor", "--task", "nights", "--task", "scifact")
    assert done.returncode == 0, done.stderr
    assert "corpus/corpus (12)" in done.stdout and done.stdout.count(" ok") == 2
    del hub.repositories[NIGHTS]
    refused(mrb("data", "doctor", "--task", "nights", "--task", "scifact"), NIGHTS[0], "1 of 2")


def test_killed_during_a_pull(
    hub: Hub, mrb: Mrb, tmp_path: Path, environment: Callable[[Path, str], dict[str, str]]
) -> None:
    hub.faults[f"GET /datasets/{NIGHTS[0]}/resolve/{NIGHTS[1]}/{CORPUS}"] = ["slow"]
    command = [str(Path(sys.executable).with_name("mrb")), *PULL]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path, hub.url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        while not any(f"GET /datasets/{NIGHTS[0]}/resolve/{NIGHTS[1]}/{CORPUS}" in asked for asked in hub.requests):
            time.sleep(0.02)
        time.sleep(0.4)
        running.send_signal(signal.SIGKILL)
    assert mrb(*PULL).returncode == 0
    manifest = json.loads(next((tmp_path / "mrb" / "hub").rglob("*.json")).read_text())
    assert set(manifest["checked"]) >= {CORPUS} and manifest["read"]["corpus/corpus"]["rows"] == 12
    assert mrb("data", "verify", "--task", "nights").returncode == 0
