"""Make the lists of tasks of the user's own by a first stage, into MRB's cache: `mrb run --first-stage`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mrb.candidates.own_lists import OWN_SET, locate_made_lists
from mrb.candidates.pull_lists import find_local_lists
from mrb.candidates.set_lists import describe_unverified, find_set_lists
from mrb.data.task import Task, is_registered
from mrb.errors import CandidatesError
from mrb.rerankers.calling import close_after
from mrb.retrieval.make_lists import ListMaker, ListOptions

logger = logging.getLogger(__name__)


def find_lists(
    candidates: str | None,
    first_stage: str | None,
    tasks: Sequence[Task],
    depth: int,
    candidate_set: str | None = None,
) -> tuple[Path | None, dict[str, str]]:
    """Return what `find_local_lists` does for the value of `--candidates`, or the lists made for `--first-stage`, or
    those of a candidate set (`find_set_lists`).

    Raises:
        CandidatesError: Two of them exclude each other, a path does not exist, or a list cannot be found or made.
    """
    if first_stage is None and candidate_set is not None:
        found = find_set_lists(candidate_set, candidates, tasks)
        if candidates is None and (told := describe_unverified(candidate_set, tasks)):
            logger.info(told)
        return found
    if first_stage is None:
        return find_local_lists(candidates, tasks)
    if candidates is not None or candidate_set is not None:
        raise CandidatesError("give either --first-stage, or --candidates and --candidate-set")
    return make_own_lists(tasks, first_stage, depth), {}


def make_own_lists(tasks: Sequence[Task], first_stage: str, depth: int) -> Path:
    """Make the list of each task, and return the folder of the lists (`<task>.parquet`).

    Args:
        tasks: Tasks of the user's own.
        first_stage: An installed retriever, a file, or several joined by `+`, as for `mrb candidates make`.
        depth: Documents per query.

    Raises:
        CandidatesError: A task is one of the registry's, or the first stage cannot make a list.
    """
    for task in tasks:
        if is_registered(task.id):
            raise CandidatesError(
                f"--first-stage makes lists of your own data; {task.id} is one of the registry's: make its list with "
                f"`mrb candidates make --first-stage {first_stage} --task {task.id}` and name it with --candidates"
            )
    out = locate_made_lists(tasks, first_stage, depth)
    maker = ListMaker(tasks, ListOptions(out=out, depth=depth, first_stage=first_stage, candidate_set=OWN_SET))
    with close_after(maker.close):
        for text in maker.make_all():
            logger.info(text)
    return out
