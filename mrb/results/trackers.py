"""A finished run's numbers in experiment trackers: Weights & Biases, TensorBoard, trackio.

None of them is a dependency: each is imported when it is asked for. A run may be logged again at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mrb.errors import MRBError, to_one_line
from mrb.results.run import Run
from mrb.results.table import find_averages, list_averages

PROJECT = "mrb"


def list_numbers(run: Run) -> dict[str, float]:
    """Return a run's numbers as fractions, by `task/measure` and what it is.

    `mini-faq-t2t/nDCG@10` is the reranker's mean, with `/low` and `/high` its 95 % interval, `/first_stage`, `/oracle`
    and `/gain` (mean minus first stage) beside it. Averages that exist are `average over tasks/...` for the suite and
    `average over tasks of mini-text-query/...` for a sub-suite.
    """
    found: dict[str, float] = {}
    for task_id, scores in run.tasks.items():
        result = scores.result
        for measure, own in result.measures.items():
            first, oracle = result.first_stage[measure].mean, result.oracle[measure].mean
            _add(found, f"{task_id}/{measure}", (own.mean, own.low, own.high), first, oracle)
    averages = list_averages(run)
    for measure in next(iter(run.tasks.values())).result.measures if run.tasks else ():
        for label, part, over in averages:
            first_stage, average, best = find_averages(part, over, measure)
            own_interval = average.interval
            if own_interval is None or first_stage.mean is None or best.mean is None:
                continue
            values = (own_interval.mean, own_interval.low, own_interval.high)
            _add(found, f"{label}/{measure}", values, first_stage.mean, best.mean)
    return found


def describe_settings(run: Run) -> dict[str, str | int | float | bool | None]:
    """Return what a tracker shows as the run's configuration: the reranker with its options, suite and depth."""
    info = run.record.reranker
    depths = sorted({scores.result.candidates.depth for scores in run.tasks.values()})
    return {
        "reranker": info.name,
        "version": info.version,
        "kind": info.kind,
        "suite": run.record.suite,
        "suite_version": run.record.suite_version,
        "depth": ", ".join(map(str, depths)),
        "mrb_version": run.record.mrb_version,
        **{f"option.{name}": value for name, value in info.options.items()},
    }


def log_run(run: Run, tracker: str, *, project: str = PROJECT, folder: Path | None = None) -> str:
    """Log a run's numbers and settings, and return what was written, on one line.

    Args:
        run: The run.
        tracker: `wandb`, `tensorboard` or `trackio`.
        project: The project, for W&B and trackio.
        folder: For TensorBoard, the folder of event files (default: `tensorboard`); for W&B, where its files go.

    Raises:
        MRBError: The tracker is not installed, or it refuses.
    """
    return TRACKERS[tracker](run, project, folder)


def _log_to_tensorboard(run: Run, project: str, folder: Path | None) -> str:
    summary = _import("tensorboard.summary", "tensorboard")
    place = (folder or Path("tensorboard")) / run.name
    writer = summary.Writer(str(place))
    for name, value in list_numbers(run).items():
        writer.add_scalar(name, value, step=0)
    writer.close()
    return f"written: {place}; `tensorboard --logdir {place.parent}` shows it"


def _log_to_wandb(run: Run, project: str, folder: Path | None) -> str:
    wandb = _import("wandb", "wandb")
    where = {} if folder is None else {"dir": str(folder)}
    return _log_by_steps(wandb, "wandb", run, {"project": project, "job_type": "mrb", **where})


def _log_to_trackio(run: Run, project: str, folder: Path | None) -> str:
    if folder is not None:
        raise MRBError("--out is not for trackio; TRACKIO_DIR names its folder")
    return _log_by_steps(_import("trackio", "trackio"), "trackio", run, {"project": project})


def _log_by_steps(module: Any, name: str, run: Run, options: Mapping[str, Any]) -> str:
    """Log by the calls that W&B and trackio share: `init`, `log`, `finish`."""
    try:
        module.init(name=run.name, config=describe_settings(run), **options)
        module.log(list_numbers(run))
        module.finish()
    except Exception as error:  # the tracker's own: no network, no key, a full disk
        raise MRBError(f"{name}: {to_one_line(error)}") from error
    return f"logged to {name}: run {run.name} of project {options['project']}"


def _add(
    found: dict[str, float], name: str, own: tuple[float, float, float], first_stage: float, oracle: float
) -> None:
    mean, low, high = own
    found[name] = mean
    parts = {"low": low, "high": high, "first_stage": first_stage, "oracle": oracle, "gain": mean - first_stage}
    found.update({f"{name}/{part}": value for part, value in parts.items()})


def _import(module: str, package: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise MRBError(f"{package} is not installed: pip install {package}") from error


TRACKERS: Mapping[str, Callable[[Run, str, Path | None], str]] = {
    "tensorboard": _log_to_tensorboard,
    "trackio": _log_to_trackio,
    "wandb": _log_to_wandb,
}
