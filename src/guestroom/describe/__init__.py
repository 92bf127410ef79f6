"""A ``Guest`` from whatever describes one: QEMU command lines, QEMU configuration files, libvirt domains,
KubeVirt machines.

One file per format; all of them fill in the same ``Guest``. ``split`` rewrites a command line so that its RAM
can be accounted apart, ``burst`` says how much memory a guest can take at once. Nothing here opens a file
or runs a program: texts come in, data goes out.

>>> from_qemu_argv(["qemu-system-x86_64", "-m", "1G", "-smp", "2"]).ram_bytes >> 20
1024
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guestroom.describe.build import guest_from
from guestroom.describe.burst import burst_bytes, burst_reason
from guestroom.describe.kubevirt import from_kubevirt
from guestroom.describe.libvirt import from_libvirt
from guestroom.describe.qemu_argv import settings_from_argv
from guestroom.describe.readconfig import settings_from_text
from guestroom.describe.split import PreparedArgv, prepare
from guestroom.guest import Guest

__all__ = [
    "PreparedArgv",
    "burst_bytes",
    "burst_reason",
    "from_kubevirt",
    "from_libvirt",
    "from_qemu_argv",
    "from_readconfig",
    "prepare",
]


def from_qemu_argv(argv: Sequence[str], *, read_file: Callable[[str], str] | None = None) -> Guest:
    """The guest a QEMU command line describes.

    ``argv`` may begin with the program or not. ``read_file`` gives the text of a ``-readconfig`` file; without
    it such a guest's RAM and vCPUs are unknown (None), not zero. Options nobody knows are kept in
    ``unknown``. Raises ``DescribeError``, with the argument quoted, for malformed sizes and topologies, an
    option without its argument, input beyond 1 MiB or 10,000 arguments, and a file that ``read_file`` can't read.
    """
    return guest_from(settings_from_argv(argv, read_file))


def from_readconfig(text: str) -> Guest:
    """The guest a QEMU configuration file describes, as EVE writes them. ``[memory] size`` counts MiB.

    Raises ``DescribeError`` with the line for syntax errors, malformed sizes and topologies.
    """
    return guest_from(settings_from_text(text))
