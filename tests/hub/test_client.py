"""A Hub that fails, and one that lies: a retry that succeeds, or one line and exit code 2."""

from __future__ import annotations

import io
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders.command import read_refusal
from tests.builders.hub import sized
from tests.builders.hub.server import Hub

pytestmark = pytest.mark.hub

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]
NIGHTS = ("mteb/mbeir_nights_task4", "c798fa2f5173dc9fe0c727fd0abfd2f94cbc2f23")
CORPUS = "corpus/corpus-00000-of-00001.parquet"
PULL = ("data", "pull", "--task", "nights")
IMPATIENT = {"HF_HUB_DOWNLOAD_TIMEOUT": "1"}
SIZED = sized.__file__
HASTY = "import mrb.hub.retries as hub; hub.WAITS = (0.05,); from mrb.cli.main import main; main()"


@pytest.mark.parametrize("fault", ["drop", "429", "500", "slow", "stall", "corrupt"])
def test_a_passing_fault_is_overcome(fault: str, hub: Hub, mrb: Mrb) -> None:
    if fault in ("429", "500"):
        hub.faults["/tree/"] = [fault]
    hub.faults[f"GET /datasets/{NIGHTS[0]}/resolve/{NIGHTS[1]}/{CORPUS}"] = [fault]
    done = mrb(*PULL, env=IMPATIENT)
    assert done.returncode == 0, done.stderr
    assert hub.faults == {key: [] for key in hub.faults}  # it did meet the fault
    assert mrb("data", "check", "--task", "nights").returncode == 0


@pytest.mark.parametrize(("fault", "words"), [("429", "429"), ("500", "500"), ("stall", "Timeout")])
def test_a_fault_that_stays_ends_in_one_line(fault: str, words: str, hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    hub.faults[f"GET /datasets/{NIGHTS[0]}/resolve/{NIGHTS[1]}/{CORPUS}"] = [fault] * 999
    hub.retry_after = 0
    done = mrb("-c", HASTY, *PULL, env=IMPATIENT, python=True)
    read_refusal(done, NIGHTS[0], CORPUS, "cannot be reached or fails", words, "run the same command again")
    assert not list((tmp_path / "hf").rglob(Path(CORPUS).name))
    hub.faults.clear()
    assert mrb(*PULL).returncode == 0


def test_a_listing_in_pages_is_read_to_its_end(hub: Hub, mrb: Mrb) -> None:
    hub.page = 2
    assert mrb(*PULL).returncode == 0
    files = len(hub.repositories[NIGHTS])
    assert sum("/tree/" in asked for asked in hub.requests) == -(-files // 2) > 2
    assert mrb("data", "check", "--task", "nights").returncode == 0


def test_a_wrong_checksum_twice_is_refused_and_not_kept(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    hub.faults[f"GET /datasets/{NIGHTS[0]}/resolve/{NIGHTS[1]}/{CORPUS}"] = ["corrupt", "corrupt"]
    read_refusal(mrb(*PULL), CORPUS, "checksum", "twice")
    assert not list((tmp_path / "hf").rglob(Path(CORPUS).name))
    assert mrb(*PULL).returncode == 0


def test_gated_missing_and_gone(hub: Hub, mrb: Mrb) -> None:
    page = f"{hub.url}/datasets/{NIGHTS[0]}"
    hub.faults["/tree/"] = ["gated"]
    read_refusal(mrb(*PULL), NIGHTS[0], "restricted", f"accept its terms at {page},", "hf auth login", "HF_TOKEN")
    hub.faults[f"HEAD /datasets/{NIGHTS[0]}/resolve"] = ["", "gated"]  # the README comes first
    read_refusal(mrb(*PULL), NIGHTS[0], f"accept its terms at {page},", "hf auth login", "HF_TOKEN")
    files = hub.repositories.pop(NIGHTS)
    read_refusal(mrb(*PULL), NIGHTS[0], "no such repository")
    hub.repositories[NIGHTS[0], "a" * 40] = files
    read_refusal(mrb(*PULL), NIGHTS[0], NIGHTS[1][:12], "no such revision")


@pytest.mark.parametrize(
    "place", ["/tree/", f"HEAD /datasets/{NIGHTS[0]}/resolve", f"GET /datasets/{NIGHTS[0]}/resolve"]
)
def test_a_token_that_is_not_accepted(place: str, hub: Hub, mrb: Mrb) -> None:
    hub.faults[place] = ["token"]
    done = mrb(*PULL, env={"HF_TOKEN": "hf_of_yesterday"})
    read_refusal(done, NIGHTS[0], "does not accept the token", "hf auth login", "HF_TOKEN")
    assert "hf_of_yesterday" not in done.stderr


def test_a_checkpoint_says_the_same_of_tokens_and_terms(hub: Hub, mrb: Mrb) -> None:
    files, commit = {"config.json": b"{}"}, "3" * 40
    hub.repositories["org/model", commit] = files
    check = ("check", "yes-no", "--set", "layout=gmr", "--set", "path=org/model", "--set", f"revision={commit}")
    for fault, words in (
        ("token", "does not accept the token"),
        ("gated", f"accept its terms at {hub.url}/org/model,"),
    ):
        hub.faults["org/model"] = [fault]
        read_refusal(mrb(*check), "org/model", words, "hf auth login", "HF_TOKEN")


@pytest.mark.parametrize("place", ["/tree/", f"GET /datasets/{NIGHTS[0]}/resolve"])
def test_a_hub_that_limits_requests_is_waited_for_as_it_asks(place: str, hub: Hub, mrb: Mrb) -> None:
    hub.retry_after = 3
    hub.faults[place] = ["limited"]
    started = time.monotonic()
    done = mrb(*PULL)
    assert done.returncode == 0 and time.monotonic() - started > 3, done.stderr
    assert "imit" in done.stderr and "3" in done.stderr


def test_what_the_client_does_not_wait_for_itself(hub: Hub, mrb: Mrb) -> None:
    pull = ("candidates", "pull", "hf://datasets/org/lists")
    hub.repositories["org/lists", "1" * 40], hub.branches["org/lists", "main"] = {"README.md": b"none"}, "1" * 40
    for wait, words in ((2, "no candidate list"), (3600, "429")):
        hub.retry_after = wait
        hub.faults["GET /api/datasets/org/lists"] = ["limited"]
        done = mrb(*pull)
        read_refusal(done, "org/lists", words)
        assert ("asks to wait 2 s" in done.stderr) == (wait == 2)


@pytest.mark.parametrize("word", ["0", "", "false", "No", "off"])
def test_words_that_mean_online(word: str, hub: Hub, mrb: Mrb) -> None:
    assert mrb(*PULL, env={"MRB_OFFLINE": word, "HF_HUB_OFFLINE": word}).returncode == 0


@pytest.mark.parametrize("word", ["1", "true", "YES", "on"])
def test_words_that_mean_offline(word: str, hub: Hub, mrb: Mrb) -> None:
    for name in ("MRB_OFFLINE", "HF_HUB_OFFLINE"):
        read_refusal(mrb(*PULL, env={name: word}), NIGHTS[0], "offline")
    model = ("check", "yes-no", "--set", "layout=gmr", "--set", "path=org/model", "--set", f"revision={'3' * 40}")
    read_refusal(mrb(*model, env={"MRB_OFFLINE": word}), "org/model", "MRB_OFFLINE is set")
    assert hub.requests == []


def test_a_word_that_means_neither(hub: Hub, mrb: Mrb) -> None:
    read_refusal(mrb(*PULL, env={"MRB_OFFLINE": "maybe"}), "MRB_OFFLINE=maybe", "wanted 1")


def test_offline(hub: Hub, mrb: Mrb) -> None:
    for name in ("MRB_OFFLINE", "HF_HUB_OFFLINE"):
        read_refusal(mrb(*PULL, env={name: "1"}), NIGHTS[0], "offline", "mrb data pull")
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
from mrb.data.task import load_task
from mrb.data.load import load_task_data
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
    read_refusal(mrb("data", "check", "--task", "nights"), CORPUS, "not what the Hub lists")
    assert mrb(*PULL).returncode == 0
    assert "checksums are right" in mrb("data", "check", "--task", "nights").stdout
    # What the first load found is held to as well.
    path = next((tmp_path / "mrb" / "hub").rglob("*.json"))
    manifest = json.loads(path.read_text())
    assert manifest["read"]["corpus/corpus"]["rows"] == 12
    manifest["read"]["corpus/corpus"]["rows"] = 13
    path.write_text(json.dumps(manifest))
    read_refusal(mrb("data", "check", "--task", "nights"), "corpus/corpus: 12 rows of id,", "the first load found 13")


def test_columns_that_do_not_fit(hub: Hub, mrb: Mrb) -> None:
    files = hub.repositories["mteb/scidocs", "f8c2fcf00f625baaa80f62ec5bd9e1fff3b8ae88"]
    files["corpus.jsonl"] = b'{"key": "d1", "text": "words"}\n'
    read_refusal(
        mrb("data", "pull", "--task", "scidocs"), "mteb/scidocs", "corpus/corpus", "key, text", "_id, id, corpus-id"
    )
    read_refusal(mrb("data", "check", "--remote", "--task", "scidocs"), "key, text", "_id, id, corpus-id")
    files["README.md"] = b"---\nconfigs: []\n---\n"
    del files["corpus.jsonl"]
    read_refusal(
        mrb("data", "check", "--remote", "--task", "scidocs"), "corpus: tables found", "wanted one of: corpus/corpus"
    )


def test_a_side_without_what_the_task_asks_about_is_refused(hub: Hub, mrb: Mrb) -> None:
    """An upload that lost its pictures would be scored on nothing."""
    files = hub.repositories[NIGHTS]
    whole = pq.read_table(io.BytesIO(files[CORPUS]))
    empty = pa.nulls(whole.num_rows, whole.schema.field("image").type)
    at = whole.column_names.index("image")
    for table, words in (
        (whole.drop_columns("image"), ("columns found: id, text, modality; wanted one of: image",)),
        (whole.set_column(at, "image", empty), ("none of 12 rows has image", "corpus")),
    ):
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        files[CORPUS] = buffer.getvalue()
        env = {"HF_HOME": f"hf{table.num_columns}", "MRB_CACHE": f"mrb{table.num_columns}"}
        make = ("candidates", "make", "--task", "nights", "--first-stage", "pixels")
        read_refusal(mrb(*make, env=env), "mteb/mbeir_nights_task4, corpus/corpus", *words)


def test_what_was_read_before_a_failure_is_shown(hub: Hub, mrb: Mrb) -> None:
    del hub.repositories[NIGHTS]
    done = mrb("data", "pull", "--task", "scifact", "--task", "nights", "--task", "nq")
    read_refusal(done, NIGHTS[0], "no such repository")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["task", "scifact"]


def test_the_doctor_reads_no_data(hub: Hub, mrb: Mrb) -> None:
    files = hub.repositories[NIGHTS]
    table = pq.read_table(io.BytesIO(files[CORPUS]))
    pictures = pa.array([{"bytes": os.urandom(200_000), "path": None} for _ in range(table.num_rows)])
    buffer = io.BytesIO()
    pq.write_table(table.set_column(table.column_names.index("image"), "image", pictures), buffer)
    files[CORPUS] = buffer.getvalue()
    assert len(files[CORPUS]) > 2_400_000
    done = mrb(SIZED, "data", "check", "--remote", "--task", "nights", "--task", "scifact", python=True)
    assert done.returncode == 0, done.stderr
    assert "corpus/corpus (12)" in done.stdout and done.stdout.count(" ok") == 2
    assert 0 < hub.sent < 400_000
    del hub.repositories[NIGHTS]
    read_refusal(
        mrb(SIZED, "data", "check", "--remote", "--task", "nights", "--task", "scifact", python=True),
        NIGHTS[0],
        "1 of 2",
    )
