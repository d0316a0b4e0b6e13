"""The log of a run: a table on standard output and the same values in a CSV file that a restart goes on with."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from mrb._util.files import write_bytes

COLUMNS = (
    "step",
    "loss",
    "sft",
    "cl",
    "weight_positive",
    "weight_negative",
    "learning_rate",
    "grad_norm",
    "drift",
    "tokens",
    "missing",
    "seconds",
)
"""`sft` and `cl` are the values of the true losses; `drift` the largest difference between two passes; `tokens` read
since the last line, and negatives that were `missing`; `seconds` since this process started training."""
DEV_COLUMNS = ("step", "task", "measure", "value", "low", "high", "first_stage", "oracle")
_SHOWN = ("step", "loss", "sft", "cl", "learning_rate", "grad_norm", "tokens", "seconds")


class Table:
    """A CSV file with a header; lines go in one at a time, and those after a step can be taken back."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = tuple(columns)

    def add(self, values: Mapping[str, Any]) -> None:
        """Append a line; what is missing stays empty."""
        new = not self.path.is_file()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({name: _plain(value) for name, value in values.items()})

    def rows(self) -> list[dict[str, str]]:
        """The lines so far; a last one that was cut in its middle (no power, a full disk) is none."""
        if not self.path.is_file():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [row for row in csv.DictReader(line for line in lines if line.endswith("\n")) if row.get("step")]

    def cut(self, step: int) -> None:
        """Take back the lines after `step`: they are about to be made again."""
        kept = [row for row in self.rows() if int(row["step"]) <= step]
        if kept:
            lines = [",".join(self.columns), *(",".join(row[c] or "" for c in self.columns) for row in kept)]
            write_bytes(self.path, ("\n".join(lines) + "\n").encode())
        else:
            self.path.unlink(missing_ok=True)


class LogCallback(TrainerCallback):
    """Writes a line for each log of the loop, on the main process alone."""

    def __init__(self, table: Table, say: Callable[[str], None]) -> None:
        self._table = table
        self._say = say
        self._started = time.monotonic()
        self._headed = False

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """A line of the table and of the file."""
        if not state.is_world_process_zero or logs is None or "loss" not in logs:
            return
        values = {**logs, "step": state.global_step, "seconds": round(time.monotonic() - self._started, 1)}
        self._table.add(values)
        if not self._headed:
            self._say("  ".join(name.rjust(13) for name in _SHOWN))
            self._headed = True
        self._say("  ".join(_shown(name, values.get(name)).rjust(13) for name in _SHOWN))


def _plain(value: Any) -> Any:
    # Nine digits say which float32 it was: two curves can be compared exactly.
    return f"{value:.9g}" if isinstance(value, float) else value


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "learning_rate":
        return f"{value:.2e}"
    return f"{value:.4f}" if isinstance(value, float) and name not in ("tokens", "seconds") else f"{value:,.0f}"
