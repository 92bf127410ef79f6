"""Which cgroups are systemd's: it rewrites the limits of its units' own cgroups, and leaves what is below them alone.

A limit that was written past systemd is lost at its next ``daemon-reload`` or ``set-property`` (systemd
CGROUP_DELEGATION.md, "the single-writer rule"). That rule covers a unit's own cgroup, also a delegated one: what
``Delegate=`` hands over begins one level below.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from guestroom.errors import HostError
from guestroom.facts import Unit
from guestroom.ports import Files, Programs
from guestroom.units import UNLIMITED, Limit

SYSTEMCTL = ("systemctl", "--no-ask-password")
TIMEOUT_S = 5.0
_BOOTED = "/run/systemd/system"
_USER_MANAGER = re.compile(r"user@([0-9]{1,10})\.service\Z", re.ASCII)
_INFINITY = frozenset({"infinity", str(2**64 - 1)})
"""What systemctl prints for no limit: the word; versions before 240 the number."""


def is_running(files: Files) -> bool:
    """True where systemd is this machine's process 1 (sd_booted(3))."""
    try:
        files.list_dirs(_BOOTED)
    except OSError:
        return False
    return True


def unit_of(point: str, cgroup: str) -> Unit | None:
    """The unit that the folder ``cgroup`` under the mount ``point`` belongs to, by its path; None outside of all.

    Slices nest, then comes one scope or service (systemd ``cg_path_get_unit``); below a ``user@UID.service`` the same
    begins again, for the systemd of that user.
    """
    parts = [part for part in cgroup.removeprefix(point).split("/") if part]
    found, uid = _first_unit(parts), None
    if found is None:
        return None
    user = _USER_MANAGER.match(parts[found])
    if user is not None and found + 1 < len(parts):
        below = _first_unit(parts[found + 1 :])
        if below is not None:
            found, uid = found + 1 + below, int(user[1])
    # A name that would clash with a file of the kernel's is escaped by an underscore (systemd cg_escape).
    return Unit(parts[found].removeprefix("_"), own=found == len(parts) - 1, manager_uid=uid)


def _first_unit(parts: list[str]) -> int | None:
    """Index of the scope or service after the slices, else of the last slice."""
    last = None
    for index, part in enumerate(parts):
        if part.endswith((".scope", ".service")):
            return index
        if not part.endswith(".slice"):
            return last
        last = index
    return last


def unit_limit(programs: Programs, unit: str, cgroup: str) -> Limit:
    """What systemd has as the unit's limit (``MemoryMax``). Raises ``HostError`` where it doesn't say, or not of this
    very ``cgroup``: then the unit is not whose it seems to be."""
    properties = _show(programs, unit, ("LoadState", "ControlGroup", "MemoryMax"))
    place = properties.get("ControlGroup", "")
    if properties.get("LoadState") != "loaded" or not place or not cgroup.endswith(place):
        raise HostError(
            f"{cgroup} looks like the cgroup of systemd's unit {unit}, which systemd has at {place or 'no cgroup'} "
            f"({properties.get('LoadState') or 'unknown'})",
            where=unit,
        )
    text = properties.get("MemoryMax", "")
    if text in _INFINITY:
        return UNLIMITED
    if not text.isdecimal():
        raise HostError(f"systemctl shows MemoryMax={text[:40]!r}, which is no size", where=unit)
    return int(text)


def _show(programs: Programs, unit: str, names: tuple[str, ...]) -> Mapping[str, str]:
    done = programs.run((*SYSTEMCTL, "show", f"--property={','.join(names)}", "--", unit), TIMEOUT_S)
    if done.code != 0:
        raise HostError(
            f"systemctl show failed: {done.stderr.strip() or done.stdout.strip() or f'exit code {done.code}'}",
            where=unit,
        )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
