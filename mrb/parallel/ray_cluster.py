"""Connect to a Ray cluster, or start one on this machine for the duration of a command.

Ray is imported inside functions, because the command line imports this module for its options and Ray reads its
environment variables when it is imported.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mrb._util.cores import count_cores
from mrb.errors import MRBError, to_one_line

if TYPE_CHECKING:
    from mrb.parallel.ray_workers import RayWorkers

OBJECT_STORE_BYTES = 128 * 1024 * 1024
"""Object store of a local cluster. It can be small: only ids and scores are exchanged, and they are sent inline."""

ANSWER_SECONDS = 10.0
"""Seconds that the head of a cluster may take to accept a connection."""


@dataclass(frozen=True)
class ClusterOptions:
    """The cluster options of a command.

    `workers` is the number of workers (None: as many as the cluster has room for, also later). `gpus` is the number of
    GPUs per worker (None: one if there are any). `address` is that of the cluster (None: RAY_ADDRESS, else a cluster
    that is started on this machine).
    """

    workers: int | None = None
    gpus: float | None = None
    address: str | None = None


@contextmanager
def connect_ray(options: ClusterOptions) -> Iterator[RayWorkers]:
    """Connect to the cluster for the duration of a block, as a transport of `mrb.parallel.pool`.

    Args:
        options: The cluster options.

    Raises:
        MRBError: The cluster cannot be reached, or a cluster on this machine lacks the GPUs.
    """
    address = options.address or os.environ.get("RAY_ADDRESS") or "local"
    if address.startswith("ray://"):
        raise MRBError(
            f"--address {address}: Ray Client addresses are not supported; start the command in the cluster itself"
        )
    settings = _prepare_local_cluster(options) if address == "local" else {}
    _refuse_dead_address(address)
    import ray

    from mrb.parallel.ray_workers import RayWorkers

    if ray.is_initialized():
        raise MRBError(
            "a command has the workers of one encoder on a cluster: make the vectors of each alone, with "
            "--keep-embeddings, then the list of all without --executor"
        )
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except Exception as error:  # Ray raises also if a local node starts slowly or versions differ
        raise MRBError(f"no connection to a Ray cluster at {address}: {to_one_line(error)}") from error
    try:
        found = ray.cluster_resources().get("GPU", 0.0)
        gpus = options.gpus if options.gpus is not None else min(1.0, found)
        if address == "local" and gpus > found:
            raise MRBError(f"--gpus-per-worker {gpus:g}: Ray finds {found:g} GPUs on this machine")
        yield RayWorkers(options.workers, gpus)
    finally:
        ray.shutdown()


def _refuse_dead_address(address: str) -> None:
    """Raise MRBError if nothing listens at HOST:PORT. Ray itself would retry for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():  # "auto" and "local", which Ray resolves
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise MRBError(f"no connection to a Ray cluster at {address}: {to_one_line(error)}") from error


def _prepare_local_cluster(options: ClusterOptions) -> dict[str, Any]:
    """Set Ray's environment variables for a local cluster, and return its options: small and closed to the network."""
    # On a busy machine Ray's default of 30 s is too short to start a node and its agents.
    patience = {"RAY_raylet_start_wait_time_s": "300", "RAY_agent_register_timeout_ms": "300000"}
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", **patience}.items():
        os.environ.setdefault(name, value)
    if "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on all interfaces, and anyone who connects may run code. Ray's own token would be in the home.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    return {
        "num_cpus": max(count_cores(), options.workers or 1),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
