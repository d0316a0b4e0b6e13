"""The commands that are put to the faults: the smallest real inputs, and the files that must come out."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from mrb.errors import MRBError
from mrb.evaluation.journal import Journal
from tests.builders.command import MRB
from tests.faults.tools import Done, Lost, ended, started

TASK = "mini-faq-t2t"
ADAPTER = """
import os, time

class Words:
    batch_invariant = True

    def score(self, request):
        time.sleep(float(os.environ.get("SECONDS_A_QUERY", "0.002")))
        words = set(request.query.text.lower().split())
        return [len(words & set(d.text.lower().split())) / (1 + len(d.text)) for d in request.candidates]
"""
ENCODER = """
import time, zlib
import numpy as np

class Bags:
    batch_size = 10
    shard_rows = 50
    version = "1"

    def _rows(self, items):
        time.sleep(0.02)
        rows = np.zeros((len(items), 256), np.float32)
        for row, item in enumerate(items):
            for word in item.text.lower().split():
                rows[row, zlib.crc32(word.encode()) % 256] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)

    def encode_queries(self, items, instruction):
        return self._rows(items)

    encode_documents = _rows
"""
Files = dict[str, bytes]


@dataclass(frozen=True)
class Command:
    """A command in a folder. `finals` are the patterns of its final files, `kept` counts what a kill must not take
    back (queries in a journal, shards, files fetched, checkpoints), `clean` leaves out of a file what is a time.
    `growing` are patterns of those final files that are there, and not yet final, while the command runs."""

    name: str
    arguments: tuple[str, ...]
    finals: tuple[str, ...]
    kept: Callable[[Path], int]
    prepare: Callable[[Path], None] = lambda folder: None
    clean: Callable[[str, bytes], bytes] = lambda name, data: data
    growing: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)

    def ready(self, folder: Path) -> Path:
        """A new folder in which the command can run."""
        folder.mkdir(parents=True)
        self.prepare(folder)
        return folder

    def environment(self, folder: Path) -> dict[str, str]:
        """Caches in the folder, so that all that a command writes lies there."""
        return {"MRB_CACHE": str(folder / "cache"), "HF_HOME": str(folder / "hf"), **self.variables}

    def start(self, folder: Path, *prefix: object, **variables: str):  # type: ignore[no-untyped-def]
        """The command as a process; `prefix` is a command that runs it."""
        return started(folder, [*prefix, MRB, *self.arguments], {**self.environment(folder), **variables})

    def run(self, folder: Path, *prefix: object, **variables: str) -> Done:
        """The command, to its end."""
        return ended(self.start(folder, *prefix, **variables))

    def finished(self, folder: Path) -> Files:
        """Run to the end and return the final files; Lost if it fails."""
        done = self.run(folder)
        if done.returncode:
            raise Lost(f"the same command failed: {done.stderr.strip()[-300:]}")
        return self.found(folder)

    def found(self, folder: Path) -> Files:
        """The final files that are there."""
        paths = (path for pattern in self.finals for path in folder.glob(pattern) if path.is_file())
        names = {str(path.relative_to(folder)): path for path in paths if not path.name.endswith(".tmp")}
        return {name: self.clean(name, path.read_bytes()) for name, path in sorted(names.items())}


def same_files(found: Files, wanted: Files) -> None:
    """Lost if a file is missing, one too many, or differs in a byte."""
    if found.keys() != wanted.keys():
        raise Lost(f"other files than of an uninterrupted run: {sorted(found.keys() ^ wanted.keys())[:3]}")
    for name, data in wanted.items():
        if found[name] != data:
            raise Lost(f"{name} differs from the uninterrupted run's")


def whole_or_absent(command: Command, folder: Path, wanted: Files) -> None:
    """Lost if one of the files that are there already is not the one of an uninterrupted run."""
    for name, data in command.found(folder).items():
        if data != wanted.get(name) and not any(fnmatch(name, pattern) for pattern in command.growing):
            raise Lost(f"{name} was there after a fault and was not whole")


def run_command(*options: str, name: str = "mrb run", **variables: str) -> Command:
    """`mrb run` with an adapter that takes 2 ms for a query; it has 171."""
    return Command(
        name,
        ("run", "--model", "words", "--task", TASK, *options),
        tuple(f"runs/words/{TASK}/{file}" for file in ("result.json", "scores.parquet", "per_query.parquet")),
        _queries,
        lambda folder: _write(folder / "words.py", ADAPTER),
        variables=variables,
    )


def retrieve_command() -> Command:
    """`mrb candidates make` with an encoder of 20 ms a batch: 18 shards of 50 documents or queries."""
    return Command(
        "mrb candidates make",
        ("candidates", "make", "--first-stage", "bags", "--task", TASK, "--depth", "20", "--keep-embeddings"),
        (f"candidates/{TASK}.*",),
        lambda folder: len(list((folder / "cache").glob("first-stages/*/*.npy"))),
        lambda folder: _write(folder / "bags.py", ENCODER),
    )


def board_command(runs: Path) -> Command:
    """`mrb leaderboard build` of the run folders in `runs`."""
    return Command(
        "mrb leaderboard build",
        ("leaderboard", "build", *(str(path) for path in sorted(runs.iterdir())), "--out", "site"),
        ("site/**/*",),
        lambda folder: len(list(folder.glob("site/**/*"))),
    )


@contextmanager
def pull_command() -> Iterator[Command]:
    """`mrb data pull` of a task of five files from a Hub on loopback, which sends the corpus in pieces."""
    from tests.builders.hub.repositories import repositories
    from tests.builders.hub.server import Hub

    (nights,) = (repository for repository in repositories() if repository.task == "nights")
    files = nights.files()
    with Hub({(nights.name, nights.revision): files}) as hub:
        hub.faults["corpus-00000"] = ["slow"] * 100_000
        yield Command(
            "mrb data pull",
            ("data", "pull", "--task", "nights"),
            ("cache/hub/**/*.json", "hf/hub/datasets--*/snapshots/**/*"),
            lambda folder: len(list(folder.glob("hf/hub/datasets--*/snapshots/*/**/*"))),
            clean=_without_file_times,
            growing=("cache/*",),
            variables={"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"},
        )


def train_command(folder: Path) -> Command:
    """`mrb train recipe`: six steps of a tiny checkpoint, one checkpoint a step."""
    from tests.builders import museum
    from tests.builders.training import recipe_of, toy_groups

    folder.mkdir(parents=True)
    groups, model = toy_groups(folder, pictures=False), museum.build("qwen3", folder / "checkpoint")
    recipe_of(folder, model, groups)
    settings = ("schedule.steps=6", "output.save_every=1", "schedule.queries=2")
    changes = [part for setting in settings for part in ("--set", setting)]
    return Command(
        "mrb train",
        ("train", str(folder / "small.toml"), *changes, "--out", "out"),
        ("out/model/*", "out/log.csv"),
        lambda place: len(list(place.glob("out/checkpoint-*/trainer_state.json"))),
        # Hashes of the test data are made once: they are no part of what is tried.
        lambda place: _linked(place / "cache", folder / "cache"),
        clean=_without_seconds,
        growing=("out/*",),  # a model is finished when training.json says so
    )


def many_runs(folder: Path, count: int) -> Path:
    """A folder of `count` run folders, of copies of one real run under several names."""
    command = run_command(SECONDS_A_QUERY="0")
    command.finished(command.ready(folder / "one"))
    for number in range(count):
        run = folder / "runs" / f"words-{number}"
        shutil.copytree(folder / "one" / "runs" / "words", run, ignore=shutil.ignore_patterns(".*"))
        for path in (run / "run.json", run / TASK / "result.json"):
            value = json.loads(path.read_text())
            value["reranker"]["name"] = run.name
            path.write_text(json.dumps(value))
    return folder / "runs"


def _queries(folder: Path) -> int:
    try:
        return len(Journal(folder / "runs" / "words" / TASK / "journal").records)
    except MRBError as error:
        raise Lost(f"the journal cannot be read: {error}") from error


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def _linked(link: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    link.symlink_to(target)


def _without_file_times(name: str, data: bytes) -> bytes:
    """A manifest notes when a file that it has hashed was written."""
    if not name.startswith("cache/"):
        return data
    value = json.loads(data)
    for checked in value["checked"].values():
        del checked["modified_ns"]
    value["endpoint"] = ""
    return json.dumps(value, sort_keys=True).encode()


def _without_seconds(name: str, data: bytes) -> bytes:
    """The log of a training has the seconds since its process started."""
    if not name.endswith("log.csv"):
        return data
    rows = [dict(row, seconds="") for row in csv.DictReader(io.StringIO(data.decode()))]
    return json.dumps(rows).encode()
