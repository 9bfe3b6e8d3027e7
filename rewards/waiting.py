"""Running a user's coroutines: all of one call together, in an event loop that lasts as long as the process.

It lasts because clients of services, which coroutines keep, belong to the loop they were made in.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

_loops: dict[int, asyncio.AbstractEventLoop] = {}
"""The loop of each process; a forked one has its own."""


class Failure(NamedTuple):
    """What a call raised."""

    error: BaseException


def waited_for(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    """The results of coroutines that run concurrently, each a ``Failure`` where one raised.

    Raises:
        KeyboardInterrupt: the user stopped them.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(awaitables)
    with ThreadPoolExecutor(1) as other:  # a notebook's loop is running in this thread
        return other.submit(_run, awaitables).result()


def _run(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    loop = _loops.get(os.getpid())
    if loop is None or loop.is_closed():
        loop = _loops[os.getpid()] = asyncio.new_event_loop()
    try:
        results = loop.run_until_complete(_together(awaitables))
    except BaseException:  # Ctrl-C while they wait
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        raise
    for result in results:
        if isinstance(result, Failure) and isinstance(result.error, KeyboardInterrupt):
            raise result.error
    return results


async def _together(awaitables: Sequence[Awaitable[Any]]) -> list[Any]:
    tasks: list[asyncio.Task[Any]] = []

    async def guarded(awaitable: Awaitable[Any]) -> Any:
        try:
            return await awaitable
        except BaseException as error:  # SystemExit too
            if isinstance(error, KeyboardInterrupt):
                for task in tasks:
                    if task is not asyncio.current_task():
                        task.cancel()
            return Failure(error)

    tasks += [asyncio.ensure_future(guarded(awaitable)) for awaitable in awaitables]
    return list(await asyncio.gather(*tasks))
