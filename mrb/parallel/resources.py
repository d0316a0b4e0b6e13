"""What each worker gets of the machine: one GPU, and its share of the cores."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import takewhile
from pathlib import Path

VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = "OMP_NUM_THREADS"
_DEVICE = re.compile(r"nvidia[0-9]+")
_ASKING_SECONDS = 60


def worker_environment(number: int, workers: int, gpus: list[str]) -> dict[str, str]:
    """The environment of worker `number` (from 0) of `workers`.

    It sees one of `gpus`, taken in turn, and no other; where there are none nothing is said about them. Numeric
    libraries get the worker's share of the cores, unless the user has set how many threads they start.
    """
    found = dict(os.environ)
    if gpus:
        found[VISIBLE] = gpus[number % len(gpus)]
    found.setdefault(THREADS, str(max(1, cores() // workers)))
    return found


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; no library is loaded to ask.

    Those that CUDA_VISIBLE_DEVICES lists, if it is set (as CUDA does, up to the first that is none), else all.
    """
    stated = os.environ.get(VISIBLE)
    if stated is not None:
        return list(takewhile(lambda name: name not in ("", "-1"), (part.strip() for part in stated.split(","))))
    return [str(number) for number in range(_count())]


def _count() -> int:
    """How many GPUs the driver lists; where its tool is not installed, how many device files there are."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return sum(_DEVICE.fullmatch(path.name) is not None for path in Path("/dev").glob("nvidia*"))
    try:
        done = subprocess.run(  # noqa: S603  (the driver's own tool, and no word of it is the user's)
            [tool, "-L"], capture_output=True, text=True, check=True, timeout=_ASKING_SECONDS
        )
    except (OSError, subprocess.SubprocessError):
        return 0  # a tool without a working driver: CUDA finds no device then either
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def cores() -> int:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
