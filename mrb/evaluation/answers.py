"""Convert an adapter's answer (list, array, tensor or table column) to a float64 array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


def convert_scores(answer: object) -> Float64:
    """Return the numbers in `answer` as a float64 array of the same shape.

    Raises TypeError, ValueError, OverflowError, or what the object itself raises, if a value is not a real number
    (text, None, complex, date, masked or missing value), or if a pandas Series has an index other than 0, 1, 2, ...
    """
    if isinstance(answer, Iterator):
        answer = list(answer)
    if isinstance(answer, list | tuple) and not all(type(value) in (float, int) for value in answer):
        # numpy cannot stack tensors that have gradients or are bfloat16, and it turns mixed numbers and text into text
        return _stack_values(answer)
    _refuse_index(answer)
    array = _convert_array(answer)
    if array.dtype.kind == "O":
        if array.ndim == 0:
            value: Any = array[()]
            return np.asarray(float(value), np.float64)
        return _stack_values(array)
    if array.dtype.kind in "SUTcmM" or array.dtype.names is not None:
        raise TypeError(f"{array.dtype} is not a type of scores")
    return array.astype(np.float64)


def _stack_values(values: Iterable[object]) -> Float64:
    parts = [convert_scores(value) for value in values]
    return np.stack(parts) if parts else np.empty(0)


def _convert_array(answer: Any) -> np.ndarray[Any, Any]:
    """Return `answer` as a numpy array; a torch tensor may have any real type and any device."""
    if isinstance(answer, bytearray | memoryview):
        raise TypeError("bytes are not scores")
    if np.ma.is_masked(answer):
        raise TypeError("masked values have no score")
    if hasattr(answer, "detach"):
        if "complex" in str(getattr(answer, "dtype", "")):
            raise TypeError("complex numbers have no order")
        answer = answer.detach().float().cpu()  # numpy has no bfloat16
    return np.asarray(answer)


def _refuse_index(answer: Any) -> None:
    """Raise ValueError for a pandas Series whose index is not 0, 1, 2, ...: its values may be in another order."""
    index = getattr(answer, "index", None)
    if index is None or callable(index) or not hasattr(answer, "to_numpy"):
        return
    if not np.array_equal(np.asarray(index), np.arange(len(answer))):
        raise ValueError(
            f"the index of this {type(answer).__name__} is not 0, 1, 2, ...; put its values into the candidates' order "
            "and return .to_numpy()"
        )
