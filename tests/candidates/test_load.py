"""Where lists are missing, one line says for how many tasks, and which commands get them."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from mrb.candidates.load import check_all_candidates
from mrb.cli.main import cli
from mrb.data.task import list_suite_tasks, load_suite, load_task
from mrb.errors import CandidatesError
from tests.builders.command import read_error


def test_all_missing_lists_are_counted_with_the_commands_that_get_them() -> None:
    tasks = list_suite_tasks(load_suite("mrb"))
    said = read_error(CandidatesError, check_all_candidates, tasks, None, 100, "mrb")
    assert "for 40 of 40 tasks none is published (14 t2t, 1 i2i, 4 t2i, 5 t2vd" in said and len(said) < 900
    commands = re.findall(r"`(mrb [^`]*)`", said)
    assert [command.split()[2] for command in commands] == ["make", "pull"]
    for command in commands:
        _, group, name, *options = command.split()
        parser = cli.get_command(click.Context(cli), group)
        assert isinstance(parser, click.Group)
        parser.commands[name].make_context(name, options)  # refuses an option that it lacks


def test_a_few_missing_lists_are_named(tmp_path: Path) -> None:
    tasks = [load_task(task_id) for task_id in ("mini-faq-t2t", "nights", "scifact")]
    assert "2 of 3 tasks none is published (nights, scifact)" in read_error(
        CandidatesError, check_all_candidates, tasks, None, 25
    )
    assert f"3 of 3 tasks none is in {tmp_path}" in read_error(
        CandidatesError, check_all_candidates, tasks, tmp_path, 25
    )
    with pytest.raises(CandidatesError, match="task nights has no published candidate list yet"):
        check_all_candidates(tasks[:2], None, 25)
