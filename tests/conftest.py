"""What all tests share: the rules of the markers, the `mrb` command, caches, checkpoints, run folders."""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import pytest

pytest_plugins = ["tests.builders.toy", "tests.builders.hub.fixtures"]

MakeRun = Callable[..., Path]
Done = subprocess.CompletedProcess[str]
HASH = "ab" * 32
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


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`make_run(name, skill, ...)` writes `tmp_path/runs/<name>` and returns it; see `write_run_folder`."""
    return lambda name, skill=0.5, **changes: write_run_folder(tmp_path / "runs" / name, skill, **changes)


@pytest.fixture(scope="session")
def write_run() -> MakeRun:
    """`write_run_folder` itself, for a folder of the caller's choice."""
    return write_run_folder


@pytest.fixture(scope="session")
def site_pages() -> Callable[[Path], dict[str, Html]]:
    """`site_pages(root)`: the pages of a built board as a browser would read them, by path."""
    return lambda root: {str(path.relative_to(root)): Html(path) for path in sorted(root.rglob("*.html"))}


@pytest.fixture(scope="session")
def broken_links() -> Callable[[Path, dict[str, Html]], list[str]]:
    """`broken_links(root, pages)`: the links within the site that lead nowhere, to no file or no part of a page."""
    return _broken_links


def _broken_links(root: Path, pages: dict[str, Html]) -> list[str]:
    found = []
    for path, page in pages.items():
        for link in page.links:
            if ":" in link:
                continue
            address, _, part = link.partition("#")
            target = address.partition("?")[0]
            place = posixpath.normpath(posixpath.join(posixpath.dirname(path), target)) if target else path
            inside = not place.startswith(("..", "/")) and (root / place).is_file()
            if not inside or (part and part not in pages[place].ids):
                found.append(f"{path}: {link}")
    return found


class Html(HTMLParser):
    """What a browser would make of a page: its tags with attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """Its words, with single spaces."""
        return " ".join(" ".join(self.words).split())

    @property
    def links(self) -> list[str]:
        """Every address in it."""
        return [attributes[name] or "" for _, attributes in self.tags for name in ("href", "src") if name in attributes]

    @property
    def ids(self) -> list[str]:
        """What its parts are called, in order."""
        return [attributes["id"] or "" for _, attributes in self.tags if "id" in attributes]


def write_run_folder(
    folder: Path,
    skill: float,
    *,
    suite: str | None = "mini",
    tasks: Sequence[str] | None = None,
    cover: Sequence[str] | None = None,
    queries: int = 60,
    depth: int = 25,
    candidates: str = HASH,
    selection: str = "all",
    qrels: Literal["cleaned", "raw"] = "cleaned",
    reranker: dict[str, Any] | None = None,
    record: dict[str, Any] | None = None,
) -> Path:
    """A run of `skill` (0: leaves the first stage's order, 1: the oracle) on `tasks` (default: the suite's).

    Tasks outside `cover` are not covered. `reranker` and `record` replace fields of the records.
    """
    from mrb.data.task import load_suite, load_task
    from mrb.results.schema import RerankerInfo, RunRecord, write_run

    chosen = tuple(tasks or load_suite(suite or "mini").tasks)
    covered = [task_id for task_id in chosen if cover is None or task_id in cover]
    info = {
        "name": "toy",
        "kind": "pointwise",
        "inputs": ("text", "image", "image+text"),
        "version": "1",
        "uses_first_stage": False,
        "batch_invariant": True,
        "options": {},
        "source": "toy.py",
        "source_sha256": HASH,
    } | (reranker or {})
    for task_id in covered:
        made = _Simulated(load_task(task_id).with_qrels(qrels), skill, queries, depth)
        made.write(folder / task_id, RerankerInfo(**info), candidates, selection)
    fields = {
        "schema_version": 1,
        "mrb_version": "0.1.0",
        "reranker": info,
        "suite": suite,
        "suite_version": load_suite(suite).version if suite else None,
        "tasks": chosen,
        "not_covered": [{"task": i, "reason": "queries are image"} for i in chosen if i not in covered],
        "command": ("mrb", "run", "--model", "toy"),
        "environment": {"python": "3.11.2", "mrb": "0.1.0", "processor": "Test CPU", "cores": "2"},
        "timings": {task_id: {"seconds": 2.0, "pairs": queries * depth, "day": "2026-11-27"} for task_id in covered},
    }
    write_run(folder, RunRecord(**(fields | (record or {}))))
    return folder


class _Simulated:
    """A task with one relevant document a query, whose rank is drawn: 0 where the first stage did not find it."""

    def __init__(self, task: Any, skill: float, queries: int, depth: int) -> None:
        import numpy as np

        from mrb._util.hashing import sha256_json

        rng = np.random.default_rng(int(sha256_json(task.id)[:8], 16))
        first = rng.geometric(rng.uniform(0.06, 0.2), queries)
        first[first > depth] = 0
        moved = np.maximum(1, np.rint(first * (1 - skill) * rng.lognormal(0.0, 0.4, queries))).astype(int)
        own = first if skill == 0 else np.where(first == 0, 0, np.minimum(moved, depth))
        self.task, self.queries, self.depth = task, queries, depth
        # Ids are `part/id` where a task has parts; these are of unequal size.
        names = [part.name for part in task.source.parts]
        self.query_ids = [f"{names[(i * i) % len(names)]}/q{i}" if names[0] else f"q{i}" for i in range(queries)]
        self.ranks = {"measures": own, "first_stage": first, "oracle": np.minimum(first, 1)}

    def values(self, row: str, measure: Any) -> Any:
        """float64[queries] of `measure` for one of the three orders."""
        import numpy as np

        ranks = self.ranks[row]
        inside = (ranks > 0) & (ranks <= measure.cutoff)
        safe = np.maximum(ranks, 1)
        gains = {"nDCG": 1 / np.log2(1 + safe), "MRR": 1 / safe}.get(measure.name, np.ones(len(ranks)))
        return np.where(inside, gains, 0.0)

    def write(self, folder: Path, info: Any, candidates: str, selection: str) -> None:
        """The task's result and values per query."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        from mrb.metrics.aggregation import parts_of
        from mrb.metrics.measures import MEASURES
        from mrb.metrics.statistics import intervals, task_seed
        from mrb.results.schema import PER_QUERY_FILE, Result, write_result

        parts = parts_of(self.task, self.query_ids)
        columns = {row: np.column_stack([self.values(row, m) for m in MEASURES]) for row in self.ranks}
        found = {
            row: {
                str(m): {"mean": i.mean, "low": i.low, "high": i.high}
                for m, i in zip(
                    MEASURES, intervals(values, None, parts, seed=task_seed(self.task.id), resamples=200), strict=True
                )
            }
            for row, values in columns.items()
        }
        n = self.queries
        counts = dict.fromkeys(
            ("queries_without_positives", "qrels_outside_corpus", "qrels_not_positive"), 0
        ) | dict.fromkeys(("queries", "documents", "qrels", "queries_in_table"), n)
        result = Result.model_validate(
            {
                "schema_version": 1,
                "task": self.task.id,
                "task_hash": self.task.hash,
                "reranker": info.model_dump(),
                "candidates": {
                    "sha256": candidates,
                    "first_stage": "bm25",
                    "track": "standard",
                    "list_depth": max(25, self.depth),
                    "depth": self.depth,
                },
                "data": {
                    "revision": self.task.revision,
                    "selection": selection,
                    "qrels": self.task.qrels,
                    "loading": counts,
                },
                "counts": {
                    "queries": n,
                    "pairs": n * self.depth,
                    "queries_without_candidates": 0,
                    "self_matches_removed": 0,
                    "failed_pairs": 0,
                    "tied_at_10": 0.0,
                },
                "source_measure": self.task.source_measure,
                **found,
                "depths": {},
            }
        )
        write_result(folder, result)
        table = {"query_id": self.query_ids, "cluster": np.arange(n)}
        table |= {str(m): columns["measures"][:, k] for k, m in enumerate(MEASURES)}
        pq.write_table(pa.table(table), folder / PER_QUERY_FILE)


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
    command = Path(sys.executable).with_name("mrb")

    def run(*arguments: str, env: dict[str, str] | None = None) -> Done:
        environment = {**os.environ, **(env or {})}
        return subprocess.run(
            [str(command), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


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
    """With --unit, marked tests are left out."""
    if config.getoption("unit"):
        marked = [item for item in items if any(item.get_closest_marker(name) for name in MARKERS)]
        items[:] = [item for item in items if item not in marked]
        config.hook.pytest_deselected(items=marked)
