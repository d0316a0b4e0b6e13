"""Commands that have a list read the rows that it names, of a corpus that is much larger."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.builders.hub.server import Hub

pytestmark = pytest.mark.hub

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]
NIGHTS = ("mteb/mbeir_nights_task4", "c798fa2f5173dc9fe0c727fd0abfd2f94cbc2f23")
CORPUS = "corpus/corpus-00000-of-00001.parquet"
ROWS = 30_000
TASK = ("--task", "nights")
LISTS = ("--candidates", "candidates")


@pytest.fixture
def large(hub: Hub) -> Hub:
    """NIGHTS with its twelve documents among ROWS others, whose pictures are none: to open one would be an error."""
    files = hub.repositories[NIGHTS]
    own = pq.read_table(io.BytesIO(files[CORPUS]))
    picture = pa.array([{"bytes": b"no picture" * 30, "path": None}] * (ROWS // 2), own.schema.field("image").type)
    blocks = [own]
    for start in (0, ROWS // 2):
        columns = {name: pa.nulls(ROWS // 2, own.schema.field(name).type) for name in own.column_names}
        columns |= {"id": pa.array([f"9:{10_000 + start + n}" for n in range(ROWS // 2)]), "image": picture}
        blocks.append(pa.table(columns, own.schema))
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables([blocks[1], own, blocks[2]]), buffer, row_group_size=1000)
    files[CORPUS] = buffer.getvalue()
    return hub


@pytest.fixture
def run(large: Hub, mrb: Mrb, tmp_path: Path) -> Callable[..., str]:
    """`run(*arguments)`: a command that must work, and must leave no table of the corpus's size on the disk."""

    def ran(*arguments: str, whole: bool = False, python: bool = False) -> str:
        done = mrb(*arguments, python=python)
        assert done.returncode == 0, done.stderr
        assert (largest_table(tmp_path) >= ROWS) == whole, arguments
        return done.stdout

    return ran


def largest_table(folder: Path) -> int:
    """The rows of the largest Arrow table that was written: by `datasets` (a stream) or by MRB (a file)."""
    sizes = [0]
    for path in folder.rglob("*.arrow"):
        with pa.memory_map(str(path)) as source:
            try:
                sizes.append(pa.ipc.open_file(source).read_all().num_rows)
            except pa.ArrowInvalid:
                sizes.append(pa.ipc.open_stream(source).read_all().num_rows)
    return max(sizes)


def write_run(path: Path) -> None:
    """A TREC run over the twelve real documents."""
    lines = [f"9:{500 + q} Q0 9:{(q + d) % 12} {d + 1} {12 - d} theirs" for q in range(6) for d in range(12)]
    path.write_text("\n".join(lines) + "\n")


def test_only_rows_that_are_named_are_written(large: Hub, run: Callable[..., str], tmp_path: Path) -> None:
    run("data", "pull", *TASK)
    large.requests.clear()
    write_run(tmp_path / "theirs.trec")
    made = run("candidates", "import", "theirs.trec", *TASK, "--first-stage", "theirs", "--depth", "12")
    shown = run("candidates", "show", "candidates/nights.parquet")
    figures = made.splitlines()[0].partition("nDCG@10 ")[2]
    assert figures and figures in shown
    assert "6 lists, 72 pairs for 6 queries of nights" in run("candidates", "check", "candidates/nights.parquet")
    run("run", *TASK, *LISTS, "--model", "surface", "--depth", "12")
    assert "nights: identical" in run("recompute", "runs/surface", *LISTS)
    scores = "runs/surface/nights/scores.parquet"
    scored = run("score", scores, *TASK, *LISTS, "--depth", "12", "--kind", "pointwise", "--name", "again")
    assert "nights" in scored and "again: nDCG@10" in scored
    assert "surface holds what it declares" in run("check", "surface", *TASK, *LISTS, "--no-reload")
    assert large.requests == []
    whole = "from mrb.data.load import load_task_data as l; from mrb.data.task import load_task as t; l(t('nights'))"
    run("-c", whole, python=True, whole=True)


def test_a_document_that_the_corpus_lacks_is_still_found(run: Callable[..., str], mrb: Mrb, tmp_path: Path) -> None:
    run("data", "pull", *TASK)
    write_run(tmp_path / "theirs.trec")
    with (tmp_path / "theirs.trec").open("a") as file:
        file.write("9:500 Q0 9:777 13 0.5 theirs\n")
    done = mrb("candidates", "import", "theirs.trec", *TASK, "--first-stage", "theirs", "--depth", "13")
    assert done.returncode == 2 and "document '9:777' is not in the corpus of nights" in done.stderr


def test_a_check_asks_where_there_are_a_list_and_the_data(hub: Hub, mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "candidates").mkdir()

    def refused(*words: str) -> None:
        done = mrb("check", "surface", *TASK, *LISTS)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
        assert all(word in done.stderr for word in ("nights", *words)), done.stderr

    refused("no candidate list is given")
    write_run(tmp_path / "theirs.trec")
    assert mrb("candidates", "import", "theirs.trec", *TASK, "--first-stage", "x", "--depth", "12").returncode == 0
    asked = mrb("check", "surface", *TASK, "--task", "mini-emoji-i2i", *LISTS)
    assert asked.returncode == 2 and "no candidate list at" in asked.stderr
    hub.requests.clear()
    next((tmp_path / "hf").rglob(Path(CORPUS).name)).unlink()
    refused("is not on this disk", "mrb data pull")
    assert hub.requests == []
