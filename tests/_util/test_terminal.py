"""What the environment says on colour, and what a pipe gets."""

from __future__ import annotations

import pytest

from mrb._util.format import PLAIN, Screen
from mrb._util.terminal import find_forced_colour, find_prose_width, find_screen


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, None),
        ({"TERM": "dumb"}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "0"}, None),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"NO_COLOR": ""}, None),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True),
    ],
)
def test_the_environment_forces_or_forbids_colour(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], wanted: bool | None
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_forced_colour() is wanted


def test_a_pipe_has_no_width_and_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    assert find_screen() == PLAIN and find_prose_width(PLAIN) == 100
    assert find_prose_width(Screen(80)) == 80 and find_prose_width(Screen(300)) == 100
