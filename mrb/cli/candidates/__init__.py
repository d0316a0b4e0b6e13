"""`mrb candidates`: first-stage lists."""

from __future__ import annotations

import click

from mrb.cli.candidates.check import check
from mrb.cli.candidates.export import export
from mrb.cli.candidates.hub import pull, push
from mrb.cli.candidates.import_lists import import_lists
from mrb.cli.candidates.make import make
from mrb.cli.candidates.pack import pack
from mrb.cli.candidates.sets import sets
from mrb.cli.candidates.show import show


@click.group()
def command() -> None:
    """Make, show, check, import, export, pack and share first-stage lists."""


for one in (check, export, import_lists, make, pack, pull, push, sets, show):
    command.add_command(one)
