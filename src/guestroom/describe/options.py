"""Where one QEMU option ends and the next begins.

QEMU decides by a table whether an option eats the next argument (``lookup_opt``, softmmu/vl.c); a reader
that guesses takes ``-S disk.qcow2`` for one option. This table was taken from QEMU 7.2 by asking the
program itself about each name, plus the options other releases know.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from guestroom.errors import DescribeError

MAX_ARGUMENTS = 10_000
MAX_CHARACTERS = 1 << 20
"""More than any guest needs; beyond it is a mistake or an attack on whoever reads it."""

_FLAGS_7_2 = """
S async-teardown audio-help daemonize enable-kvm enable-sync-profile full-screen h help mem-prealloc no-acpi
no-fd-bootchk no-hpet no-reboot no-shutdown no-user-config nodefaults nographic old-param only-migratable
portrait preconfig s semihosting singlestep snapshot usb version win2k-hack xen-attach xen-domid-restrict
"""
_FLAGS_OTHER_RELEASES = """
alt-grab ctrl-grab curses enable-fips jitdump no-frame no-kvm no-kvm-irqchip no-kvm-pit no-quit nodefconfig
nouserconfig one-insn-per-tb perfmap sdl
"""
FLAGS = frozenset((_FLAGS_7_2 + _FLAGS_OTHER_RELEASES).split())
"""Options without an argument."""

_VALUED_7_2 = """
D L M accel acpitable action add-fd append audio audiodev bios blockdev boot cdrom chardev chroot compat cpu d
debugcon device dfilter display drive dtb dump-vmstate echr fda fdb fsdev fw_cfg g gdb global hda hdb hdc hdd
icount incoming initrd iscsi k kernel loadvm m machine mem-path mon monitor msg mtdblock name net netdev nic
numa object option-rom overcommit parallel pflash pidfile plugin prom-env qmp qmp-pretty qtest qtest-log
readconfig rotate rtc runas sandbox sd seed semihosting-config serial set smbios smp spice tpmdev trace
usbdevice uuid vga virtfs vnc watchdog-action xen-domid
"""
_VALUED_OTHER_RELEASES = "balloon bt realtime run-with shim soundhw tb-size watchdog writeconfig"
VALUED = frozenset((_VALUED_7_2 + _VALUED_OTHER_RELEASES).split())
"""Options with an argument."""

_IMAGE_NAME = re.compile(r".\.(?:img|raw|qcow2?|qed|vmdk|vdi|vhdx?|iso|ima)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Option:
    """One option with its argument, and where it stands."""

    index: int
    """Place of the option in the argv it was read from."""
    number: int
    """Which argument of QEMU this is, counted from 1 and without the program, for people."""
    name: str
    """Without dashes; empty for a positional disk image."""
    value: str | None
    known: bool = True

    @property
    def width(self) -> int:
        """Arguments it spans: 1 or 2."""
        return 1 if self.value is None or not self.name else 2

    @property
    def text(self) -> str:
        """As written."""
        if not self.name:
            return self.value or ""
        return f"-{self.name}" if self.value is None else f"-{self.name} {self.value}"

    @property
    def where(self) -> str:
        """``argument 3: '-m 512'``, shortened when long."""
        return f"argument {self.number}: {quoted(self.text)}"


@dataclass(frozen=True, slots=True)
class Argv:
    """A split command line."""

    program: str | None
    options: tuple[Option, ...]


def quoted(text: str, most: int = 90) -> str:
    """``text`` in quotes with control characters escaped, cut in the middle when longer than ``most``."""
    if len(text) > most:
        half = (most - 5) // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return repr(text)


def is_program(argument: str) -> bool:
    """True where a first argument is the program: it is no option and not named like a disk image."""
    return bool(argument) and not argument.startswith("-") and not _IMAGE_NAME.search(argument)


def split_argv(argv: Sequence[str]) -> Argv:
    """Split ``argv`` (with or without the program in front) into options.

    Raises ``DescribeError`` when it is too long, holds a NUL byte (which no process can be given), or ends
    in an option whose argument is missing. An option no table knows takes the next argument along, unless
    that begins with a dash: most of QEMU's options have one.
    """
    _check_bounds(argv)
    program = argv[0] if argv and is_program(argv[0]) else None
    first = 0 if program is None else 1
    options = []
    index = first
    while index < len(argv):
        option = _option_at(argv, index, index - first + 1)
        options.append(option)
        index += option.width
    return Argv(program, tuple(options))


def _option_at(argv: Sequence[str], index: int, number: int) -> Option:
    argument = argv[index]
    if not argument.startswith("-"):
        return Option(index, number, "", argument)
    # QEMU treats --foo as -foo and no other number of dashes.
    name = argument[2:] if argument.startswith("--") else argument[1:]
    if name in FLAGS:
        return Option(index, number, name, None)
    following = argv[index + 1] if index + 1 < len(argv) else None
    if name in VALUED:
        if following is None:
            raise DescribeError(
                f"option -{name} requires an argument",
                where=f"argument {number}: {quoted(argument)}",
                hint=f"write what follows -{name}, or leave it out",
            )
        return Option(index, number, name, following)
    if not name:
        return Option(index, number, argument, None, known=False)
    taken = None if following is None or following.startswith("-") else following
    return Option(index, number, name, taken, known=False)


def _check_bounds(argv: Sequence[str]) -> None:
    if len(argv) > MAX_ARGUMENTS:
        raise DescribeError(
            f"the command line has {len(argv)} arguments; at most {MAX_ARGUMENTS} are read",
            numbers={"arguments": len(argv), "limit": MAX_ARGUMENTS},
        )
    total = sum(len(argument) + 1 for argument in argv)
    if total > MAX_CHARACTERS:
        raise DescribeError(
            f"the command line has {total} characters; at most {MAX_CHARACTERS} are read",
            numbers={"characters": total, "limit": MAX_CHARACTERS},
        )
    for number, argument in enumerate(argv, 0 if argv and is_program(argv[0]) else 1):
        if "\0" in argument:
            raise DescribeError(
                "an argument holds a NUL byte, which no process can be given",
                where=f"argument {number}: {quoted(argument)}",
            )
