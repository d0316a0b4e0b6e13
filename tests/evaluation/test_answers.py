"""Answers as real libraries hold them: what is a number becomes its float32, everything else is refused by name."""

from __future__ import annotations

import array
import datetime
import fractions
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from mrb.errors import AdapterError
from mrb.evaluation.plan import Plan, make_requests
from mrb.evaluation.score import score_all
from tests.builders.adapters import toy_reranker
from tests.builders.toy import toy_plan

pytestmark = pytest.mark.torch

VALUES = [0.1, 2.5, -3.0]
EXACT = [0.5, 2.5, -3.0]
"""Of few bits, for types of low precision."""


def scored(plan: Plan, answer: object) -> list[float]:
    """The scores of the only query, in the order in which the adapter was given its candidates."""
    loaded = toy_reranker(lambda request: answer)
    (item,) = requests = list(make_requests(plan, plan.entries(), "pointwise", uses_first_stage=False))
    ((_, scores),) = score_all(loaded, requests, "toy")
    return [float(scores[position]) for position in item.order]


def tensors(*, dtype: torch.dtype = torch.float32, grad: bool = False) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=dtype, requires_grad=grad) for value in EXACT]


TAKEN: dict[str, tuple[object, list[float]]] = {
    "floats": (VALUES, VALUES),
    "tuple": (tuple(VALUES), VALUES),
    "numpy float64": (np.array(VALUES), VALUES),
    "numpy float16": (np.array(EXACT, np.float16), EXACT),
    "numpy long double": (np.array(VALUES, np.longdouble), VALUES),
    "numpy scalars": ([np.float32(value) for value in VALUES], VALUES),
    "numpy arrays without a dimension": ([np.array(value) for value in VALUES], VALUES),
    "numbers of several types": ([1, np.float16(2.5), Decimal("-3")], [1, 2.5, -3]),
    "decimals": ([Decimal(str(value)) for value in VALUES], VALUES),
    "fractions": ([fractions.Fraction(value) for value in EXACT], EXACT),
    "array of objects": (np.array([Decimal("0.1"), 2.5, fractions.Fraction(-3)], object), VALUES),
    "truths": ([True, False, True], [1, 0, 1]),
    "numpy truths": (np.array([True, False, True]), [1, 0, 1]),
    "large whole numbers": ([2**80, 2**53 + 1, -1], [2.0**80, 2.0**53, -1]),
    "array of C": (array.array("d", VALUES), VALUES),
    "generator of tensors": ((value for value in tensors()), EXACT),
    "tensor of bfloat16 with gradient": (torch.tensor(EXACT, dtype=torch.bfloat16, requires_grad=True), EXACT),
    "tensors": (tensors(), EXACT),
    "tensors of bfloat16": (tensors(dtype=torch.bfloat16), EXACT),
    "tensors with gradient": (tensors(grad=True), EXACT),
    "tensors of bfloat16 with gradient": (tensors(dtype=torch.bfloat16, grad=True), EXACT),
    "tensors and floats": ([tensors()[0], 2.5, np.float32(-3)], EXACT),
    "pandas Series": (pd.Series(VALUES), VALUES),
    "pandas Series, nullable": (pd.Series(EXACT, dtype="Float64"), EXACT),
    "pandas Series, sparse": (pd.Series(pd.arrays.SparseArray(VALUES)), VALUES),
    "pyarrow": (pa.array(VALUES), VALUES),
    "masked, nothing of it": (np.ma.array(VALUES), VALUES),
}


@pytest.mark.parametrize("name", TAKEN)
@pytest.mark.filterwarnings("error")
def test_numbers_of_every_library_are_taken(name: str) -> None:
    answer, wanted = TAKEN[name]
    assert scored(toy_plan(n_queries=1, n_docs=3), answer) == [float(np.float32(value)) for value in wanted]


class Odd:
    """Nothing about it can be printed."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __float__(self) -> float:
        raise ZeroDivisionError("no number")


def broken_generator() -> Any:
    yield 1.0
    raise GeneratorExit


SHUFFLED = pd.Series(VALUES, index=[2, 0, 1])
REFUSED: dict[str, tuple[object, str]] = {
    "pandas Series, sorted": (pd.Series(VALUES).sort_values(), "the index of this Series is not 0, 1, 2, ...; put"),
    "pandas Series, by id": (pd.Series(VALUES, index=["a", "b", "c"]), r"and return \.to_numpy\(\)"),
    "pandas Series, filtered": (pd.Series([9.0, *VALUES])[1:], "not 0, 1, 2"),
    "pandas Series, shuffled": (SHUFFLED, "not 0, 1, 2"),
    "pandas Series, missing": (pd.Series([1, pd.NA, 3], dtype="Float64"), "nan, not a finite float32"),
    "pandas Series, text": (pd.Series(["1", "2", "3"]), "not a type of scores"),
    "pandas frame": (pd.DataFrame({"score": VALUES}), r"shape \(3, 1\)"),
    "pandas dates": (pd.Series(pd.to_datetime(["2020-01-01"] * 3)), "not a type of scores"),
    "pyarrow, null": (pa.array([1.0, None, 2.0]), "nan, not a finite float32"),
    "masked": (np.ma.array(VALUES, mask=[False, True, False]), "masked values have no score"),
    "masked in a list": ([1.0, np.ma.masked, 2.0], "masked values have no score"),
    "complex": (np.array(VALUES, complex), "not a type of scores"),
    "complex tensor": (torch.tensor([1 + 1j, 2, 3]), "complex numbers have no order"),
    "complex among floats": ([1.0, 2j, 3.0], "not a type of scores"),
    "structured": (np.array([(v,) for v in VALUES], [("score", "f4")]), "not a type of scores"),
    "text among decimals": ([Decimal(1), "2", 3], "not a type of scores"),
    "text in an array of objects": (np.array([Decimal(1), "2", 3], object), "not a type of scores"),
    "numpy text": ([np.str_("1"), 2.0, 3.0], "not a type of scores"),
    "variable text": (np.array(["1", "2", "3"], np.dtypes.StringDType()), "not a type of scores"),
    "bytes": (bytearray(b"abc"), "bytes are not scores"),
    "None among objects": (np.array([1.0, None, 3.0], object), "NoneType"),
    "NaN among objects": (np.array([1.0, Decimal("NaN"), 3.0], object), "nan, not a finite float32"),
    "time differences": ([datetime.timedelta(1)] * 3, "timedelta"),
    "set": (set(VALUES), "'set'"),
    "one-element tensors": ([torch.ones(1)] * 3, r"shape \(3, 1\)"),
    "tensor without data": (torch.ones(3, device="meta"), "no data"),
    "sparse tensor": (torch.tensor(VALUES).to_sparse(), "[Ss]parse"),
    "huge fraction": ([fractions.Fraction(10**400)] * 3, "OverflowError"),
    "odd objects": ([Odd()] * 3, "the answer is a list, wanted one number per candidate.*ZeroDivisionError"),
    "generator that stops": (broken_generator(), "GeneratorExit"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("error")
def test_what_is_no_number_per_candidate_is_refused_in_one_line(name: str) -> None:
    answer, reason = REFUSED[name]
    with pytest.raises(AdapterError) as caught:
        scored(toy_plan(n_queries=1, n_docs=3), answer)
    line = str(caught.value)
    assert line.startswith("task toy, query 'q0'")
    assert re.search(reason, line), line
    assert "\n" not in line and len(line) < 500
