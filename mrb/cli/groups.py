"""Groups of commands, without heavy imports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from mrb.errors import MRBError, suggest_names

_SENTENCE = 300
"""Most characters of a command's line in the help of its group."""


class Group(click.Group):
    """A group in which old spellings of commands answer with the new one."""

    def __init__(self, *args: Any, moved: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.moved = moved or {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each command with the whole first sentence of its help."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(limit=_SENTENCE))
                    for name in self.list_commands(ctx)
                    if (command := self.get_command(ctx, name)) is not None
                ]
            )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name.

        Raises MRBError for an unknown name, with similar ones, and for an old spelling, with the new one.
        """
        if cmd_name in self.moved:
            raise MRBError(f"`{ctx.command_path} {cmd_name}` is now `{self.moved[cmd_name]}`")
        found = super().get_command(ctx, cmd_name)
        if found is None:
            close = suggest_names(cmd_name, self.list_commands(ctx))
            raise MRBError(f"no command {cmd_name!r}{close}; `{ctx.command_path} --help` lists them")
        return found
