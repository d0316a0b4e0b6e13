"""`mrb`: commands are imported when they are used, and a user's mistake ends in one line and exit code 2."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import traceback
from contextlib import suppress

import click

from mrb import __version__
from mrb._util.progress import clear_line
from mrb._util.redact import hide_secrets
from mrb._util.terminal import find_forced_colour, hide_import_advice
from mrb.cli.groups import Group
from mrb.errors import MRBError, to_one_line
from mrb.rerankers.calling import guard_exits

# Each command is a module of mrb.cli; its line in `mrb --help` stands here, so that help imports none of them.
COMMANDS = {
    "candidates": "Make, show, check, import and share first-stage lists.",
    "check": "Check that a reranker keeps what it declares, and measure its noise.",
    "compare": "Compare runs: differences, intervals, queries won and lost.",
    "contamination": "Compare gains on sets with gains on their decontaminated twins.",
    "data": "Fetch, list and check the data of tasks.",
    "export": "Write runs as tables, TREC files or Hub metadata, or log them.",
    "leaderboard": "Build the board from runs and submissions.",
    "merge": "Merge the shards of a run (run --shard I/N).",
    "models": "List the rerankers that are installed, and whether they can run here.",
    "recompute": "Recompute every number of a run from its journals.",
    "run": "Score a reranker on a suite or on single tasks.",
    "schema": "Print the JSON Schema of result files.",
    "score": "Measure a file of scores that another tool made.",
    "submission": "Make a submission of a run, validate one, verify one.",
    "tasks": "List tasks and suites.",
    "train": "Train a reranker; make groups to train on.",
}
MOVED = {
    "plan": "mrb run --dry-run --workers N [--price P]",
    "retrieve": "mrb candidates make --first-stage NAME",
    "submit": "mrb submission make",
    "tracks": "mrb candidates sets",
    "validate": "mrb submission validate",
    "verify": "mrb submission verify",
}
"""Old spellings, which answer with the new one for one release."""

_NO_MEMORY = "out of memory; what was written is kept, and the same command continues where there is more"


class LazyGroup(Group):
    """A group that knows its commands' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        from importlib import import_module

        command = import_module(f"mrb.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


class EchoHandler(logging.Handler):
    """Prints what MRB logs (progress and warnings) as lines on stderr, warnings in yellow and each of them once."""

    def __init__(self) -> None:
        super().__init__()
        self._warned: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record. Its control characters are removed, because messages quote data."""
        text = to_one_line(self.format(record), limit=5000)
        if record.levelno >= logging.WARNING:
            if text in self._warned:
                return
            self._warned.add(text)
            text = click.style(text, fg="yellow")
        clear_line()
        click.echo(text, err=True, color=find_forced_colour())


@click.command(cls=LazyGroup, moved=MOVED, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="mrb")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """MRB: a benchmark for multimodal rerankers.

    `mrb run --model surface` scores a reranker on the embedded suite; `mrb COMMAND --help` describes a command.
    """
    ctx.color = find_forced_colour()
    hide_import_advice()
    log = logging.getLogger("mrb")
    log.setLevel(logging.INFO)
    if not any(isinstance(handler, EchoHandler) for handler in log.handlers):
        log.addHandler(EchoHandler())


def main() -> None:
    """Run the command line and exit: 0 done, 2 a mistake in what was given (one line on stderr), 130 interrupted.

    With MRB_TRACEBACK=1 a mistake also shows where in the code it was found.
    """
    _open_streams()
    with guard_exits():
        _main()


def _main() -> None:
    try:
        # Without standalone mode click hands the exit code of `Exit` back and does not end the process.
        code = cli(prog_name="mrb", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else "mrb"
        _fail(f"{error.format_message()} (`{path} --help`)")
    except click.ClickException as error:
        _fail(error.format_message())
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted; the same command continues where it stopped", err=True)
        sys.exit(130)
    except (MRBError, MemoryError) as error:
        if os.environ.get("MRB_TRACEBACK") == "1":
            traceback.print_exc()
        _fail(str(error) if isinstance(error, MRBError) else _NO_MEMORY)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # Python would write once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.ENOSPC:
            _fail(f"output cannot be written: {error.strerror}")
        # Else the reader (`| head`) has gone, which is no error.


def _fail(message: str) -> None:
    with suppress(OSError):  # nobody can read it; the exit code says it too
        click.echo(f"mrb: {to_one_line(hide_secrets(message), limit=1000)}", err=True)
    sys.exit(2)


def _open_streams() -> None:
    """Standard streams that were closed lead nowhere: the next file would take their number. What the terminal's
    encoding cannot write is written as an escape."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
