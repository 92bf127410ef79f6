"""The way in: bring ledger, kernel and room together again after any end of the last agent (promise P8).

A guest lives as long as its cgroup is populated, whatever happened to us. So what the ledger has is held
against what the kernel has; ``decide.reconcile`` says what follows, and here it is done.
"""

from __future__ import annotations

from guestroom import decide
from guestroom.agent.room import Room


async def recover(room: Room) -> None:
    """Take everything back that lives, finish what ended, thaw what only an interrupted step froze."""
    deps = room.deps
    host = await room.host()
    budget = decide.budget(host, room.guests(), deps.settings, burst_bytes=room.burst_bytes())
    await deps.kernel(deps.machine.make_wall, budget.wall_bytes)
    room.wall_bytes = budget.wall_bytes
    room.set_budget(budget)
