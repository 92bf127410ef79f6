"""How large a request may be: one client must not fill the agent's memory."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guestroom.units import MIB, format_bytes

MOST_BYTES = 8 * MIB
"""Largest body: the longest argv Linux executes (a quarter of an 8 MiB stack: execve(2)) and the texts of its
-readconfig files, as JSON."""


class BodyLimit:
    """ASGI middleware: a body over ``most_bytes`` is answered with 413, read no further, and its connection closed."""

    def __init__(self, app: ASGIApp, most_bytes: int = MOST_BYTES) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received; of what was announced too large nothing is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        read_bytes = int(announced[:20]) if announced.isdigit() else 0
        if read_bytes <= self._most_bytes:
            read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes
            if read_bytes <= self._most_bytes:
                message = await receive()
                read_bytes += len(message.get("body", b""))
                if read_bytes <= self._most_bytes:
                    return message
            raise HTTPException(
                413, f"the request's body is larger than {format_bytes(self._most_bytes)}", {"connection": "close"}
            )

        await self._app(scope, counted, send)
