"""Parquet files from strangers, small and made to fill the memory: each reader refuses them in one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mrb._util.parquet import MAX_FOOTER_BYTES
from mrb.candidates import lists
from mrb.candidates.lists import Provenance
from mrb.candidates.score_files import read_scores
from mrb.errors import ResultError
from tests.builders.toy import toy_task

pytest.importorskip("resource")
MEMORY = 2 * 1024**3
SCRIPT = """
import json, resource, sys
from pathlib import Path
from types import SimpleNamespace
from mrb.candidates.lists import read_parquet, read_provenance
from mrb.errors import MRBError
from mrb.results.schema import SCORES_SCHEMA
from mrb.candidates.score_files import read_scores
from mrb._util.parquet import read_untrusted
from mrb.errors import ResultError
from mrb.submission.sandboxed_parquet import check_footer
from mrb.training.data.files import GroupFile

def scores_of_run(path):
    read_untrusted(path, SCORES_SCHEMA, ResultError)

def rankings(path):
    check_footer(path, 1)

resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]),) * 2)
readers = {"list": read_parquet, "provenance": read_provenance, "scores": read_scores, "run": scores_of_run,
           "rankings": rankings, "groups": lambda path: GroupFile(path)[0]}
said = {}
for path in map(Path, sys.argv[2:]):
    for name, read in readers.items():
        if name == "groups" and path.stem != "texts":
            continue  # they take long to be unpacked
        try:
            read(path)
            said[f"{path.stem} {name}"] = None
        except MRBError as error:
            said[f"{path.stem} {name}"] = str(error).replace(str(path), "FILE")
print(json.dumps(said))
"""


def read_under_a_limit(paths: Sequence[Path], cache: Path) -> dict[str, str | None]:
    """What every reader says of each file, in a process that may take 2 GiB; None where it is read."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(MEMORY), *map(str, paths)],
        env={"MRB_CACHE": str(cache), "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, str | None] = json.loads(done.stdout)
    return said


def same(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def table(query_ids: Any, doc_ids: Any) -> pa.Table:
    """A table that is a list, but for its order, of ids in dictionaries or as they are."""
    rows = len(query_ids)
    numbers = {"rank": pa.array(np.ones(rows, np.int32)), "score": pa.array(np.ones(rows, np.float32))}
    return pa.table({"query_id": query_ids, "doc_id": doc_ids, **numbers})


@pytest.fixture
def stated() -> dict[str, str]:
    """The metadata of a list whose content nobody has looked at."""
    task = toy_task()
    made = Provenance(
        task=task.id, list_hash=task.list_hash, revision=task.revision, first_stage="toy", track="t", depth=1000
    )
    return {"mrb": json.dumps({**made.model_dump(), "schema_version": 2, "sha256": "0" * 64})}


@pytest.mark.slow
def test_small_files_of_much_content_are_refused_in_bounded_memory(tmp_path: Path, stated: dict[str, str]) -> None:
    def put(name: str, content: pa.Table, **options: Any) -> Path:
        path = tmp_path / f"{name}.parquet"
        with pq.ParquetWriter(
            path, content.schema, compression="zstd", store_schema=False, write_statistics=False, **options
        ) as writer:
            writer.write_table(content)
            writer.add_key_value_metadata(stated)
        assert path.stat().st_size < 5_000_000, name
        return path

    turns = pa.DictionaryArray.from_arrays(pa.array(np.arange(1_000_000, dtype=np.int32) % 2), pa.array(["a", "b"]))
    long = [f"{'x' * 2_000_000}{row}" for row in range(20)]
    made = [
        put("long", table(same("q", 600_000), same("x" * 4000, 600_000))),  # 2.4 GB
        put("rows", table(same("q", 18_000_000), same("d", 18_000_000))),
        put("turns", table(turns, same("d", 1_000_000))),
        put("texts", table(same("q", 50_000), same("y" * 2_000_000, 50_000))),  # 100 GB
        put(
            "prefixes", table(same("q", 20), pa.array(long)), use_dictionary=["query_id"],
            column_encoding={"doc_id": "DELTA_BYTE_ARRAY"},
        ),
        put("pages", table(pa.array(["q"]), pa.array(["\0" * 300_000_000])), use_dictionary=False),
    ]  # fmt: skip
    wanted = {
        "long": "when unpacked, too much for a file of its size",
        "rows": "18000000 rows, too many for a file of its size",
        "turns": "query '[ab]' occurs twice",
        "texts": "column doc_id: a text of 2000000 bytes",
        "prefixes": "column doc_id is coded as DELTA_BYTE_ARRAY; write its texts plain",
        "pages": "3000[0-9]+ bytes when unpacked, more than",
    }
    said = read_under_a_limit(made, tmp_path)
    for path in made:
        line = said[f"{path.stem} list"]
        assert line is not None and re.search(wanted[path.stem], line), (path.stem, line)
        assert "FILE" in line
        for reader in ("scores", "run", "rankings"):
            assert "FILE" in (said[f"{path.stem} {reader}"] or ""), (path.stem, reader)
    assert "row group 1 has more than 268435456 bytes when unpacked" in (said["texts groups"] or "")


@pytest.mark.slow
def test_a_long_footer_is_refused_unread_by_every_reader(tmp_path: Path) -> None:
    one = table(pa.array(["q"]), pa.array(["d"]))
    pq.write_table(one.replace_schema_metadata({"x": "y" * 60_000_000}), tmp_path / "metadata.parquet")
    pq.write_table(pa.table({f"c{n}": pa.array([], pa.int8()) for n in range(20_000)}), tmp_path / "wide.parquet")
    with pq.ParquetWriter(tmp_path / "groups.parquet", one.schema) as writer:
        for _ in range(100):
            writer.write_table(one)
    said = read_under_a_limit(
        [tmp_path / "metadata.parquet", tmp_path / "wide.parquet", tmp_path / "groups.parquet"], tmp_path
    )
    for name, line in ((key.split()[0], value) for key, value in said.items()):
        if name == "metadata":
            assert line is not None and f"bytes, more than {MAX_FOOTER_BYTES}" in line
        assert line is not None and "FILE" in line


def test_columns_that_are_no_scores_are_refused_by_name(tmp_path: Path) -> None:
    half = pa.array([b"\xed\xa0\x80"]).view(pa.string())  # what CPython calls a surrogate
    columns = {"query_id": pa.array(["q"]), "doc_id": pa.array(["d"]), "score": pa.array([1.0])}
    cases: list[tuple[list[tuple[str, pa.Array]], str]] = [
        ([*columns.items(), ("doc_id", pa.array(["e"]))], "2 columns doc_id; wanted one"),
        ([*(columns | {"query_id": pa.array([["q"]])}).items()], "column query_id holds list<.*>; wanted one value"),
        ([*(columns | {"score": pa.array([{"a": 1.0}])}).items()], "column score holds struct<.*>; wanted one value"),
        ([*(columns | {"doc_id": half}).items()], "damaged parquet: .*UTF8"),
        ([*(columns | {"doc_id": pa.array([b"\xff"])}).items()], "damaged parquet: .*UTF8"),
        ([*(columns | {"query_id": pa.array([None], pa.null())}).items()], "a row without query_id or doc_id"),
    ]
    for found, words in cases:
        path = tmp_path / "scores.parquet"
        pq.write_table(pa.table([column for _, column in found], names=[name for name, _ in found]), path)
        with pytest.raises(ResultError, match=words):
            read_scores(path)


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.binary()]
)
def test_texts_of_every_kind_are_ids(tmp_path: Path, kind: pa.DataType) -> None:
    ids = pa.array(["q", "p"]).cast(kind) if not pa.types.is_string_view(kind) else pa.array(["q", "p"], kind)
    pq.write_table(
        pa.table({"query_id": ids, "doc_id": ids, "score": pa.array([1, 2], pa.int16())}), tmp_path / "s.parquet"
    )
    assert read_scores(tmp_path / "s.parquet") == {"q": {"q": 1.0}, "p": {"p": 2.0}}


def test_a_list_of_equal_rows_in_many_groups_is_read(tmp_path: Path, stated: dict[str, str]) -> None:
    """What is bounded is content, not packing: a long list of few ids packs well, and is a list."""
    made = Provenance.model_validate(
        {k: v for k, v in json.loads(stated["mrb"]).items() if k in Provenance.model_fields}
    )
    doc_ids, falling = [f"d{n}" for n in range(1000)], np.arange(1000, 0, -1, dtype=np.float32)
    built = lists.build_candidates(made, ((f"q{n}", doc_ids, falling) for n in range(300)))
    lists.write_parquet(built, tmp_path / "list.parquet")
    again = lists.read_parquet(tmp_path / "list.parquet")
    assert again.sha256 == built.sha256 and again.pairs == 300_000
