"""The sentences that open a table: who leads, and how the ranks were computed."""

from __future__ import annotations

from collections.abc import Mapping

from mrb._util.format import format_p_value
from mrb.leaderboard.tables.cells import format_percent
from mrb.leaderboard.tables.ranks import Standing
from mrb.leaderboard.tables.rows import AVERAGE_TYPES, Table, View
from mrb.leaderboard.tables.runs import RunCard
from mrb.metrics.measures import HEADLINE
from mrb.metrics.significance import ALPHA

_NAMED = 3


def describe_lead(table: Table, standing: Standing, cards: Mapping[str, RunCard]) -> str:
    """Return who leads, by how much over the second, whether that is significant, from where, and what is possible."""
    if table.comparison.suite is None:
        return f"These tasks have no average, because no suite names them: no model leads. {_describe_span(table)}"
    view = table.get_view(str(HEADLINE))
    placed = [row.key for row in view.rows if row.cells[AVERAGE_TYPES].mean is not None]
    if not placed:
        return f"No model leads yet: none has a result on every task. {_describe_span(table)}"
    means = [view.row(key).cells[AVERAGE_TYPES].mean or 0.0 for key in placed]
    best = format_percent(means[0])
    first = [cards[key].title for key, mean in zip(placed, means, strict=True) if mean == means[0]]
    if len(placed) == 1:
        text = f"{first[0]} reaches {best} {HEADLINE}, the only model with a result on every task."
    elif len(first) > 1:
        text = f"{_join(first)} lead together with {best} {HEADLINE}."
    else:
        margin = format_percent(means[0] - means[1])
        second = cards[placed[1]].title
        text = f"{first[0]} leads with {best} {HEADLINE}, {margin} above {second}, {_judge(standing)}."
    return f"{text} {_describe_span(table, view)}"


def describe_ranks(table: Table, standing: Standing) -> str:
    """Return how positions and bounds were computed, and for how many models."""
    if table.comparison.suite is None:
        return ""
    position = f"The rank is the position by {HEADLINE}, averaged over types."
    count, of = standing.ranked, len(table.runs)
    if not count:
        return f"{position} No rank is tested: that needs every query’s value of all tasks, which no model has here."
    models = "all models" if count == of else f"the {count} of {of} models that have every query’s value here"
    return (
        f"{position} Beside it stand the best and the worst rank that paired tests allow, for {models}, "
        "corrected for all pairs: 1 + the number of models that are significantly better, and the number of tested "
        "models without those that are significantly worse."
    )


def _judge(standing: Standing) -> str:
    lead = standing.lead
    if lead is None:
        return "a difference that is not tested: values per query are not here"
    words = "a significant difference" if lead.p_corrected < ALPHA else "not a significant difference"
    return f"{words} (corrected p {format_p_value(lead.p_corrected)})"


def _describe_span(table: Table, view: View | None = None) -> str:
    """Return the first stage and the ceiling: with their averages, if there is a `view` that has them."""
    names = sorted({scores.result.candidates.first_stage for _, scores in table.comparison.reference.values()})
    depths = _join([str(depth) for depth in table.comparison.depths])
    is_one = len(names) == 1
    stage = f"first stage {names[0]}" if is_one else f"{len(names)} first stages"
    first, oracle = (row.cells[AVERAGE_TYPES].mean for row in view.fixed) if view else (None, None)
    if first is None or oracle is None:
        return f"All models reorder the same {depths} candidates of the {stage}."
    reach = (
        f"has {format_percent(first)}, the best order of its"
        if is_one
        else f"have {format_percent(first)}, the best order of their"
    )
    return f"The {stage} {reach} {depths} candidates {format_percent(oracle)}."


def _join(names: list[str]) -> str:
    if len(names) > _NAMED:
        names = [*names[:_NAMED], f"{len(names) - _NAMED} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
