"""The formulas of docs/scoring.md in plain Python."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def dcg(gains: Sequence[float], cutoff: int) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:cutoff], start=1))


def expected_value(name: str, cutoff: int, ranking: Sequence[str], grades: Mapping[str, int]) -> float:
    """The formulas of docs/scoring.md for one query, float64."""
    gains = [max(grades.get(doc, 0), 0) for doc in ranking]
    positives = sorted((grade for grade in grades.values() if grade > 0), reverse=True)
    found = [rank for rank, gain in enumerate(gains[:cutoff], start=1) if gain > 0]
    match name:
        case "nDCG":
            return dcg(gains, cutoff) / dcg(positives, cutoff)
        case "Recall":
            return len(found) / len(positives)
        case "HitRate":
            return 1.0 if found else 0.0
        case "MRR":
            return 1 / found[0] if found else 0.0
    raise AssertionError(name)
