"""Encode shards by workers on a Ray cluster, which may join or be lost. This process searches and writes the lists.

The messages are those of `mrb.parallel.encoding_pool`. A worker writes each shard to disk itself, so all nodes must
share the folder of vectors (`--work`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from tqdm import tqdm

from mrb.data.task_data import TaskData
from mrb.errors import AdapterError
from mrb.parallel.cluster.connect import Wanted, crew
from mrb.parallel.cluster.worker_handle import Joined, Lost, Member
from mrb.parallel.encoding_pool import Ask, Build, Built, Done, Encode, Job, Raised
from mrb.retrieval.shards import Shards, missing

logger = logging.getLogger(__name__)

SERVE = "mrb.parallel.encoding_worker"
BUILDING = "building the encoder"
_KEPT = "shards that were made are kept, the same command goes on"


class RayMaker:
    """A `Maker` on a cluster. An error in a worker ends the command; a lost worker's shard is handed out again."""

    def __init__(self, name: str, options: Mapping[str, str], *, wanted: Wanted) -> None:
        self.allowed = 0
        self._build = Build(name, options)
        self._encode: Encode | None = None
        self._left: deque[Job] = deque()
        self._built: Built | None = None
        self._tables: dict[str, Shards] = {}
        self._stack = ExitStack()
        self._crew = self._stack.enter_context(crew(wanted, SERVE))
        try:
            while self._built is None:
                self._round()
        except BaseException:
            self.close()
            raise
        first = self._built
        self.name, self.identity, self.shard_rows = first.name, first.identity, first.shard_rows
        self.needs_images = first.needs_images

    def prepare(self, data: TaskData, tables: Sequence[Shards]) -> None:
        """Have the workers encode all missing shards of the tables."""
        self._left = deque(missing(tables))
        self._tables = {shards.folder.name: shards for shards in tables}
        if not self._left:
            return
        total = sum(self._rows(job) for job in self._left)
        self._encode = Encode(data.task, tables[0].root.absolute(), self.allowed)
        with tqdm(total=total, desc="encoding", unit="item", disable=None, leave=False) as bar:
            while self._left or any(member.doing for member in self._crew.members if member.in_hand):
                bar.update(self._round())
        self._encode = None

    def make(self, shards: Shards, number: int, made: Callable[[int], object]) -> None:
        """Raise AdapterError: `prepare` has written all shards, so a missing one was removed."""
        raise AdapterError(f"{shards.path(number)}: was removed while it was wanted; run the same command again")

    def close(self) -> None:
        """End the workers."""
        self._stack.close()

    def _rows(self, job: Job) -> int:
        return len(self._tables[job[0]].part(job[1]))

    def _round(self) -> int:
        """Handle the messages of one worker, assign work to idle workers, and return the number of items done."""
        done = 0
        for member, message in self._crew.events():
            if isinstance(message, Joined):
                member.tell(self._build, BUILDING)
            elif isinstance(message, Raised):
                raise message.error
            elif isinstance(message, Lost):
                self._lost(member, message)
            elif isinstance(message, Ask):
                done += self._answer(member)
            elif isinstance(message, Done):
                self._done(member, message.value)
        for member in self._crew.members:
            if not member.doing and self._encode is not None and self._left:
                member.tell(self._encode, f"encoding task {self._encode.task.id}")
        return done

    def _done(self, member: Member, value: object) -> None:
        if member.doing == BUILDING:
            assert isinstance(value, Built)
            self._built = self._built or value
            if value != self._built:
                raise AdapterError(f"{value.name}: what the encoder says of itself depends on the node it is built on")
        member.doing = ""

    def _answer(self, member: Member) -> int:
        """Assign the next shard to a worker and return the number of items in its last shard."""
        done = 0
        for folder, number in member.in_hand.values():
            path = self._tables[folder].path(number)
            if not path.exists():
                raise AdapterError(
                    f"{path}: made by {member.name} and not to be seen here; name a folder that all nodes share with "
                    "--work"
                )
            done += self._rows((folder, number))
            self._crew.worked()
        job = self._left.popleft() if self._left else None
        member.in_hand = {} if job is None else {_name(job): job}
        member.tell(job)
        return done

    def _lost(self, member: Member, lost: Lost) -> None:
        told = f"{member.name} {lost.how} while {member.doing or 'waiting'}"
        if not member.in_hand:
            self._crew.unused(told, lost)
            logger.warning(f"{told}; the others go on")
            return
        ((name, job),) = member.in_hand.items()
        if self._crew.deadly(name):
            raise AdapterError(f"{told}, {name}, as did one before it; {_KEPT}")
        self._left.appendleft(job)
        logger.warning(f"{told}, {name}; handed out again, the others go on")


def _name(job: Job) -> str:
    return f"shard {job[1]} of {job[0]}"
