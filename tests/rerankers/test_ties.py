"""A reranker that ties all candidates of a task is named, once for all tasks, by check and by run."""

from __future__ import annotations

import numpy as np
import pytest

from mrb.baselines.rerankers.constant import Constant
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.ties import MOST, compute_tied_share, format_tie_warning
from tests.builders.adapters import toy_reranker

INFO = toy_reranker(Constant()).info
NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "share"),
    [
        ([[0.0, 0.0], [0.0, 0.0, 0.0]], 1.0),
        ([[0.0, 0.0], [0.0, 1.0]], 0.5),
        ([[0.0], [], [0.0, 0.0]], 1.0),
        ([[0.0, NAN, 0.0], [NAN, NAN]], 1.0),
        ([[0.1, np.float32(0.1)]], 1.0),
        ([[0.0, -0.0]], 1.0),
        ([[1.0]], 0.0),
        ([], 0.0),
    ],
)
def test_the_share_counts_queries_with_two_scores_or_more(scores: list[list[float]], share: float) -> None:
    assert compute_tied_share(scores) == share


def test_all_tasks_stand_in_one_line_with_the_least_share() -> None:
    line = format_tie_warning(INFO, {"a": 1.0, "b": 0.987, "c": MOST - 0.01})
    assert line is not None and "\n" not in line
    assert "toy tied all candidates in 98 % of queries of: a, b;" in line
    assert 'inputs = ("text",)' in line
    assert format_tie_warning(INFO, {"c": MOST - 0.01}) is None
    assert format_tie_warning(INFO, {}) is None


def test_inputs_are_advice_only_where_a_declaration_helps() -> None:
    own = format_tie_warning(INFO, {"mini-faq-t2t": 1.0, "mini-flag-t2i": 1.0}) or ""
    assert "declare its inputs" in own
    texts = format_tie_warning(INFO, {"mini-faq-t2t": 1.0}) or ""
    shipped = format_tie_warning(load_reranker("constant").info, {"mini-flag-t2i": 1.0}) or ""
    assert all(line.endswith("; chance decides there") for line in (texts, shipped))
