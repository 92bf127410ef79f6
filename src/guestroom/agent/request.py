"""What ``guestroom run`` asks for, turned into a newcomer by the agent's own reading of it.

The client sends the argv and the text of its readconfig files, never a ready-made Guest, so it can't lie
about its size; the agent opens no path of the client's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from guestroom import size
from guestroom.agent.sizer import Sizer
from guestroom.config import OnShort, Settings
from guestroom.describe import PreparedArgv, burst_bytes, burst_reason, prepare
from guestroom.errors import DescribeError, UsageError
from guestroom.facts import Newcomer
from guestroom.guest import Guest, check_name
from guestroom.lives import Promised
from guestroom.units import format_bytes


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A start as asked for. ``peer_pid`` and ``peer_uid`` are the kernel's word for who asks, not the client's."""

    name: str
    argv: tuple[str, ...]
    readconfig: Mapping[str, str]
    child_pid: int
    helper_pids: tuple[int, ...]
    peer_pid: int
    peer_uid: int
    on_short: OnShort | None = None
    timeout_s: float | None = None
    """How long it waits for room at most; None: as the settings say."""
    waited_s: float = 0.0
    """How long it has waited already, with an agent that was lost."""


@dataclass(frozen=True, slots=True)
class Understood:
    """A request as understood: the guest, what QEMU will be started with, and its claim on the room."""

    guest: Guest
    prepared: PreparedArgv
    newcomer: Newcomer
    policy: str
    promised: Promised
    burst_bytes: int
    burst_reason: str
    fixed_overhead: bool


def understand(
    name: str,
    argv: tuple[str, ...],
    readconfig: Mapping[str, str],
    settings: Settings,
    monitor_path: str,
    huge_paths: tuple[str, ...] = (),
    on_short: OnShort | None = None,
    sizer: Sizer | None = None,
) -> Understood:
    """Read a guest's argv and say what it needs. Raises ``InputError`` for what can't be understood or run.

    ``sizer``: what knows this host's history; without it nothing was learned yet.
    """
    check_name(name)
    if not argv:
        raise UsageError("there is no QEMU command", where=name, hint="put it behind '--'")

    prepared = prepare(argv, monitor_path=monitor_path, readconfig=readconfig, huge_paths=huge_paths)
    guest = prepared.guest
    if guest.ram_bytes is None:
        raise DescribeError("how much RAM this guest has is not known", where=name, hint="give -m on the command line")
    own = settings.guest(name)
    found, promised = (sizer or Sizer(settings)).need(guest, name, argv[0])
    need_bytes, fixed = found.estimate.overhead_bytes, found.origin is not size.Origin.ESTIMATE
    cap_bytes = own.cap_bytes if own.cap_bytes is not None else settings.cap_bytes
    boot_floor = size.boot_floor_bytes(guest)
    if cap_bytes is not None and cap_bytes < boot_floor and not fixed:
        raise UsageError(
            f"the cap of {format_bytes(cap_bytes)} is below the {format_bytes(boot_floor)} this guest needs to start",
            where=name,
            numbers={"cap_bytes": cap_bytes, "boot_floor_bytes": boot_floor},
            hint="raise cap in the settings file",
        )
    newcomer = Newcomer(
        name=name,
        ram_bytes=guest.ram_bytes,
        ram_charged_bytes=prepared.promised_charged_bytes,
        weight=own.weight if own.weight is not None else guest.ram_bytes,
        need_bytes=min(need_bytes, cap_bytes) if cap_bytes is not None and not fixed else need_bytes,
        boot_floor_bytes=min(boot_floor, need_bytes),
        cap_bytes=cap_bytes,
        on_short=(on_short or own.on_short or settings.on_short).value,
        recreatable=own.recreatable,
        recreate_need_bytes=own.recreate_need_bytes,
        fixed_overhead=fixed,
    )
    policy = found.origin.value if fixed else settings.policy
    return Understood(guest, prepared, newcomer, policy, promised, burst_bytes(guest), burst_reason(guest), fixed)
