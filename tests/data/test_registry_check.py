"""What the doctor and the first load make of files that other tools write, and of row counts that are not the
registry's."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders.command import read_refusal
from tests.builders.hub import sized
from tests.builders.hub.server import Hub

pytestmark = pytest.mark.hub

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]
SIZED = sized.__file__
SCIFACT = ("mteb/scifact", "d56462d0e63a25450459c4f213e49ffdb866f7f9")
NIGHTS = ("mteb/mbeir_nights_task4", "c798fa2f5173dc9fe0c727fd0abfd2f94cbc2f23")
CORPUS = "corpus/corpus-00000-of-00001.parquet"


@pytest.fixture
def sized(mrb: Mrb) -> Callable[..., Done]:
    """`mrb` with the sizes of the repositories on loopback."""
    return lambda *arguments, **env: mrb(SIZED, *arguments, env=env, python=True)


def rows_of(data: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in data.splitlines()]


def gzipped(rows: list[dict[str, object]]) -> tuple[str, bytes]:
    return "jsonl.gz", gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())


def array(rows: list[dict[str, object]]) -> tuple[str, bytes]:
    return "json", json.dumps(rows).encode()


def indented(rows: list[dict[str, object]]) -> tuple[str, bytes]:
    return "json", json.dumps(rows, indent=2).encode()


def long_rows(rows: list[dict[str, object]]) -> tuple[str, bytes]:
    """With a first row that is longer than what is asked for at first."""
    rows = [{**rows[0], "text": "word " * 40_000}, *rows[1:]]
    return "jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()


def unicode_rows(rows: list[dict[str, object]]) -> tuple[str, bytes]:
    """A byte-order mark, letters of several bytes, and line ends of Windows."""
    rows = [{**row, "text": f"{row['text']} ü 漢 {'ß' * 40_000}"} for row in rows]
    return "jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows).encode()


@pytest.mark.parametrize("write", [gzipped, array, indented, long_rows, unicode_rows])
def test_files_as_other_tools_write_them(
    write: Callable[[list[dict[str, object]]], tuple[str, bytes]], hub: Hub, sized: Callable[..., Done]
) -> None:
    files = hub.repositories[SCIFACT]
    ending, data = write(rows_of(files.pop("corpus.jsonl")))
    files[f"corpus.{ending}"] = data
    done = sized("data", "check", "--remote", "--task", "scifact")
    assert done.returncode == 0 and done.stdout.rstrip().endswith("  ok"), done.stdout + done.stderr
    done = sized("data", "pull", "--task", "scifact")
    assert done.returncode == 0 and "registry" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "nothing in it"),
        (b'["a", "b"]', "not an object"),
        (b"<html>moved</html>", "not json"),
    ],
)
def test_a_table_that_is_none(data: bytes, words: str, hub: Hub, sized: Callable[..., Done]) -> None:
    hub.repositories[SCIFACT]["corpus.jsonl"] = data
    read_refusal(sized("data", "check", "--remote", "--task", "scifact"), SCIFACT[0], "corpus.jsonl", words)


def cut(files: dict[str, bytes], path: str, rows: int) -> None:
    """Leave the first `rows` of a parquet file."""
    buffer = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(files[path])).slice(0, rows), buffer)
    files[path] = buffer.getvalue()


def test_a_table_that_was_cut_off(hub: Hub, sized: Callable[..., Done], mrb: Mrb) -> None:
    # The last document is judged by nobody: nothing else would notice.
    cut(hub.repositories[NIGHTS], CORPUS, 11)
    words = ("nights", "11 documents, the registry says 12")
    read_refusal(sized("data", "check", "--remote", "--task", "nights"), *words)
    done = sized("data", "pull", "--task", "nights")
    assert done.returncode == 0 and done.stderr.count(words[1]) == 1, done.stderr
    assert done.stderr.count(words[1]) == sized("data", "pull", "--task", "nights").stderr.count(words[1])
    # Where the live Hub was seen to agree with the registry, other rows are not the task's, however often it is asked.
    for _ in range(2):
        read_refusal(sized("data", "pull", "--task", "nights", SEEN_LIVE="1"), *words)
        make = ("candidates", "make", "--task", "nights", "--first-stage", "pixels")
        read_refusal(sized(*make, SEEN_LIVE="1"), *words)


def test_the_first_load_says_it_and_later_ones_do_not(hub: Hub, sized: Callable[..., Done]) -> None:
    cut(hub.repositories[NIGHTS], CORPUS, 11)
    make = ("candidates", "make", "--task", "nights", "--first-stage", "pixels")
    assert [sized(*make).stderr.count("the registry says 12") for _ in range(2)] == [1, 0]


@pytest.mark.parametrize(
    ("path", "rows", "words"),
    [
        ("qrels/test-00000-of-00001.parquet", 6, "6 judgements, the registry says 7"),
        ("queries/test-00000-of-00001.parquet", 5, "5 rows of queries, the registry says 6"),
    ],
)
def test_other_tables_that_were_cut_off(path: str, rows: int, words: str, hub: Hub, sized: Callable[..., Done]) -> None:
    cut(hub.repositories[NIGHTS], path, rows)
    read_refusal(sized("data", "check", "--remote", "--task", "nights"), "nights", words)


def test_rows_that_only_the_readme_states(hub: Hub, sized: Callable[..., Done]) -> None:
    """A large file of JSON lines has no count of its own."""
    files = hub.repositories[SCIFACT]
    first, *rest = rows_of(files["corpus.jsonl"])
    rows = [first, *({**row, "text": "word " * 4_000} for row in rest)]
    files["corpus.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()
    info = "---\ndataset_info:\n- config_name: corpus\n  splits:\n  - name: corpus\n    num_examples: {}\n---\n"
    for stated, state in ((12, "ok"), (11, "11 documents, the registry says 12")):
        files["README.md"] = info.format(stated).encode()
        assert state in sized("data", "check", "--remote", "--task", "scifact").stdout
        assert f"corpus/corpus ({stated})" in sized("data", "check", "--remote", "--task", "scifact").stdout


def test_a_readme_that_states_other_rows_than_its_files_have(hub: Hub, sized: Callable[..., Done]) -> None:
    files = hub.repositories[NIGHTS]
    info = "dataset_info:\n  config_name: corpus\n  splits:\n  - name: corpus\n    num_examples: 40038\n---\n"
    files["README.md"] = files["README.md"].decode().replace("\n---\n", "\n" + info, 1).encode()
    read_refusal(
        sized("data", "check", "--remote", "--task", "nights"), "12 rows in its files; its README states 40,038"
    )


def test_the_parts_of_a_task_count_together(hub: Hub, sized: Callable[..., Done]) -> None:
    name = ("mteb/cqadupstack-gaming", "4885aa143210c98657558c04aaf3dc47cfb54340")
    lines = hub.repositories[name]["corpus.jsonl"].splitlines(keepends=True)
    hub.repositories[name]["corpus.jsonl"] = b"".join(lines[:-1])
    read_refusal(sized("data", "check", "--remote", "--task", "cqadupstack"), "143 documents, the registry says 144")


def test_the_doctor_waits_where_the_hub_limits_requests(hub: Hub, sized: Callable[..., Done]) -> None:
    hub.retry_after = 2
    hub.faults = {"/tree/": ["limited"], f"GET /datasets/{NIGHTS[0]}/resolve": ["", "limited"]}
    done = sized("data", "check", "--remote", "--task", "nights")
    assert done.returncode == 0 and done.stdout.rstrip().endswith("  ok"), done.stdout + done.stderr
    assert hub.faults == {key: [] for key in hub.faults}


def test_a_footer_longer_than_what_is_asked_for_at_first(hub: Hub, sized: Callable[..., Done]) -> None:
    files = hub.repositories[NIGHTS]
    table = pq.read_table(io.BytesIO(files[CORPUS]))
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"note": "x" * 300_000}), buffer)
    files[CORPUS] = buffer.getvalue()
    assert isinstance(table, pa.Table) and len(files[CORPUS]) > 300_000
    assert sized("data", "check", "--remote", "--task", "nights").returncode == 0
