"""Measures of one's own, beside the standard ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

import mrb
from mrb.errors import MRBError
from mrb.rerankers.reranker import Request
from tests.builders.command import read_error

TASK = "mini-faq-t2t"


def longest(request: Request) -> list[int]:
    return [len(candidate.text) for candidate in request.candidates]


def reciprocal_rank(grades: Sequence[int], ideal: Sequence[int]) -> float:
    assert list(ideal) == sorted(ideal, reverse=True) and ideal[-1] > 0
    return next((1 / rank for rank, grade in enumerate(grades[:10], 1) if grade), 0.0)


def test_a_measure_of_ones_own_gives_what_the_standard_one_gives(tmp_path: Path) -> None:
    """trec_eval is the reference: the function is MRR@10, in all three orders, with intervals."""
    base = mrb.evaluate("random", tasks=TASK, limit=40, measures={"RR": reciprocal_rank})
    mrb.evaluate("bm25", tasks=TASK, limit=40, out=tmp_path)
    other = mrb.load_run(tmp_path / "bm25", measures={"RR": reciprocal_rank})
    for run in (base, other):
        rows = run.to_frame().set_index("measure")
        for column in ("first_stage", "mean", "low", "high", "oracle", "gain"):
            assert rows[column]["RR"] == pytest.approx(rows[column]["MRR@10"], abs=1e-12)
        assert (run[TASK].per_query()["RR"] - run[TASK].per_query()["MRR@10"]).abs().max() < 1e-12
    assert run.table("RR").splitlines()[2:] == run.table("MRR@10").splitlines()[2:]
    own, standard = (mrb.compare(base, other, measure=name).over_tasks for name in ("RR", "MRR@10"))
    assert own.differences[0].difference == pytest.approx(standard.differences[0].difference)
    assert '"RR"' not in (tmp_path / "bm25" / TASK / "result.json").read_text()


def test_measures_with_a_wrong_name_or_value_are_refused() -> None:
    assert "standard measure" in read_error(MRBError, mrb.register_measure, "nDCG@7", reciprocal_rank)
    assert "wanted a letter" in read_error(MRBError, mrb.register_measure, "my measure", reciprocal_rank)
    line = read_error(
        MRBError, mrb.evaluate, longest, tasks=TASK, limit=3, measures={"twice": lambda grades, ideal: 2.0}
    )
    assert line.startswith(f"measure twice, {TASK}, 'ask-faq") and "gives 2.0" in line
    assert "ZeroDivisionError" in read_error(
        MRBError, mrb.evaluate, longest, tasks=TASK, limit=3, measures={"bad": lambda grades, ideal: 1 / 0}
    )
