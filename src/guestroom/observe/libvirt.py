"""libvirt's domains, asked through ``virsh``: which process one is.

libvirt owns the monitor of its guests (a QMP socket serves one client), so nothing here talks to QEMU.
"""

from __future__ import annotations

import itertools
import re

from guestroom.errors import HostError, InputError
from guestroom.observe import procfs
from guestroom.ports import Files, Programs

VIRSH = ("virsh", "-q")
TIMEOUT_S = 10.0
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII)


def check_domain(name: str) -> str:
    """Return ``name`` if libvirt may be asked about it. Raises ``InputError``."""
    if not name or len(name) > 255 or not name.isprintable():
        raise InputError("this can't be a libvirt domain's name", where=name[:63], hint="virsh list shows the names")
    return name


def domain_uuid(programs: Programs, name: str) -> str:
    """The UUID of a domain. Raises ``HostError`` with libvirt's own words."""
    said = _ask(programs, name, "domuuid")
    if not _UUID.match(said):
        raise HostError(f"virsh domuuid said {said[:80]!r}, which is no UUID", where=name)
    return said


def domain_pid(files: Files, programs: Programs, name: str) -> int:
    """The pid of a running domain's QEMU: the one process whose ``-uuid`` is the domain's.

    libvirt has no call for it, and a pid file could be an old one. Raises ``InputError`` where it does not run,
    ``HostError`` otherwise.
    """
    uuid = domain_uuid(programs, check_domain(name))
    found = [qemu.pid for qemu in procfs.find_qemus(files) if _has_uuid(qemu.argv, uuid)]
    if len(found) != 1:
        state = _ask(programs, name, "domstate")
        raise InputError(
            f"domain {name} has {len(found) or 'no'} QEMU processes with its UUID {uuid}; libvirt says it is {state}",
            where=name,
            hint="start it first: virsh start " + name,
        )
    return found[0]


def _has_uuid(argv: tuple[str, ...], uuid: str) -> bool:
    return any(one in ("-uuid", "--uuid") and other == uuid for one, other in itertools.pairwise(argv))


def _ask(programs: Programs, name: str, command: str) -> str:
    """One ``virsh`` command about a domain; its text without the end of line."""
    done = programs.run((*VIRSH, command, f"--domain={name}"), TIMEOUT_S)
    if done.code != 0:
        raise HostError(
            f"virsh {command} failed: {done.stderr.strip() or done.stdout.strip() or f'exit code {done.code}'}",
            where=name,
            hint="virsh list --all shows what libvirt has",
        )
    return done.stdout.strip()
