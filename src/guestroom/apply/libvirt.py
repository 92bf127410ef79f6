"""The limit of a libvirt domain, set by libvirt's own command, so that ``virsh`` goes on saying what holds.

``virsh memtune --live`` changes the running domain only; what the domain is defined with stays its owner's. Sizes are
KiB and -1 stands for no limit (virsh(1), memtune). Whether the kernel has it is for the caller to verify: a command
that succeeded proves nothing about the cgroup file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guestroom.errors import BusyError, HostError, WriteError
from guestroom.units import KIB, Limit, Unlimited

if TYPE_CHECKING:
    from guestroom.ports import Programs

VIRSH = ("virsh", "-q")
TIMEOUT_S = 5.0
"""libvirt answers within tens of milliseconds, unless something else has the domain's lock."""


def set_hard_limit(programs: Programs, domain: str, limit: Limit) -> None:
    """Have libvirt set a running domain's limit. Raises ``BusyError`` or ``WriteError`` with libvirt's own words.

    A limit that is no whole number of KiB is rounded down, as the kernel would do to pages.
    """
    kib = -1 if isinstance(limit, Unlimited) else limit // KIB
    place = f"libvirt domain {domain}, hard_limit (KiB)"
    argv = (*VIRSH, "memtune", f"--domain={domain}", f"--hard-limit={kib}", "--live")
    try:
        done = programs.run(argv, TIMEOUT_S)
    except HostError as error:
        raise WriteError(place, str(kib), error.message, hint=error.hint) from error
    if done.code != 0:
        why = done.stderr.strip() or done.stdout.strip() or f"exit code {done.code}"
        # libvirt passes on what write(2) said, as strerror's text.
        kind = BusyError if "Device or resource busy" in why else WriteError
        raise kind(place, str(kib), why)
