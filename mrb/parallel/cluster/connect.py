"""Joining a Ray cluster, or starting one on this machine for the length of a command.

Ray is imported inside functions: the command line reads this module to know its options, and Ray reads its environment
when it is imported.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
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
"""Of a cluster that is started here. Only ids and scores pass between workers and run, and those are sent inline."""

ANSWER_SECONDS = 10.0
"""How long the head of a cluster may take to accept a connection."""


@dataclass(frozen=True)
class Wanted:
    """What a command asks of a cluster: how many workers (None: as many as it has room for, also later), GPUs for each
    (None: one where there are any), and the address (None: RAY_ADDRESS, else a cluster started here)."""

    workers: int | None = None
    gpus: float | None = None
    address: str | None = None


def on_ray(wanted: Wanted, say: Callable[[str], None], timeout: float | None = None) -> Start:
    """An executor on a Ray cluster, with a reranker in each worker, for `mrb.evaluation.run.run`.

    `say` is told of workers that are lost. A worker that gives no answer for `timeout` seconds is ended, and lost.
    """

    @contextmanager
    def start(model: str, options: Mapping[str, str]) -> Iterator[OnRay]:
        from mrb.parallel.messages import Build
        from mrb.parallel.process import SERVE

        with crew(wanted, SERVE, say) as workers:
            from mrb.parallel.cluster.scoring import OnRay

            executor = OnRay(workers, Build(model, options), timeout)
            yield executor
            executor.close()

    return start


@contextmanager
def crew(wanted: Wanted, serve: str, say: Callable[[str], None]) -> Iterator[Crew]:
    """Workers on the cluster that serve with the module `serve`; they are ended with the block.

    MRBError if the cluster cannot be reached, or one that is started here has not got the GPUs.
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
    except Exception as error:  # Ray says so too where a node of ours is slow to start, or versions differ
        raise MRBError(f"no connection to a Ray cluster at {address}: {one_line(error)}") from error
    try:
        found = ray.cluster_resources().get("GPU", 0.0)
        gpus = wanted.gpus if wanted.gpus is not None else min(1.0, found)
        if address == "local" and gpus > found:
            raise MRBError(f"--gpus-per-worker {gpus:g}: Ray finds {found:g} GPUs on this machine")
        workers = Crew(wanted.workers, gpus, serve, say)
        try:
            yield workers
        finally:
            workers.kill()
    finally:
        ray.shutdown()


def _answers_or_refuse(address: str) -> None:
    """MRBError if nothing listens at a HOST:PORT: Ray itself goes on asking for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():  # "auto", "local": Ray knows where
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise MRBError(f"no connection to a Ray cluster at {address}: {one_line(error)}") from error


def _of_our_own(wanted: Wanted) -> dict[str, Any]:
    """Options of a cluster that is started here: small, silent, and closed to others on the network."""
    # A busy machine needs more than Ray's half minute for a node and its agents.
    patience = {"RAY_raylet_start_wait_time_s": "300", "RAY_agent_register_timeout_ms": "300000"}
    for name, value in {"RAY_USAGE_STATS_ENABLED": "0", **patience}.items():
        os.environ.setdefault(name, value)
    if "RAY_AUTH_MODE" not in os.environ:
        # Ray listens on all interfaces, and who reaches it may run anything. Its own token would lie in the home.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    return {
        "num_cpus": max(cores(), wanted.workers or 1),
        "include_dashboard": False,
        "object_store_memory": OBJECT_STORE_BYTES,
    }
