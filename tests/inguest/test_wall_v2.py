"""One headroom behind all guests, kept by the kernel: their walls overlap, the host wall keeps the sum."""

from __future__ import annotations

import time

from tests.inguest.v2_cgroups import KILLED, MIB, Lab, ended_by, until

from guestroom.actions import Hold, LetGo, MakeGuest, SetWall

GRANT, HEADROOM = 100 * MIB, 300 * MIB


def make_two(lab: Lab) -> None:
    """Guests a and b of 100 MiB grant each, walls at grant + headroom, under a wall of both grants + one headroom."""
    for name in ("a", "b"):
        assert lab.applier.carry_out(MakeGuest(name, GRANT + HEADROOM, GRANT, "test")).ok
    assert lab.applier.carry_out(SetWall(1 << 30, 2 * GRANT + HEADROOM, "test")).ok


def test_burst_is_served_at_once_and_the_neighbour_keeps_its_grant(lab: Lab) -> None:
    """A takes 280 MiB over its grant with no agent involved; B then gets every byte of its own grant."""
    make_two(lab)
    a, b = lab.helper("a"), lab.helper("b")
    began_s = time.monotonic()
    a.do(f"grow {370 * MIB} {MIB}")
    print(f"\na took 370 MiB in {time.monotonic() - began_s:.2f} s")
    b.do(f"grow {85 * MIB} {MIB}")
    assert lab.number("b", "memory.current") > 85 * MIB
    assert lab.kills("") == 0


def test_held_in_time_nobody_is_lost(lab: Lab) -> None:
    """With A in the headroom, B over its grant too is held before the host wall and goes on when the wall is raised."""
    make_two(lab)
    a, b = lab.helper("a"), lab.helper("b")
    a.do(f"grow {370 * MIB} {MIB}")
    b.tell(f"grow {200 * MIB} {MIB // 4}")
    assert until(lambda: lab.number("b", "memory.current") > GRANT)
    assert lab.applier.carry_out(Hold("b", 1, 2, 3, "test")).ok
    assert lab.number("", "memory.current") < 2 * GRANT + HEADROOM, "it was too late: the test proves nothing"
    time.sleep(0.3)
    assert lab.kills("") == 0
    assert lab.applier.carry_out(SetWall(2 * GRANT + HEADROOM, 2 * GRANT + 2 * HEADROOM, "test")).ok
    assert lab.applier.carry_out(LetGo("b", "test")).ok
    b.hear()
    a.do(f"grow {MIB} {MIB}")
    assert lab.kills("") == 0


def test_not_held_somebody_is_lost(lab: Lab) -> None:
    """Control run: nobody holds B, and at the host wall the kernel takes a whole guest."""
    make_two(lab)
    a, b = lab.helper("a"), lab.helper("b")
    a.do(f"grow {370 * MIB} {MIB}")
    b.tell(f"grow {200 * MIB} {MIB}")
    assert until(lambda: KILLED in (ended_by(a), ended_by(b)), 20)
