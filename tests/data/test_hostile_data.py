"""Data and names from strangers: each ends in one line and exit code 2, and none is executed, opened or made a path."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mrb._util import parquet
from mrb.candidates import lists
from mrb.candidates.lists import Provenance
from mrb.cli.main import main
from mrb.data.task import load_task
from mrb.errors import CandidatesError
from mrb.results.schema import read_result

TASK = load_task("mini-flag-t2i")
RUN = ("run", "--task", TASK.id, "--candidates", "list.parquet", "--model")
LOOKS = """
class Looks:
    def score(self, request):
        return [float(sum(item.image.open().resize((1, 1)).getpixel((0, 0)))) for item in request.candidates]
"""
NAN = "def score(request):\n    return [float('nan') for _ in request.candidates]\n"
MARKED = "open('loaded', 'w').close()\ndef score(request):\n    return [0.0 for _ in request.candidates]\n"
TRICKS = (
    "../../x",
    "/etc/passwd",
    "..",
    "a\0b",
    "CON",
    "x" * 300,
    "\u202egnp.exe",
    "q\nmrb: all is well",
    " ",
    "~",
    "%2e",
)

World = Callable[..., None]
Mrb = Callable[..., str]


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(buffer, "JPEG")
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A whole PNG file of this size, as far as its header can tell; its pixels are a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class Writes:
    """Unpickled, it writes a file."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, ("executed", "w")


BOMB = pickle.dumps(Writes())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """`world(images, queries)`: a working folder where TASK has these documents and queries, each query with all
    documents in `list.parquet`, and the adapters `looks`, `nan` and `marked`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mrb.data.load.locate_embedded_data", lambda: tmp_path / "data")
    # What is hostile here stands for data of the Hub, which no hash of ours is known of.
    monkeypatch.setattr("mrb.data.load.check_part", lambda *_: None)
    monkeypatch.setattr("mrb.data.load.check_file", lambda *_: None)
    monkeypatch.setattr(sys, "path", list(sys.path))  # loading an adapter adds the working folder
    for name, body in {"looks": LOOKS, "nan": NAN, "marked": MARKED}.items():
        Path(f"{name}.py").write_text(body)

    def make(images: Mapping[str, bytes | None], queries: tuple[str, ...] = ("q1",), path: str | None = None) -> None:
        held = pa.array(
            [{"bytes": data, "path": path} for data in images.values()],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
        ids = list(images)
        write("corpus", pa.table({"id": ids, "image": held}))
        write("queries", pa.table({"id": list(queries), "text": ["a flag"] * len(queries)}))
        judged = {"query-id": list(queries), "corpus-id": [ids[0]] * len(queries), "score": [1] * len(queries)}
        write("qrels", pa.table(judged))
        made = Provenance(
            task=TASK.id, list_hash=TASK.list_hash, revision=TASK.revision, first_stage="toy", track="test", depth=25
        )
        falling = [float(-rank) for rank in range(len(ids))]
        lists.write_parquet(
            lists.build_candidates(made, [(query, ids, falling) for query in queries]), Path("list.parquet")
        )

    def write(table: str, rows: pa.Table) -> None:
        file = table_file(table)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, file)

    yield make
    for name in ("looks", "nan", "marked"):
        sys.modules.pop(name, None)


def table_file(table: str) -> Path:
    return Path("data", TASK.source.parts[0].repository, table, "test.parquet")


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mrb:
    """The command line in this process; what it printed, after exit code 0."""

    def call(*arguments: str) -> str:
        code, out, err = _call(monkeypatch, capsys, arguments)
        assert code == 0, err
        return out

    return call


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mrb:
    """The same; the one line that it printed on stderr, after exit code 2. Nothing may have been executed."""

    def call(*arguments: str) -> str:
        code, _, err = _call(monkeypatch, capsys, arguments)
        assert code == 2, err
        (line,) = err.splitlines()
        assert "Traceback" not in line and len(line) < 1200
        assert line.isprintable()
        assert not Path("executed").exists()
        return line

    return call


def _call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> tuple[object, str, str]:
    monkeypatch.setattr(sys, "argv", ["mrb", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    shown = capsys.readouterr()
    return left.value.code, shown.out, shown.err


# Images


@pytest.mark.parametrize(
    "data",
    [
        b"",
        png()[:20],
        png_header(0, 5),
        b"<html><script>alert(1)</script>",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (w) file",
        BOMB,
    ],
    ids=["empty", "cut header", "no width", "html", "svg", "postscript", "pickle"],
)
def test_a_bad_image_is_named_before_the_model_is_loaded(data: bytes, world: World, refused: Mrb) -> None:
    world({"good": png(), "bad-one": data}, path="looks-like.png")
    line = refused(*RUN, "marked", "--dry-run")
    assert TASK.id in line and "'bad-one'" in line
    assert not Path("loaded").exists()
    assert not Path("runs").exists()


def test_an_image_over_the_tasks_cap_is_refused_for_its_size(world: World, refused: Mrb) -> None:
    world({"good": png(), "bomb": png_header(60_000, 60_000)})
    for arguments in (("marked", "--dry-run"), ("looks",)):
        assert "'bomb': image of 60000 x 60000 pixels" in refused(*RUN, *arguments)


def test_an_image_cut_after_its_header_is_named_when_it_is_opened(world: World, accepted: Mrb, refused: Mrb) -> None:
    world({"good": png(), "cut-one": jpeg()[:-40]})
    assert "image headers are sound" in accepted(*RUN, "marked", "--dry-run")
    assert "'cut-one'" in refused(*RUN, "looks")
    assert not list(Path("runs").rglob("result.json"))


def test_an_image_with_the_wrong_suffix_is_told_by_its_bytes(world: World, accepted: Mrb) -> None:
    world({"good": png(), "other": jpeg()}, path="picture.png")
    accepted(*RUN, "looks")


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "https://127.0.0.1/x.png", "file:///etc/passwd"])
def test_a_path_in_place_of_bytes_is_never_opened(path: str, world: World, refused: Mrb) -> None:
    world({"good": None}, path=path)
    assert "opens no paths" in refused(*RUN, "looks")


# Tables


def _damaged(kind: str, whole: bytes) -> bytes:
    if kind == "deep":
        nested = pa.string()
        for _ in range(200):
            nested = pa.list_(nested)
        sink = io.BytesIO()
        pq.write_table(pa.table({"id": pa.array([None], nested)}), sink)
        return sink.getvalue()
    return {"empty": b"", "cut": whole[:-30], "no footer": whole[: len(whole) // 2], "pickle": BOMB}[kind]


@pytest.mark.parametrize(
    ("table", "kind"),
    [("corpus", kind) for kind in ("empty", "cut", "no footer", "pickle", "deep")]
    + [("queries", "cut"), ("qrels", "cut")],
)
def test_a_damaged_table_is_one_line(table: str, kind: str, world: World, refused: Mrb) -> None:
    world({"good": png()})
    file = table_file(table)
    file.write_bytes(_damaged(kind, file.read_bytes()))
    line = refused(*RUN, "marked", "--dry-run")
    assert f"{TASK.id}, {table}/test" in line
    assert not Path("loaded").exists()


@pytest.mark.parametrize("kind", ["empty", "cut", "no footer", "pickle", "deep"])
def test_a_damaged_candidate_list_is_one_line(kind: str, world: World, refused: Mrb) -> None:
    world({"good": png()})
    file = Path("list.parquet")
    file.write_bytes(_damaged(kind, file.read_bytes()))
    assert "list.parquet" in refused(*RUN, "marked")
    assert not Path("loaded").exists()


def _packed(path: Path, rows: int, doc_id: str) -> None:
    """A list of `rows` equal rows, in a few kilobytes: the texts stand once, in the file's dictionary."""

    def repeated(text: str) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))

    columns = {"query_id": repeated("q"), "doc_id": repeated(doc_id)}
    columns |= {"rank": pa.array(np.ones(rows, np.int32)), "score": pa.array(np.ones(rows, np.float32))}
    pq.write_table(pa.table(columns), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 50_000


def test_a_small_file_of_huge_texts_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    _packed(tmp_path / "texts.parquet", 50_000, "x" * 2_000_000)  # 100 GB when unpacked
    with pytest.raises(CandidatesError, match="doc_id: a text of 2000000 bytes"):
        lists.read_parquet(tmp_path / "texts.parquet")


def test_a_file_that_states_too_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _packed(tmp_path / "rows.parquet", 50_000, "d")
    monkeypatch.setattr(parquet, "MAX_ROWS", 49_999)
    with pytest.raises(CandidatesError, match="50000 rows, more than 49999"):
        lists.read_parquet(tmp_path / "rows.parquet")
    zeros = pa.table({"query_id": ["q"], "doc_id": ["\0" * 3_000_000], "rank": pa.array([1], pa.int32())})
    zeros = zeros.append_column("score", pa.array([1], pa.float32()))
    pq.write_table(zeros, tmp_path / "zeros.parquet", compression="zstd")
    monkeypatch.setattr(lists, "MAX_FILE_BYTES", 2_000_000)
    with pytest.raises(CandidatesError, match="bytes when unpacked, more than 2000000"):
        lists.read_parquet(tmp_path / "zeros.parquet")


# Results


RESULT_CHANGES = {
    "nan": ('"failed_pairs": 0', '"failed_pairs": NaN', "NaN"),
    "infinity": ('"failed_pairs": 0', '"failed_pairs": -Infinity', "-Infinity"),
    "overflow": ('"tied_at_10": 0.0', '"tied_at_10": 1e999', "1e999"),
    "unknown field": ('"failed_pairs": 0', '"failed_pairs": 0, "more": 1', "counts.more"),
    "duplicate key": ('"failed_pairs": 0', '"failed_pairs": 0, "failed_pairs": 0', "occurs twice"),
    "text for number": ('"failed_pairs": 0', '"failed_pairs": "0"', "counts.failed_pairs"),
    "nesting": ('"failed_pairs": 0', '"failed_pairs": ' + "[" * 5000 + "]" * 5000, "JSON"),
    "task path": ('"task": "mini-faq-t2t"', '"task": "../../x"', "task: "),
    "task unknown": ('"task": "mini-faq-t2t"', '"task": "con"', "'con'"),
    "name path": ('"name": "toy"', '"name": "../../x"', "reranker.name"),
    "name dots": ('"name": "toy"', '"name": ".."', "reranker.name"),
    "name html": ('"name": "toy"', '"name": "<script>alert(1)</script>"', "reranker.name"),
    "name nul": ('"name": "toy"', '"name": "a\\u0000b"', "reranker.name"),
    "name long": ('"name": "toy"', f'"name": "{"x" * 300}"', "reranker.name"),
    "version direction": ('"version": "1"', '"version": "\\u202e1"', "reranker.version"),
}


@pytest.mark.parametrize("change", RESULT_CHANGES)
def test_a_hostile_result_is_one_line(change: str, make_run: Callable[..., Path], refused: Mrb) -> None:
    path = make_run("toy", tasks=("mini-faq-t2t",)) / "mini-faq-t2t" / "result.json"
    read_result(path)
    old, new, named = RESULT_CHANGES[change]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert named in refused("submission", "validate", str(path))


@pytest.mark.parametrize("data", [BOMB, b"", b"\xff\xfe{\0}\0", b'{"a": 1}\0', b"[]"])
def test_what_is_no_result_is_one_line(data: bytes, tmp_path: Path, refused: Mrb) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(data)
    assert "result.json" in refused("submission", "validate", str(path))


# Names


def test_ids_are_never_paths(world: World, accepted: Mrb, tmp_path: Path) -> None:
    world({trick: png(colour) for trick, colour in zip(TRICKS, _colours(), strict=False)}, queries=TRICKS)
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    accepted(*RUN, "looks")
    accepted(*RUN, "looks", "--dry-run")
    folder = tmp_path / "runs" / "looks"
    made = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts} - before
    assert {path.parent for path in made} <= {tmp_path, tmp_path / "runs", folder, folder / TASK.id}
    names = {path.name for path in made if path.is_file()}
    assert names >= {"result.json", "scores.parquet", "journal"}
    assert not any(trick.strip() and trick in name for trick in TRICKS for name in names)
    scores = pq.read_table(folder / TASK.id / "scores.parquet")
    assert set(scores.column("query_id").to_pylist()) == set(TRICKS)
    assert set(scores.column("doc_id").to_pylist()) == set(TRICKS)


def _colours() -> list[str]:
    return [f"#{number:02x}0000" for number in range(0, 250, 10)]


@pytest.mark.parametrize("trick", ["q\nmrb: all is well", "\u202egnp.exe", "a\0b"])
def test_an_id_in_an_error_stays_one_line(trick: str, world: World, refused: Mrb) -> None:
    world({trick: png()}, queries=(trick,))
    assert TASK.id in refused(*RUN, "nan")


@pytest.mark.parametrize("trick", TRICKS)
def test_names_on_the_command_line_are_never_paths(trick: str, world: World, refused: Mrb, tmp_path: Path) -> None:
    world({"good": png()})
    before = sorted(tmp_path.rglob("*"))
    refused("run", "--model", "marked", "--task", trick)
    refused("run", "--model", "marked", "--suite", trick)
    refused("tasks", trick)
    refused(*RUN, trick)
    refused(*RUN, "marked", "--name", trick)
    assert sorted(tmp_path.rglob("*")) == before


# Pickles


def test_a_pickle_in_place_of_a_journal_is_refused_and_not_run(world: World, accepted: Mrb, refused: Mrb) -> None:
    world({"good": png()})
    accepted(*RUN, "looks")
    for name in ("journal", "scores.parquet", "per_query.parquet", "result.json"):
        path = Path("runs", "looks", TASK.id, name)
        whole = path.read_bytes()
        path.write_bytes(BOMB)
        if name == "journal":
            assert "journal" in refused(*RUN, "looks")
        else:
            accepted(*RUN, "looks")
            assert path.read_bytes() == whole, "what a run makes, it makes again"
        path.write_bytes(whole)
    assert not Path("executed").exists()


def test_the_pickle_of_these_tests_would_have_been_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(BOMB).close()
    assert Path("executed").exists()
