"""Adapters that exit, panic, raise what is no Exception, or change the process: one line, exit code 2, or no harm."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.builders.command import read_refusal

pytestmark = pytest.mark.slow

Done = subprocess.CompletedProcess[str]
Mrb = Callable[..., Done]

LIMIT = 12
FAQ = ("--task", "mini-faq-t2t", "--limit", str(LIMIT))
AT = 5
"""The query at which the adapter goes wrong."""

BODY = """
import asyncio, os, sys, threading

asked = 0

class TextlessError(Exception):
    def __str__(self):
        raise RuntimeError("no text")

def panic():
    from tokenizers import Tokenizer, models, pre_tokenizers
    words = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.encode("a a a").truncate(1, stride=1)

def elsewhere():
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")

def numbers(request):
    global asked
    asked += 1
    if asked == AT:
        WRONG
    return [len(d.text) for d in request.candidates]

class Words:
    batch_invariant = True

    FORM

    def close(self):
        CLOSE
"""
PLAIN = "def score(self, request): return numbers(request)"
ASYNC = "concurrency = 3\n    async def score(self, request): return numbers(request)"
STREAM = "def score_stream(self, requests):\n        for request in requests: yield request.key, numbers(request)"


def adapter(folder: Path, wrong: str = "pass", form: str = PLAIN, close: str = "pass") -> None:
    text = BODY.replace("AT", str(AT)).replace("WRONG", wrong).replace("FORM", form).replace("CLOSE", close)
    (folder / "words.py").write_text(text)


def table(done: Done) -> list[str]:
    """The lines of the printed table and where it is."""
    lines = done.stdout.splitlines()
    return lines[next(n for n, line in enumerate(lines) if line.startswith("words: nDCG@10")) :]


def told(done: Done, folder: Path) -> str:
    """The one line of mrb's that an error ended in; no result stands beside it, what was scored is kept."""
    line = read_refusal(done)
    task = folder / "runs" / "words" / "mini-faq-t2t"
    assert (task / "journal").stat().st_size > 0
    assert not (task / "result.json").exists()
    return line


RAISED = {
    "GeneratorExit": ("raise GeneratorExit", PLAIN, "GeneratorExit"),
    "cancelled": ("raise asyncio.CancelledError", ASYNC, "CancelledError"),
    "cancels itself": (
        "asyncio.current_task().cancel(); return asyncio.sleep(1)",
        ASYNC,
        "the adapter raised CancelledError",
    ),
    "group": ("raise BaseExceptionGroup('all', [SystemExit(0)])", STREAM, "BaseExceptionGroup: all .*SystemExit: 0"),
    "panic": ("panic()", PLAIN, "PanicException: `stride` must be"),
    "panic, async": ("panic()", ASYNC, "PanicException: `stride` must be"),
    "no text": ("raise TextlessError", STREAM, "TextlessError: "),
    "exit": ("sys.exit(0)", ASYNC, "SystemExit: 0"),
    "exit at once": ("os._exit(0)", PLAIN, r"os\._exit\(0\) was called"),
    "exit at once, async": ("os._exit(0)", ASYNC, r"os\._exit\(0\) was called"),
    "stop": ("raise StopIteration", PLAIN, "StopIteration"),
}


@pytest.mark.parametrize("name", RAISED)
def test_whatever_an_adapter_raises_is_one_line_with_task_and_query(mrb: Mrb, tmp_path: Path, name: str) -> None:
    wrong, form, wanted = RAISED[name]
    adapter(tmp_path, wrong, form)
    line = told(mrb("run", "--model", "words", *FAQ), tmp_path)
    assert re.search(f"task mini-faq-t2t, query '.*{wanted}", line), line
    if name != "cancels itself":  # the loop raises it, in no line of the adapter
        assert "(words.py, line " in line


@pytest.mark.parametrize("wrong", ["os._exit(0)", "panic()", "raise asyncio.CancelledError", "sys.exit(0)"])
def test_in_a_worker_too(mrb: Mrb, tmp_path: Path, wrong: str) -> None:
    adapter(tmp_path, wrong)
    line = told(mrb("run", "--model", "words", *FAQ, "--workers", "2"), tmp_path)
    assert "task mini-faq-t2t, query '" in line


@pytest.mark.parametrize("wrong", ["os._exit(0)", "panic()", "raise GeneratorExit"])
def test_in_a_check_too(mrb: Mrb, tmp_path: Path, wrong: str) -> None:
    adapter(tmp_path, wrong)
    done = mrb("check", "words", "--task", "mini-faq-t2t")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "task mini-faq-t2t, query '" in done.stderr and "(words.py, line " in done.stderr


def test_an_exit_in_a_thread_is_no_success(mrb: Mrb, tmp_path: Path) -> None:
    adapter(tmp_path, "thread = threading.Thread(target=os._exit, args=(0,)); thread.start(); thread.join()")
    assert "a thread called os._exit(0)" in told(mrb("run", "--model", "words", *FAQ), tmp_path)


HARMLESS = {
    "folder": "elsewhere()",
    "closed": "sys.stdout.close()",
    "closed below": "os.close(1); os.close(2)",
    "redirected": "sys.stdout = sys.stderr = open(os.devnull, 'w')",
    "redirected below": "os.dup2(os.open(os.devnull, os.O_WRONLY), 1)",
    "talkative": "print('x' * 10**6)",
    "child": "os.fork() or os._exit(0)",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_an_adapter_does_to_the_process_changes_no_result(mrb: Mrb, tmp_path: Path, name: str) -> None:
    adapter(tmp_path)
    whole = mrb("run", "--model", "words", *FAQ, "--out", "whole")
    adapter(tmp_path, HARMLESS[name])
    done = mrb("run", "--model", "words", *FAQ)
    assert done.returncode == 0, done.stderr
    assert table(done)[:-1] == table(whole)[:-1]
    assert table(done)[-1] == "results: runs/words"
    results = [(tmp_path / out / "words" / "mini-faq-t2t" / "scores.parquet") for out in ("whole", "runs")]
    assert results[0].read_bytes() == results[1].read_bytes()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("close", ["raise ValueError('late')", "os._exit(0)"])
def test_an_error_in_close_takes_no_result_away(mrb: Mrb, tmp_path: Path, close: str, workers: str) -> None:
    adapter(tmp_path, close=close)
    done = mrb("run", "--model", "words", *FAQ, "--workers", workers)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert table(done)[-1] == "results: runs/words"
    assert re.search(r"^mrb: (words: close\(\) raised|worker . of .*while closing)", done.stderr, re.M)


RETRIEVER = """
import asyncio, os, sys

class Words:
    def search(self, data, depth):
        for query_id in data.queries:
            WRONG
            yield query_id, list(data.corpus)[:depth], [0.0] * min(depth, len(data.corpus))
"""
ENCODER = """
import asyncio, os, sys
import numpy as np

class Words:
    def encode_queries(self, items, instruction):
        return self.encode_documents(items)
    def encode_documents(self, items):
        WRONG
        return np.ones((len(items), 4))
"""
UNFOUND = {
    "raise GeneratorExit": "GeneratorExit",
    "os._exit(0)": r"os\._exit\(0\) was called",
    "raise BaseExceptionGroup('all', [SystemExit(0)])": "SystemExit: 0",
}


@pytest.mark.parametrize("body", [RETRIEVER, ENCODER], ids=["search", "encoder"])
@pytest.mark.parametrize("wrong", UNFOUND)
def test_a_retriever_is_told_of_likewise(mrb: Mrb, tmp_path: Path, wrong: str, body: str) -> None:
    (tmp_path / "words.py").write_text(body.replace("WRONG", wrong))
    done = mrb("candidates", "make", "--first-stage", "words", "--task", "mini-faq-t2t", "--work", "work")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    (line,) = re.findall("^mrb: .*$", done.stderr, re.MULTILINE)
    assert re.search(f"words: (query '|encoding .* items from ).*raised .*{UNFOUND[wrong]}.*words.py, line", line), line


def test_answers_of_a_retriever_that_are_no_lists_are_named(mrb: Mrb, tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text(RETRIEVER.replace("WRONG", "yield query_id; continue"))
    done = mrb("candidates", "make", "--first-stage", "words", "--task", "mini-faq-t2t")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert "the search gave 'ask-" in done.stderr and "wanted (query id, document ids, one number" in done.stderr
