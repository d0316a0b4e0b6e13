"""The journal: whatever a crash, a bad disk or an editor leaves, it is resumed or refused by name, never misread."""

from __future__ import annotations

import itertools
import os
import random
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mrb.errors import ResultError
from mrb.evaluation import journal
from mrb.evaluation.journal import MAGIC, Header, Journal, Record, write_journal

Scores = dict[str, list[float]]

QUERIES = {"q1": [0.5, -1.25, 3.0], "q2": [1e-30], "forum/ä ü": [7.0, 7.0], "q4": [0.0, -0.0, 2.5, 9.75]}


def header(key: str = "a" * 64) -> Header:
    return Header(score_key=key, task="toy", reranker="r", source_sha256=None, packages={"python": "3.11"})


def record(query_id: str, scores: list[float], first: int = 0) -> Record:
    return Record(query_id, first, np.array(scores, np.float32))


def write(path: Path, queries: Scores) -> list[int]:
    """A journal of `queries`; the offsets at which its frames end, the header's first."""
    ends = []
    with Journal(path).open(header()) as writer:
        ends.append(path.stat().st_size)
        for query_id, scores in queries.items():
            writer.append(record(query_id, scores))
            ends.append(path.stat().st_size)
    return ends


def put(path: Path, data: bytes) -> Path:
    """`data` in the file, without making it anew: that is what takes the time of a thousand small files."""
    with path.open("r+b" if path.exists() else "xb") as file:
        file.write(data)
        file.truncate()
    return path


def scores_of(path: Path) -> Scores:
    return {name: [float(x) for x in values] for name, values in Journal(path).scores.items()}


def as_float32(queries: Scores) -> Scores:
    return {name: [float(np.float32(x)) for x in values] for name, values in queries.items()}


def resumed_or_refused(path: Path, data: bytes, written: Scores) -> str:
    """What happens to a journal of these bytes: "refused", or "resumed" and finished with every number right."""
    put(path, data)
    try:
        found = scores_of(path)
    except ResultError as error:
        assert path.name in str(error) and "\n" not in str(error)
        with pytest.raises(ResultError):
            Journal(path).open(header())
        assert path.read_bytes() == data  # what is refused is left as it is, for a rescue by hand
        return "refused"
    assert found.items() <= written.items()
    with Journal(path).open(header()) as writer:
        for query_id in written.keys() - found.keys():
            writer.append(record(query_id, written[query_id]))
    assert scores_of(path) == written
    return "resumed"


def test_what_is_written_is_read_with_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**32, 5000, dtype=np.uint32).view(np.float32)
    finite = bits[np.isfinite(bits)]
    with Journal(path).open(header()) as writer:
        writer.append(Record("q", 0, finite))
        writer.append(Record("", 0, finite[:0]))
    found = Journal(path)
    assert found.header == header()
    assert [(r.query_id, r.first) for r in found.records] == [("q", 0), ("", 0)]
    assert found.records[0].scores.tobytes() == finite.tobytes()


def test_the_bytes_are_those_that_the_layout_states(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, {"q1": [0.5, -1.25]})
    data = path.read_bytes()
    assert data[:8] == MAGIC == b"MRBJRNL1"
    length, payload_crc, head_crc = struct.unpack_from("<III", data, 8)
    assert zlib.crc32(data[8:16]) == head_crc and zlib.crc32(data[20 : 20 + length]) == payload_crc
    assert Header.model_validate_json(data[20 : 20 + length]) == header()
    payload = struct.pack("<H2sI2f", 2, b"q1", 0, 0.5, -1.25)
    head = struct.pack("<II", len(payload), zlib.crc32(payload))
    assert data[20 + length :] == head + struct.pack("<I", zlib.crc32(head)) + payload


def test_cut_at_every_byte_it_is_resumed_and_loses_only_what_is_torn(tmp_path: Path) -> None:
    ends = write(tmp_path / "whole", QUERIES)
    data = (tmp_path / "whole").read_bytes()
    written = as_float32(QUERIES)
    for end in range(len(data)):
        path = tmp_path / "journal"
        put(path, data[:end])
        whole = sum(after <= end for after in ends[1:])
        assert list(scores_of(path)) == list(QUERIES)[:whole]
        if end >= ends[-4]:  # the last three records: finished too, with every number right
            assert resumed_or_refused(path, data[:end], written) == "resumed"


def test_flipped_anywhere_it_is_resumed_or_refused_and_never_misread(tmp_path: Path) -> None:
    ends = write(tmp_path / "whole", QUERIES)
    data = (tmp_path / "whole").read_bytes()
    written = as_float32(QUERIES)
    outcomes = {"resumed": 0, "refused": 0}
    for at in range(len(data)):
        for pattern in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[at] ^= pattern
            path = tmp_path / "journal"
            put(path, damaged)
            outcome = _read(path, written)
            outcomes[outcome] += 1
            if at < ends[-2]:
                assert outcome == "refused", at  # damage before the last record is never passed over
    assert outcomes["refused"] > 0 and outcomes["resumed"] > 0


def _read(path: Path, written: Scores) -> str:
    try:
        found = scores_of(path)
    except ResultError as error:
        assert str(path) in str(error)
        return "refused"
    assert found.items() <= written.items()
    return "resumed"


def test_every_single_bit_of_the_last_record(tmp_path: Path) -> None:
    ends = write(tmp_path / "whole", QUERIES)
    data = (tmp_path / "whole").read_bytes()
    for bit in range(8 * ends[-2], 8 * ends[-1]):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path = tmp_path / "journal"
        put(path, damaged)
        if _read(path, as_float32(QUERIES)) == "resumed":
            assert list(scores_of(path)) == list(QUERIES)[:-1]


def test_random_damage_is_never_misread(tmp_path: Path) -> None:
    write(tmp_path / "whole", QUERIES)
    data = (tmp_path / "whole").read_bytes()
    rng = random.Random(11)
    for _ in range(400):
        damaged = bytearray(data)
        start = rng.randrange(len(damaged))
        kind = rng.randrange(4)
        if kind == 0:
            damaged[start : start + rng.randrange(1, 40)] = rng.randbytes(rng.randrange(1, 40))
        elif kind == 1:
            damaged[start : start + 16] = bytes(len(damaged[start : start + 16]))
        elif kind == 2:
            del damaged[start : start + rng.randrange(1, 60)]
        else:
            damaged[start:] = rng.randbytes(rng.randrange(1, 40))
        path = tmp_path / "journal"
        put(path, damaged)
        _read(path, as_float32(QUERIES))


def test_a_tail_of_zeros_is_a_torn_end(tmp_path: Path) -> None:
    # A power loss may leave the new length of a file without its new blocks.
    ends = write(tmp_path / "whole", QUERIES)
    data = (tmp_path / "whole").read_bytes()
    for end in range(ends[0], len(data) + 1):
        for zeros in (1, 11, 12, 13, 4096):
            path = tmp_path / "journal"
            put(path, data[:end] + bytes(zeros))
            whole = sum(after <= end for after in ends[1:])
            # A record that itself ends in zeros may be whole without its last bytes.
            assert list(scores_of(path))[:whole] == list(QUERIES)[:whole]
            assert scores_of(path).items() <= as_float32(QUERIES).items()
    assert resumed_or_refused(tmp_path / "journal", data + bytes(4096), as_float32(QUERIES)) == "resumed"


def test_zeros_before_a_whole_record_are_damage(tmp_path: Path) -> None:
    ends = write(tmp_path / "whole", QUERIES)
    data = bytearray((tmp_path / "whole").read_bytes())
    data[ends[1] : ends[2]] = bytes(ends[2] - ends[1])
    path = tmp_path / "journal"
    put(path, data)
    with pytest.raises(ResultError, match=f"journal: damaged at byte {ends[1]}; restore the file from a copy, or"):
        Journal(path)


def test_a_lost_doubled_or_moved_record_gives_no_wrong_number(tmp_path: Path) -> None:
    path = tmp_path / "whole"
    with Journal(path).open(header()) as writer:
        ends = [path.stat().st_size]
        for query_id, scores, first in [("q1", [1.0, 2.0], 0), ("q2", [5.0], 0), ("q1", [3.0], 2)]:
            writer.append(record(query_id, scores, first))
            ends.append(path.stat().st_size)
    data = path.read_bytes()
    first, second, third = (data[a:b] for a, b in itertools.pairwise(ends))
    start = data[: ends[0]]
    put(path, start + first + third)
    assert scores_of(path) == {"q1": [1.0, 2.0, 3.0]}  # q2 is scored again
    for order in ([second, third], [third, first, second], [first, first], [first, third, third]):
        put(path, start + b"".join(order))
        with pytest.raises(ResultError, match="query 'q1' continues at position"):
            scores_of(path)


def test_a_writer_goes_on_behind_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    ends = write(path, QUERIES)
    whole = path.read_bytes()
    put(path, whole[: ends[-1] - 3])
    with Journal(path).open(header()) as writer:
        assert path.stat().st_size == ends[-2]
        writer.append(record("q4", QUERIES["q4"]))
    assert path.read_bytes() == whole


def test_a_journal_that_is_not_there_or_was_torn_at_birth_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert (Journal(path).header, Journal(path).records) == (None, [])
    for data in (b"", b"MRB", MAGIC, MAGIC + b"\x10"):
        assert resumed_or_refused(path, data, as_float32(QUERIES)) == "resumed"


@pytest.mark.parametrize("data", [b"MRBJRNL2" + b"x" * 40, b"\0" * 100, b"{}", b"query Q0 doc 1 0.5 tag\n"])
def test_what_is_no_journal_is_refused_and_left(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "journal"
    put(path, data)
    with pytest.raises(ResultError, match="journal: not a journal of this version of MRB; `--fresh` starts over"):
        Journal(path).open(header())
    assert path.read_bytes() == data


def test_a_header_of_another_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    payload = header().model_dump_json().replace('"schema_version":1', '"schema_version":2').encode()
    body = struct.pack("<II", len(payload), zlib.crc32(payload))
    put(path, MAGIC + body + struct.pack("<I", zlib.crc32(body)) + payload)
    with pytest.raises(ResultError, match="journal: the header is invalid: schema_version"):
        Journal(path)


def test_scores_under_another_key_are_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, QUERIES)
    before = path.read_bytes()
    with pytest.raises(ResultError, match="journal: holds scores under another score key"):
        Journal(path).open(header("b" * 64))
    assert path.read_bytes() == before
    changed = header().model_copy(update={"source_sha256": "c" * 64, "packages": {}})
    with Journal(path).open(changed):  # these are for messages and do not decide
        pass
    assert Journal(path).header == header()


def test_two_journals_do_not_meet(tmp_path: Path) -> None:
    with Journal(tmp_path / "one").open(header()) as one, Journal(tmp_path / "two").open(header()) as two:
        for n in range(5):
            one.append(record(f"q{n}", [1.0]))
            two.append(record(f"q{n}", [2.0]))
    assert set(map(tuple, scores_of(tmp_path / "one").values())) == {(1.0,)}
    assert set(map(tuple, scores_of(tmp_path / "two").values())) == {(2.0,)}


# Durability


def test_records_are_in_the_file_at_once_and_survive_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    script = f"""
import os, signal
from pathlib import Path
import numpy as np
from mrb.evaluation.journal import Header, Journal, Record
header = Header.model_validate_json({header().model_dump_json()!r})
writer = Journal(Path({str(path)!r})).open(header)
for n in range(10):
    writer.append(Record(f"q{{n}}", 0, np.array([n], np.float32)))
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert scores_of(path) == {f"q{n}": [float(n)] for n in range(10)}


def test_records_are_synced_in_time_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        synced.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "journal"
    with Journal(path).open(header()) as writer:
        start = path.stat().st_size
        assert start in synced  # the header is on the disk before the first record
        synced.clear()
        writer.append(record("q1", [1.0]))
        assert synced == []
        monkeypatch.setattr(journal, "SYNC_SECONDS", -1.0)
        writer.append(record("q2", [1.0]))
        assert synced == [path.stat().st_size]
        monkeypatch.setattr(journal, "SYNC_SECONDS", 1000.0)
        writer.append(record("q3", [1.0]))
        assert len(synced) == 1
    assert synced[-1] == path.stat().st_size and len(synced) == 2


def test_a_cut_tail_is_cut_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal"
    ends = write(path, QUERIES)
    put(path, path.read_bytes()[:-1])
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (real(handle), synced.append(os.fstat(handle).st_size)))
    writer = Journal(path).open(header())
    assert synced == [ends[-2]]
    with writer:
        pass


def test_a_disk_that_takes_half_a_record_is_named_and_leaves_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(ResultError, match="journal: cannot be written: ") as caught, Journal(path).open(header()) as w:
        w.append(record("q1", [1.0]))
        size = path.stat().st_size
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
            w.append(record("q2", [2.0] * 100))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "run again, what it holds is not lost" in str(caught.value)
    assert path.stat().st_size == size
    assert scores_of(path) == {"q1": [1.0]}


def test_a_journal_that_may_not_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResultError, match="folder: cannot be read: Is a directory"):
        Journal(tmp_path / "folder").open(header())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResultError, match="file/journal: cannot be read: Not a directory"):
        Journal(tmp_path / "file" / "journal").open(header())


def test_an_id_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with Journal(path).open(header()) as writer:
        size = path.stat().st_size
        with pytest.raises(ResultError, match="a query id of 65536 bytes, at most 65535 fit"):
            writer.append(record("x" * 65_536, [1.0]))
        assert path.stat().st_size == size
        writer.append(record("x" * 65_535, [1.0]))
    assert scores_of(path) == {"x" * 65_535: [1.0]}


def test_a_journal_under_a_new_header_keeps_its_records_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    write(path, QUERIES)
    before, records = path.read_bytes(), Journal(path).records
    changed = header().model_copy(update={"source_sha256": "c" * 64})
    write_journal(path, changed, records)
    assert Journal(path).header == changed
    assert scores_of(path) == as_float32(QUERIES)
    write_journal(path, header(), records)
    assert path.read_bytes() == before

    def breaks() -> Iterator[Record]:
        yield records[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_journal(path, changed, breaks())
    assert path.read_bytes() == before
