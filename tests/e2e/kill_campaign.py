"""Kills `mrb run` at random moments and compares what it ends in with an uninterrupted run.

    python tests/e2e/kill_campaign.py --kills 200 FOLDER

Exit code 1 if a final file differs in a byte, a resume fails, or a journal ever shrinks.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

MRB = Path(sys.executable).with_name("mrb")
KILLS_A_RUN = 20
ADAPTER = """
import time

class Slow:
    batch_invariant = True

    def score(self, request):
        time.sleep(0.002)
        words = set(request.query.text.lower().split())
        return [len(words & set(d.text.lower().split())) / (1 + len(d.text)) for d in request.candidates]
"""
COMMAND = [str(MRB), "run", "--model", "slow", "--task", "mini-faq-t2t"]
FINAL = ("result.json", "scores.parquet", "per_query.parquet")
TASK = Path("runs") / "slow" / "mini-faq-t2t"


def prepared(folder: Path) -> Path:
    """A new folder that holds the adapter."""
    folder.mkdir(parents=True)
    (folder / "slow.py").write_text(ADAPTER)
    return folder


def finished(folder: Path) -> dict[str, bytes]:
    """Run to the end and return the final files; SystemExit if the run fails."""
    done = subprocess.run(COMMAND, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"a resume failed: {done.stderr}")
    return {name: (folder / TASK / name).read_bytes() for name in FINAL}


def size(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def kill_once(folder: Path, wanted: int, delay: float) -> None:
    """Start the run and kill it `delay` seconds after its journal has reached `wanted` bytes."""
    process = subprocess.Popen(COMMAND, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and size(folder / TASK / "journal") < wanted:
        time.sleep(0.001)
    time.sleep(delay)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.wait()


def one_run(folder: Path, kills: int, full: int, chance: random.Random) -> dict[str, bytes]:
    """Kill a run `kills` times on its way, then let it finish."""
    journal = prepared(folder) / TASK / "journal"
    before = 0
    for number in range(kills):
        # The kills spread over the journal's length, before its first record and in mid write too.
        wanted = min(full, before + chance.randint(0, full // kills)) if number else 0
        kill_once(folder, wanted, chance.random() * 0.004)
        now = size(journal)
        if now < before:
            raise SystemExit(f"the journal shrank from {before} to {now} bytes: scores were lost")
        before = now
    print(f"{folder.name}: killed {kills} times, journal at {before} of {full} bytes at the last", flush=True)
    if not 0 < before < full:
        raise SystemExit(f"{folder.name}: the kills did not hit a run in progress")
    return finished(folder)


def main() -> None:
    """Do the campaign in runs of KILLS_A_RUN kills each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=KILLS_A_RUN)
    parser.add_argument("--seed", type=int, default=20261122)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    whole = finished(prepared(options.folder / "whole"))
    full = size(options.folder / "whole" / TASK / "journal")
    runs = [min(KILLS_A_RUN, options.kills - done) for done in range(0, options.kills, KILLS_A_RUN)]
    for number, kills in enumerate(runs):
        if one_run(options.folder / f"run-{number}", kills, full, chance) != whole:
            raise SystemExit(f"run-{number}: the final files differ from the uninterrupted run's")
    print(f"{options.kills} kills in {len(runs)} run{'s' * (len(runs) > 1)}: final files identical")


if __name__ == "__main__":
    main()
