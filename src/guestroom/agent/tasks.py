"""Tasks of the agent that must not die unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class Tasks:
    """Runs coroutines beside each other; the first that ends with an error makes ``failed`` say so.

    An agent that goes on with its sweep or an exit handler dead would look alive and keep no promise, so its
    command ends loudly instead; guests go on and the next start takes them back (P8, P11).
    """

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run ``work`` beside the rest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def cancel(self) -> None:
        """Cancel all that still run."""
        for task in list(self._tasks):
            task.cancel()

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)
