"""Whether a running QEMU may be taken under care (promise P9: hands off what is not ours to touch).

An objection is data with its numbers and what to do instead; the door makes an error of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from guestroom.facts import Candidate, Resident
from guestroom.units import Limit, Unlimited, format_bytes, format_limit

HELPERS = (
    "swtpm",
    "virtiofsd",
    "dbus-daemon",
    "slirp4netns",
    "passt",
    "pr-helper",
    "qemu-pr-helper",
    "qemu-bridge-he",
    "qemu-storage-da",
    "vhost-user-gpu",
    "vhost-user-inpu",
    "vhost-user-scsi",
    "vhost-user-blk",
)
"""Programs that serve one QEMU, as the kernel names them (15 characters): the ones that QEMU's and libvirt's own
documentation start beside it. Children of the QEMU are its helpers whatever their name."""
_LIBVIRT = re.compile(r"(qemu-[0-9]+-.+\.libvirt-qemu|machine-qemu(-|\\x2d)[0-9]+(-|\\x2d).+\.scope)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Objection:
    """Why it is not adopted."""

    message: str
    hint: str
    numbers: dict[str, int | float | str | None] = field(default_factory=dict)
    no_room: bool = False
    """It is a matter of room, not of what was asked."""


def objection(
    found: Candidate,
    *,
    wall: str,
    under_care: Collection[int],
    watch: bool,
    domain: str | None,
) -> Objection | None:
    """Why ``found`` may not be adopted, or None.

    ``wall`` is the host wall's folder, right below the agent's own cgroup; ``under_care`` are the pids of guests that
    are under care already.
    """
    pid, path = found.identity.pid, found.cgroup
    if not found.qemu:
        name = found.argv[0].rpartition("/")[2][:40] if found.argv else "a kernel thread or one that has ended"
        return Objection(f"process {pid} is no QEMU ({name})", "give the pid of a qemu-system process")
    if pid in under_care:
        return Objection(f"process {pid} is under care already", "guestroom ps lists the guests under care")
    if _within(path, wall):
        return Objection(f"process {pid} lives in guestroom's own {path}", "it was started by guestroom run")
    if _within(wall, path):
        return Objection(
            f"the memory cgroup of process {pid}, {path}, is the agent's own or above it: a limit there binds others",
            "start the guest in a memory cgroup of its own; adopting never moves a process",
        )
    strangers = _strangers(found)
    if strangers:
        shown = ", ".join(f"{one.pid} ({one.command})" for one in strangers[:5])
        return Objection(
            f"{path} holds {len(strangers)} processes that are not this QEMU's: {shown}",
            "start the guest in a memory cgroup of its own; adopting never moves a process",
            {"strangers": len(strangers)},
        )
    return None if watch else _may_not_be_written(found, domain)


def _may_not_be_written(found: Candidate, domain: str | None) -> Objection | None:
    """What stands against writing to it; looking on (``--watch``) is always possible."""
    pid, path = found.identity.pid, found.cgroup
    folders = path.split("/")
    if any("kubepods" in folder for folder in folders):
        return Objection(
            f"{path} belongs to Kubernetes: guestroom sizes and explains there, it does not write",
            "adopt it with --watch, and size its pod with guestroom size",
        )
    if found.still:
        return Objection(
            f"process {pid} stands still, stopped or frozen by somebody else",
            "let it go on first, or adopt it with --watch",
        )
    if domain is None and any(_LIBVIRT.match(folder) for folder in folders):
        return Objection(
            f"process {pid} is libvirt's: a limit written past libvirt would not be what virsh says",
            "adopt it by its name: guestroom adopt --libvirt NAME (or with --watch)",
        )
    if isinstance(found.brake_bytes, int) and (
        not isinstance(found.limit_bytes, int) or found.brake_bytes < found.limit_bytes
    ):
        return Objection(
            f"{path} has memory.high = {format_bytes(found.brake_bytes)}, below its limit of "
            f"{format_limit(found.limit_bytes)}: it is slowed down there, whatever its limit",
            "take memory.high off (systemd: MemoryHigh=infinity), or adopt it with --watch",
            {"brake_bytes": found.brake_bytes},
        )
    unit = found.unit
    if unit is not None and unit.own and unit.manager_uid is not None and domain is None:
        return Objection(
            f"{path} is unit {unit.name} of user {unit.manager_uid}'s own systemd, which would take limits back",
            "start the guest as a unit of the system, or adopt it with --watch",
        )
    return None


def unit_to_tell(found: Candidate) -> str | None:
    """The systemd unit that has to be told of limits: the one whose own cgroup this is. Below it systemd writes
    nothing (what libvirt makes in its scopes, what a delegated unit made for itself)."""
    return found.unit.name if found.unit is not None and found.unit.own else None


def limit_objection(
    limit: Limit,
    wanted_bytes: int | None,
    *,
    ram_charged_bytes: int,
    overhead_bytes: int | None,
    floor_bytes: int | None,
    margin_bytes: int,
    how: str,
) -> Objection | None:
    """Why a guest with ``limit`` can't come under care with the limit ``wanted_bytes`` (None: the one it has).

    Adopting never shrinks a limit. A limit that is kept must leave its use a margin, so that it is not held at once;
    one that is set must leave it its floor.
    """
    numbers: dict[str, int | float | str | None] = {
        "limit_bytes": limit if isinstance(limit, int) else "unlimited",
        "ram_charged_bytes": ram_charged_bytes,
        "overhead_bytes": overhead_bytes,
        "floor_bytes": floor_bytes,
    }
    if overhead_bytes is None or floor_bytes is None:
        return Objection(
            f"its overhead can't be told, so it could not be kept from its limit ({how})",
            "adopt it with --watch",
            numbers,
        )
    least = ram_charged_bytes + floor_bytes
    need = f"RAM {format_bytes(ram_charged_bytes)} + floor {format_bytes(floor_bytes)} = {format_bytes(least)}"
    if wanted_bytes is None and isinstance(limit, Unlimited):
        return Objection("it has no memory limit", f"give it one with --limit, at least {need}, or --watch", numbers)
    if wanted_bytes is None and isinstance(limit, int):
        if limit >= ram_charged_bytes + overhead_bytes + margin_bytes:
            return None
        return Objection(
            f"its limit of {format_bytes(limit)} leaves {format_bytes(limit - ram_charged_bytes)} beside its RAM; it "
            f"uses {format_bytes(overhead_bytes)} and would be held at once",
            f"give it more with --limit, at least {need}, or --watch",
            numbers | {"margin_bytes": margin_bytes},
        )
    wanted = wanted_bytes or 0
    if isinstance(limit, int) and wanted < limit:
        return Objection(
            f"--limit {format_bytes(wanted)} is below its limit of {format_limit(limit)}: adopting never shrinks",
            "leave --limit out: the present one is kept",
            numbers,
        )
    if wanted < least:
        return Objection(
            f"--limit {format_bytes(wanted)} is below what it must keep: {need}",
            f"give --limit at least {least} bytes, or --watch",
            numbers,
        )
    return None


def _strangers(found: Candidate) -> list[Resident]:
    """Processes in its cgroup that are neither it nor its helpers."""
    family = _descendants(found.identity.pid, found.residents)
    return [
        one for one in found.residents if one.pid not in family and (one.qemu or not one.command.startswith(HELPERS))
    ]


def _descendants(pid: int, residents: Iterable[Resident]) -> set[int]:
    """``pid`` and its children, their children, and so on. Another QEMU below it is not its helper."""
    residents = tuple(residents)
    family = {pid}
    while True:
        more = {one.pid for one in residents if one.parent in family and not one.qemu} - family
        if not more:
            return family
        family |= more


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
