"""Who is slowed down before the headroom is gone, so that nobody has to be held (promise P5).

What takes hundreds of MiB within moments is disk requests in flight, each with a buffer of a cluster. A guest that is
frozen keeps them all; one whose disks take few new requests, or whose vCPUs stand still, finishes them and gives
their memory back. But it needs more before it needs less: QEMU has taken requests from the guest's queues whose
buffers are still to be filled (57 to 227 MiB more after a ``stop``, up to 217 after throttling, measured on QEMU 7.2,
TCG, 256 writes in flight into 2 MiB clusters). So a brake is put on only while all that fits above the guard. The alarm
path knows nothing of it: at the guard it freezes, braked or not.

Finished requests leave their memory on QEMU's heap, which keeps it for itself (100 to 350 MiB, measured). It can be
asked to give it to the kernel (``trim``), which costs its guest nothing; therefore that is asked first and most.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from guestroom.config import Brake
from guestroom.units import MIB, format_bytes

DRAIN_S = 0.6
"""By then the requests that were in flight are finished (400 to 600 ms under load, measured)."""
LEAST_S = 1.0
"""A throttled guest stays so for at least this long, each time within a minute twice as long, up to 32 times."""
STOP_S = 1.0
"""The longest a guest is stopped, whatever it gave back: its user notices."""
REST_S = 2.0
"""After a stop a guest runs for at least this long."""
THROTTLE_IOPS = 64
"""Requests a second a throttled disk takes: at 8, 32 and 128 the memory in flight fell alike (measured), and a full
queue of 256 is through in 4 s, before any guest's driver loses patience (30 s for SCSI, NVMe and AHCI in Linux)."""
EASE_FACTOR = 4
EASED_IOPS = THROTTLE_IOPS * EASE_FACTOR**3
"""Limits are lifted in steps: lifted at once, all waiting requests come at once."""
EASE_S = 0.5
"""How long each step lasts: by then it is seen what it made the guest take."""
TRIM_S = 2.0
TRIM_LONGEST_S = 60.0
WORTH_BYTES = 16 * MIB
"""Giving back less is not worth asking again soon."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One guest as the brake sees it. Sizes in bytes of overhead, times in seconds."""

    name: str
    weight: int
    grant_bytes: int
    overhead_bytes: int | None
    idle_bytes: int | None
    """Its overhead with nothing in flight: the lowest seen lately; None where not seen."""
    burst_bytes: int
    """The most its requests in flight can take (``describe.burst``); 0: it has nothing that drains."""
    choice: Brake
    held: bool = False
    runs: bool = True
    """Its vCPUs are its own business: running, no migration, its monitor known."""
    throttles: bool = True
    """It has a disk whose own limits are not as low already."""
    braked: Brake | None = None
    iops: int = 0
    """Where it is throttled: how far."""
    braked_for_s: float = 0.0
    eased_ago_s: float | None = None
    """Since the last step of lifting a throttle; None: there was none yet."""
    rested_s: float | None = None
    """Since the last brake was off; None: it never was braked."""
    lately: int = 0
    """How often it was braked within the last minute."""
    rising_bytes: int = 0
    """What it gained within the last half second."""
    trimmed_ago_s: float | None = None
    in_vain: int = 0
    """How often in a row trimming gave nothing."""

    @property
    def over_bytes(self) -> int:
        """What it has borrowed from the headroom; 0 where unknown."""
        return max(0, (self.overhead_bytes or 0) - self.grant_bytes)

    @property
    def drain_bytes(self) -> int:
        """What its requests may still take until they are finished: its burst less what they have already.

        Where its idle use is not known, only what is above its grant counts as theirs.
        """
        idle = self.grant_bytes if self.idle_bytes is None else self.idle_bytes
        return max(0, self.burst_bytes - max(0, (self.overhead_bytes or 0) - idle))


@dataclass(frozen=True, slots=True)
class BrakeOn:
    """Slow a guest down."""

    name: str
    kind: Brake
    over_bytes: int
    drain_bytes: int
    headroom_left_bytes: int
    guard_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ease:
    """Let a throttled guest's disks take more requests."""

    name: str
    iops: int


@dataclass(frozen=True, slots=True)
class BrakeOff:
    """Let a guest go on as it was."""

    name: str
    reason: str


Braking = BrakeOn | Ease | BrakeOff


def brake_line(headroom_bytes: int, guard_bytes: int) -> int:
    """Headroom left at which somebody is looked for to be slowed down: half of what is above the guard.

    A burst that leaves half of it is what the headroom is for.
    """
    return guard_bytes + max(0, headroom_bytes - guard_bytes) // 2


def may_be_braked(flow: Flow) -> bool:
    """Only a guest known to be above its grant, which has requests that drain, and not while it is held."""
    rested = flow.rested_s is None or flow.choice is not Brake.STOP or flow.rested_s >= REST_S
    able = flow.runs and not flow.held and flow.braked is None and rested
    able = able and (flow.choice is Brake.STOP or (flow.choice is Brake.THROTTLE and flow.throttles))
    return able and flow.over_bytes > 0 and flow.burst_bytes > 0


def brake(flows: Iterable[Flow], left_bytes: int, headroom_bytes: int, guard_bytes: int) -> tuple[Braking, ...]:
    """Whom to slow down and whom to let go now; ``left_bytes`` is the headroom less everything borrowed from it.

    Furthest above their grants by weight first, each only if what it and all that drain already may still take
    leaves the guard. Guests already in the right state get no action.
    """
    present = sorted(flows, key=lambda flow: (-(flow.over_bytes << 64) // flow.weight, flow.name))
    line = brake_line(headroom_bytes, guard_bytes)
    room = left_bytes - guard_bytes - sum(flow.drain_bytes for flow in present if _drains(flow))
    found: list[Braking] = [step for flow in present if (step := _loosen(flow, left_bytes, line)) is not None]
    if left_bytes > line:
        return tuple(found)
    for flow in present:
        if may_be_braked(flow) and flow.drain_bytes <= room:
            room -= flow.drain_bytes
            found.append(_on(flow, left_bytes, guard_bytes))
    return tuple(found)


def trim(flows: Iterable[Flow]) -> tuple[str, ...]:
    """Whose heap to ask for what it keeps: guests above their grants that do not rise, again while it helps."""
    return tuple(flow.name for flow in flows if _trim_due(flow))


def _trim_due(flow: Flow) -> bool:
    if not flow.runs and flow.braked is None:
        return False
    if flow.held or flow.choice is Brake.NONE or not flow.burst_bytes or not flow.over_bytes:
        return False
    drained = flow.braked_for_s >= DRAIN_S if flow.braked is not None else flow.rising_bytes < MIB
    if flow.braked is Brake.STOP:
        drained = True
    wait_s = min(TRIM_LONGEST_S, TRIM_S * 2 ** min(flow.in_vain, 8))
    if flow.braked is not None:
        wait_s = min(wait_s, DRAIN_S)
    return drained and (flow.trimmed_ago_s is None or flow.trimmed_ago_s >= wait_s)


def _drains(flow: Flow) -> bool:
    return flow.braked is not None and flow.braked_for_s < DRAIN_S


def _on(flow: Flow, left_bytes: int, guard_bytes: int) -> BrakeOn:
    """The action, with its numbers."""
    return BrakeOn(
        flow.name,
        flow.choice,
        flow.over_bytes,
        flow.drain_bytes,
        left_bytes,
        guard_bytes,
        f"it is {format_bytes(flow.over_bytes)} above its grant, {format_bytes(left_bytes)} of headroom is left, and "
        f"its requests in flight may take {format_bytes(flow.drain_bytes)} more before they give back",
    )


def _loosen(flow: Flow, left_bytes: int, line: int) -> Ease | BrakeOff | None:
    """The next step of a braked guest towards going on as it was, if one is due."""
    if flow.braked is None or flow.held:
        return None
    if flow.choice is Brake.NONE:
        return BrakeOff(flow.name, "its brake is switched off")
    if flow.braked is Brake.STOP:
        if flow.braked_for_s >= STOP_S:
            return BrakeOff(flow.name, f"it stood still for {flow.braked_for_s:.1f} s, which is long enough")
        if flow.overhead_bytes is not None and not flow.over_bytes:
            return BrakeOff(flow.name, "it is back within its grant")
        return None
    due = flow.braked_for_s >= LEAST_S * 2 ** min(max(0, flow.lately - 1), 5)
    rested = flow.eased_ago_s is None or flow.eased_ago_s >= EASE_S
    within = flow.overhead_bytes is not None and not flow.over_bytes
    if not (due and rested and (within or left_bytes > line)):
        return None
    if flow.iops < EASED_IOPS:
        return Ease(flow.name, max(1, flow.iops) * EASE_FACTOR)
    return BrakeOff(flow.name, "it is back within its grant" if within else "there is headroom again")
