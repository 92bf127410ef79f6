"""What becomes of a raise that the owner of the limit, libvirt or systemd, has not taken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from tests.unit.record.samples import record

from guestroom.agent.adopted import TELL_AGAIN_S, Adopted
from guestroom.agent.care import Care
from guestroom.agent.peaks import PeakWindow
from guestroom.errors import WriteError
from guestroom.testing import ManualClock


class Elsewhere:
    """An owner that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.why: str | None = "systemd: timed out"
        self.takes = False
        self.told: list[int] = []

    def untold(self, name: str) -> str | None:
        """Why it has not taken it."""
        return self.why

    def secure(self, name: str, limit: int) -> None:
        """Told again."""
        self.told.append(limit)
        if not self.takes:
            raise WriteError("web.scope", str(limit), "timed out")
        self.why = None


def test_it_is_said_once_and_told_again_until_it_is_taken() -> None:
    """One event, a new try every ten seconds, and an end when the owner has it."""
    events: list[str] = []
    elsewhere, clock = Elsewhere(), ManualClock()

    async def kernel(work: Callable[..., object], *args: object) -> object:
        return work(*args)

    deps = SimpleNamespace(
        elsewhere=elsewhere, clock=clock, kernel=kernel, event=lambda kind, name, message: events.append(message)
    )
    ours = Adopted(cast(Any, SimpleNamespace(deps=deps)), cast(Any, None))
    care = Care(record("web"), 0.0, PeakWindow(60.0), limit_bytes=1 << 30)
    ours._note_owner(care)
    due_s = ours._tell_again_s["web"]
    assert due_s == clock.monotonic() + TELL_AGAIN_S
    assert len(events) == 1
    assert "timed out" in events[0]
    clock.sleep(TELL_AGAIN_S)
    asyncio.run(ours._tell_owner(care))
    assert ours._tell_again_s["web"] == due_s + TELL_AGAIN_S
    elsewhere.takes = True
    asyncio.run(ours._tell_owner(care))
    assert elsewhere.told == [care.record.limit_bytes] * 2
    assert (ours._tell_again_s, len(events)) == ({}, 1)
