"""Settings as decisions see them: plain frozen data with documented defaults.

The TOML file is read and validated by ``guestroom.agent.settings_file``; this module only says what there
is to set, so that the pure packages need no validation library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from guestroom.units import GIB, MIB


class Sharing(StrEnum):
    """How the reserve is shared."""

    RESERVE = "reserve"
    """The reserve less the headroom, divided by weight between floor and cap, again at every start and stop."""
    STATIC = "static"
    """grant = need; nothing moves."""


class OnShort(StrEnum):
    """What happens to a newcomer whose need is more than the room left."""

    SQUEEZE = "squeeze"
    REFUSE = "refuse"
    RECREATE = "recreate"
    WAIT = "wait"


class OnRunaway(StrEnum):
    """What happens to a guest that stays held because there is no room for what it took."""

    HOLD = "hold"
    """It stands still until there is room: nothing is lost but time."""
    STOP = "stop"
    """It is stopped in order, so that its room comes back to the others."""
    WALL = "wall"
    """It goes on, into its own wall if it must: whoever set this prefers a lost guest to one that stands still."""


class Brake(StrEnum):
    """How a guest whose requests in flight take the headroom is slowed down before it would have to be held."""

    THROTTLE = "throttle"
    """Its disks take few requests a second until it has given back: it goes on, slowly."""
    STOP = "stop"
    """Its vCPUs stand still for as long as the requests in flight take, at most about a second."""
    NONE = "none"
    """It is not slowed down, only held when the headroom is gone."""


class Reclaim(StrEnum):
    """What may be taken back from guests before a newcomer is turned away or a growing guest is held."""

    OFF = "off"
    CACHE = "cache"
    """Page cache, and RAM through the balloon of guests whose operator allows it (``balloon_min``)."""
    SWAP = "swap"
    """Those, and QEMU's own memory into the host's swap when the host is short of memory."""


@dataclass(frozen=True, slots=True)
class Percent:
    """A share of the budget, in hundredths of a percent so that it stays exact."""

    hundredths: int

    def of(self, size_bytes: int) -> int:
        """Bytes this share of ``size_bytes`` is, rounded down."""
        return size_bytes * self.hundredths // 10_000


class Rest(StrEnum):
    """The reserve is whatever the budget leaves after promised RAM."""

    REST = "rest"


Reserve = Percent | Rest | int
"""``Percent``, ``Rest.REST`` or bytes."""


@dataclass(frozen=True, slots=True)
class GuestSettings:
    """Overrides for one guest by name. ``None``: not set."""

    weight: int | None = None
    cap_bytes: int | None = None
    overhead_bytes: int | None = None
    """Fixed need (EVE's per-app setting)."""
    recreatable: bool = False
    recreate_need_bytes: int | None = None
    on_short: OnShort | None = None
    on_runaway: OnRunaway | None = None
    swap_bytes: int | None = None
    zswap_bytes: int | None = None
    brake: Brake | None = None
    balloon_min_bytes: int | None = None
    """RAM it keeps at least when its balloon is used; None: its balloon is never touched."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. Defaults are DESIGN's; sizes in bytes, times in seconds."""

    reserve: Reserve = Percent(2500)
    """The seed's 25 % of the budget."""
    system_reserve_bytes: int | None = None
    """Kept for the host itself; None: max(512 MiB, 5 % of host memory)."""
    headroom_bytes: int | None = None
    """None: the largest burst one present guest can make, at least 128 MiB."""
    guard_bytes: int | None = None
    """None: at least 64 MiB (and never more than half the headroom)."""
    sharing: Sharing = Sharing.RESERVE
    policy: str = "eve"
    """Sizing policy that gives the need."""
    coverage: float = 0.95
    """Share of guests that is to stay within a need, where the policy can promise a share."""
    overhead_bytes: int | None = None
    """Host-wide fixed need (EVE's node setting), before any per-guest one."""
    cap_bytes: int | None = None
    """Host-wide cap; None: no cap."""
    on_short: OnShort = OnShort.REFUSE
    settle_s: float = 120.0
    peak_window_s: float = 600.0
    agent_lost_s: float = 30.0
    sweep_s: float = 1.0
    reading_keep_s: float = 10.0
    """Readings are written to the ledger at most this often per guest unless they changed much."""
    recreate_interval_s: float = 3600.0
    start_timeout_s: float = 120.0
    wait_timeout_s: float | None = None
    """How long a newcomer waits for room at most; None: without end."""
    stop_timeout_s: float = 30.0
    reclaim: Reclaim = Reclaim.CACHE
    reclaim_s: float = 5.0
    """The longest that getting memory back may delay a newcomer."""
    alarm_step_bytes: int = 16 * MIB
    """Spacing of the alarm ladder."""
    on_runaway: OnRunaway = OnRunaway.HOLD
    runaway_after_s: float = 120.0
    """How long a guest is held before ``on_runaway`` is asked."""
    brake: Brake = Brake.THROTTLE
    giveback_after_s: float = 60.0
    """How long a guest must have room to spare before each step in which it gives some back."""
    giveback_keep_bytes: int = 32 * MIB
    """What a guest keeps above its floor when it gives room back: a load that swings by less moves no grant."""
    giveback_step: Percent = Percent(2500)
    """The most one step takes, as a share of the grant (but at least 16 MiB)."""
    warn_before_s: float = 600.0
    """Time left to a guest's wall at which a warning is raised."""
    swap_bytes: int | None = None
    """Most of a guest's overhead that may be swapped out; None: the kernel's own, no limit."""
    zswap_bytes: int | None = None
    """Most of that kept compressed in memory; None: no limit."""
    cgroup: str = "guestroom"
    """Name of the parent cgroup, made under the agent's own."""
    socket_group: str | None = None
    guests: Mapping[str, GuestSettings] = field(default_factory=lambda: MappingProxyType({}))

    def guest(self, name: str) -> GuestSettings:
        """Overrides for ``name``; defaults where there are none."""
        return self.guests.get(name, GuestSettings())

    def brake_of(self, name: str) -> Brake:
        """How ``name`` is slowed down: its own setting, else the host's."""
        own = self.guest(name).brake
        return self.brake if own is None else own

    def system_reserve(self, total_bytes: int) -> int:
        """Bytes kept for the host: set, or max(512 MiB, 5 % of host memory) (DESIGN, budget)."""
        if self.system_reserve_bytes is not None:
            return self.system_reserve_bytes
        return max(GIB // 2, total_bytes * 5 // 100)
