"""Where workers are: the options that `run` and `candidates make` share, and what they make of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from mrb.errors import MRBError
from mrb.parallel.cluster.connect import Wanted

if TYPE_CHECKING:
    from mrb.evaluation.executor import Start
    from mrb.retrieval.first_stage import Start as Makers


def cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--executor`, `--gpus-per-worker` and `--address`."""
    options = (
        click.option(
            "--executor",
            type=click.Choice(["local", "ray"]),
            default="local",
            show_default=True,
            help="Where workers are: on this machine, or on a Ray cluster.",
        ),
        click.option(
            "--gpus-per-worker",
            type=click.FloatRange(0),
            metavar="G",
            help="With ray: GPUs of each worker. Default: 1 where there are any.",
        ),
        click.option("--address", metavar="auto|HOST:PORT", help="With ray: the cluster. Default: one started here."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def refuse_without_ray(executor: str, wanted: Wanted) -> None:
    """MRBError where an option needs the other executor, or this one needs Ray and it is not installed."""
    from importlib.util import find_spec

    if executor == "local" and (wanted.address is not None or wanted.gpus is not None):
        raise MRBError("--address and --gpus-per-worker are for --executor ray")
    if executor == "ray" and find_spec("ray") is None:
        raise MRBError("--executor ray needs Ray, which is not installed: pip install 'mrb[ray]'")


def executor_of(executor: str, wanted: Wanted, timeout: float | None) -> Start:
    """Return what scores a run."""
    refuse_without_ray(executor, wanted)
    if executor == "ray":
        from mrb.parallel.cluster.connect import on_ray

        return on_ray(wanted, timeout)
    workers = wanted.workers or 1
    if workers == 1 and timeout is None:
        from mrb.evaluation.executor import in_process

        return in_process
    from mrb.parallel.pool import on_processes

    return on_processes(workers, timeout)


def makers_of(executor: str, wanted: Wanted) -> Makers | None:
    """Return what makes vectors; None for this process."""
    refuse_without_ray(executor, wanted)
    if executor == "ray":
        from functools import partial

        from mrb.parallel.cluster.encoding import RayMaker

        return partial(RayMaker, wanted=wanted)
    if wanted.workers in (None, 1):
        return None
    from functools import partial

    from mrb.parallel.encoding_pool import Workers

    return partial(Workers, workers=wanted.workers)
