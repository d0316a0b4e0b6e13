"""Faults put to the commands, and ONE table of what came of them.

    python -m tests.faults --kills 200 --out FOLDER      all of it, half an hour
    python -m tests.faults --quick --out FOLDER          a few of each
    python -m tests.faults --only clock --only train     the faults whose names hold one of these

Needs Linux, and for mounts either root or user namespaces. Rows that need `strace` or `faketime` (packages of these
names) say so where they are not installed. Exit code 1 if a fault was not survived or something was lost.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.campaign import Scale, faults
from tests.faults.tools import Row, tried

_INSIDE = "MRB_FAULTS_INSIDE"


def in_own_mounts() -> None:
    """Start again in a mount namespace of its own: what is mounted here is gone when this process is."""
    if os.environ.get(_INSIDE) != "1":
        own = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        os.environ[_INSIDE] = "1"
        os.execvp("unshare", [*own, sys.executable, "-m", "tests.faults", *sys.argv[1:]])


def table(rows: list[Row]) -> str:
    """The table as Markdown, with a row of sums."""
    tries, problems = sum(row.tried for row in rows), sum(len(row.problems) for row in rows)
    sums = ("**all**", str(tries), str(tries - problems), "nothing" if not problems else "see above")
    lines = [("fault", "tried", "survived", "lost"), ("---", "---:", "---:", "---")]
    lines += [*(row.cells for row in rows), sums]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Try the faults and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="random kills over all commands")
    parser.add_argument("--quick", action="store_true", help="a few trials of each fault, and no training")
    parser.add_argument("--only", action="append", metavar="WORDS", help="faults whose names hold this; repeat")
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--out", type=Path, help="a new folder to work in; default: a temporary one")
    options = parser.parse_args()
    in_own_mounts()
    folder = options.out.absolute() if options.out else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, fault in enumerate(faults(Scale(options.kills, options.seed, quick=options.quick))):
        if options.only and not any(words in fault.name for words in options.only):
            continue
        row = tried(fault, folder / f"{number:02d}")
        rows.append(row)
        print(f"{row.fault}: {row.tried} tried, lost {row.cells[3]}", file=sys.stderr, flush=True)
    print(table(rows))
    if not options.out:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(any(row.problems for row in rows))


if __name__ == "__main__":
    main()
