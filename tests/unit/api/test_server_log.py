"""What the agent's log is spared, and what not."""

from __future__ import annotations

import asyncio
import logging

import pytest

from guestroom.api.server import is_news


def record(message: str, error: BaseException | None) -> logging.LogRecord:
    """A line of the server's."""
    info = None if error is None else (type(error), error, None)
    return logging.LogRecord("uvicorn.error", logging.ERROR, "x", 1, message, (), info)


@pytest.mark.parametrize(
    ("message", "error", "told"),
    [
        ("Exception in ASGI application", asyncio.CancelledError("Task cancelled"), False),
        ("Cancel 1 running task(s), timeout graceful shutdown exceeded", None, False),
        ("Exception in ASGI application", ValueError("wrong"), True),
        ("Invalid HTTP request received.", None, True),
    ],
)
def test_streams_cut_at_a_stop_are_no_failure(message: str, error: BaseException | None, told: bool) -> None:
    """Stopping with a guest's stream open leaves no traceback; a real failure does."""
    assert is_news(record(message, error)) is told
