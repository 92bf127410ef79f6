"""Replays: the agent's rules over a trace, with the promises kept at every step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.config import OnShort, Settings
from guestroom.facts import HostFacts
from guestroom.lab.replay import Replay, Totals
from guestroom.lab.traces import Shape, Trace, bursts, merge
from guestroom.units import GIB, MIB

SHAPE = Shape(256 * MIB, 130 * MIB, 96 * MIB)
SETTINGS = Settings(reserve=800 * MIB, headroom_bytes=200 * MIB, guard_bytes=64 * MIB, settle_s=0.0)
HOST = HostFacts(16 * GIB, 16 * GIB, 0, 0)


def trace(length_s: float = 300.0, **burst_mib: int) -> Trace:
    """Guests at 70 MiB that need so much more for three seconds of each minute."""
    samples = merge(
        bursts(name, base_mib=70, burst_mib=size, every_s=60, last_s=3, length_s=length_s)
        for name, size in burst_mib.items()
    )
    return Trace(dict.fromkeys(samples, SHAPE), samples)


class Watched(Replay):
    """A replay that holds each step to the promises."""

    def _count(self) -> None:
        super()._count()
        budget = self._budget()
        facts = self._facts()
        assert sum(guest.grant_bytes for guest in facts) + budget.headroom_bytes <= budget.reserve_bytes
        assert all(g.grant_bytes >= min(g.overhead_bytes or 0, g.grant_bytes) for g in facts)
        assert all(not g.held or (g.overhead_bytes or 0) > g.grant_bytes for g in facts)


def replayed(what: Trace, settings: Settings = SETTINGS) -> Totals:
    """The totals of a watched replay."""
    return Watched(what, settings, HOST, step_s=0.5).run()


def test_the_same_trace_gives_the_same_answer() -> None:
    """A replay is deterministic."""
    assert replayed(trace(a=200, b=30)) == replayed(trace(a=200, b=30))


def test_a_guest_that_bursts_is_served_from_room_and_headroom() -> None:
    """Bursts within what there is are neither held nor refused."""
    totals = replayed(trace(a=250, b=0, c=0))
    assert (totals.admitted, totals.held, totals.walls_hit) == (3, 0, 0)


def test_a_quiet_host_writes_no_limits() -> None:
    """After the starts nothing moves where nobody grows."""
    totals = replayed(trace(a=0, b=0))
    assert (totals.raises, totals.given_back) == (0, 0)


def test_who_is_too_many_is_refused_or_squeezed() -> None:
    """Six needs of 130 MiB don't fit 600 MiB of room: the sixth is refused, or starts with what is left."""
    six = trace(length_s=5, **dict.fromkeys("abcdef", 0))
    refused = replayed(six, replace(SETTINGS, settle_s=120.0))
    assert (refused.admitted, refused.refused) == (4, 2)
    squeezed = replayed(six, replace(SETTINGS, settle_s=120.0, on_short=OnShort.SQUEEZE))
    assert squeezed.admitted == 4 + squeezed.squeezed


def test_bursts_beyond_everything_are_held_and_go_on() -> None:
    """Two that together need more than there is are held, and their traces still come to their ends."""
    samples = merge(
        [
            bursts("a", base_mib=70, burst_mib=420, every_s=100, last_s=20, length_s=100),
            bursts("b", base_mib=70, burst_mib=420, every_s=100, last_s=30, length_s=90),
        ]
    )
    shifted = {n: tuple((at, size if at > 5 else 70 * MIB) for at, size in points) for n, points in samples.items()}
    totals = replayed(Trace(dict.fromkeys(shifted, SHAPE), shifted))
    assert totals.held > 0
    assert totals.held_s > 0
    # With the holds nobody may decide about taken away, the same two run into the wall.
    blind = Replay(
        Trace(dict.fromkeys(shifted, SHAPE), shifted), replace(SETTINGS, guard_bytes=0), HOST, step_s=0.5
    ).run()
    assert blind.walls_hit > 0


@pytest.mark.parametrize("eager", [False, True])
def test_eager_giving_back_flutters(*, eager: bool) -> None:
    """Given back at once what a burst needed is taken again at the next: the defaults move less."""
    what = trace(length_s=900, a=300, b=30, c=30)
    changes = {"giveback_after_s": 5.0, "giveback_keep_bytes": 0, "peak_window_s": 10.0} if eager else {}
    totals = replayed(what, replace(SETTINGS, **changes))  # type: ignore[arg-type]
    assert (totals.regrown > 5) is eager
