"""The options of `run` and `candidates make` that say where workers run, and the executors that they select."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from mrb.errors import MRBError
from mrb.parallel.ray_cluster import ClusterOptions

if TYPE_CHECKING:
    from mrb.evaluation.executor import Start
    from mrb.parallel.pool import Connect
    from mrb.retrieval.first_stage import StartEncoder


def add_cluster_options(command: Callable[..., Any]) -> Callable[..., Any]:
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


def select_executor(executor: str, options: ClusterOptions, timeout: float | None) -> Start:
    """Return the executor of a run."""
    refuse_without_ray(executor, options)
    if executor == "local" and options.workers in (None, 1) and timeout is None:
        from mrb.evaluation.executor import open_in_process

        return open_in_process
    from mrb.parallel.scoring import score_in_workers

    return score_in_workers(_select_transport(executor, options), timeout)


def select_encoder(executor: str, options: ClusterOptions) -> StartEncoder | None:
    """Return the function that starts workers for an encoder; None if this process encodes."""
    refuse_without_ray(executor, options)
    if executor == "local" and options.workers in (None, 1):
        return None
    from mrb.parallel.encoding import PoolEncoder

    return partial(PoolEncoder, connect=_select_transport(executor, options))


def refuse_without_ray(executor: str, options: ClusterOptions) -> None:
    """Raise MRBError if an option needs the other executor, or if this one needs Ray and it is not installed."""
    from importlib.util import find_spec

    if executor == "local" and (options.address is not None or options.gpus is not None):
        raise MRBError("--address and --gpus-per-worker are for --executor ray")
    if executor == "ray" and find_spec("ray") is None:
        raise MRBError("--executor ray needs Ray, which is not installed: pip install 'mrb[ray]'")


def _select_transport(executor: str, options: ClusterOptions) -> Connect:
    if executor == "ray":
        from mrb.parallel.ray_cluster import connect_ray

        return partial(connect_ray, options)
    from contextlib import nullcontext

    from mrb.parallel.process import LocalWorkers

    return lambda: nullcontext(LocalWorkers(options.workers or 1))
