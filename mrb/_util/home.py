"""Find the user's home folder, also where the user has none (containers, batch systems)."""

from __future__ import annotations

import os
from pathlib import Path


def find_home() -> Path | None:
    """Return the user's home folder; None if HOME is not set and the user is not in the system's user database."""
    home = expand_user("~")
    return None if home == Path("~") else home


def expand_user(path: str) -> Path:
    """Replace a leading `~` or `~NAME` by the home folder; return `path` unchanged if there is no such user or home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's version raises RuntimeError
