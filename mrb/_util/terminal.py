"""What the terminal can show: its width, and whether it takes colour."""

from __future__ import annotations

import logging
import os
import shutil
import sys

from mrb._util.format import Screen

PROSE_WIDTH = 100
"""Width of folded prose in a file or pipe, where tables have whole lines."""


def find_screen() -> Screen:
    """Return the screen behind standard output: the terminal's width and colour, or `PLAIN` for a file or pipe.

    `FORCE_COLOR` gives a pipe colour, but no width.
    """
    terminal = _is_terminal(sys.stdout)
    forced = find_forced_colour()
    colour = terminal if forced is None else forced
    return Screen(shutil.get_terminal_size().columns if terminal else None, colour)


def find_forced_colour() -> bool | None:
    """Return what the environment says on colour: False by NO_COLOR or TERM=dumb, True by FORCE_COLOR, None without a
    word. NO_COLOR has precedence."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return False if os.environ.get("TERM") == "dumb" else None


def find_prose_width(screen: Screen) -> int:
    """Return the width to fold prose at: the terminal's, at most `PROSE_WIDTH`."""
    return PROSE_WIDTH if screen.width is None else max(min(screen.width, PROSE_WIDTH), 40)


def _is_terminal(stream: object) -> bool:
    try:
        return bool(getattr(stream, "isatty", bool)())
    except ValueError:  # a closed stream
        return False


def hide_import_advice() -> None:
    """Hide what bitsandbytes logs when another library imports it: advice on a kernel for 4 bits on a CPU."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
