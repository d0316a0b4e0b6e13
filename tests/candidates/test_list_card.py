"""Whose card is sent with pushed lists, and whose stays."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import Done
from tests.builders.hub.server import TOKEN, Hub

pytestmark = pytest.mark.hub

PLACE = "hf://datasets/org/lists"
OWN = "---\nlicense: cc0-1.0\n---\n# My lists\n"


def test_a_card_of_the_owners_on_the_hub_is_not_replaced_by_a_written_one(
    hub: Hub, mrb: Callable[..., Done], made: Path, tmp_path: Path
) -> None:
    lists = tmp_path / "lists"
    shutil.copytree(made, lists)

    def push() -> tuple[str, str]:
        """The card on the Hub after a push, and what the push said."""
        done = mrb("candidates", "push", "lists", PLACE, env={"HF_TOKEN": TOKEN})
        assert done.returncode == 0, done.stderr
        return hub.repositories["org/lists", hub.branches["org/lists", "main"]]["README.md"].decode(), done.stderr

    assert push()[0] == (lists / "README.md").read_text()
    hub.repositories["org/lists", hub.branches["org/lists", "main"]]["README.md"] = OWN.encode()
    card, said = push()
    assert card == OWN and "the card there is not MRB's and stays" in said
    (lists / "README.md").write_text(f"{OWN}and more\n")
    card, said = push()
    assert card == f"{OWN}and more\n" and "stays" not in said
