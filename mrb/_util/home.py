"""The user's home folder, of users that have none too (a container's, a batch system's)."""

from __future__ import annotations

import os
from pathlib import Path


def find_home() -> Path | None:
    """The user's home folder; None for a user without an entry, where HOME does not name one either."""
    home = expand_user("~")
    return None if home == Path("~") else home


def expand_user(path: str) -> Path:
    """`path` with the home folder for a leading `~` or `~NAME`; as it is where there is no such user or home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of pathlib raises RuntimeError
