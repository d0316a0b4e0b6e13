"""Facts shown with a row's numbers: what the model is, how it was run, how far its numbers were checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from mrb.leaderboard.tables.cells import CellText, make_blank
from mrb.leaderboard.tables.runs import RunCard
from mrb.leaderboard.tables.table_grouping import TableGroup
from mrb.leaderboard.tables.training_marks import UNKNOWN, TrainingMarks, find_training_marks
from mrb.results.run import Run
from mrb.submission.schema import ModelCard, Submission
from mrb.submission.verify import VerificationRecord

MARK_LETTERS = {"trained-on": "T", "related": "R", "unknown": "?", "clean": "✓"}
MARK_WORDS = {
    "trained-on": "trained on it",
    "related": "trained on related data",
    "unknown": "not declared",
    "clean": "declared clean",
}
CONFLICT_LETTER = "T!"
CONFLICT_WORDS = "declared otherwise; published: trained on"
_UNITS = ("", "k", "M", "B")
# Options that say how a backend computes, and packages that are backends; the first that a run had imported counts.
_HOW = ("device", "dtype", "attention")
_BACKENDS = ("vllm", "torch")


@dataclass(frozen=True)
class FactColumn:
    """A column of facts: its key in addresses, its head, its cells, whether it is sorted as text, and whether it is
    shown by default.
    """

    key: str
    title: str
    format_cell: Callable[[RowSource], CellText]
    is_text: bool = True
    default: bool = False


@dataclass(frozen=True)
class RowSource:
    """What a row is read from."""

    run: Run
    card: RunCard
    comparison: TableGroup
    submission: Submission | None
    verified: VerificationRecord | None

    @cached_property
    def marks(self) -> TrainingMarks:
        """What the model was trained on, task by task."""
        return find_training_marks(self.run, self.submission)

    @cached_property
    def worst_mark(self) -> str:
        """The first of trained-on, related, unknown and clean that holds for a task of the table."""
        order = ("trained-on", "related", UNKNOWN, "clean")
        return min((self.marks.get(task_id) for task_id in self.comparison.task_ids), key=order.index)


def format_facts(source: RowSource) -> dict[str, CellText]:
    """Return every fact's cell by column; a blank says that the fact is not stated."""
    return {"parameters": _format_parameters(source)} | {column.key: column.format_cell(source) for column in COLUMNS}


def format_parameters(parameters: int) -> str:
    """Format a number of parameters with three digits and a unit: 4.07 B, 500 M, 22.7 k."""
    text = f"{parameters:.2e}"  # rounded before the unit is chosen: 999,999 becomes 1 M
    digits, _, power = text.partition("e")
    unit = min(int(power) // 3, len(_UNITS) - 1)
    return f"{float(digits) * 10 ** (int(power) - 3 * unit):.6g} {_UNITS[unit]}".strip()


def _find_model(source: RowSource) -> ModelCard | None:
    return source.submission.model if source.submission else None


def _format_parameters(source: RowSource) -> CellText:
    model = _find_model(source)
    if model is None or model.parameters is None:
        return make_blank("not stated")
    active = f"{format_parameters(model.active_parameters)} active" if model.active_parameters else ""
    return CellText(
        float(model.parameters), format_parameters(model.parameters), smalls=((("", active),) if active else ())
    )


def _format_coverage(source: RowSource) -> CellText:
    done, of = len(source.run.tasks), len(source.comparison.task_ids)
    return CellText(float(done), f"{done}/{of}")


def _format_speed(source: RowSource) -> CellText:
    per_second = source.card.pairs_per_second
    if per_second is None:
        return make_blank("not timed")
    return CellText(per_second, format_speed(per_second), smalls=(("long", source.card.hardware),))


def format_speed(per_second: float) -> str:
    """Format a rate: three significant digits below 100, else whole with thousands separators."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def _format_architecture(source: RowSource) -> CellText:
    model = _find_model(source)
    return CellText(model.kind, model.kind) if model else make_blank("not stated")


def _format_scoring(source: RowSource) -> CellText:
    return CellText(source.card.kind, source.card.kind)


def _format_weights(source: RowSource) -> CellText:
    model = _find_model(source)
    if model is None:
        return make_blank("not stated")
    words = "open" if model.open_weights else "not open"
    return CellText(words, words)


def _format_licence(source: RowSource) -> CellText:
    model = _find_model(source)
    return CellText(model.licence, model.licence) if model and model.licence else make_blank("not stated")


def _format_first(source: RowSource) -> CellText:
    found = sorted({scores.result.candidates.first_stage for scores in source.run.tasks.values()})
    return CellText(", ".join(found), ", ".join(found)) if found else make_blank("no result")


def _format_depth(source: RowSource) -> CellText:
    found = sorted({scores.result.candidates.depth for scores in source.run.tasks.values()})
    return CellText(float(found[0]), ", ".join(map(str, found))) if found else make_blank("no result")


def _format_backend(source: RowSource) -> CellText:
    """Return the backend: the adapter's option of that name, else the imported framework with its version.

    Options that say how it computes are added.
    """
    options, environment = source.run.record.reranker.options, source.run.record.environment
    framework = next((f"{name} {environment[name]}" for name in _BACKENDS if name in environment), "")
    found = str(options.get("backend") or framework)
    how = ", ".join(f"{name} {options[name]}" for name in _HOW if options.get(name, "auto") != "auto")
    return (
        CellText(found, found, smalls=((("", how),) if how else ())) if found else make_blank("no framework recorded")
    )


def _format_training(source: RowSource) -> CellText:
    task_ids = source.comparison.task_ids
    counted = source.marks.count(task_ids)
    if not counted:
        return CellText(UNKNOWN, UNKNOWN)
    words = [f"{mark} {count}/{len(task_ids)}" for mark, count in counted]
    against = sum(bool(source.marks.find_conflict(task_id)) for task_id in task_ids)
    smalls = (("", f"{against} {CONFLICT_WORDS}"),) if against else ()
    return CellText(source.worst_mark, "; ".join(words), smalls=smalls)


def _format_date(source: RowSource) -> CellText:
    timings = source.run.record.timings
    found = max(
        (timing.day for task_id, timing in timings.items() if task_id in source.run.tasks and timing.day), default=""
    )
    return CellText(found, found) if found else make_blank("not recorded")


def _format_source(source: RowSource) -> CellText:
    """Return where the row comes from, in words, with a symbol that repeats them."""
    path = source.card.record_path
    if (record := source.verified) is not None:
        done, of = len(record.tasks), len(record.tasks) + len(record.not_verified)
        words = "✓ verified by re-run" if done == of else f"✓ {done} of {of} tasks re-run"
        extent = f"{record.date}, {record.queries} queries a task"
        return CellText("0", words, path, (("", extent), ("", f"within {record.largest_difference:.2g} sd")))
    smalls = (("", f"of run {', '.join(source.card.of_runs)}"),) if source.card.of_runs else ()
    return CellText("1", "◆ submission", path, smalls) if source.submission else CellText("2", "○ run", path)


def _format_inputs(source: RowSource) -> CellText:
    return CellText(source.card.inputs, source.card.inputs)


COLUMNS = (
    FactColumn("coverage", "coverage", _format_coverage, is_text=False, default=True),
    FactColumn("speed", "pairs/s", _format_speed, is_text=False, default=True),
    FactColumn("architecture", "architecture", _format_architecture),
    FactColumn("scoring", "scoring", _format_scoring),
    FactColumn("inputs", "inputs", _format_inputs),
    FactColumn("weights", "weights", _format_weights),
    FactColumn("licence", "licence", _format_licence),
    FactColumn("first", "first stage", _format_first),
    FactColumn("depth", "depth", _format_depth, is_text=False),
    FactColumn("backend", "backend", _format_backend),
    FactColumn("training", "training data", _format_training),
    FactColumn("date", "date", _format_date),
    FactColumn("source", "source", _format_source, default=True),
)
"""Columns after the numbers; `parameters` stands before them."""
