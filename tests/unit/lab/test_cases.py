"""Cases: needs as the agent works them out, and an oracle that knows the peaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.config import GuestSettings, Rest, Settings, Sharing
from guestroom.errors import InputError
from guestroom.facts import HostFacts
from guestroom.guest import Guest
from guestroom.lab.cases import RECORDED, Case, oracle, play, sized_by
from guestroom.lab.replay import PIECE_BYTES, Replay
from guestroom.lab.traces import Shape, Trace
from guestroom.units import GIB, MIB

SHAPE = Shape(256 * MIB, 130 * MIB, 128 * MIB)
SETTINGS = Settings(reserve=Rest.REST, system_reserve_bytes=0, headroom_bytes=0, sharing=Sharing.STATIC)
HOST = HostFacts(4 * GIB, None, 0, 0)


def flat(count: int, size_mib: int, length_s: float = 100.0) -> Trace:
    """Guests that start one second apart and use the same all the time."""
    samples = {f"g{n:02d}": ((float(n), size_mib * MIB), (length_s + n, size_mib * MIB)) for n in range(count)}
    return Trace(dict.fromkeys(samples, SHAPE), samples)


def test_the_oracle_gives_each_its_peak_and_no_more() -> None:
    """256 MiB of RAM and a peak of 144 MiB fit 4 GiB ten times."""
    assert oracle(flat(16, 144), SETTINGS, HOST) == 10


def test_the_oracle_has_the_same_reserve() -> None:
    """Where the reserve is a fixed size the peaks must fit it, whatever RAM is left."""
    assert oracle(flat(16, 144), replace(SETTINGS, reserve=3 * 144 * MIB), HOST) == 3


def test_the_oracle_gives_room_again_that_came_back() -> None:
    """Who ended makes room for who comes after."""
    samples = {f"g{n}": ((n * 10.0, 144 * MIB), (n * 10.0 + 5, 144 * MIB)) for n in range(20)}
    assert oracle(Trace(dict.fromkeys(samples, SHAPE), samples), SETTINGS, HOST) == 20


def test_a_fixed_need_admits_what_fits_and_the_ratio_says_how_much_that_is() -> None:
    """600 MiB each beside 256 of RAM: four fit 4 GiB, where the oracle has ten; what lies idle is the rest."""
    result = play(Case("fixed", SETTINGS), flat(16, 144), HOST, step_s=1.0)
    assert (result.totals.admitted, result.oracle, result.oracle_ratio) == (4, 10, 0.4)
    assert result.totals.idle_mean_bytes == (600 - 144) * MIB
    assert result.totals.walls_hit == 0


def test_the_recorded_need_is_taken_as_it_is() -> None:
    """Nobody's formula is asked."""
    assert sized_by(Case(RECORDED, SETTINGS), "a", SHAPE).need_bytes == 130 * MIB


def test_settings_come_before_a_policy_as_in_the_agent() -> None:
    """A guest's own overhead and cap hold by the name it had, however often it ran."""
    settings = replace(
        SETTINGS, guests={"web": GuestSettings(overhead_bytes=77 * MIB), "db": GuestSettings(cap_bytes=100 * MIB)}
    )
    case = Case("fixed", settings)
    web = sized_by(case, "web#2", replace(SHAPE, own_name="web"))
    assert (web.need_bytes, web.fixed_overhead, web.boot_floor_bytes) == (77 * MIB, True, 77 * MIB)
    assert sized_by(case, "db", SHAPE).need_bytes == 100 * MIB


def test_the_description_is_what_a_policy_sizes() -> None:
    """vCPUs that are known count."""
    few, many = (replace(SHAPE, guest=Guest(ram_bytes=256 * MIB, vcpus=n)) for n in (1, 16))
    case = Case("ovirt", SETTINGS)
    assert sized_by(case, "a", many).need_bytes - sized_by(case, "a", few).need_bytes == 15 * 8 * MIB


def test_a_need_nobody_knows_is_wrong_input() -> None:
    """A made-up guest has no recorded need."""
    with pytest.raises(InputError, match="not known"):
        sized_by(Case(RECORDED, SETTINGS), "a", replace(SHAPE, need_bytes=0))


def test_a_jump_is_taken_in_pieces_so_that_the_guard_can_hold_it() -> None:
    """A burst beyond the headroom that comes at once meets the wall; in pieces it is held before it."""
    samples = {"a": ((0.0, 70 * MIB), (10.0, 900 * MIB), (20.0, 70 * MIB), (30.0, 70 * MIB))}
    trace = Trace({"a": SHAPE}, samples)
    settings = Settings(reserve=400 * MIB, headroom_bytes=200 * MIB, guard_bytes=64 * MIB, settle_s=0.0)
    at_once = Replay(trace, settings, HOST).run()
    pieces = Replay(trace, settings, HOST, piece_bytes=PIECE_BYTES).run()
    assert (at_once.walls_hit, at_once.held) == (1, 1)
    assert (pieces.walls_hit, pieces.held) == (0, 1)


def test_a_guest_with_a_cap_is_held_before_it() -> None:
    """Its own wall comes before the end of the headroom, and it stands still a guard before that."""
    samples = {"a": ((0.0, 70 * MIB), (10.0, 290 * MIB), (20.0, 290 * MIB))}
    settings = Settings(reserve=GIB, headroom_bytes=400 * MIB, settle_s=0.0, cap_bytes=300 * MIB, policy="ovirt")
    totals = Replay(Trace({"a": SHAPE}, samples), settings, HOST, piece_bytes=4 * MIB).run()
    assert (totals.held, totals.walls_hit) == (1, 0)


def test_every_figure_has_its_name() -> None:
    """The row says sizes in bytes and times in seconds."""
    row = play(Case("eve", SETTINGS), flat(2, 100), HOST, step_s=1.0).row()
    assert row["policy"] == "eve"
    assert row["reserve"] == "rest"
    assert row["sharing"] == "static"
    assert (row["guests"], row["admitted"], row["oracle_admitted"]) == (2, 2, 2)


def test_learned_is_sized_at_each_start_by_the_guests_before() -> None:
    """The first is promised too little; after its end the second of its kind is promised what it needs."""
    samples = {f"g{n}": ((n * 200.0, 70 * MIB), (n * 200.0 + 20, 400 * MIB), (n * 200.0 + 100, 0)) for n in range(2)}
    settings = Settings(reserve=Rest.REST, system_reserve_bytes=0, sharing=Sharing.STATIC, settle_s=0.0)
    trace = Trace(dict.fromkeys(samples, SHAPE), samples)
    learned, measured = (play(Case(name, settings), trace, HOST, step_s=1.0).totals for name in ("learned", "measured"))
    assert measured.raises > learned.raises >= 1


def test_guests_that_grow_at_once_share_what_memory_can_take() -> None:
    """Twelve that jump in the same second are held before the wall as one is: they can't all be the fastest at once."""
    samples = {f"g{n:02d}": ((0.0, 70 * MIB), (10.0, 300 * MIB), (20.0, 300 * MIB)) for n in range(12)}
    settings = Settings(reserve=12 * 130 * MIB + 200 * MIB, headroom_bytes=200 * MIB, sharing=Sharing.STATIC)
    trace, host = Trace(dict.fromkeys(samples, SHAPE), samples), HostFacts(8 * GIB, None, 0, 0)
    totals = Replay(trace, settings, host, piece_bytes=PIECE_BYTES).run()
    assert (totals.admitted, totals.walls_hit) == (12, 0)
    assert totals.held > 0
