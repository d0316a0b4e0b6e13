"""Assign a machine's resources to workers: one GPU each, and an equal share of the cores."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import takewhile
from pathlib import Path

from mrb._util.cores import THREADS_VARIABLE, count_cores

VISIBLE = "CUDA_VISIBLE_DEVICES"
_DEVICE = re.compile(r"nvidia[0-9]+")
_ASKING_SECONDS = 60


def make_worker_environment(number: int, workers: int, gpus: list[str]) -> dict[str, str]:
    """Return the environment variables of worker `number` (from 0) of `workers`.

    The worker sees one of `gpus`, assigned round-robin; without GPUs the variable is not changed. Numeric libraries get
    the worker's share of the cores, unless the user has set their number of threads.
    """
    found = dict(os.environ)
    if gpus:
        found[VISIBLE] = gpus[number % len(gpus)]
    found.setdefault(THREADS_VARIABLE, str(max(1, count_cores() // workers)))
    return found


def list_visible_gpus() -> list[str]:
    """Return the NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them, without loading a library.

    If that variable is set, they are its entries up to the first invalid one, as for CUDA; otherwise all GPUs.
    """
    stated = os.environ.get(VISIBLE)
    if stated is not None:
        return list(takewhile(lambda name: name not in ("", "-1"), (part.strip() for part in stated.split(","))))
    return [str(number) for number in range(_count())]


def _count() -> int:
    """Return the number of GPUs by nvidia-smi, or the number of device files if it is not installed."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return sum(_DEVICE.fullmatch(path.name) is not None for path in Path("/dev").glob("nvidia*"))
    try:
        done = subprocess.run(  # noqa: S603  (the driver's own tool, without input from the user)
            [tool, "-L"], capture_output=True, text=True, check=True, timeout=_ASKING_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return 0  # without a working driver CUDA finds no device either
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
