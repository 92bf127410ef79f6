"""Raises the alarm may make by itself: within free room, for use that was seen, never by guesswork."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guestroom.decide import Asking, quick
from guestroom.decide.grow import LEAST_STEP_BYTES
from guestroom.units import MIB, PAGE_BYTES

RAM, GRANT, HEADROOM = 256 * MIB, 64 * MIB, 128 * MIB


def asking(use: int | None, *, name: str = "a", cap: int | None = None, grown: int = 0) -> Asking:
    """A guest that uses so much of its 64 MiB."""
    return Asking(name, RAM, use, GRANT, RAM + GRANT + HEADROOM, cap, grown)


def test_raised_to_use_and_a_step() -> None:
    """Who passes its grant gets its use and 16 MiB, and a limit of RAM + grant + headroom."""
    (found,) = quick([asking(70 * MIB)], 100 * MIB, HEADROOM)
    assert (found.grant_from_bytes, found.grant_to_bytes) == (GRANT, 86 * MIB)
    assert (found.from_bytes, found.to_bytes) == (RAM + GRANT + HEADROOM, RAM + 86 * MIB + HEADROOM)
    assert found.floor_bytes <= found.to_bytes


def test_not_raised() -> None:
    """Nobody is raised within its grant, of unknown use, above its cap, or where free room is not enough."""
    assert quick([asking(GRANT - 5 * MIB)], 100 * MIB, HEADROOM) == ()
    assert quick([asking(None)], 100 * MIB, HEADROOM) == ()
    assert quick([asking(70 * MIB, cap=GRANT)], 100 * MIB, HEADROOM) == ()
    assert quick([asking(70 * MIB)], 22 * MIB - 1, HEADROOM) == ()
    assert len(quick([asking(70 * MIB)], 22 * MIB, HEADROOM)) == 1


def test_where_it_is_not_enough_for_all_the_agent_shares() -> None:
    """Two that ask for more than there is get nothing here: who asked first has no advantage (P7)."""
    both = [asking(70 * MIB), asking(70 * MIB, name="b")]
    assert quick(both, 43 * MIB, HEADROOM) == ()
    assert [action.name for action in quick(both, 44 * MIB, HEADROOM)] == ["a", "b"]


def test_a_fast_one_gets_a_larger_step() -> None:
    """What it gained since its last raise is its step, but not more than the headroom."""
    (found,) = quick([asking(70 * MIB, grown=50 * MIB)], 900 * MIB, HEADROOM)
    assert found.grant_to_bytes == 120 * MIB
    (found,) = quick([asking(70 * MIB, grown=800 * MIB)], 900 * MIB, HEADROOM)
    assert found.grant_to_bytes == 70 * MIB + HEADROOM


@given(
    st.lists(
        st.builds(
            asking,
            st.one_of(st.none(), st.integers(0, 400 * MIB)),
            cap=st.one_of(st.none(), st.integers(1, 300 * MIB)),
            grown=st.integers(-(2**40), 2**40),
        ),
        max_size=6,
    ),
    st.integers(0, 600 * MIB),
)
def test_never_more_than_free(askings: list[Asking], free: int) -> None:
    """P1, P2: all raises together stay within free room, no limit falls, none is below RAM and use, caps hold."""
    named = [Asking(f"g{i}", *[getattr(a, f) for f in Asking.__slots__[1:]]) for i, a in enumerate(askings)]
    found = quick(named, free, HEADROOM)
    assert sum(action.grant_to_bytes - action.grant_from_bytes for action in found) <= free
    by_name = {one.name: one for one in named}
    for action in found:
        one = by_name[action.name]
        assert one.overhead_bytes is not None
        assert action.to_bytes >= one.limit_bytes
        assert action.to_bytes >= action.floor_bytes >= RAM
        assert action.to_bytes % PAGE_BYTES == 0
        assert one.cap_bytes is None or action.grant_to_bytes <= one.cap_bytes
        assert action.grant_to_bytes - one.overhead_bytes <= max(LEAST_STEP_BYTES, HEADROOM) + PAGE_BYTES
