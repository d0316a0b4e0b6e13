"""The event loop of an async adapter: one loop for all its coroutines, in the caller's thread or in one of its own."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mrb.rerankers.event_loop import EventLoop


async def place() -> tuple[int, int]:
    return id(asyncio.get_running_loop()), threading.get_ident()


def check_one_loop(*, same_thread: bool) -> None:
    loop = EventLoop()
    first, second = loop.run(place()), loop.run(place())
    assert first == second
    assert (first[1] == threading.get_ident()) == same_thread
    loop.close()


def test_coroutines_share_a_loop_in_the_callers_thread() -> None:
    check_one_loop(same_thread=True)


def test_inside_a_running_loop_they_share_one_in_another_thread() -> None:
    async def call() -> None:
        check_one_loop(same_thread=False)

    asyncio.run(call())


def test_tasks_go_on_from_call_to_call_and_are_cancelled_at_the_end() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(0)
            seen.append("worked")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")

    async def begin() -> None:
        tasks.append(asyncio.ensure_future(work()))

    async def call() -> None:
        loop = EventLoop()
        loop.run(begin())
        loop.run(asyncio.sleep(0.01))
        loop.close()

    tasks: list[asyncio.Future[None]] = []
    asyncio.run(call())
    assert seen == ["worked", "cancelled"]


def test_errors_reach_the_caller() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async def call() -> None:
        loop = EventLoop()
        with pytest.raises(ValueError, match="no"):
            loop.run(fail())
        loop.close()

    asyncio.run(call())
