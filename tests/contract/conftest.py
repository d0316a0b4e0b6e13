"""Tiny random checkpoints in the shapes of real ones, saved to disk, and requests of every modality."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny("qwen2_5_vl")` is the folder of the museum's checkpoint of that name, made once a session."""
    import museum

    root = tmp_path_factory.mktemp("checkpoints")
    made: dict[str, Path] = {}

    def get(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = museum.build(architecture, root / architecture)
        return made[architecture]

    return get


@pytest.fixture(scope="session")
def training_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MRB's cache for tests that train: test data is hashed once a session."""
    return tmp_path_factory.mktemp("training-cache")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make small models slow, most of all beside other work."""
    import torch

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)
