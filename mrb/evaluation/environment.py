"""Software and hardware of a run. It is recorded and shown; a difference between runs only gives a warning."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mrb import __version__

# Packages whose version can change a score. Those that were not imported are left out of the record.
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


def list_packages() -> dict[str, str]:
    """Return the versions of python, mrb and those packages above that are imported now."""
    found = {"python": platform.python_version(), "mrb": __version__}
    for name in _PACKAGES:
        if _MODULES.get(name, name) in sys.modules:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "unknown"
    return found


def describe_environment() -> dict[str, str]:
    """Return package versions, operating system, processor and number of cores."""
    return {
        **list_packages(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _name_processor(),
        "cores": str(os.cpu_count()),
    }


def _name_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
