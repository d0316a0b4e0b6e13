"""Training log: a table on standard output, and a CSV file that a resumed run continues."""

from __future__ import annotations

import csv
import io
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from mrb._util.files import write_bytes
from mrb._util.format import format_duration
from mrb.evaluation.dry_run import measure_peak_memory

logger = logging.getLogger(__name__)

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
    "documents",
    "cut",
    "emptied",
    "missing",
    "skipped",
    "seconds",
    "tokens_per_second",
    "memory_gb",
)
"""`sft` and `cl` are the values of the supervised and the contrastive loss; `drift` is the largest difference of logits
between two passes. `tokens`, `documents`, `cut` (prompts that lost text to the maximum length), `emptied` (those that
lost all of their document's), `missing` (negatives not available) and `skipped` (groups that could not be trained on)
count since the last line. `seconds` is the time since this process started training; `tokens_per_second` is that of all
processes since the last line, whatever else was done between steps; `memory_gb` is the most that the first process has
held, on its GPU if it has one.
"""
DEV_COLUMNS = ("step", "task", "measure", "value", "low", "high", "first_stage", "oracle")
_SHOWN = (
    "step",
    "loss",
    "sft",
    "cl",
    "learning_rate",
    "grad_norm",
    "tokens",
    "tokens_per_second",
    "memory_gb",
    "seconds",
)
_WHOLE = ("tokens", "tokens_per_second", "seconds")


class Table:
    """A CSV file with a header. Lines are appended; the lines after a step can be removed."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path = path
        self.columns = tuple(columns)

    def add_row(self, values: Mapping[str, Any]) -> None:
        """Append a line. Absent values stay empty."""
        new = not self.path.is_file()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow({name: _format_exact(value) for name, value in values.items()})

    def read_rows(self) -> list[dict[str, str]]:
        """Return the lines so far, without a truncated last line (after a power loss or on a full disk)."""
        if not self.path.is_file():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [row for row in csv.DictReader(line for line in lines if line.endswith("\n")) if row.get("step")]

    def cut_after(self, step: int) -> None:
        """Remove the lines after `step`: a resumed run writes them again."""
        kept = [row for row in self.read_rows() if int(row["step"]) <= step]
        if kept:
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns, restval="", extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)
            write_bytes(self.path, text.getvalue().encode())
        else:
            self.path.unlink(missing_ok=True)


class LogCallback(TrainerCallback):
    """Writes a line for each log event of the training loop, on the main process only."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._started = self._last = time.monotonic()
        self._first = 0
        self._headed = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log and save as often as is asked for now: a resumed run has restored how often it was asked for before."""
        state.compute_steps(args, state.max_steps)
        self._started = self._last = time.monotonic()
        self._first = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Append a line to the table and to the file."""
        if not state.is_world_process_zero or logs is None or "loss" not in logs:
            return
        now = time.monotonic()
        rate = logs["tokens"] / max(now - self._last, 1e-6)
        seconds = now - self._started
        self._last = now
        gpu = torch.cuda.is_available()
        memory = torch.cuda.max_memory_allocated() / 1e9 if gpu else measure_peak_memory()
        values = {**logs, "step": state.global_step, "seconds": round(seconds, 1)}
        values |= {"tokens_per_second": round(rate, 1), "memory_gb": memory}
        self._table.add_row(values)
        if not self._headed:
            logger.info("  ".join(name.replace("_per_second", "/s").rjust(13) for name in (*_SHOWN, "left")))
            self._headed = True
        left = format_duration(seconds / (state.global_step - self._first) * (state.max_steps - state.global_step))
        shown = [*(_format_value(name, values.get(name)) for name in _SHOWN), left]
        logger.info("  ".join(text.rjust(13) for text in shown))

    def count(self, columns: Sequence[str]) -> dict[str, int]:
        """Return the sums of columns over all lines, those of earlier processes included."""
        rows = self._table.read_rows()
        return {name: sum(round(float(row[name] or 0)) for row in rows) for name in columns}


def _format_exact(value: Any) -> Any:
    # Nine digits identify a float32, so two curves can be compared exactly.
    return f"{value:.9g}" if isinstance(value, float) else value


def _format_value(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name == "learning_rate":
        return f"{value:.2e}"
    return f"{value:.4f}" if isinstance(value, float) and name not in _WHOLE else f"{value:,.0f}"
