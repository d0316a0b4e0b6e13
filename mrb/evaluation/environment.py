"""What a run ran on: recorded with it, shown, and compared only to warn."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# Packages whose version can move a score. Those that no adapter imported are left out of the record.
_PACKAGES = (
    "numpy",
    "pillow",
    "pyarrow",
    "datasets",
    "bm25s",
    "pytrec-eval-terrier",
    "torch",
    "transformers",
    "peft",
    "vllm",
)
_MODULES = {"pillow": "PIL", "pytrec-eval-terrier": "pytrec_eval"}


def packages() -> dict[str, str]:
    """Versions of python, mrb and of the packages above that are imported now."""
    found = {"python": platform.python_version(), "mrb": version("mrb")}
    for name in _PACKAGES:
        if _MODULES.get(name, name) in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "unknown"
    return found


def environment() -> dict[str, str]:
    """Package versions, operating system, processor and number of cores."""
    return {
        **packages(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
