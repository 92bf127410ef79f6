"""Settings as decisions see them: documented defaults and plain arithmetic."""

from types import MappingProxyType

from guestroom.config import GuestSettings, OnShort, Percent, Settings, Sharing
from guestroom.units import GIB, MIB


def test_a_percentage_is_exact_and_rounds_down() -> None:
    """Hundredths of a percent of any size, in integers: 25 % of 101 bytes are 25."""
    assert Percent(2500).of(101) == 25
    assert Percent(1).of(10_000) == 1
    assert Percent(1).of(9_999) == 0
    assert Percent(10_000).of(2**53 - 1) == 2**53 - 1
    assert Percent(3333).of(10**18) == 333_300_000_000_000_000


def test_defaults_are_the_designs() -> None:
    """What happens when nobody sets anything: a quarter of the budget, shared, refused when short, sized by eve."""
    settings = Settings()
    assert settings.reserve == Percent(2500)
    assert (settings.sharing, settings.on_short, settings.policy) == (Sharing.RESERVE, OnShort.REFUSE, "eve")
    assert (settings.settle_s, settings.peak_window_s, settings.agent_lost_s) == (120, 600, 30)
    assert (settings.headroom_bytes, settings.guard_bytes, settings.overhead_bytes, settings.cap_bytes) == (None,) * 4


def test_the_hosts_own_share_is_512_mib_or_5_percent() -> None:
    """The larger of both, unless set; 0 is a setting."""
    assert Settings().system_reserve(GIB) == 512 * MIB
    assert Settings().system_reserve(100 * GIB) == 5 * GIB
    assert Settings(system_reserve_bytes=0).system_reserve(100 * GIB) == 0
    assert Settings(system_reserve_bytes=7).system_reserve(GIB) == 7


def test_a_guest_nobody_mentions_has_no_overrides() -> None:
    """Its settings are all "not set"; one that is mentioned has its own."""
    own = GuestSettings(weight=3, recreatable=True)
    settings = Settings(guests=MappingProxyType({"web": own}))
    assert settings.guest("web") is own
    assert settings.guest("other") == GuestSettings()
    assert GuestSettings().weight is None
    assert GuestSettings().overhead_bytes is None
