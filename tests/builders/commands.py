"""`mrb` in a process of its own, forked from one that has done most of a command's imports.

Imports are most of what a short command costs. The parent imports the libraries beneath and MRB itself, but neither
`huggingface_hub` nor `datasets` nor `transformers`: these read their environment (HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE)
when they are imported, so every child imports them anew, as the installed command does.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BENEATH = (
    *("numpy", "pandas", "pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet", "PIL.Image", "pytrec_eval"),
    *("asyncio", "httpx", "httpx2", "requests", "fsspec", "filelock", "yaml", "dill", "multiprocess", "xxhash", "tqdm"),
    *(
        "mrb.cli.main",
        "mrb.evaluation.run",
        "mrb.data.pull_data",
        "mrb.evaluation.recompute",
        "mrb.retrieval",
        "mrb.results.run",
    ),
)
TORCH = ("torch", "torch._dynamo", "torch.distributed.tensor", "scipy.optimize", "sklearn.metrics")
"""What `transformers` and `sentence_transformers` import besides."""
CLIENTS = {"huggingface_hub", "datasets", "transformers"}
SECONDS = 600


class Commands:
    """Runs `mrb` as `subprocess.run` would, each time in a new process."""

    def __init__(self, torch: bool) -> None:
        command = [sys.executable, "-m", "tests.builders.commands", *(TORCH if torch else ())]
        root = Path(__file__).parents[2]
        self._server = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()

    def run(self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """`mrb ARGUMENTS` in `cwd` under `env` and no other variable, ended after SECONDS."""
        assert self._server.stdin is not None and self._server.stdout is not None
        with tempfile.TemporaryDirectory() as scratch:
            said = [str(Path(scratch) / name) for name in ("out", "err")]
            print(json.dumps([list(arguments), str(cwd), dict(env), said]), file=self._server.stdin, flush=True)
            code = int(self._server.stdout.readline())
            out, err = (Path(name).read_text() for name in said)
        return subprocess.CompletedProcess(["mrb", *arguments], code, out, err)


_STARTED: dict[bool, Commands] = {}


def start_commands(torch: bool = False) -> Commands:
    """What runs commands in this test process; with `torch`, commands whose adapters import it."""
    if torch not in _STARTED:
        _STARTED[torch] = Commands(torch)
    return _STARTED[torch]


def stop_commands() -> None:
    """End the servers that this test process has started."""
    while _STARTED:
        _STARTED.popitem()[1].close()


def serve(modules: Sequence[str]) -> None:
    """Fork a process for every line on standard input, and answer each with its exit code."""
    for name in modules:
        with contextlib.suppress(ModuleNotFoundError):  # the client has changed its HTTP library before
            importlib.import_module(name)
    assert not CLIENTS & set(sys.modules) and threading.active_count() == 1
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(*json.loads(line))
        print(_ended(child), flush=True)


def _ended(child: int) -> int:
    end = time.monotonic() + SECONDS
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    return os.waitstatus_to_exitcode(ended[1])


def _become(arguments: list[str], cwd: str, env: dict[str, str], said: list[str]) -> None:
    """Be the command, and end."""
    code: Any = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, path in enumerate(said, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = ["mrb", *arguments]
        sys.path[:1] = [str(Path(sys.executable).parent), *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
        from mrb.cli.main import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()
            atexit._run_exitfuncs()
            sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    serve((*BENEATH, *sys.argv[1:]))
