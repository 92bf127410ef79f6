"""vCPUs of -smp."""

from __future__ import annotations

import pytest

from guestroom.describe import from_qemu_argv
from guestroom.errors import DescribeError


@pytest.mark.parametrize(
    ("text", "vcpus", "max_vcpus"),
    [
        ("", 1, 1),
        ("-smp 4", 4, 4),
        ("-smp cpus=4,maxcpus=8", 4, 8),
        ("-smp maxcpus=8", 8, 8),
        ("-smp sockets=2,cores=3,threads=2", 12, 12),
        ("-smp sockets=2,dies=2,cores=3", 12, 12),
        ("-smp 6,sockets=2,maxcpus=12", 6, 12),
        ("-smp 8,cores=2,sockets=2", 8, 8),
        ("-smp 4 -smp maxcpus=8", 4, 8),
        ("-smp 4 -smp 2", 2, 2),
        ("-M smp.cpus=3 -smp maxcpus=6", 3, 6),
        ("-smp 2 -M smp.cpus=3", 3, 3),
        ("-smp 0", 1, 1),
        ("-smp 4,cores=0", 4, 4),
    ],
)
def test_missing_parts_are_computed(text: str, vcpus: int, max_vcpus: int) -> None:
    """cpus and maxcpus follow from each other or from the topology, as QEMU computes them."""
    guest = from_qemu_argv(text.split())
    assert (guest.vcpus, guest.max_vcpus) == (vcpus, max_vcpus)


@pytest.mark.parametrize(
    "text",
    [
        "-smp four",
        "-smp 4.5",
        "-smp -1",
        "-smp 4,sockets=3",
        "-smp 4,sockets=2,cores=2,threads=2",
        "-smp 8,maxcpus=4",
        "-smp 99999999",
    ],
)
def test_impossible_topologies_are_refused(text: str) -> None:
    """What QEMU does not start with is an error that names the argument."""
    with pytest.raises(DescribeError) as caught:
        from_qemu_argv(["-S", *text.split()])
    assert (caught.value.where or "").startswith("argument 2: '-smp")


def test_cpus_plugged_on_the_command_line_count_up_to_maxcpus() -> None:
    """One each; POWER's cores are several at once and are left out."""
    plugged = ["-device", "host-x86_64-cpu,socket-id=1", "-device", "qemu64-x86_64-cpu,socket-id=2"]
    assert from_qemu_argv(["-smp", "1,maxcpus=4", *plugged]).vcpus == 3
    assert from_qemu_argv(["-smp", "1,maxcpus=2", *plugged]).vcpus == 2
    assert from_qemu_argv(["-smp", "1,maxcpus=4", "-device", "host-spapr-cpu-core,core-id=1"]).vcpus == 1
