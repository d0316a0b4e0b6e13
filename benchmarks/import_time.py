"""Print the time of `import mrb`, and of the first use of each name behind it, in fresh processes.

python benchmarks/import_time.py [--repeat 5]
"""

from __future__ import annotations

import argparse
import subprocess
import sys

CASES = {
    "import mrb": "pass",
    "mrb.Request": "mrb.Request",
    "mrb.list_tasks": "mrb.list_tasks",
    'mrb.list_tasks("mini")': "mrb.list_tasks('mini')",
    "mrb.evaluate": "mrb.evaluate",
}


def measure(code: str, repeat: int) -> float:
    """Return the shortest time in seconds, without the start of Python."""
    timed = f"import time; start = time.perf_counter(); import mrb; {code}; print(time.perf_counter() - start)"
    words = [sys.executable, "-c", timed]
    return min(float(subprocess.run(words, check=True, capture_output=True, text=True).stdout) for _ in range(repeat))


def main() -> None:
    """Print one line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    for name, code in CASES.items():
        print(f"{name:25} {1000 * measure(code, repeat):7.1f} ms")


if __name__ == "__main__":
    main()
