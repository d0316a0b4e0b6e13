"""Fuzz targets: a few seconds in `make test`; with the long profile 1,500 inputs for each.

python -m pytest tests/fuzz --hypothesis-profile=long --hypothesis-show-statistics
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile("long", max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
_builders = runpy.run_path(str(Path(__file__).parents[1] / "unit" / "conftest.py"))


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submission of a run of `random` on 12 queries of one task of mini; not to be changed."""
    run = _builders["trial_run"](tmp_path_factory.mktemp("runs"))
    made: Path = _builders["submitted"](run, tmp_path_factory.mktemp("submissions"))
    return made


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what is mutated, written over and over."""
    return tmp_path_factory.mktemp("mutated")
