"""`--executor ray` on a cluster of several nodes: the same files as one process, whoever is lost and whoever joins."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from mrb.cli.run import command as run_command
from mrb.evaluation.journal import Journal
from tests.builders.command import MRB, find_refusal, read_refusal, run_mrb
from tests.builders.processes import alive, built, finals, wait_until

pytestmark = pytest.mark.ray

DOCS = Path(__file__).parents[2] / "docs"
FAQ = ("--task", "mini-faq-t2t")
WORDS = ("--model", "words:Words", "--name", "words")
STORE = 80 * 1024 * 1024

ADAPTER = '''
import os, time
import numpy as np

with open("built", "a") as file:
    file.write(f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}\\n")


def held():
    """Says that work is in hand, and does none of it while the test holds."""
    with open(f"asked-{os.getpid()}", "w"):
        pass
    while os.path.exists("hold"):
        time.sleep(0.01)


class Words:
    batch_invariant = True

    def __init__(self, bad: str = ""):
        self.bad = bad
        assert bad != "building", "weights are missing"

    def score(self, request):
        if "copy an object" in request.query.text:
            if self.bad == "exit":
                os._exit(7)
            if self.bad == "hang":
                time.sleep(600)
            assert self.bad != "raise"
        held()
        with open(f"scored-{os.getpid()}", "a") as file:
            file.write("x")
        words = set(request.query.text.lower().split())
        return [len(words & set(d.text.lower().split())) / (1 + len(d.text)) for d in request.candidates]


class Rows:
    batch_size = 10
    shard_rows = 50

    def encode_documents(self, items):
        held()
        with open(f"scored-{os.getpid()}", "a") as file:
            file.write("x" * len(items))
        rows = np.ones((len(items), 26), np.float32)
        for row, item in enumerate(items):
            for letter in item.text.lower():
                rows[row, ord(letter) % 26] += 1
        weight = float(open("weight").read()) if os.path.exists("weight") else 1.0
        return weight * rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_queries(self, items, instruction):
        return self.encode_documents(items)
'''


def patiently(start: Callable[[], Any]) -> Any:
    """Ray gives a node half a minute to start, which a busy machine may exceed."""
    for _ in range(3):
        with contextlib.suppress(Exception):
            return start()
    return start()


def added(cluster: Any) -> Any:
    """A new node with room for one worker."""
    return patiently(lambda: cluster.add_node(num_cpus=1, object_store_memory=STORE))


@pytest.fixture(scope="module")
def cluster(ray_token: str) -> Iterator[Any]:
    """A head without room for workers and a node with room for one; closed to others, its files in a scratch folder."""
    folder = tempfile.mkdtemp(prefix="mrb-ray-")  # short: paths of sockets are limited
    stated = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": ray_token,
        "RAY_TMPDIR": folder,
        # A busy machine needs more than Ray's half minute for a node and for its agents.
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_agent_register_timeout_ms": "300000",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stated.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
        cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=head))
        try:
            yield cluster
        finally:
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def second(cluster: Any) -> Any:
    """The cluster's second node."""
    return added(cluster)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run in one process ends in."""
    folder = prepared(tmp_path_factory.mktemp("whole"))
    done = run_mrb(folder, "run", *WORDS, *FAQ)
    assert done.returncode == 0, done.stderr
    found = finals(folder / "runs" / "words")
    assert len(found) == 3
    return found


def prepared(folder: Path, *, hold: bool = False) -> Path:
    (folder / "words.py").write_text(ADAPTER)
    if hold:
        (folder / "hold").touch()
    return folder


@contextlib.contextmanager
def started(folder: Path, cluster: Any, *options: str, workers: int = 2) -> Iterator[subprocess.Popen[str]]:
    """`mrb run` on the cluster."""
    what = ["run", *WORDS, *FAQ]
    command = [MRB, *what, "--executor", "ray", "--address", cluster.address, "--workers", str(workers), *options]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        with contextlib.suppress(ValueError):  # it was read to its end
            print(process.communicate()[1])  # shown where the test fails


def asked(folder: Path) -> set[int]:
    """The workers that have, or have had, work in hand."""
    return {int(path.name.partition("-")[2]) for path in folder.glob("asked-*")}


def scored(folder: Path) -> dict[int, int]:
    """How many queries, or items, each worker has done."""
    return {int(path.name.partition("-")[2]): path.stat().st_size for path in folder.glob("scored-*")}


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    _, stderr = process.communicate(timeout=500)
    assert process.returncode == code, stderr
    return stderr


def test_workers_on_two_nodes_write_the_same_bytes_though_one_is_killed(
    cluster: Any, second: Any, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    prepared(tmp_path, hold=True)
    with started(tmp_path, cluster) as process:
        assert wait_until(lambda: len(asked(tmp_path)) == 2)
        victim = built(tmp_path)[0]
        os.kill(victim, signal.SIGKILL)
        assert wait_until(lambda: len(asked(tmp_path)) == 3), "another takes its place"
        (tmp_path / "hold").unlink()
        stderr = ended(process)
    assert f"(process {victim}) was killed by SIGKILL" in stderr
    assert "while scoring task mini-faq-t2t, query '" in stderr and " and 7 more in hand; handed out again" in stderr
    run = tmp_path / "runs" / "words"
    assert finals(run) == whole
    assert json.loads((run / "run.json").read_text())["environment"]["workers"] == "2"
    assert len(scored(tmp_path)) == 2 and sum(scored(tmp_path).values()) == 166, "each query once, by both"
    assert wait_until(lambda: not any(alive(pid) for pid in built(tmp_path)))


def test_a_lost_node_is_gone_on_without_and_a_new_one_is_used(
    cluster: Any, second: Any, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    prepared(tmp_path, hold=True)
    with started(tmp_path, cluster) as process:
        assert wait_until(lambda: len(asked(tmp_path)) == 2)
        before = asked(tmp_path)
        cluster.remove_node(second, allow_graceful=False)
        assert wait_until(lambda: sum(alive(pid) for pid in before) == 1)
        added(cluster)
        assert wait_until(lambda: len(asked(tmp_path)) == 3)
        (tmp_path / "hold").unlink()
        stderr = ended(process)
    assert "was lost (" in stderr and "the command continues" in stderr
    assert finals(tmp_path / "runs" / "words") == whole
    assert len(scored(tmp_path)) == 2 and sum(scored(tmp_path).values()) == 166


def test_a_query_that_ends_workers_ends_the_run_in_a_line_with_its_name(
    cluster: Any, second: Any, tmp_path: Path
) -> None:
    prepared(tmp_path)
    with started(tmp_path, cluster, "--set", "bad=exit") as process:
        line = find_refusal(ended(process, 2))
    assert "ended with exit code 7 while scoring task mini-faq-t2t, query '" in line and "as did one before it" in line
    assert len(built(tmp_path)) <= 5, "two at the start and one for each that was lost"
    assert (tmp_path / "runs" / "words" / "mini-faq-t2t" / "journal").stat().st_size > 1000, "the others were scored"


def test_a_query_that_hangs_fails_with_its_pairs_where_failures_are_allowed(
    cluster: Any, second: Any, tmp_path: Path
) -> None:
    prepared(tmp_path)
    with started(tmp_path, cluster, "--set", "bad=hang", "--timeout", "4", "--allow-failures", "25") as process:
        stderr = ended(process)
    assert "gave no answer for 4 seconds (--timeout)" in stderr and "(25 pairs failed)" in stderr
    result = json.loads((tmp_path / "runs" / "words" / "mini-faq-t2t" / "result.json").read_text())
    assert result["counts"]["failed_pairs"] == 25


def test_an_error_of_the_adapter_ends_the_run_as_in_one_process(cluster: Any, second: Any, tmp_path: Path) -> None:
    prepared(tmp_path)
    with started(tmp_path, cluster, "--set", "bad=raise") as process:
        assert "the adapter raised AssertionError" in find_refusal(ended(process, 2))
    assert wait_until(lambda: not any(alive(pid) for pid in built(tmp_path)))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda how: how.name)
def test_when_the_run_is_ended_no_worker_stays(
    cluster: Any, second: Any, tmp_path: Path, whole: dict[str, bytes], how: signal.Signals
) -> None:
    prepared(tmp_path, hold=True)
    with started(tmp_path, cluster) as process:
        assert wait_until(lambda: len(asked(tmp_path)) == 2)
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    assert wait_until(lambda: not any(alive(pid) for pid in asked(tmp_path)))
    if how is signal.SIGKILL:
        (tmp_path / "hold").unlink()
        done = run_mrb(tmp_path, "run", *WORDS, *FAQ)
        assert done.returncode == 0, done.stderr
        assert finals(tmp_path / "runs" / "words") == whole, "one process goes on with what a cluster has scored"


def test_vectors_are_made_by_workers_one_of_which_is_killed(cluster: Any, second: Any, tmp_path: Path) -> None:
    prepared(tmp_path, hold=True)
    environment = {**os.environ, "MRB_CACHE": str(tmp_path / "cache")}
    command = [MRB, "candidates", "make", "--first-stage", "words:Rows", *FAQ, "--depth", "20"]
    command.append("--keep-embeddings")
    on_ray = ["--executor", "ray", "--address", cluster.address, "--workers", "2", "--out", "rayed"]
    start = partial(subprocess.Popen, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    process = start([*command, *on_ray], cwd=tmp_path, env=environment)
    try:
        assert wait_until(lambda: len(asked(tmp_path)) == 2)
        victim = next(iter(asked(tmp_path)))
        os.kill(victim, signal.SIGKILL)
        (tmp_path / "hold").unlink()
        stderr = ended(process)
    finally:
        process.kill()
        process.communicate()
    assert f"(process {victim}) was killed by SIGKILL" in stderr and "handed out again" in stderr
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("mini-faq-t2t.parquet", "mini-faq-t2t.manifest.json"):
        assert (tmp_path / "rayed" / name).read_bytes() == (tmp_path / "candidates" / name).read_bytes()
    (tmp_path / "weight").write_text("1.1")  # as if it were trained again: nothing that it states has changed
    for line in ("by words:Rows and scores", "has another vector now"):  # the list is kept, then only the vectors
        assert line in find_refusal(ended(start([*command, *on_ray], cwd=tmp_path, env=environment), 2))
        shutil.rmtree(tmp_path / "rayed", ignore_errors=True)


def test_without_an_address_a_cluster_is_started_and_leaves_nothing(tmp_path: Path, whole: dict[str, bytes]) -> None:
    prepared(tmp_path)
    home, scratch = tmp_path / "home", tempfile.mkdtemp(prefix="mrb-ray-")
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": str(home), "RAY_TMPDIR": scratch}
    command = [MRB, "run", *WORDS, *FAQ, "--executor", "ray"]
    try:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert finals(tmp_path / "runs" / "words") == whole
        assert not list(home.iterdir())
        assert wait_until(lambda: not _of_folder(scratch)), "Ray's own processes have ended too"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def test_the_commands_of_the_page_run(cluster: Any, second: Any, tmp_path: Path) -> None:
    for path in (DOCS / "examples").glob("*.sh"):
        shutil.copy(path, tmp_path)
    blocks = re.findall(r"```console\n(.*?)```", (DOCS / "cluster.md").read_text(encoding="utf-8"), re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    run_here = [command for command in commands if command.startswith(("mrb ", "torchrun ", "SLURM"))]
    assert len(run_here) == 6
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "PATH": f"{Path(MRB).parent}:{os.environ['PATH']}"}
    for command in run_here:
        words = command.replace("torchrun", f"{sys.executable} -m torch.distributed.run", 1)
        done = subprocess.run(
            ["bash", "-c", words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
    runs = tmp_path / "runs"
    assert finals(runs / "surface") == finals(runs / "parts") != {}
    held = [
        len(Journal(path / "mini-faq-t2t" / "journal").records) for path in sorted((runs / "torch/shards").iterdir())
    ]
    assert held == [10, 10]
    assert len(Journal(runs / "array" / "shards" / "1-of-4" / "mini-faq-t2t" / "journal").records) == 5


def test_the_examples_fit_what_they_are_for(cluster: Any) -> None:
    import jsonschema
    import ray

    examples = DOCS / "examples"
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(yaml.safe_load((examples / "ray-autoscaler.yaml").read_text()), schema)
    job = yaml.safe_load((examples / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray.__version__
    page = (DOCS / "cluster.md").read_text(encoding="utf-8")
    submitted = re.findall(r"-- (mrb run .*)", page)
    assert len(submitted) == 1
    for command in (job["spec"]["entrypoint"], *submitted):
        words = shlex.split(command)
        assert words[:2] == ["mrb", "run"]
        assert run_command.make_context("run", words[2:]).params["executor"] == "ray"


def _of_folder(folder: str) -> list[str]:
    """The processes with this folder in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [str(path)] if folder.encode() in path.read_bytes() else []
    return found


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (("--address", "auto"), "--address and --gpus-per-worker are for --executor ray"),
        (("--executor", "ray", "--address", "ray://here:10001"), "Ray Client addresses are not supported"),
        (("--executor", "ray", "--address", "127.0.0.1:1"), "no connection to a Ray cluster at 127.0.0.1:1"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, options: tuple[str, ...], wanted: str) -> None:
    assert wanted in read_refusal(run_mrb(tmp_path, "run", "--model", "random", *FAQ, *options))
