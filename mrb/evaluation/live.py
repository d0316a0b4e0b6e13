"""Run a reranker that is a Python object, with or without a folder for its files."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType

from mrb.errors import AdapterError, ResultError
from mrb.evaluation.executor import InProcess, Start, open_in_process
from mrb.evaluation.run import run
from mrb.evaluation.spec import RunSpec
from mrb.rerankers.calling import close_after
from mrb.rerankers.declaration import LoadedReranker
from mrb.rerankers.live import (
    describe_hidden_state,
    is_importable,
    list_outside_values,
    load_live_reranker,
    make_factory,
)
from mrb.results.run import Run
from mrb.results.schema import JOURNAL_FILE


def run_in_memory(spec: RunSpec, start: Start, finish: Callable[[Run], Run]) -> Run:
    """Run in a temporary folder, which is removed, and return the run, which has no folder.

    Args:
        spec: What is run; its `out` is not used.
        start: Makes the executor.
        finish: Called with the run while its files exist; returns the run to keep.
    """
    with TemporaryDirectory(prefix="mrb-") as folder:
        found = run(replace(spec, out=Path(folder)), start)
        return replace(finish(found), path=None, label=found.name)


def start_live(model: object, options: Mapping[str, object], spec: RunSpec, *, keep: bool) -> Start:
    """Return an executor of a live object in this process.

    With `keep`, the run's folder outlives the call: then it is refused if it holds scores and MRB cannot tell whether
    they are of the object as it is now (ResultError, unless `spec.fresh`).
    """

    @contextmanager
    def start(_model: str, _options: Mapping[str, str]) -> Iterator[InProcess]:
        loaded = load_live_reranker(model, options)
        with close_after(loaded.close):
            if keep and not spec.fresh:
                why = describe_hidden_state(model, loaded, options)
                _refuse_hidden_state(why, loaded, spec.choose_folder(loaded.info.name))
            yield InProcess(loaded)

    return start


def start_workers(workers: int) -> Start:
    """Return an executor with `workers` processes on this machine; with one, this process scores."""
    if workers == 1:
        return open_in_process
    from mrb.parallel.process import LocalWorkers
    from mrb.parallel.scoring import score_in_workers

    return score_in_workers(lambda: nullcontext(LocalWorkers(workers)))


def _find_variable(model: type | FunctionType) -> str | None:
    """Return `module:variable` of the variable that holds a model without a name of its own, such as a lambda."""
    module = sys.modules.get(model.__module__)
    if module is None or model.__module__ == "__main__":
        return None
    return next((f"{model.__module__}:{name}" for name, value in vars(module).items() if value is model), None)


def name_for_workers(model: object) -> str:
    """Return the name by which other processes find a class or function.

    Raises:
        AdapterError: It is an object, not in a module, or uses values that other processes may not have.
    """
    name = make_factory(model).name
    if not (inspect.isclass(model) or inspect.isfunction(model)):
        raise AdapterError(f"{name}: several workers need the name or the class of a reranker, because each builds one")
    if not is_importable(model):
        if held := _find_variable(model):
            raise AdapterError(f"{name}: several workers import the reranker by its name: give {held!r}")
        raise AdapterError(f"{name}: several workers import the reranker, so it must be in a module; use workers=1")
    outside = list_outside_values(model) if inspect.isfunction(model) else []
    if outside:
        raise AdapterError(
            f"{name}: it uses {', '.join(outside)}, which other processes may hold with another value: make it an "
            "option or part of a class, or use workers=1"
        )
    return name


def _refuse_hidden_state(why: str | None, loaded: LoadedReranker, folder: Path) -> None:
    if why is not None and any(folder.glob(f"*/{JOURNAL_FILE}")):
        raise ResultError(
            f"{folder}: holds scores, and MRB cannot tell whether {loaded.info.name} as it is now gave them: {why}; "
            "fresh=True starts over, or give another name, or the class or name of the reranker instead of an object"
        )
