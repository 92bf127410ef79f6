"""Growth and giving back keep every promise at every step, take no more than is needed, and come to rest."""

from __future__ import annotations

from typing import Any

import pytest
from decide_growth_world import Loop, growth_histories, growth_settings, play_growth, seated
from decide_world import M
from hypothesis import HealthCheck, Phase, example, find, given, settings
from hypothesis import strategies as st

from guestroom.actions import SetLimit
from guestroom.config import Settings, Sharing
from guestroom.decide import Budget, budget, grow, rules
from guestroom.decide.grow import LEAST_STEP_BYTES, MARGIN_BYTES, worth
from guestroom.facts import GuestFacts, GuestState, HostFacts
from guestroom.units import PAGE_BYTES

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking where one example takes long."""
SOME = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NOW = 1e6


@SOME
@given(chosen=growth_settings, history=growth_histories)
def test_every_prefix_of_growth_keeps_the_promises(chosen: Settings, history: list[tuple[str, str, Any]]) -> None:
    """Whoever grows, is held, goes unseen or takes room meanwhile: no step of raise, cut or undo breaks a promise."""
    assert play_growth(chosen, history).broken == []


def facts(name: str, weight: int, grant: int, use: int, peak: int, cap: int | None = None) -> GuestFacts:
    """A settled guest of 512 MiB; sizes in MiB."""
    return GuestFacts(
        name=name,
        state=GuestState.RUNNING,
        ram_bytes=512 * M,
        ram_charged_bytes=512 * M,
        weight=weight,
        need_bytes=50 * M,
        boot_floor_bytes=0,
        cap_bytes=None if cap is None else cap * M,
        grant_bytes=grant * M,
        admitted_grant_bytes=grant * M,
        limit_bytes=(512 + grant + 128) * M,
        overhead_bytes=use * M,
        overhead_peak_bytes=max(use, peak) * M,
        started_s=0.0,
    )


sets = st.lists(
    st.tuples(st.sampled_from([1, 1, 2, 5]), st.integers(40, 400), st.integers(0, 100), st.integers(0, 100)),
    min_size=1,
    max_size=5,
)


def crowd(rows: list[tuple[int, int, int, int]], over: int, slack: int) -> tuple[list[GuestFacts], Budget, Settings]:
    """A, 100 MiB of grant and ``over`` above it, beside neighbours that use a part of theirs; ``slack`` is free."""
    guests = [facts("A", 1, 100, 100 + over, 0)]
    guests += [facts(f"N{i}", w, g, g * u // 100 - 5, g * p // 100) for i, (w, g, u, p) in enumerate(rows)]
    total = sum(guest.grant_bytes for guest in guests) + 128 * M + slack * M
    chosen = Settings(reserve=total, headroom_bytes=128 * M, system_reserve_bytes=0, settle_s=0.0)
    return guests, budget(HostFacts(64 << 30, None, 0, 0), guests, chosen), chosen


@SOME
@given(rows=sets, over=st.integers(0, 128), slack=st.integers(0, 200))
def test_what_is_free_goes_first_and_nobody_gives_more_than_is_missing(
    rows: list[tuple[int, int, int, int]], over: int, slack: int
) -> None:
    """With room for the wish nobody is cut; without it the cuts are what is missing, to less than one write's worth."""
    guests, total, chosen = crowd(rows, over, slack)
    found = grow(guests, total, chosen, NOW)
    wanted = sum(want.wish_bytes - want.grant_bytes for want in found.wanting)
    cut = sum(give.grant_bytes - give.to_bytes for give in found.giving)
    if wanted <= slack * M:
        assert (cut, sum(want.short_bytes for want in found.wanting)) == (0, 0)
    else:
        got = sum(want.then_bytes - want.grant_bytes for want in found.wanting)
        page_each = PAGE_BYTES * len(guests)
        assert cut <= wanted - slack * M + max((worth(give.grant_bytes) for give in found.giving), default=0)
        assert got <= slack * M + cut
        # What was freed is handed out, but for what is not worth a write.
        lost = sum(worth(want.grant_bytes) for want in found.wanting)
        lost += max((worth(give.grant_bytes) for give in found.giving), default=0)
        if cut:
            assert got >= min(wanted, slack * M + cut) - lost - page_each


@SOME
@given(rows=sets, over=st.integers(0, 128), slack=st.integers(0, 50))
@example(rows=[(1, 81, 0, 0), (1, 196, 0, 80), (5, 399, 0, 0)], over=27, slack=0)
def test_who_has_more_by_weight_gives_first(rows: list[tuple[int, int, int, int]], over: int, slack: int) -> None:
    """Nobody gives while a neighbour keeps more by weight above its use and a step (one write of either aside).

    A cut is made as deep as is worth a write, and what that frees beyond its share the neighbour need not give.
    """
    guests, total, chosen = crowd(rows, over, slack)
    found = grow(guests, total, chosen, NOW)
    last = {guest.name: guest.grant_bytes for guest in guests} | {give.name: give.to_bytes for give in found.giving}
    growing = {want.name for want in found.wanting}
    by_name = {guest.name: guest for guest in guests}
    for give in found.giving:
        giver = by_name[give.name]
        for other in guests:
            kept = last[other.name] - max(worth(other.grant_bytes), worth(give.grant_bytes))
            assert other.overhead_bytes is not None
            assert other.overhead_peak_bytes is not None
            protected = max(other.overhead_bytes + LEAST_STEP_BYTES, other.overhead_peak_bytes)
            if other.name in growing or other is giver or kept <= protected:
                continue
            given = give.to_bytes + worth(give.grant_bytes) + PAGE_BYTES
            assert kept * giver.weight <= given * other.weight


@SOME
@given(rows=sets, over=st.integers(0, 128), slack=st.integers(0, 200), data=st.randoms(use_true_random=False))
def test_the_order_of_the_guests_changes_nothing(
    rows: list[tuple[int, int, int, int]], over: int, slack: int, data: Any
) -> None:
    """P7: same facts, same grants, in any order."""
    guests, total, chosen = crowd(rows, over, slack)
    turned = guests[:]
    data.shuffle(turned)

    def grants(found: Any) -> dict[str, int]:
        return {a.name: a.grant_to_bytes for a in (*found.now, *found.then) if isinstance(a, SetLimit)}

    assert grants(grow(guests, total, chosen, NOW)) == grants(grow(turned, total, chosen, NOW))


rows_of_loads = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 3]),
        st.integers(0, 300),
        st.integers(0, 14),
        st.sampled_from([20.0, 70.0, 300.0, 900.0]),
        st.integers(60, 500),
    ),
    min_size=2,
    max_size=4,
)
"""Weight, base, half the swing in MiB, half the period in seconds, first grant."""


def at_rest(rows: list[tuple[int, int, int, float, int]], sharing: Sharing, reserve_bytes: int) -> list[float]:
    """When grants still change after an hour of loads that swing by less than a guest keeps above its floor."""
    chosen = Settings(
        reserve=reserve_bytes,
        headroom_bytes=128 * M,
        system_reserve_bytes=0,
        settle_s=0.0,
        peak_window_s=60.0,
        giveback_after_s=30.0,
        sharing=sharing,
    )
    assert chosen.giveback_keep_bytes - MARGIN_BYTES >= 28 * M
    guests = {f"G{i}": facts(f"G{i}", w, grant, 0, 0) for i, (w, _, _, _, grant) in enumerate(rows)}
    world = seated(chosen, guests)
    loads = {
        f"G{i}": lambda now, base=base, half=half, period=period: (
            (base + (2 * half if now % (2 * period) < period else 0)) * M
        )
        for i, (_, base, half, period, _) in enumerate(rows)
    }
    loop = Loop(world)
    loop.run(loads, 5400.0)
    assert world.broken == []
    return [at_s for at_s in loop.changes if at_s > 3600.0]


sharings = st.sampled_from([Sharing.RESERVE, Sharing.STATIC])
LOOPS = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=QUICK)


@LOOPS
@given(rows=rows_of_loads, sharing=sharings, spare=st.integers(0, 800))
def test_a_load_that_swings_a_little_moves_no_grant_for_long(
    rows: list[tuple[int, int, int, float, int]], sharing: Sharing, spare: int
) -> None:
    """Where everybody's peak and what it keeps above fit, grants settle within an hour and never change again."""
    keeps = sum(base + 2 * half + 32 for _, base, half, _, _ in rows)
    assert at_rest(rows, sharing, (keeps + 128 + spare) * M) == []


@LOOPS
@given(rows=rows_of_loads, sharing=sharings, reserve=st.integers(200, 1400))
def test_a_constant_load_moves_no_grant_for_long(
    rows: list[tuple[int, int, int, float, int]], sharing: Sharing, reserve: int
) -> None:
    """However tight it is, also where not even the uses fit: loads that stand still end all changes."""
    still = [(weight, base, 0, 70.0, grant) for weight, base, _, _, grant in rows]
    assert at_rest(still, sharing, reserve * M) == []


def test_without_what_it_keeps_a_small_swing_moves_grants_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given back down to the floor of the quiet hour, the room has to be asked for again in the next."""
    rows = [(1, 250, 10, 300.0, 100), (1, 60, 0, 70.0, 400)]
    assert at_rest(rows, Sharing.RESERVE, 600 * M) == []
    monkeypatch.setattr(rules, "keeps", lambda floor, keep: floor)
    assert len(at_rest(rows, Sharing.RESERVE, 600 * M)) > 4


SEARCH = settings(
    max_examples=1500,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_histories_come_to_every_kind_of_answer() -> None:
    """The search looks where it matters: raises at once, cuts, both in one answer, room that stays lent, room back."""
    for kind in ("now", "cuts", "both", "lent", "given back", "handed on"):
        find(
            st.tuples(growth_settings, growth_histories),
            lambda case, kind=kind: play_growth(*case).served[kind] > 0,
            settings=SEARCH,
        )


@pytest.mark.parametrize(
    ("promise", "rule", "without"),
    [
        ("P1: grants + headroom", "free_now", lambda room, granted: room),
        ("P1: grants + headroom", "room_for_grants", lambda reserve, headroom: reserve),
        ("P1: ", "may_be_raised", lambda overcommitted: True),
        ("P2: the grant", "kept", lambda floor, grant, held: grant if floor is None or held else 0),
        ("P3", "in_order", lambda action: 0),
        ("P6: ", "may_grow", lambda overhead, grant, margin: True),
        ("P6", "kept", lambda floor, grant, held: floor or 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "off",
)
def test_growth_without_a_rule_breaks_its_promise(
    promise: str, rule: str, without: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control: with one rule of ``decide.rules`` taken away the checkers see that very promise broken."""
    monkeypatch.setattr(rules, rule, without)

    def broken(case: tuple[Any, Any]) -> bool:
        return any(line.startswith(promise) for line in play_growth(*case).broken)

    find(st.tuples(growth_settings, growth_histories), broken, settings=SEARCH)
