"""What an adapter answers, as numbers: lists, arrays, tensors and columns of tables go in, float64 values come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def numbers_of(answer: object) -> Float64:
    """The numbers that `answer` holds, of its shape.

    TypeError, ValueError, OverflowError or whatever the object itself raises: it holds something that is no real number
    (text, None, complex, dates, masked or missing values), or it has an order of its own that is not its first (the
    index of a pandas Series).
    """
    if isinstance(answer, Iterator):
        answer = list(answer)
    if isinstance(answer, list | tuple) and not all(type(value) in (float, int) for value in answer):
        # numpy alone cannot put together tensors with gradients or of bfloat16, and it joins numbers and texts to texts
        return _stacked(answer)
    _refuse_order(answer)
    array = _array(answer)
    if array.dtype.kind == "O":
        if array.ndim == 0:
            value: Any = array[()]
            return np.asarray(float(value), np.float64)
        return _stacked(array)
    if array.dtype.kind in "SUTcmM" or array.dtype.names is not None:
        raise TypeError(f"{array.dtype} is no type of scores")
    return array.astype(np.float64)


def _stacked(values: Iterable[object]) -> Float64:
    parts = [numbers_of(value) for value in values]
    return np.stack(parts) if parts else np.empty(0)


def _array(answer: Any) -> np.ndarray[Any, Any]:
    """`answer` as numpy holds it; a torch tensor of any real type and device too."""
    if isinstance(answer, bytearray | memoryview):
        raise TypeError("bytes are no scores")
    if np.ma.is_masked(answer):
        raise TypeError("masked values have no score")
    if hasattr(answer, "detach"):
        if "complex" in str(getattr(answer, "dtype", "")):
            raise TypeError("complex numbers have no order")
        answer = answer.detach().float().cpu()  # numpy knows no bfloat16
    return np.asarray(answer)


def _refuse_order(answer: Any) -> None:
    """ValueError for a pandas Series whose index says that its values do not stand in the candidates' order."""
    index = getattr(answer, "index", None)
    if index is None or callable(index) or not hasattr(answer, "to_numpy"):
        return
    if not np.array_equal(np.asarray(index), np.arange(len(answer))):
        raise ValueError(
            f"the index of this {type(answer).__name__} is not 0, 1, 2, ...; put its values into the candidates' order "
            "and return .to_numpy()"
        )
