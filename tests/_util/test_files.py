"""Files appear whole or not at all, and JSON is read with suspicion."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mrb._util.files import open_atomically, parse_toml, read_json, write_array, write_bytes, write_json
from mrb._util.redact import redact
from mrb.errors import ResultError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with open_atomically(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), open_atomically(path) as file:
        file.write(b"new")
        raise error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_error_before_the_first_file_leaves_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError), open_atomically(tmp_path / "file"):
        raise ValueError
    assert names(tmp_path) == []


def test_the_bytes_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    synced: list[tuple[int, bool]] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        synced.append((os.fstat(handle).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_bytes(path, b"whole")
    assert synced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    script = (
        "import os, signal\nfrom pathlib import Path\nfrom mrb._util.files import open_atomically\n"
        f"with open_atomically(Path({str(path)!r})) as file:\n"
        "    file.write(b'new'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert path.read_bytes() == b"old"


def test_what_the_disk_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResultError, match="file/below: cannot be written: "):
        write_bytes(tmp_path / "file" / "below", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ResultError, match="folder: cannot be written: Is a directory"):
        write_bytes(tmp_path / "folder", b"x")
    assert names(tmp_path) == ["file", "folder"]
    if Path("/dev/full").exists():
        with pytest.raises(ResultError, match="cannot be written: No space left"), open_atomically(tmp_path / "new"):
            os.write(os.open("/dev/full", os.O_WRONLY), b"x")
        assert names(tmp_path) == ["file", "folder"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(json_values)
def test_json_comes_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    assume(redact(value) == value)  # paths and secrets do not come back
    path = tmp_path_factory.getbasetemp() / "value.json"
    try:
        write_json(path, value)
    except UnicodeEncodeError:
        return  # lone surrogates have no UTF-8
    assert read_json(path) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_does_not_know_are_not_written(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "value.json", {"x": number})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1, "a": 1}', "the key 'a' occurs twice in one object"),
        (b'[{"x": {"\\u001b[2J": 1, "b": 2, "\\u001b[2J": 3}}]', r"the key '\\x1b\[2J' occurs twice"),
        (b'{"x": NaN}', "NaN is not a number"),
        (b'{"x": Infinity}', "Infinity is not a number"),
        (b'{"x": -Infinity}', "-Infinity is not a number"),
        (b'{"x": 1e999}', "1e999 is larger than any number"),
        (b'{"x": -1e999}', "-1e999 is larger than any number"),
        (b"9" * 5000, "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"a":' * 200_000, "not valid JSON"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'{"x": "\xe9"}', "not valid JSON"),
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b"{'a': 1}", "not valid JSON"),
    ],
)
def test_json_that_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(data)
    with pytest.raises(ResultError, match=f"value.json: not valid JSON: .*{message}|value.json: {message}") as caught:
        read_json(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_the_size_limit_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(b"[" + b" " * 98 + b"]")
    assert read_json(path, limit=100) == []
    with pytest.raises(ResultError, match=r"value.json: more than 99 bytes of JSON"):
        read_json(path, limit=99)


def test_a_file_that_grows_is_never_read_past_the_limit(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="more than 1000 bytes"):
        read_json(Path("/dev/zero"), limit=1000)


def test_many_keys_of_which_the_last_is_double_are_refused_in_no_time(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    path.write_text("{" + ",".join(f'"{n}": 0' for n in range(100_000)) + ', "99999": 1}')
    started = time.perf_counter()
    with pytest.raises(ResultError, match="the key '99999' occurs twice"):
        read_json(path)
    assert time.perf_counter() - started < 5  # counting each key by a scan takes minutes


def test_what_is_not_there_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"gone.json: cannot be read: No such file"):
        read_json(tmp_path / "gone.json")
    with pytest.raises(ResultError, match="cannot be read: Is a directory"):
        read_json(tmp_path)


@pytest.mark.parametrize("text", ["a = " + "[" * 1000, "a = 1" + "0" * 5000, "a = ", "a = 1\na = 2"])
def test_what_is_no_toml_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        parse_toml(text)
    assert parse_toml("a = [[1]]") == {"a": [[1]]}


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.arange(6).reshape(2, 3).T,
        np.zeros((0, 4)),
        np.array([7], np.uint64),
    ],
)
def test_an_array_is_written_in_the_bytes_of_numpy(tmp_path: Path, array: np.ndarray) -> None:
    write_array(tmp_path / "ours.npy", array)
    np.save(tmp_path / "theirs.npy", np.ascontiguousarray(array))
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


def test_a_full_disk_is_named_when_an_array_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", **options: Any) -> Any:
        return real(Path("/dev/full"), "wb") if mode == "xb" else real(path, mode, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ResultError, match="No space left on device"):
        write_array(tmp_path / "a.npy", np.zeros(100_000))
