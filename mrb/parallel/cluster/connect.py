"""Connect to a Ray cluster, or start one on this machine for the duration of a command.

Ray is imported inside functions, because the command line imports this module for its options and Ray reads its
environment variables when it is imported.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mrb.errors import MRBError, one_line
from mrb.parallel.resources import cores

if TYPE_CHECKING:
    from mrb.evaluation.executor import Start
    from mrb.parallel.cluster.scoring import OnRay
    from mrb.parallel.cluster.worker_group import Crew

OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""Object store of a local cluster. It can be small: only ids and scores are exchanged, and they are sent inline."""

ANSWER_SECONDS = 10.0
"""Seconds that the head of a cluster may take to accept a connection."""


@dataclass(frozen=True)
class Wanted:
    """The cluster options of a command.

    `workers` is the number of workers (None: as many as the cluster has room for, also later). `gpus` is the number of
    GPUs per worker (None: one if there are any). `address` is that of the cluster (None: RAY_ADDRESS, else a cluster
    that is started on this machine).
    """

    workers: int | None = None
    gpus: float | None = None
    address: str | None = None


def on_ray(wanted: Wanted, timeout: float | None = None) -> Start:
    """Return an executor on a Ray cluster for `mrb.evaluation.run.run`, with a reranker in each worker.

    Args:
        wanted: The cluster options.
        timeout: Seconds of silence after which a worker with queries is ended and counts as lost; None for no limit.
    """

    @contextmanager
    def start(model: str, options: Mapping[str, str]) -> Iterator[OnRay]:
        from mrb.parallel.messages import Build
        from mrb.parallel.process import SERVE

        with crew(wanted, SERVE) as workers:
            from mrb.parallel.cluster.scoring import OnRay

            executor = OnRay(workers, Build(model, options), timeout)
            yield executor
            executor.close()

    return start


@contextmanager
def crew(wanted: Wanted, serve: str) -> Iterator[Crew]:
    """Start workers on the cluster, which run `serve`.main, and end them after the block.

    Args:
        wanted: The cluster options.
        serve: The module that a worker process runs.

    Raises:
        MRBError: The cluster cannot be reached, or a cluster on this machine lacks the GPUs.
    """
    address = wanted.address or os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise MRBError(f"--address {address}: Ray Client does not serve; start the command in the cluster itself")
    options = _of_our_own(wanted) if address == "local" else {}
    _answers_or_refuse(address)
    import ray

    from mrb.parallel.cluster.worker_group import Crew

    if ray.is_initialized():
        raise MRBError(
            "a command has the workers of one encoder on a cluster: make the vectors of each alone, with "
            "--keep-embeddings, then the list of all without --executor"
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
    except Exception as error:  # Ray raises also if a local node starts slowly or versions differ
        raise MRBError(f"no connection to a Ray cluster at {address}: {one_line(error)}") from error
    try:
        found = ray.cluster_resources().get("GPU", 0.0)
        gpus = wanted.gpus if wanted.gpus is not None else min(1.0, found)
        if address == "local" and gpus > found:
            raise MRBError(f"--gpus-per-worker {gpus:g}: Ray finds {found:g} GPUs on this machine")
        workers = Crew(wanted.workers, gpus, serve)
        try:
            yield workers
        finally:
            workers.kill()
    finally:
        ray.shutdown()


def _answers_or_refuse(address: str) -> None:
    """Raise MRBError if nothing listens at HOST:PORT. Ray itself would retry for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():  # "auto" and "local", which Ray resolves
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise MRBError(f"no connection to a Ray cluster at {address}: {one_line(error)}") from error


def _of_our_own(wanted: Wanted) -> dict[str, Any]:
    """Return the options of a local cluster: small, without output, and protected from others on the network."""
    # On a busy machine Ray's default of 30 s is too short to start a node and its agents.
    patience = {"RAY_raylet_start_wait_time_s": "300", "RAY_agent_register_timeout_ms": "300000"}
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", **patience}.items():
        os.environ.setdefault(name, value)
    if "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on all interfaces, and anyone who connects may run code. Ray's own token would be in the home.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    return {
        "num_cpus": max(cores(), wanted.workers or 1),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
