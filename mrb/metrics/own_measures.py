"""Measures of one's own: functions of one query's ranking, computed from scores when a run is loaded, never written.

A name cannot be that of a standard measure, so that no table mistakes one for the other; result files and submissions
hold the standard measures only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from mrb.errors import MRBError
from mrb.metrics.measures import Measure

MeasureFunction = Callable[[Sequence[int], Sequence[int]], float]
"""Takes the grade at each rank, best rank first (0: not judged, or not relevant), and the grades of all judged
positives, descending, ranked or not. Returns a fraction from 0 to 1; higher is better."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9@._-]{0,39}")
_REGISTERED: dict[str, MeasureFunction] = {}


def register_measure(name: str, function: MeasureFunction) -> None:
    """Compute a measure of one's own for every run that is evaluated or loaded in this process from now on.

    Args:
        name: A letter, then letters, digits, `@`, `.`, `_` or `-`; not the name of a standard measure. A name that is
            registered already gets the new function.
        function: Takes the grade at each rank, best rank first (0: not judged, or not relevant), and the grades of all
            judged positives, descending. Returns a fraction from 0 to 1; higher is better.

    Raises:
        MRBError: The name has another form, or is a standard measure's.

    Example:
        >>> import mrb
        >>> def precision_at_3(grades, ideal):
        ...     return sum(grade > 0 for grade in grades[:3]) / 3
        >>> mrb.register_measure("P@3", precision_at_3)
        >>> run = mrb.evaluate("bm25", tasks="mini-faq-t2t", limit=20)
        >>> run.to_frame().query("measure == 'P@3'")["mean"].item() < 0.5
        True
    """
    check_measure_name(name)
    _REGISTERED[name] = function


def list_registered() -> Mapping[str, MeasureFunction]:
    """Return the registered measures by name."""
    return dict(_REGISTERED)


def check_measure_name(name: str) -> None:
    """Raise MRBError if a measure of one's own cannot be called `name`."""
    if not _NAME.fullmatch(str(name)):
        raise MRBError(f"measure {name!r}: wanted a letter, then letters, digits, '@', '.', '_' or '-', at most 40")
    try:
        Measure.parse(name)
    except ValueError:
        return
    raise MRBError(f"measure {name!r}: this is the name of a standard measure; give your own another name")
