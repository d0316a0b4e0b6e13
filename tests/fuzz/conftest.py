"""Fuzz targets: a few seconds in `make test`; with the long profile 1,500 inputs for each.

python -m pytest tests/fuzz --hypothesis-profile=long --hypothesis-show-statistics
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.mutations import ACCEPTED

settings.register_profile("long", max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def some_are_accepted() -> Iterator[None]:
    """A test that only ever refuses never compares what was accepted."""
    ACCEPTED.clear()
    yield
    assert not ACCEPTED or any(ACCEPTED), f"none of {len(ACCEPTED)} mutated inputs was accepted"


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is mutated, written over and over."""
    return tmp_path_factory.mktemp("mutated")
