"""What all tests share: the rules of the markers, the `mrb` command, caches, checkpoints, run folders."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.builders.command import Done, run_mrb
from tests.builders.commands import stop_commands
from tests.builders.run_folders import write_run_folder
from tests.builders.submissions import submitted, trial_run

pytest_plugins = ["tests.builders.hub.fixtures"]

MakeRun = Callable[..., Path]
# Scripts in benchmarks/ import each other by name. Last, for one is named as an installed package is.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

# Tests interrupt what they start. A shell that starts the tests in the background has them ignore SIGINT, and so would
# all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_event_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Playwright's loop counts as running in its thread for as long as the browser lives: hidden from tests that run a
    loop of their own in the same process."""
    running = None if "browser" in request.fixturenames else asyncio._get_running_loop()
    if running is not None:
        asyncio._set_running_loop(None)
    yield
    if running is not None:
        asyncio._set_running_loop(running)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What MRB keeps between commands goes into a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MRB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`make_run(name, skill, ...)` writes `tmp_path/runs/<name>` and returns it; see `write_run_folder`."""
    return lambda name, skill=0.5, **changes: write_run_folder(tmp_path / "runs" / name, skill, **changes)


@pytest.fixture(scope="session")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `random` on 12 queries of one task of mini; not to be changed."""
    return trial_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def pristine(trial: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The submission of `trial`; not to be changed."""
    return submitted(trial, tmp_path_factory.mktemp("submissions"))


@pytest.fixture
def submission(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / pristine.name))


@pytest.fixture(scope="session")
def ray_token() -> str:
    """Ray, imported, and the token by which its clusters of this process are closed to others.

    Ray's library looks at the environment once, when it is imported: whoever imports it first in a test process decides
    for all tests that follow there.
    """
    token = secrets.token_hex(32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", token)
        import_module("ray")
    return token


@pytest.fixture
def mrb(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Done]:
    """`mrb(*arguments)` runs the installed command in `tmp_path`; `env` adds environment variables. In a test with the
    marker `hub` it is `mrb_on_hub`."""
    if request.node.get_closest_marker("hub"):
        on_hub: Callable[..., Done] = request.getfixturevalue("mrb_on_hub")
        return on_hub
    torch = request.node.get_closest_marker("torch") is not None
    return lambda *arguments, env=None: run_mrb(tmp_path, *arguments, torch=torch, **(env or {}))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny("qwen2_5_vl")` is the folder of the museum's checkpoint of that name, made once a session."""
    from tests.builders import museum

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
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Threads that wait for each other make small models slow, most of all beside other work."""
    if not request.node.get_closest_marker("torch"):
        yield
        return
    import torch

    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)


# Modules that only tests with a marker import, by the marker.
MARKED = {"torch": "torch", "playwright": "browser", "ray": "ray"}


def _unmarked(node: pytest.Item | pytest.Collector, before: set[str]) -> list[str]:
    """The modules of `MARKED` that were imported since `before` (names of `sys.modules`) without the node's marker."""
    new = (MARKED.keys() & sys.modules.keys()) - before
    return sorted(module for module in new if not node.get_closest_marker(MARKED[module]))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """A file that imports what its markers do not allow is an error."""
    before = MARKED.keys() & sys.modules.keys()
    report = yield
    if report.passed and isinstance(collector, pytest.Module) and (wrong := _unmarked(collector, before)):
        report.outcome, report.longrepr = "failed", f"{collector.nodeid} imports {wrong} without the marker for it"
    return report


@pytest.fixture(autouse=True)
def honest_markers(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that imports what its markers do not allow fails, where no earlier test has imported it."""
    before = MARKED.keys() & sys.modules.keys()
    yield
    assert not (wrong := _unmarked(request.node, before)), f"imports {wrong} without the marker for it"


def pytest_sessionfinish() -> None:
    stop_commands()


MARKERS = {"torch", "hub", "browser", "ray", "slow"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--unit", action="store_true", help=f"only tests with none of the markers {sorted(MARKERS)}")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --unit, files that are marked as a whole are not even imported: some imports take seconds."""
    if not config.getoption("unit") or not collection_path.name.startswith("test_"):
        return None
    found = re.search(r"^pytestmark = (.*)$", collection_path.read_text(encoding="utf-8"), re.MULTILINE)
    return True if found and MARKERS & set(re.findall(r"pytest\.mark\.(\w+)", found[1])) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --unit, marked tests are left out; otherwise files with marked tests come first."""
    marked = [item for item in items if any(item.get_closest_marker(name) for name in MARKERS)]
    if config.getoption("unit"):
        items[:] = [item for item in items if item not in marked]
        config.hook.pytest_deselected(items=marked)
    else:
        slow = {item.path for item in marked}
        items.sort(key=lambda item: item.path not in slow)
