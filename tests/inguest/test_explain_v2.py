"""Where the memory of a real QEMU is on a real v2 kernel: every byte named, and an independent count that agrees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.inguest.test_agent_v2 import RAM_MIB, SETTINGS, Bare, alive, hosted, run, running, until
from tests.integration.halves import HALVES, halves_are_named

from guestroom.cli.explain import Looked, look
from guestroom.kernelfs import KernelFiles
from guestroom.lab.image import GuestImage
from guestroom.observe.hierarchy import mount_root
from guestroom.units import MIB, format_bytes

WHOLE = 0.99
"""Share that has to have a name, and how far (its rest to one) the count by pages may be from the parts."""


def holds_together(seen: Looked) -> None:
    """Parts sum to the charge, at least 99 % of it is named, and the count by pages agrees within 1 %."""
    found = seen.explanation
    print(
        f"\n{seen.cgroup}: {format_bytes(found.charged_bytes)}, {seen.by_pages_bytes} by pages of {seen.by_parts_bytes}"
    )
    for part in found.parts:
        print(f"  {part.name}: {format_bytes(part.size_bytes)} ({part.source})")
    assert sum(seen.sizes().values()) == found.charged_bytes
    assert found.explained_bytes >= WHOLE * found.charged_bytes
    if seen.by_pages_bytes is not None:
        assert abs(seen.by_pages_bytes - seen.by_parts_bytes) <= (1 - WHOLE) * seen.by_parts_bytes


def settled(pid: int) -> Callable[[], bool]:
    """Whether the firmware has run: its charges stand still for a second."""
    before = [0]

    def still() -> bool:
        now = look(pid, RAM_MIB * MIB).explanation.charged_bytes
        same, before[0] = now == before[0], now
        return same

    return still


def stopped(pid: int) -> Looked:
    """A look, with the count by pages, at a guest that can't grow between the two."""
    os.kill(pid, signal.SIGSTOP)
    try:
        return look(pid, RAM_MIB * MIB, check=True)
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(300)
def test_both_cgroups_of_a_guest_are_explained() -> None:
    """A guest that the agent runs: RAM in full from ``ram``, and all that ``vmm`` is charged for by name."""
    with hosted(SETTINGS) as host:
        vm = run(host, "A")
        assert until(running(host, "A"))
        assert alive(vm)
        pid = int(host.ps()["A"]["pid"])
        until(settled(pid), 20)
        seen = stopped(pid)
        holds_together(seen)
        assert seen.cgroup == host.layout.guest("A")
        assert seen.sizes()["guest RAM"] == RAM_MIB * MIB
        assert seen.sizes()["page tables"] > 0
        assert abs(seen.explanation.charged_bytes - host.figure(seen.cgroup, "memory.current")) < 2 * MIB
        assert alive(vm)


@pytest.mark.timeout(300)
def test_a_bare_qemu_is_explained_where_it_is() -> None:
    """A QEMU that nobody has under care, in one cgroup of its own, RAM and overhead together."""
    home = Path(mount_root(KernelFiles(), 2)) / f"explained-{os.getpid()}"
    home.mkdir()
    (home.parent / "cgroup.subtree_control").write_text("+memory")
    with tempfile.TemporaryDirectory() as folder:
        machine = Bare(name="bare", ram_mib=RAM_MIB, folder=Path(folder), image=GuestImage("", ""))
        argv = ["sh", "-c", f'echo $$ >{home}/cgroup.procs && exec "$@"', "sh", *machine.argv()]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        try:
            assert until(Path(machine.monitor).exists, 60), "it did not start"
            until(settled(process.pid), 20)
            seen = stopped(process.pid)
            holds_together(seen)
            assert seen.cgroup == str(home)
            assert seen.sizes()["guest RAM"] > 0
            assert seen.sizes()["TCG code buffer"] > 0
        finally:
            process.kill()
            process.wait()
            until(lambda: not (home / "cgroup.procs").read_text(), 10)
            home.rmdir()


@pytest.mark.timeout(120)
def test_unmapped_halves_of_huge_pages_are_named() -> None:
    """Half of each huge page is given back: the kernel charges for it still, and the reading says how much that is."""
    home = Path(mount_root(KernelFiles(), 2)) / f"halves-{os.getpid()}"
    home.mkdir()
    (home.parent / "cgroup.subtree_control").write_text("+memory")
    argv = ["sh", "-c", f'echo $$ >{home}/cgroup.procs && exec "$@"', "sh", sys.executable, "-c", HALVES]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        halves_are_named(process, str(home), 2)
    finally:
        process.kill()
        process.communicate()
        until(lambda: not (home / "cgroup.procs").read_text(), 10)
        home.rmdir()
