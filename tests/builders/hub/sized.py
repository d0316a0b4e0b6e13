"""`mrb` with a registry whose sizes are those of the repositories on loopback, not of the real ones. As a program: the
command that its arguments name; `SEEN_LIVE=1` in the environment has the registry say that the live Hub agreed."""

from __future__ import annotations

import os
import sys
from datetime import date
from pathlib import Path

import mrb.data.task
from mrb.data.task import Task
from mrb.data.task_fields import Size


def sized(task: Task) -> Task:
    """The task with the sizes of its repositories on loopback."""
    from tests.builders.hub.repositories import DOCUMENTS, QUERIES, repositories

    parts = [repository for repository in repositories() if repository.task == task.id]
    if not parts:
        return task
    odd = parts[0].odd
    extra = 2 * ("missing_documents" in odd) + ("missing_queries" in odd) + 3 * ("zeros" in odd)
    size = Size(
        queries=QUERIES * len(parts),
        documents=(DOCUMENTS + ("query_is_document" in odd)) * len(parts),
        qrels=7 * len(parts) + extra,
    )
    seen = date(2026, 1, 1) if os.environ.get("SEEN_LIVE") else None
    return task.model_copy(update={"size": size, "source": task.source.model_copy(update={"seen_live": seen})})


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[3])
    read_task = mrb.data.task.read_task
    mrb.data.task.read_task = lambda path: sized(read_task(path))
    from mrb.cli.main import main

    main()
