"""What several processes of a run do in turn, or must agree on. An error in one ends all, and none waits in vain."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist
from accelerate import PartialState

from mrb.errors import MRBError, TrainingError

T = TypeVar("T")
PATIENCE = timedelta(days=7)
"""How long a process waits for the one that checks the data. GPUs' own barriers end a run after ten minutes."""


def join_processes(*, cpu: bool) -> PartialState:
    """Join the other processes of this run, until this process ends.

    Args:
        cpu: Whether the processes use no GPU.

    Returns:
        What is known of this process.
    """
    # An interpreter may abort if it ends while a process group lives, whose threads still run.
    atexit.unregister(_leave_processes)
    atexit.register(_leave_processes)
    return PartialState(cpu=cpu)


def _leave_processes() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def take_turns(here: PartialState, act: Callable[[], T]) -> T:
    """Call `act` in the main process, then in the first of each other node, then in all others, and return its result.

    So one process makes files that the others find, on each node if the nodes share no folder.

    Raises:
        MRBError: That of the first process in which `act` raises one.
    """
    if here.num_processes == 1:
        return act()
    turn = 0 if here.is_main_process else 1 if here.is_local_main_process else 2
    group = dist.new_group(backend="gloo", timeout=PATIENCE)
    found: list[T] = []
    try:
        for number in range(3):
            problem = None
            if number == turn:
                try:
                    found.append(act())
                except MRBError as error:
                    problem = error
            _raise_first(_exchange(here, problem, group))
    finally:
        dist.destroy_process_group(group)
    return found[0]


def agree(here: PartialState, act: Callable[[], T], refusal: str) -> T:
    """Call `act` in all processes and return its result, which must be the same in all.

    Raises:
        MRBError: That of the first process in which `act` raises one.
        TrainingError: `refusal`; the results differ.
    """
    if here.num_processes == 1:
        return act()
    found: list[T] = []
    problem = None
    try:
        found.append(act())
    except MRBError as error:
        problem = error
    results = _exchange(here, (found, problem), None)
    _raise_first([problem for _, problem in results])
    if any(other != found for other, _ in results):
        raise TrainingError(refusal)
    return found[0]


def _exchange(here: PartialState, own: Any, group: Any) -> list[Any]:
    found: list[Any] = [None] * here.num_processes
    dist.all_gather_object(found, own, group=group)
    return found


def _raise_first(problems: list[MRBError | None]) -> None:
    for problem in problems:
        if problem is not None:
            raise problem
