"""An event loop in which waiting takes no time: the clock moves on as soon as everybody waits.

So the agent's own coroutines, with their sleeps and time-outs, run unchanged, and a history of an hour takes a second
and ends the same way every time.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from guestroom.testing import ManualClock


class _Selector(selectors.DefaultSelector):
    """Never blocks: what would be waited for is added to the clock."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; with nothing ready the time that would have been waited has passed."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("everybody waits and nothing will ever happen")
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a ``ManualClock``."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(_Selector(clock))
        self._clock_of_test = clock

    def time(self) -> float:
        """The test's clock."""
        return self._clock_of_test.monotonic()


class InlineThreads(ThreadPoolExecutor):
    """A pool without threads: work is done where it is submitted, so nothing ever races."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it now."""
        done: Future[Any] = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done
