"""`mrb submission`: results that can be published."""

from __future__ import annotations

import click

from mrb.cli.submission.make import make
from mrb.cli.submission.validate import validate
from mrb.cli.submission.verify import verify


@click.group()
def command() -> None:
    """Make a submission of a run, validate its numbers, verify its scores with the model."""


for one in (make, validate, verify):
    command.add_command(one)
