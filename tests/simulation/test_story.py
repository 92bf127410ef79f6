"""The seed's story on the simulated host, and other single stories worth telling."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.config import OnShort
from guestroom.testing import Fate, SimGuest
from guestroom.testing.zoo import ZOO
from guestroom.units import MIB

from .histories import Start, play
from .judge import Judge
from .simagent import SETTINGS, QuietSession, SimAgent

STORY = replace(
    SETTINGS,
    reserve=800 * MIB,
    headroom_bytes=0,
    guard_bytes=0,
    settle_s=0.0,
    cap_bytes=600 * MIB,
    policy="proportional",
)
NAIVE_BYTES = (1024 + 400) * MIB


def use_in_all(guest: SimGuest, overhead_bytes: int) -> Fate:
    """Bring the whole overhead, page tables and all, to this."""
    return guest.use(overhead_bytes - (guest.overhead_bytes - guest.heap_bytes))


async def tell(agent: SimAgent, on_short: OnShort, *, quiet_bytes: int = 0) -> QuietSession:
    """A alone, its overhead at 500 MiB (then ``quiet_bytes`` less), the naive limit refused, B arrives."""
    await agent.start("A", ram_mib=1024)
    assert agent.grant("A") == 600 * MIB
    guest = agent.guests["A"]
    assert use_in_all(guest, 500 * MIB) is Fate.DONE
    with pytest.raises(OSError, match="busy"):
        agent.host.write(f"{agent.layout.guest('A')}/memory.limit_in_bytes", str(NAIVE_BYTES))
    await agent.rest(2.0)
    guest.use(guest.heap_bytes - quiet_bytes)
    await agent.rest(2.0)
    return await agent.start("B", ram_mib=1024, on_short=on_short)


def test_the_story_ends_with_both_alive() -> None:
    """A keeps what it used at its peak, B is squeezed into the rest, the sum is the reserve, and nobody sleeps."""
    agent = SimAgent(STORY)
    agent.run(lambda it: told(it, quiet_bytes=MIB))


def test_the_story_ends_well_also_at_the_very_peak() -> None:
    """The same while A holds its 500 MiB to the last page."""
    agent = SimAgent(STORY)
    agent.run(lambda it: told(it, quiet_bytes=0))


async def told(agent: SimAgent, *, quiet_bytes: int) -> None:
    """The story with ``squeeze``, and its end."""
    heard = await tell(agent, OnShort.SQUEEZE, quiet_bytes=quiet_bytes)
    assert heard.of("running"), heard.heard
    a, b = agent.grant("A"), agent.grant("B")
    assert 500 * MIB <= a < 501 * MIB
    assert 799 * MIB < a + b <= 800 * MIB
    for name in ("A", "B"):
        assert use_in_all(agent.guests[name], agent.grant(name) - MIB) is Fate.DONE
        assert not agent.guests[name].sleeps


def test_the_story_refused_changes_nothing() -> None:
    """With ``refuse`` B never runs, is told what was short and who holds it, and A has its 600 MiB."""
    agent = SimAgent(STORY)

    async def history(it: SimAgent) -> QuietSession:
        heard = await tell(it, OnShort.REFUSE)
        assert it.grant("A") == 600 * MIB
        assert it.limit("A") == 1624 * MIB
        return heard

    verdict = agent.run(history).of("verdict")
    assert verdict["verdict"] == "refuse"
    assert verdict["short_of"] == "overhead"
    assert not agent.guests["B"].alive


class TooLarge(SimGuest):
    """A QEMU whose own start takes more than anybody thought."""

    def boot(self) -> Fate:
        """A heap of 700 MiB before any RAM."""
        self.host.touch(self.pid, 700 * MIB, heap=True)
        return self.take_ram()


def test_a_guest_whose_ram_can_not_be_had_never_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It sleeps at its own limit while it starts and is ended; its room is back, its neighbour noticed nothing (P3)."""
    monkeypatch.setitem(ZOO, "too large", TooLarge)
    agent = SimAgent()
    judge = Judge(agent)

    async def history(it: SimAgent) -> QuietSession:
        await play(it, judge, [Start("A")])
        before = it.grant("A")
        heard = await it.start("L", "too large", 384)
        judge.settled()
        assert it.grant("A") == before
        return heard

    heard = agent.run(history)
    assert heard.of("error"), heard.heard
    assert not agent.guests["L"].running
    assert not agent.guests["L"].alive
    assert judge.broken == []


def test_a_strangers_empty_folder_is_left_alone() -> None:
    """A folder somebody made under an ended guest's name is not removed with it."""
    agent = SimAgent()

    async def history(it: SimAgent) -> bool:
        await it.start("A")
        it.guests["A"].leave()
        it.host.mkdir(it.layout.guest("A"))
        made = it.host.inode(it.layout.guest("A"))
        await it.rest(5.0)
        return "A" in it.host.list_dirs(it.layout.memory) and it.host.inode(it.layout.guest("A")) == made

    assert agent.run(history)
