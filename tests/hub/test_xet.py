"""Xet, the storage from which the real client takes files by default, and its failures: plain HTTP in its place where
that can help, a warning that says so, and one line within seconds where it cannot."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import read_refusal
from tests.builders.hub import TASKS
from tests.builders.hub.server import TOKEN, Hub
from tests.builders.hub.xet import CLOSED, UNKNOWN_HOST

pytestmark = pytest.mark.hub

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]
NIGHTS = ("mteb/mbeir_nights_task4", "c798fa2f5173dc9fe0c727fd0abfd2f94cbc2f23")
CORPUS = "corpus/corpus-00000-of-00001.parquet"
PULL = ("data", "pull", "--task", "nights")
PLACE = "hf://datasets/org/lists"
XET = {"HF_HUB_DISABLE_XET": "0", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
WARNING = "files go over plain HTTP instead of Xet storage"
FAULTS = ["token 401", "token 403", "token 404", "closed", "invalid", "hang", "401", "403", "404", "416", "500"]
SECONDS = 20


def refused(done: Done, *words: str) -> None:
    read_refusal(done, *words)
    assert "signed" not in done.stderr


def files_asked(hub: Hub) -> list[str]:
    return [asked for asked in hub.requests if asked.startswith("GET") and ".parquet" in asked]


def test_files_come_from_xet_where_it_works(hub: Hub, mrb: Mrb) -> None:
    hub.xet = "works"
    done = mrb(*PULL, env=XET)
    assert done.returncode == 0 and WARNING not in done.stderr, done.stderr
    assert files_asked(hub) == [] and sum("/cas/v1/blocks/" in asked for asked in hub.requests) == 3
    assert mrb("data", "check", "--task", "nights").returncode == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_plain_http_takes_the_place_of_xet_that_fails(fault: str, hub: Hub, mrb: Mrb) -> None:
    hub.xet = fault
    started = time.monotonic()
    done = mrb(*PULL, env=XET)
    assert time.monotonic() - started < SECONDS
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count(WARNING) == 1  # the process stays with plain HTTP
    assert len(files_asked(hub)) == 3
    assert mrb("data", "check", "--task", "nights").returncode == 0


@pytest.mark.parametrize("fault", ["token 403", "closed", "500"])
def test_xet_and_plain_http_that_both_fail_end_in_one_line(fault: str, hub: Hub, mrb: Mrb) -> None:
    hub.xet, hub.storage = fault, f"{hub.url}/storage/403"
    refused(mrb(*PULL, env=XET), NIGHTS[0], CORPUS, "403")


def test_bytes_of_xet_with_another_digest_come_again_by_plain_http(hub: Hub, mrb: Mrb) -> None:
    hub.xet = "corrupt"
    done = mrb(*PULL, env=XET)
    assert done.returncode == 0 and done.stderr.count(WARNING) == 1, done.stderr
    assert "checksum" in done.stderr and len(files_asked(hub)) == 3


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("{url}/storage/403", ("the Hub answers 403",)),
        ("{url}/storage/404", ("404",)),
        (CLOSED, ("127.0.0.1:9", "refused")),
        (UNKNOWN_HOST, ("cas.invalid",)),
    ],
)
def test_storage_behind_plain_http_that_fails(storage: str, words: tuple[str, ...], hub: Hub, mrb: Mrb) -> None:
    hub.storage = storage.format(url=hub.url)
    started = time.monotonic()
    refused(mrb(*PULL, env={**XET, "HF_HUB_DISABLE_XET": "1"}), NIGHTS[0], CORPUS, *words)
    assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize("fault", ["token 403", "token 404", "closed", "invalid", "hang", "403", "404", "500"])
def test_lists_are_sent_by_plain_http_where_xet_fails(fault: str, hub: Hub, mrb: Mrb, made: Path) -> None:
    hub.xet = fault
    started = time.monotonic()
    done = mrb("candidates", "push", str(made), PLACE, env={**XET, "HF_TOKEN": TOKEN})
    assert time.monotonic() - started < SECONDS
    assert done.returncode == 0 and done.stderr.count(WARNING) == 1 and "Traceback" not in done.stderr, done.stderr
    assert TOKEN not in done.stderr
    files = hub.repositories["org/lists", hub.branches["org/lists", "main"]]
    assert files[f"{TASKS[0]}.parquet"] == (made / f"{TASKS[0]}.parquet").read_bytes()


def test_a_checkpoint_comes_by_plain_http_where_xet_fails(hub: Hub, mrb: Mrb) -> None:
    commit = "3" * 40
    hub.xet, hub.repositories["org/model", commit] = "closed", {"config.json": b"{}", "model.safetensors": b"weights"}
    script = "import sys; from mrb.engine import checkpoint as c; print(c.resolve_checkpoint('org/model', sys.argv[1]))"
    done = mrb("-c", script, commit, env=XET, python=True)
    assert done.returncode == 0 and done.stderr.count(WARNING) == 1, done.stderr
    assert (Path(done.stdout.strip()) / "model.safetensors").read_bytes() == b"weights"
