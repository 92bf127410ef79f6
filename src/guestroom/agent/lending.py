"""Free room on loan to the alarm process, so that a raise from it does not wait for this process (promise P5).

Whoever decides about room holds the lock, and the lock takes the loan back before it is held: decisions are made from
all the room there is, and the alarm never gives away what a decision counts on (P1). When the lock is released, what
no grant has is lent again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from guestroom import decide
from guestroom.actions import Outcome, OutcomeKind, SetLimit
from guestroom.facts import Accounting

if TYPE_CHECKING:
    from guestroom.agent.room import Room


class Loan:
    """What the alarm process may raise guests from by itself."""

    def __init__(self, room: Room) -> None:
        self.bytes = 0
        """Free room that is on loan now."""
        self._room = room
        room.deps.alarms.on_raised = self._raised

    async def recall(self) -> None:
        """Take it back; what the alarm raised from it is known when this returns."""
        if self.bytes:
            await self._room.deps.alarms.recall()
            self.bytes = 0

    async def catch_up(self) -> None:
        """Hear of every raise the alarm made so far: a limit that was just read may be one of them."""
        if self.bytes:
            await self._room.deps.alarms.recall()
            self.bytes = 0
            self.lend()

    def lend(self) -> None:
        """Lend what no grant has at this moment."""
        room, before = self._room, self.bytes
        self.bytes = 0
        if room.budget is not None and not room.unsettled:
            records = (care.record for care in room.cares.values())
            granted = sum(record.grant_bytes for record in records if record.accounting is Accounting.SPLIT)
            self.bytes = decide.loan_bytes(room.free_budget(), granted)
        if self.bytes != before:
            room.deps.alarms.lend(self.bytes)

    def _raised(self, news: Mapping[str, object]) -> None:
        """The alarm raised a guest: the kernel has it, here it becomes the record, then the ledger's (P8)."""
        room, care = self._room, self._room.cares.get(str(news["name"]))
        numbers = {key: value for key, value in news.items() if isinstance(value, int)}
        self.bytes = max(0, self.bytes - numbers["grant_bytes"] + numbers["grant_from_bytes"])
        room.steps += 1
        if care is None:
            return
        action = SetLimit(
            care.name,
            numbers["from_bytes"],
            numbers["limit_bytes"],
            numbers["grant_from_bytes"],
            numbers["grant_bytes"],
            numbers["floor_bytes"],
            str(news["reason"]),
        )
        care.limit_bytes = action.to_bytes
        grant_bytes = max(care.record.grant_bytes, action.grant_to_bytes)
        care.record = replace(care.record, grant_bytes=grant_bytes, limit_bytes=action.to_bytes)
        room.eased(care)
        room.following.raised(care.name)
        outcome = Outcome(action, OutcomeKind.DONE, "by the alarm, at once", action.to_bytes)
        room.deps.late.carried_out(action.reason, json.dumps(dict(news)), (outcome,))
        room.note(care)


class RoomLock(asyncio.Lock):
    """The lock of all decisions about room."""

    def __init__(self, loan: Loan) -> None:
        super().__init__()
        self._loan = loan

    async def __aenter__(self) -> None:
        """Hold it, with nothing on loan."""
        await self.acquire()
        try:
            await self._loan.recall()
        except BaseException:
            self.release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lend what is free and let it go."""
        self._loan.lend()
        self.release()

    @asynccontextmanager
    async def only_looking(self) -> AsyncIterator[None]:
        """Hold it for a question whose answer is nearly always "nothing to do": the loan stays.

        Who finds something to do recalls the loan first and looks again.
        """
        await self.acquire()
        try:
            yield
        finally:
            self._loan.lend()
            self.release()
