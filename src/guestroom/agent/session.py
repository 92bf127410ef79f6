"""The open connection of one ``guestroom run``: lines to it, and the news that it is gone.

A reservation dies with its connection until the guest runs; after that the connection only carries
orders (a recreation) and news, and its loss means nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping


class Session:
    """A queue of lines for the client. Safe to use from the event loop only."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[Mapping[str, object] | None] = asyncio.Queue()
        self.gone = asyncio.Event()

    def emit(self, line: Mapping[str, object]) -> None:
        """Send one line, if the client is still there."""
        if not self.gone.is_set():
            self._lines.put_nowait(line)

    def close(self) -> None:
        """No more lines will come."""
        self._lines.put_nowait(None)

    async def lines(self) -> AsyncIterator[Mapping[str, object]]:
        """Lines as they come, until closed; leaving early marks the client as gone."""
        try:
            while (line := await self._lines.get()) is not None:
                yield line
        finally:
            self.gone.set()
