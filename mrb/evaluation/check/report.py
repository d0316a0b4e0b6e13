"""Format the result of a check as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mrb._util.format import PLAIN, Screen, format_reasons, format_table
from mrb.evaluation.check.check import PROPERTIES, CheckOutcome, TaskCheck
from mrb.evaluation.check.score_noise import TOLERANCE, Difference
from mrb.rerankers.ties import format_tie_warning
from mrb.results.noise import NoiseRecord

_OF_SCORES = "% of the standard deviation of the task's scores"
_SCALE = {"pointwise": _OF_SCORES, "setwise": _OF_SCORES, "listwise": "% of candidate pairs that change places"}


def format_check(checked: CheckOutcome, screen: Screen = PLAIN) -> str:
    """Format the model's declarations, one row per task, the tasks not checked, and the throughput."""
    info = checked.info
    declared = [info.kind, f"takes {info.inputs.format()}"]
    declared += [name for name in ("batch_invariant", "uses_first_stage") if getattr(info, name)]
    names = [name for name in PROPERTIES if any(name in task.found for task in checked.tasks)]
    rows = [("task", "type", "pairs", "pairs/s", *names)]
    for task in checked.tasks:
        cells = (_format_cell(task.largest(name)) for name in names)
        rows.append((task.task_id, task.type, str(task.pairs), _rate(task.pairs, task.seconds), *cells))
    lines = [
        f"{info.name}: {'; '.join(declared)}",
        f"largest difference, in {_SCALE[info.kind]} (0: the same bits; over {100 * TOLERANCE:g}: broken, marked !)",
        *format_table(rows, left=2, drop=("type", "pairs"), screen=screen),
        *format_reasons({task_id: f"not covered: {reason}" for task_id, reason in checked.not_covered.items()}),
    ]
    for reason in dict.fromkeys(checked.elsewhere.values()):
        task_ids = [task_id for task_id, why in checked.elsewhere.items() if why == reason]
        lines.append(f"not asked: {reason}: {', '.join(task_ids)}")
    if (warning := format_tie_warning(info, {task.task_id: task.tied for task in checked.tasks})) is not None:
        lines.append(warning)
    return "\n".join([*lines, _format_total(checked.tasks)])


def format_verdict(checked: CheckOutcome) -> str:
    """Return the last line of a check that found nothing broken."""
    held = f"{checked.info.name} holds what it declares"
    if checked.exact and not checked.info.batch_invariant:
        return f"{held}; every answer had the same bits, so batch_invariant = True would have held too"
    return held


def format_noise(record: NoiseRecord, screen: Screen = PLAIN) -> str:
    """Format one row of noise per task, and the noise floor."""
    rows = [("task", "queries", "pairs", "largest difference", "rank changes", "nDCG@10 change")]
    for task_id, noise in record.tasks.items():
        counts = (str(noise.queries), str(noise.pairs), f"{noise.largest_difference:.3g}", str(noise.rank_changes))
        rows.append((task_id, *counts, f"{100 * noise.mean_change:.3f}"))
    floor = f"noise floor: nDCG@10 moves by {100 * record.floor:.3f} a query on average (mean over tasks, times 100)"
    return "\n".join([*format_table(rows, screen=screen), floor])


def _format_cell(difference: Difference | None) -> str:
    if difference is None:
        return ""
    if difference.size == 0:
        return "0"
    size = "inf" if math.isinf(difference.size) else f"{100 * difference.size:.2g}"
    return f"{size} !" if difference.broken else size


def _rate(pairs: int, seconds: float) -> str:
    rate = pairs / max(seconds, 1e-9)
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.2g}"


def _format_total(tasks: Sequence[TaskCheck]) -> str:
    pairs, requests = sum(task.pairs for task in tasks), sum(task.requests for task in tasks)
    return f"{_rate(pairs, sum(task.seconds for task in tasks))} pairs/s, over {pairs} pairs in {requests} requests"
