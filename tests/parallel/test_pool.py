"""`mrb run --workers N`: the same files as one process, whatever form the adapter has and whoever is killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.builders.command import MRB, find_refusal, read_refusal
from tests.builders.processes import alive, built, finals, wait_until

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]

FAQ = ("--task", "mini-faq-t2t")

COMMON = """
import asyncio, os, time

with open("built", "a") as file:
    file.write(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}\\n")

def numbers(request):
    time.sleep(0.003)
    with open(f"scored-{os.getpid()}", "a") as file:
        file.write("x")
    words = set(request.query.text.lower().split())
    return [len(words & set(d.text.lower().split())) / (1 + len(d.text)) for d in request.candidates]
"""
FORMS = {
    "plain": """
class A:
    batch_invariant = True

    def score(self, request):
        return numbers(request)
""",
    "stream": """
class A:
    batch_invariant = True

    def score_stream(self, requests):
        for request in list(requests)[::-1]:
            yield request.key, numbers(request)
""",
    "asynchronous": """
class A:
    batch_invariant = True
    concurrency = 3

    async def score(self, request):
        await asyncio.sleep(0.001 * (len(request.query.text) % 7))
        return numbers(request)
""",
    "listwise": """
class A:
    kind = "listwise"
    batch_invariant = True

    def rank(self, request):
        found = numbers(request)
        return sorted(range(len(found)), key=lambda i: -found[i])
""",
}


def adapter(folder: Path, body: str = FORMS["plain"], name: str = "words") -> Path:
    path = folder / f"{name}.py"
    path.write_text(COMMON + body)
    return path


@contextlib.contextmanager
def midway(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A run that has journalled some of its queries and not all; ended at the end, whatever has become of it."""
    command = [MRB, "run", "--model", "words", *FAQ, *options]
    journal = folder / "runs" / "words" / "mini-faq-t2t" / "journal"
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert wait_until(lambda: (journal.exists() and journal.stat().st_size > 3000) or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def whole(mrb: Mrb, tmp_path: Path) -> dict[str, bytes]:
    """What an uninterrupted run in one process ends in; the adapter is in place."""
    adapter(tmp_path)
    done = mrb("run", "--model", "words", *FAQ, "--out", "whole")
    assert done.returncode == 0, done.stderr
    (tmp_path / "built").unlink()
    return finals(tmp_path / "whole" / "words")


def test_one_two_and_three_workers_write_the_same_bytes(mrb: Mrb, tmp_path: Path) -> None:
    adapter(tmp_path)
    tasks = (*FAQ, "--task", "mini-flag-t2it", "--limit", "60")
    found = []
    for workers in (1, 2, 3):
        done = mrb("run", "--model", "words", *tasks, "--workers", str(workers), "--name", f"on-{workers}")
        assert done.returncode == 0, done.stderr
        run = tmp_path / "runs" / f"on-{workers}"
        assert json.loads((run / "run.json").read_text())["environment"]["workers"] == str(workers)
        found.append(finals(run))
    assert len(found[0]) == 2 * 3
    assert found[0] == found[1] == found[2]
    pids = built(tmp_path)
    assert len(pids) == len(set(pids)) == 1 + 2 + 3, "one instance in each process, none in a run that has workers"
    assert all((tmp_path / f"scored-{pid}").exists() for pid in pids), "all of them score"
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("form", ["stream", "asynchronous", "listwise"])
def test_every_form_of_adapter_has_workers(mrb: Mrb, tmp_path: Path, form: str) -> None:
    adapter(tmp_path, FORMS[form])
    for workers in ("1", "2"):
        done = mrb("run", "--model", "words", *FAQ, "--limit", "50", "--workers", workers, "--out", workers)
        assert done.returncode == 0, done.stderr
    assert finals(tmp_path / "1") == finals(tmp_path / "2")
    assert len(list(tmp_path.glob("scored-*"))) == 3


def test_a_class_of_a_module_with_options_is_built_in_each_worker(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("WEIGHT = 2\n")
    weighted = """
from beside import WEIGHT

class Weighted:
    batch_invariant = True

    def __init__(self, factor: float, note: str = "x; y = 'z'"):
        self.factor = factor * WEIGHT
        self.note = note

    def score(self, request):
        return [self.factor * number + len(self.note) for number in numbers(request)]

class Other:
    def score(self, request):
        return [0.0] * len(request.candidates)
"""
    adapter(tmp_path, weighted, "many")
    arguments = ("run", "--model", "many:Weighted", "--set", "factor=0.5", *FAQ, "--limit", "20")
    for workers in ("1", "2"):
        done = mrb(*arguments, "--workers", workers, "--out", workers)
        assert done.returncode == 0, done.stderr
    assert finals(tmp_path / "1") == finals(tmp_path / "2")
    (record,) = (tmp_path / "2").glob("*/run.json")
    assert json.loads(record.read_text())["reranker"]["options"] == {"factor": 0.5}


def test_each_worker_sees_one_gpu_before_it_imports_the_adapter(mrb: Mrb, tmp_path: Path) -> None:
    adapter(tmp_path)
    arguments = ("run", "--model", "words", *FAQ, "--limit", "5", "--workers", "3")
    assert mrb(*arguments, env={"CUDA_VISIBLE_DEVICES": "3,GPU-7"}).returncode == 0
    lines = (tmp_path / "built").read_text().splitlines()
    assert sorted(line.split()[1] for line in lines) == ["3", "3", "GPU-7"]


def test_a_killed_worker_is_named_and_the_same_command_goes_on(
    mrb: Mrb, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    with midway(tmp_path, "--workers", "2") as process:
        first, second = built(tmp_path)
        os.kill(second, signal.SIGKILL)
        _, stderr = process.communicate(timeout=300)
    line = find_refusal(stderr)
    assert process.returncode == 2
    assert f"(process {second}) was killed by SIGKILL" in line
    assert "scoring task mini-faq-t2t, query '" in line
    assert not alive(first)
    scored = len((tmp_path / f"scored-{first}").read_text())
    again = mrb("run", "--model", "words", *FAQ, "--workers", "3")
    assert again.returncode == 0, again.stderr
    assert finals(tmp_path / "runs" / "words") == whole
    later = [len((tmp_path / f"scored-{pid}").read_text()) for pid in built(tmp_path)[2:]]
    assert 0 < sum(later) < 166 and scored > 0, "what the first call had scored was not scored again"


def test_a_worker_that_dies_is_noticed_though_its_child_holds_the_pipe(tmp_path: Path) -> None:
    forks = """
if os.fork() == 0:
    with open("children", "a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(900)  # longer than anything here waits
    os._exit(0)
"""
    adapter(tmp_path, forks + FORMS["plain"])
    with midway(tmp_path, "--workers", "2") as process:
        assert wait_until(lambda: len((tmp_path / "children").read_text().split()) == 2)
        os.kill(built(tmp_path)[0], signal.SIGKILL)
        _, stderr = process.communicate(timeout=300)
    assert "was killed by SIGKILL" in find_refusal(stderr)
    children = [int(line) for line in (tmp_path / "children").read_text().split()]
    assert wait_until(lambda: not any(alive(pid) for pid in [*built(tmp_path), *children]))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_when_the_run_is_ended_no_worker_stays(
    mrb: Mrb, tmp_path: Path, whole: dict[str, bytes], how: signal.Signals
) -> None:
    with midway(tmp_path, "--workers", "2") as process:
        assert len(built(tmp_path)) == 2
        process.send_signal(how)
        _, stderr = process.communicate(timeout=300)
    assert wait_until(lambda: not any(alive(pid) for pid in built(tmp_path)))
    assert "Traceback" not in stderr
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert "the same command continues where it stopped" in stderr
    again = mrb("run", "--model", "words", *FAQ, "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert finals(tmp_path / "runs" / "words") == whole


# One query alone fails, so that there is one line to expect whoever scores it.
BROKEN = {
    "raises": "assert not bad",
    "counts wrong": "if bad: return [1.0]",
    "gives a NaN": "if bad: return [float('nan')] * len(request.candidates)",
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_error_in_a_worker_is_told_as_in_one_process(mrb: Mrb, tmp_path: Path, name: str) -> None:
    body = ("bad = 'copy an object' in request.query.text", BROKEN[name], "return numbers(request)")
    adapter(tmp_path, "class A:\n    def score(self, request):\n" + "".join(f"        {line}\n" for line in body))
    lines = []
    for workers in ("1", "2"):
        done = mrb("run", "--model", "words", *FAQ, "--workers", workers, "--out", workers)
        assert done.returncode == 2, done.stdout
        lines.append(read_refusal(done))
    assert lines[0] == lines[1]
    assert "task mini-faq-t2t, query '" in lines[0]


SCORE = "    def score(self, request):\n        return []\n"
UNBUILT = {
    "raises": (
        f"class A:\n    def __init__(self):\n        raise OSError('weights are missing')\n{SCORE}",
        "words: building it fails: OSError: weights are missing (words.py, line",
    ),
    "syntax": ("class A:\n    def score(self, request)\n", "words.py, line 15: syntax error: expected ':'"),
    "import": ("import surely_missing\n", "words: needs the module 'surely_missing'"),
    "kind": (f"class A:\n    kind = 'pairwise'\n{SCORE}", "kind is 'pairwise'"),
    "differs": (f"class A:\n    version = str(os.getpid())\n{SCORE}", "declares other values than the first"),
    "crash": ("os.kill(os.getpid(), signal.SIGSEGV)\n", "was killed by SIGSEGV while building the reranker"),
    "exit": ("os._exit(3)\n", "ended with exit code 3 while building the reranker"),
}


@pytest.mark.parametrize("name", UNBUILT)
def test_a_reranker_that_cannot_be_built_is_told_in_one_line(mrb: Mrb, tmp_path: Path, name: str) -> None:
    body, wanted = UNBUILT[name]
    adapter(tmp_path, "import signal\n" + body)
    done = mrb("run", "--model", "words", *FAQ, "--workers", "2")
    assert done.returncode == 2, done.stdout
    assert wanted in read_refusal(done)
    assert not (tmp_path / "runs").exists()
    assert not any(alive(pid) for pid in built(tmp_path))


def test_failures_of_all_workers_are_counted_together(mrb: Mrb, tmp_path: Path) -> None:
    adapter(
        tmp_path,
        "class A:\n    batch_invariant = True\n    def score(self, request):\n"
        "        assert 'copy' not in request.query.text\n        return numbers(request)\n",
    )
    for workers in ("1", "2"):
        done = mrb("run", "--model", "words", *FAQ, "--allow-failures", "500", "--workers", workers, "--out", workers)
        assert done.returncode == 0, done.stderr
    assert finals(tmp_path / "1") == finals(tmp_path / "2")
    result = json.loads((tmp_path / "2" / "words" / "mini-faq-t2t" / "result.json").read_text())
    failed = result["counts"]["failed_pairs"]
    assert failed > 1
    fewer = mrb("run", "--model", "words", *FAQ, "--allow-failures", str(failed - 1), "--workers", "2")
    assert fewer.returncode == 2
    assert f"(failed pairs: {failed}, allowed: {failed - 1})" in read_refusal(fewer)


def test_a_worker_that_hangs_is_ended_and_named(mrb: Mrb, tmp_path: Path) -> None:
    body = (
        "class A:\n    def score(self, request):\n        if 'copy an object' in request.query.text: time.sleep(600)\n"
    )
    adapter(tmp_path, body + "        return numbers(request)\n")
    done = mrb("run", "--model", "words", *FAQ, "--timeout", "3")
    assert done.returncode == 2, done.stdout
    line = read_refusal(done)
    assert "gave no answer for 3 seconds (--timeout) while scoring task mini-faq-t2t, query '" in line
    assert not any(alive(pid) for pid in built(tmp_path))


def test_a_resume_after_a_change_scores_its_sample_in_the_workers(mrb: Mrb, tmp_path: Path) -> None:
    path = adapter(tmp_path)
    command = ("run", "--model", "words", *FAQ, "--workers", "2")
    assert mrb(*command, "--limit", "20").returncode == 0
    path.write_text("# moves no score\n" + path.read_text())
    same = mrb(*command, "--limit", "30")
    assert same.returncode == 0, same.stderr
    assert "the adapter's source changed: 4 queries are scored again" in same.stderr
    path.write_text(path.read_text().replace("(1 + len(d.text))", "(2 + len(d.text))"))
    other = mrb(*command)
    assert other.returncode == 2
    assert "--fresh" in read_refusal(other)


@pytest.mark.parametrize("workers", ["0", "-1", "two"])
def test_no_workers_are_refused(mrb: Mrb, workers: str) -> None:
    done = mrb("run", "--model", "random", "--workers", workers)
    assert done.returncode == 2
    assert "--workers" in done.stderr and "Traceback" not in done.stderr


def test_a_dry_run_estimates_the_time_of_several_workers(mrb: Mrb, tmp_path: Path) -> None:
    done = mrb("run", "--model", "random", *FAQ, "--dry-run", "--workers", "4")
    assert done.returncode == 0, done.stderr
    assert "\n4 workers: " in done.stdout and "in one process" in done.stdout
    assert not (tmp_path / "runs").exists()
