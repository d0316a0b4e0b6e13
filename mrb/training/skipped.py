"""Groups that a run could not train on and replaced by others: `data.on_error = "skip"`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from mrb.errors import TrainingError
from mrb.training.log import Table
from mrb.training.recipe import DataSettings

logger = logging.getLogger(__name__)

SKIPPED_COLUMNS = ("step", "problem")


class SkippedGroups:
    """The groups skipped by all processes, in a table that a resumed run continues.

    A group counts each time that it is visited.
    """

    def __init__(self, table: Table, settings: DataSettings) -> None:
        self._table = table
        self._settings = settings
        self._new: list[tuple[int, str]] = []
        self.total = len(table.read_rows())

    def add(self, step: int, problems: Sequence[str]) -> None:
        """Add what this process skipped at a step."""
        self._new += [(step, problem) for problem in problems]

    def share(self, accelerator: Any) -> None:
        """Write and log what was added since the last call in any process; all processes take part.

        Raises TrainingError in all of them if it is more than the recipe allows.
        """
        if not self._settings.skips:  # then the first one has ended the run
            return
        from accelerate.utils import gather_object

        new = sorted(one for part in gather_object([self._new]) for one in part)
        self._new = []
        self.total += len(new)
        if accelerator.is_main_process:
            for step, problem in new:
                self._table.add_row({"step": step, "problem": problem})
                logger.warning(f"step {step}: skipped {problem}")
        if self.total > self._settings.skips:
            raise TrainingError(
                f"{self.total} groups could not be trained on, data.max_skipped is {self._settings.skips}; they "
                f"are listed in {self._table.path}"
            )
