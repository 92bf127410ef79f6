"""Reclaim in the simulation: RAM is lent, comes back asked and unasked, and the sums hold at every step."""

from __future__ import annotations

from dataclasses import replace

from guestroom.agent.deps import Balloon
from guestroom.cli.reclaiming import KernelReclaimer
from guestroom.config import GuestSettings, Reclaim, Settings
from guestroom.errors import QmpError
from guestroom.testing import SimGuest
from guestroom.units import MIB

from .simagent import HOST_BYTES, SETTINGS, SimAgent

LENDER_MIB, OTHER_MIB, NEW_MIB = 2048, 768, 512
BUDGET = HOST_BYTES - 512 * MIB


class SimBalloon:
    """A driver that does what it is told at once, down to a floor of its own."""

    def __init__(self, guest: SimGuest, least_bytes: int, unasked: bool | None) -> None:
        self._guest = guest
        self._least_bytes = least_bytes
        self._unasked = unasked
        self.left_bytes = guest.ram_bytes

    def ram_bytes(self) -> int:
        """RAM it has left."""
        return self.left_bytes

    def returns_unasked(self) -> bool | None:
        """As it was made."""
        return self._unasked

    def ask(self, ram_bytes: int) -> None:
        """Give pages up, or take them all back into ``vmm``."""
        target = max(ram_bytes, self._least_bytes)
        if target < self.left_bytes:
            self._guest.host.discard(self._guest.pid, self._guest.ram_bytes - target)
        elif target > self.left_bytes:
            self.take_back()
            self._guest.host.discard(self._guest.pid, self._guest.ram_bytes - target)
        self.left_bytes = target

    def take_back(self) -> None:
        """Touch everything again, asked or not."""
        self._guest.host.retouch(self._guest.pid)

    def close(self) -> None:
        """Nothing is open."""


class SimReclaimer(KernelReclaimer):
    """The real one on the simulated kernel, with simulated balloons."""

    def __init__(self, agent: SimAgent, *, least_bytes: int = 0, unasked: bool | None = False) -> None:
        super().__init__(agent.host, agent.layout)
        self._agent = agent
        self._least_bytes = least_bytes
        self._unasked = unasked
        self.balloons: dict[str, SimBalloon] = {}

    def balloon(self, path: str, timeout_s: float) -> Balloon:
        """The balloon of the guest at this monitor."""
        name = path.split("/")[-2]
        guest = self._agent.guests[name]
        if guest.busy:
            raise QmpError("no answer", where=path)
        return self.balloons.setdefault(name, SimBalloon(guest, self._least_bytes, self._unasked))


def made(*, reclaim: Reclaim = Reclaim.CACHE, least_bytes: int = 0, unasked: bool | None = False) -> SimAgent:
    """A host full of promised RAM but for 288 MiB, and a guest that may lend half of its own."""
    lender = GuestSettings(balloon_min_bytes=LENDER_MIB // 2 * MIB, overhead_bytes=100 * MIB)
    others = GuestSettings(overhead_bytes=80 * MIB)
    guests = {"lender": lender, "other": others, "new": others}
    agent = SimAgent(_with(SETTINGS, reclaim, guests))
    agent.deps.reclaimer = SimReclaimer(agent, least_bytes=least_bytes, unasked=unasked)
    return agent


def _with(settings: Settings, reclaim: Reclaim, guests: dict[str, GuestSettings]) -> Settings:
    return replace(settings, reclaim=reclaim, guests=guests, settle_s=0.0, peak_window_s=4.0, giveback_after_s=20.0)


def sums_hold(agent: SimAgent) -> None:
    """P1 and P2 with what is promised now: RAM less what is lent, grants and headroom within budget and wall."""
    room = agent.keeper.room
    records = [care.record for care in room.cares.values()]
    promised = sum(record.promised_charged_bytes for record in records)
    assert isinstance(room.wall_bytes, int)
    assert room.wall_bytes <= BUDGET
    assert promised + 480 * MIB <= BUDGET
    assert sum(record.grant_bytes for record in records) <= 352 * MIB
    for record in records:
        least = record.promised_charged_bytes + record.grant_bytes
        assert least <= agent.limit(record.name) <= least + 128 * MIB


def lent(agent: SimAgent) -> int:
    """What the lender lends now."""
    return agent.keeper.room.cares["lender"].record.lent_ram_bytes


async def fill(agent: SimAgent) -> str:
    """The lender, another, and one whose RAM does not fit; the last one's verdict."""
    await agent.start("lender", ram_mib=LENDER_MIB)
    await agent.start("other", ram_mib=OTHER_MIB)
    await agent.rest(5.0)
    session = await agent.start("new", ram_mib=NEW_MIB)
    sums_hold(agent)
    return str(session.of("verdict").get("verdict"))


def test_lent_ram_lets_a_newcomer_in_and_comes_back_when_it_is_gone() -> None:
    """The RAM that is short is lent, no more; when the newcomer ends it goes back, and the sums hold throughout."""
    agent = made()

    async def history(it: SimAgent) -> None:
        assert await fill(it) == "admit"
        assert (NEW_MIB - 288) * MIB <= lent(it) <= (NEW_MIB - 288 + 8) * MIB
        for _ in range(4):
            await it.rest(5.0)
            sums_hold(it)
        await it.stop("new")
        for _ in range(12):
            await it.rest(5.0)
            sums_hold(it)
        assert lent(it) == 0
        assert "ram_returned" in [kind for kind, _, _ in it.events]

    agent.run(history)


def test_without_reclaim_or_the_operators_word_it_is_refused() -> None:
    """The control: the same host with reclaim off, with an untrusted balloon, and with one that gives too little."""
    for agent in (made(reclaim=Reclaim.OFF), made(unasked=True), made(unasked=None), made(least_bytes=2000 * MIB)):
        assert agent.run(fill) == "refuse"


def test_plan_says_who_would_be_asked_and_asks_nobody() -> None:
    """The dry run names the lender and how much, and leaves its RAM where it is."""
    agent = made()

    async def history(it: SimAgent) -> None:
        await it.start("lender", ram_mib=LENDER_MIB)
        await it.start("other", ram_mib=OTHER_MIB)
        await it.rest(5.0)
        argv = ("qemu-system-x86_64", "-machine", "q35", "-m", str(NEW_MIB))
        answer = await it.keeper.plan("new", argv, {}, None)
        assert answer["verdict"] == "refuse"
        asked = answer["reclaim"]
        assert isinstance(asked, list)
        assert [(row["means"], row["name"]) for row in asked] == [("balloon", "lender")]
        assert (NEW_MIB - 288) * MIB <= asked[0]["bytes"] <= (NEW_MIB - 288 + 8) * MIB
        assert lent(it) == 0

    agent.run(history)


def test_a_growing_guest_nobody_has_room_for_has_others_asked() -> None:
    """What stays borrowed from the headroom is tried to be got back from a neighbour's page cache, once in a while."""
    agent = SimAgent(_with(SETTINGS, Reclaim.CACHE, {}))

    async def history(it: SimAgent) -> int:
        await it.start("full", "cache filled", ram_mib=384)
        await it.start("grows", ram_mib=512)
        await it.rest(5.0)
        await it.tick(0.5)
        it.guests["grows"].use(it.grant("full") + it.grant("grows") + 16 * MIB)
        for _ in range(8):
            await it.rest(1.0)
        return sum(kind == "reclaimed" for kind, _, _ in it.events)

    assert 1 <= agent.run(history) <= 2


def test_ram_taken_back_unasked_is_its_takers_trouble_alone() -> None:
    """A lender that touches all its RAM again stands still, the others keep theirs; then it gets room."""
    agent = made()

    async def history(it: SimAgent) -> None:
        assert await fill(it) == "admit"
        reclaimer = it.deps.reclaimer
        assert isinstance(reclaimer, SimReclaimer)
        grants = {name: it.grant(name) for name in ("other", "new")}
        reclaimer.balloons["lender"].take_back()
        await it.rest(5.0)
        sums_hold(it)
        lender = it.keeper.room.cares["lender"]
        facts = lender.facts()
        assert facts.overhead_bytes is None or facts.overhead_bytes > lender.record.grant_bytes
        assert lender.record.held or it.guests["lender"].sleeps
        assert {name: it.grant(name) for name in grants} == grants
        assert it.guests["other"].alive
        assert not it.guests["new"].busy
        await it.stop("new")
        for _ in range(12):
            await it.rest(5.0)
            sums_hold(it)
        assert lent(it) == 0
        assert not lender.record.held

    agent.run(history)


def test_the_next_agent_knows_what_is_lent() -> None:
    """An agent that begins on the same ledger promises no more than the last one did."""
    agent = made()
    assert agent.run(fill) == "admit"
    before = lent(agent)
    second = SimAgent(agent.settings, host=agent.host, ledger=agent.ledger, clock=agent.clock)
    second.guests, second.sessions = agent.guests, agent.sessions
    second.deps.reclaimer = SimReclaimer(second)

    async def history(it: SimAgent) -> None:
        await it.rest(5.0)
        assert lent(it) == before
        sums_hold(it)

    second.run(history)
