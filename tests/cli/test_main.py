"""The command as a shell sees it: what it imports, what it prints on a mistake, how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mrb._util.files import check_run_name
from mrb.cli.main import COMMANDS
from mrb.cli.options import parse_key_values
from mrb.errors import MRBError, to_one_line

HEAVY = ("torch", "pandas", "numpy", "datasets", "pydantic", "pyarrow", "PIL", "asyncio", "huggingface_hub")


def python(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script in a new interpreter, with these arguments after its name."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def mrb(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return python("from mrb.cli.main import main; main()", *arguments, **environment)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"], []])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = f"""
import sys
from mrb.cli.main import main
try:
    main()
except SystemExit as exit_:
    print("code", exit_.code)
print("heavy", [name for name in {HEAVY!r} if name in sys.modules])
print("commands", [name for name in sys.modules if name.startswith("mrb.cli.") and name[8:] not in ("main", "groups")])
"""
    done = python(script, *arguments)
    assert done.stdout.splitlines()[-2:] == ["heavy []", "commands []"], done.stderr
    if arguments:
        assert "code 0" in done.stdout


@pytest.mark.slow
def test_help_lists_every_command_and_each_has_its_own_help() -> None:
    shown = mrb("--help").stdout
    assert all(f"\n  {name} " in shown for name in COMMANDS)
    script = """
import sys
from mrb.cli.main import COMMANDS, cli
for name in COMMANDS:
    command = cli.get_command(None, name)
    print(name, bool(command.help), bool(command.callback or command.commands))
"""
    assert python(script).stdout.splitlines() == [f"{name} True True" for name in COMMANDS]


@pytest.mark.slow
def test_an_unknown_command() -> None:
    done = mrb("runn")
    assert done.returncode == 2
    assert done.stderr == "mrb: no command 'runn' (did you mean run?); `mrb --help` lists them\n" and done.stdout == ""
    assert "..." not in mrb("data", "--help").stdout.partition("Commands:")[2]
    assert mrb("data", "xyz").stderr == "mrb: no command 'xyz'; `mrb data --help` lists them\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("plan", "mrb run --dry-run --workers N [--price P]"),
        ("retrieve --model bm25", "mrb candidates make --first-stage NAME"),
        ("submit --help", "mrb submission make"),
        ("validate x", "mrb submission validate"),
        ("verify x", "mrb submission verify"),
        ("data verify", "mrb data check"),
        ("data doctor --task nights", "mrb data check --remote"),
    ],
)
def test_an_old_spelling_answers_with_the_new_one(old: str, new: str) -> None:
    done = mrb(*old.split())
    name = " ".join(old.split()[: 2 if old.startswith("data") else 1])
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"mrb: `mrb {name}` is now `{new}`\n")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["run"], ["run", "--depth=0"], ["submission", "validate"]])
def test_wrong_usage_is_told_without_a_traceback(arguments: list[str]) -> None:
    done = mrb(*arguments)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    command = " ".join(word for word in arguments if not word.startswith("-"))
    assert line.startswith("mrb: ") and line.endswith(f" (`mrb {command} --help`)")


@pytest.mark.slow
def test_a_misspelled_option_is_told_with_similar_ones() -> None:
    done = mrb("run", "--modle", "surface")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("mrb: No such option '--modle'.") and "'--model'" in line


@pytest.mark.slow
def test_a_mistake_is_one_line_and_exit_code_2() -> None:
    done = mrb("run", "--model", "surface", "--task", "no\x1b[31m-such-task")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("mrb: unknown task ") and "\x1b" not in line


@pytest.mark.slow
def test_the_traceback_is_shown_on_request_and_the_exit_code_stays() -> None:
    done = mrb("run", "--model", "surface", "--task", "no-such-task", MRB_TRACEBACK="1")
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr and "mrb.errors.TaskError: unknown task" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("mrb: unknown task 'no-such-task'")


@pytest.mark.slow
def test_a_bug_shows_its_traceback() -> None:
    done = python("from mrb.cli import main as m; m.COMMANDS['no_such_module'] = ''; m.main()", "no_such_module")
    assert done.returncode == 1 and "Traceback" in done.stderr


@pytest.mark.slow
def test_no_more_memory_is_one_line_and_exit_code_2() -> None:
    done = python("from mrb.cli import main as m; m.cli = lambda **options: bytearray(1 << 60); m.main()")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("mrb: out of memory; ") and "the same command continues" in line


@pytest.mark.slow
def test_a_refused_file_reaches_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"x": NaN}')
    (tmp_path / "empty").mkdir()
    done = mrb("submission", "validate", str(tmp_path / "empty"), str(tmp_path / "result.json"))
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith("refused: ") and "holds no result" in first
    assert second.startswith("refused: ") and "NaN is not a number" in second


@pytest.mark.slow
def test_an_interrupt_is_one_line_and_exit_code_130() -> None:
    script = f"""
import os, signal
import click
from mrb.cli import main as m
@click.command()
def command():
    os.kill(os.getpid(), {int(signal.SIGINT)})
    import time; time.sleep(5)
m.cli.get_command = lambda context, name: command
m.main()
"""
    done = python(script, "run")
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted; the same command continues where it stopped"


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -c 'from mrb.cli.main import main; main()' tasks --suite mrb --json | head -c 10"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert len(done.stdout) == 10 and done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "iso-8859-5", "utf-8"])
def test_what_the_terminal_cannot_write_is_an_escape(encoding: str) -> None:
    script = r"""
import click
from mrb.cli import main as m
@click.command()
def command():
    click.echo("\u2192 \U0001f600 \ud800")
    raise m.MRBError("no model '\U0001f600\u2192'")
m.cli.get_command = lambda context, name: command
m.main()
"""
    done = python(script, "run", PYTHONIOENCODING=encoding)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith("mrb: no model '") and done.stderr.count("\n") == 1
    # click takes ASCII for a terminal that was not set up, and writes UTF-8 there.
    assert ("\\u2192" if encoding in ("cp1252", "iso-8859-5") else "\u2192") in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "code"),
    [(">&-", 0), ("<&-", 0), (">&- 2>&-", 0), ("> /dev/full", 2), ("> /dev/full 2> /dev/full", 2)],
)
def test_streams_that_are_closed_or_full_end_in_no_traceback(streams: str, code: int) -> None:
    command = f"{sys.executable} -c 'from mrb.cli.main import main; main()' tasks {streams}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["2>&-", "2> /dev/full", "2>&1 >&- | true"])
def test_a_mistake_that_nobody_can_read_is_exit_code_2(streams: str) -> None:
    command = f"set -o pipefail; {sys.executable} -c 'from mrb.cli.main import main; main()' tasks none {streams}"
    assert subprocess.run(["bash", "-c", command], capture_output=True, check=False).returncode == 2


HOMELESS = """
import pwd
def nobody(_): raise KeyError("no entry")
pwd.getpwuid = pwd.getpwnam = nobody
from mrb.cli.main import main
main()
"""


@pytest.mark.slow
@pytest.mark.slow
def test_a_user_without_a_home_is_told_to_name_a_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("MRB_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    done = python(HOMELESS, "data", "info")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "set MRB_CACHE to a folder" in done.stderr
    assert python(HOMELESS, "data", "info", MRB_CACHE=str(tmp_path / "cache")).returncode == 0
    assert python(HOMELESS, "run", "--model", "constant", "--task", "mini-faq-t2t", "--limit", "2").returncode == 0
    for model in ("~/adapter.py", "~nobody/adapter.py"):
        done = python(HOMELESS, "run", "--model", model, "--task", "mini-faq-t2t")
        assert done.returncode == 2 and "there is no" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("~")] == []


# Options that commands share


def test_key_values() -> None:
    assert parse_key_values(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    assert parse_key_values(["my-model.a=1.5"]) == {"my-model.a": "1.5"}


@pytest.mark.parametrize("option", ["a", "=1", "a b=1", "1a=2", "a-b=1", ""])
def test_key_values_that_are_none(option: str) -> None:
    with pytest.raises(MRBError, match=f"--set {option}: wanted KEY=VALUE"):
        parse_key_values([option])


def test_a_key_given_twice() -> None:
    with pytest.raises(MRBError, match=r"--set a=\.\.\.: given twice"):
        parse_key_values(["a=1", "a=2"])


@pytest.mark.parametrize("name", ["a", "A1._-", "x" * 96, None])
def test_run_names(name: str | None) -> None:
    assert check_run_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "-x", "x" * 97, "a b", "a\n", "é", "CON", "nul.x"]
)
def test_run_names_that_are_none(name: str) -> None:
    with pytest.raises(MRBError, match="--name"):
        check_run_name(name)


def test_one_line_is_one_line_of_what_can_be_seen() -> None:
    assert to_one_line("a\n\tb\x1b[2J\u202ec\u2028d  e") == "a b [2J c d e"
    assert to_one_line("x" * 400) == "x" * 299 + "…"
    assert to_one_line("ü 版 ✓") == "ü 版 ✓"
