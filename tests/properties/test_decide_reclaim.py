"""Nobody is asked for what is not allowed: every rule of reclaim, over any guests and any shortage."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.config import Reclaim, Rest, Settings
from guestroom.decide.reclaim import LEAST_BYTES, Ask, Means, Short, Source, reclaim
from guestroom.units import MIB

PAGE = 4096
amounts = st.none() | st.integers(0, 2048 * MIB)
sources_lists = st.lists(
    st.builds(
        Source,
        name=st.just(""),
        weight=st.integers(1, 1 << 33),
        cache_bytes=amounts,
        swappable_bytes=amounts,
        ram_bytes=st.integers(0, 4096 * MIB // PAGE).map(lambda pages: pages * PAGE),
        balloon_min_bytes=amounts,
        active=st.booleans(),
    ),
    max_size=6,
).map(lambda found: [replace(one, name=f"g{i}") for i, one in enumerate(found)])
shorts = st.sampled_from(Short)
chosen = st.builds(Settings, reserve=st.sampled_from([Rest.REST, 512 * MIB]), reclaim=st.sampled_from(Reclaim))
MANY = settings(max_examples=200, deadline=None)


def asks_of(short: Short, size: int, sources: list[Source], options: Settings, swap: int | None) -> tuple[Ask, ...]:
    """The answer on v1."""
    return reclaim(short, size, sources, options, cache_in_use=True, swap_free_bytes=swap)


@MANY
@given(short=shorts, size=st.integers(0, 8192 * MIB), sources=sources_lists, options=chosen, swap=amounts)
def test_nobody_is_asked_for_more_than_it_has_or_below_what_is_allowed(
    short: Short, size: int, sources: list[Source], options: Settings, swap: int | None
) -> None:
    """RAM never below the operator's word, cache and swap never more than there is, nobody held, nobody twice."""
    by_name = {one.name: one for one in sources}
    asks = asks_of(short, size, sources, options, swap)
    assert len({(ask.means, ask.name) for ask in asks}) == len(asks)
    for ask in asks:
        one = by_name[ask.name]
        assert one.active
        assert ask.want_bytes > 0
        match ask.means:
            case Means.BALLOON:
                assert one.balloon_min_bytes is not None
                assert one.ram_bytes - ask.want_bytes >= one.balloon_min_bytes
            case Means.CACHE:
                assert one.cache_bytes is not None
                assert ask.want_bytes <= one.cache_bytes
            case Means.SWAP:
                assert options.reclaim is Reclaim.SWAP
                assert one.swappable_bytes is not None
                assert ask.want_bytes <= one.swappable_bytes
    assert sum(ask.want_bytes for ask in asks if ask.means is Means.SWAP) <= (swap or 0)
    if options.reclaim is Reclaim.OFF:
        assert asks == ()


@MANY
@given(short=shorts, size=st.integers(1, 8192 * MIB), sources=sources_lists, options=chosen, swap=amounts)
def test_the_order_of_the_guests_changes_nothing(
    short: Short, size: int, sources: list[Source], options: Settings, swap: int | None
) -> None:
    """Same guests, same answer, in any order (P7)."""
    first = asks_of(short, size, sources, options, swap)
    for other in itertools.islice(itertools.permutations(sources), 6):
        assert asks_of(short, size, list(other), options, swap) == first


@MANY
@given(size=st.integers(1, 8192 * MIB), sources=sources_lists)
def test_ram_that_is_asked_for_is_enough_where_there_is_enough_and_not_much_more(
    size: int, sources: list[Source]
) -> None:
    """The sum covers the shortage and the error of counting, no more; where less may be lent, it is all of that."""
    asks = asks_of(Short.RAM, size, sources, Settings(), None)
    asked = sum(ask.want_bytes for ask in asks)
    most = sum(
        one.ram_bytes - least
        for one in sources
        if one.active
        and one.balloon_min_bytes is not None
        and one.ram_bytes - (least := -(-one.balloon_min_bytes // PAGE) * PAGE) >= LEAST_BYTES
    )
    # Rounding down what each keeps gives at most a page a guest more.
    assert min(most, size) <= asked <= min(most, size + LEAST_BYTES + (len(sources) + 1) * PAGE)
