"""What is said of an exception: its type, its text, and the last line of the user's own code, whatever it is."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb._util.raised import describe, find_user_line, to_adapter_error


def raised(folder: Path, body: str, name: str = "mine.py") -> BaseException:
    """The exception that a script raises."""
    path = folder / name
    path.write_text(body)
    try:
        runpy.run_path(str(path), run_name="mine")
    except BaseException as error:
        assert error.__traceback__ is not None
        return error.with_traceback(error.__traceback__.tb_next)  # without this file
    raise AssertionError("nothing was raised")


def test_the_place_is_in_the_users_own_file_not_in_what_it_called(tmp_path: Path) -> None:
    standard = raised(tmp_path, "import json\njson.loads('{')\n")
    assert find_user_line(standard) == " (mine.py, line 2)"
    ours = raised(tmp_path, "from mrb.data.items import ImageHandle\nImageHandle(lambda: 1 / 0, where='x').encoded\n")
    assert find_user_line(ours) == " (mine.py, line 2)"
    handle = "from mrb.data.items import ImageHandle\nImageHandle(lambda: 5, where='x').encoded\n"
    assert find_user_line(raised(tmp_path, handle)) == " (mine.py, line 2)"
    assert find_user_line(raised(tmp_path, "exec('1 / 0')\n")) == " (mine.py, line 1)"


@pytest.mark.torch
def test_the_place_is_in_the_users_own_file_not_in_torch(tmp_path: Path) -> None:
    torch = raised(tmp_path, "import torch\n\ntorch.nn.Linear(2, 2)(torch.ones(3))\n")
    assert find_user_line(torch) == " (mine.py, line 3)"


def test_an_installed_adapter_has_the_last_line_outside_mrb(tmp_path: Path) -> None:
    package = tmp_path / "site-packages"
    package.mkdir()
    assert find_user_line(raised(package, "x = 1\n1 / 0\n", "theirs.py")) == " (theirs.py, line 2)"


def test_what_only_our_own_lines_raised_has_no_place() -> None:
    from mrb._util.hashing import dump_canonical_json

    try:
        dump_canonical_json(float("nan"))
    except ValueError as error:
        assert find_user_line(error).startswith(" (test_raised.py, line ")
        assert error.__traceback__ is not None
        assert find_user_line(error.with_traceback(error.__traceback__.tb_next)) == ""
    assert find_user_line(ValueError("never raised")) == ""


def test_groups_tell_their_first_member_and_its_place(tmp_path: Path) -> None:
    error = raised(
        tmp_path,
        "import asyncio\n\nasync def fails():\n    raise ValueError('no')\n\nasync def main():\n"
        "    async with asyncio.TaskGroup() as group:\n        group.create_task(fails())\n\nasyncio.run(main())\n",
    )
    assert describe(error) == "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception): ValueError: no"
    assert find_user_line(error) == " (mine.py, line 4)"
    never_raised = raised(tmp_path, "\nraise BaseExceptionGroup('many', [SystemExit(3)])\n")
    assert describe(never_raised) == "BaseExceptionGroup: many (1 sub-exception): SystemExit: 3"
    assert find_user_line(never_raised) == " (mine.py, line 2)"


def test_a_real_panic_of_a_rust_library_is_an_error_like_another(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    panic = raised(
        tmp_path,
        "from tokenizers import Tokenizer, models, pre_tokenizers\n"
        "words = Tokenizer(models.WordLevel({'a': 0}, unk_token='a'))\n"
        "words.pre_tokenizer = pre_tokenizers.Whitespace()\n"
        "words.encode('a a a').truncate(1, stride=1)\n",
    )
    assert not isinstance(panic, Exception)
    line = str(to_adapter_error(panic, "task toy: the adapter raised"))
    assert line.startswith("task toy: the adapter raised PanicException: `stride` must be strictly less than")
    assert " (mine.py, line 4); " in line


class NastyError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class NotTextError(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: NastyError(), "NastyError: (a NastyError that cannot be printed)"),
        (lambda: NotTextError(), "NotTextError: (a NotTextError that cannot be printed)"),
        (lambda: ValueError("two\nlines\x1b[2J \udc80"), "ValueError: two lines [2J"),
        (lambda: asyncio.CancelledError(), "CancelledError"),
        (
            lambda: ExceptionGroup("many", [NastyError()]),
            "ExceptionGroup: many (1 sub-exception): NastyError: (a Nasty",
        ),
        (lambda: ValueError("x" * 10_000), "ValueError: xxx"),
    ],
)
def test_what_an_exception_says_is_one_short_line(make: Callable[[], BaseException], line: str) -> None:
    text = describe(make())
    assert text.startswith(line)
    assert text.isprintable() and len(text) < 400


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        BaseExceptionGroup("tasks", [KeyboardInterrupt()]),
        BaseExceptionGroup("tasks", [ValueError(), BaseExceptionGroup("inner", [KeyboardInterrupt()])]),
    ],
)
def test_the_users_interrupt_stays_an_interrupt(error: BaseException) -> None:
    assert isinstance(to_adapter_error(error, "x"), KeyboardInterrupt)
