"""Limits that somebody else wrote: what is put right, and how soon again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.decide.samples import M, guest, settings

from guestroom.decide.foreign import AGAIN_S, QUIET_S, Patience, is_pressing, put_right
from guestroom.units import UNLIMITED, Limit

MEANT = 912 * M
"""RAM of 512 MiB and a grant of 400."""


@pytest.mark.parametrize("found", [UNLIMITED, 2000 * M, 700 * M, 530 * M])
def test_back_to_what_was_meant(found: Limit) -> None:
    """A limit raised, lowered or taken away goes back to the one that was meant; the grant stays."""
    step = put_right(guest(limit_bytes=found), MEANT, settings(), 0.0)
    assert step is not None
    assert (step.from_bytes, step.to_bytes) == (found, MEANT)
    assert step.grant_from_bytes == step.grant_to_bytes == 400 * M
    assert "somebody else" in step.reason


@pytest.mark.parametrize("found", [MEANT, None])
def test_nothing_to_do(found: Limit | None) -> None:
    """The limit that was meant, or one that can't be read, is left as it is."""
    assert put_right(guest(limit_bytes=found), MEANT, settings(), 0.0) is None


@pytest.mark.parametrize("found", [UNLIMITED, 2000 * M])
@pytest.mark.parametrize("changes", [{"overhead_bytes": None}, {"held": True}])
def test_who_may_not_be_shrunk_is_not(found: Limit, changes: dict[str, object]) -> None:
    """Unknown use or a hold keeps even a limit that is too high (P6); a lowered one is raised all the same."""
    assert put_right(guest(limit_bytes=found, **changes), MEANT, settings(), 0.0) is None
    assert put_right(guest(limit_bytes=600 * M, **changes), MEANT, settings(), 0.0) is not None


@given(
    use=st.integers(0, 2000),
    found=st.one_of(st.just(UNLIMITED), st.integers(1, 3000).map(lambda size: size * M)),
    known=st.booleans(),
    held=st.booleans(),
)
def test_never_below_the_floor(use: int, found: Limit, known: bool, held: bool) -> None:
    """Whatever was found, what is written is at least RAM + floor (P2), and a shrink only where P6 lets it."""
    one = guest(limit_bytes=found, use_bytes=use * M, held=held, **({} if known else {"overhead_bytes": None}))
    step = put_right(one, MEANT, settings(), 0.0)
    if step is None:
        return
    assert step.to_bytes >= step.floor_bytes
    assert step.to_bytes >= MEANT
    if known:
        assert step.to_bytes >= 512 * M + use * M
    if step.is_shrink:
        assert known
        assert not held
        assert not isinstance(found, int) or step.to_bytes < found


def test_patience_grows_and_is_forgotten() -> None:
    """The first time at once, then after 10, 60 and 600 s; after an hour of peace, or another guest, at once again."""
    patience, now_s, waits = Patience(), 0.0, []
    for _ in range(5):
        waits.append(patience.wait_s("a", now_s))
        now_s += waits[-1]
        patience.put_right("a", now_s)
    assert waits == [0.0, *AGAIN_S, AGAIN_S[-1]]
    assert patience.wait_s("b", now_s) == 0.0
    assert patience.wait_s("a", now_s + QUIET_S) == 0.0
    assert patience.put_right("a", now_s + QUIET_S) == 1
    patience.forget("a")
    assert patience.wait_s("a", now_s + QUIET_S) == 0.0


def test_who_is_near_its_limit_is_pressing() -> None:
    """Within 64 MiB of the limit it has, or with unknown use, no guest is made to wait; far from it it is."""
    assert is_pressing(guest(limit_bytes=512 * M + 163 * M))
    assert not is_pressing(guest(limit_bytes=512 * M + 165 * M))
    assert is_pressing(guest(limit_bytes=900 * M, overhead_bytes=None))
    assert not is_pressing(guest(limit_bytes=UNLIMITED))
