"""The cores that this process may use."""

from __future__ import annotations

import os

THREADS_VARIABLE = "OMP_NUM_THREADS"
"""The environment variable by which numeric libraries, and MRB's workers, are told their number of threads."""


def count_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
