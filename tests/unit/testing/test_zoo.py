"""The animals themselves: each has the trait it is named for, or the simulations with it would prove nothing."""

from __future__ import annotations

import errno

import pytest

from guestroom.testing import Fate, SimGuest, SimHost
from guestroom.testing.zoo import ZOO
from guestroom.units import MIB

RAM_BYTES = 64 * MIB
NEED_BYTES = 80 * MIB


def put(kind: str) -> tuple[SimHost, SimGuest]:
    """A running guest of ``kind`` under a limit of 400 MiB."""
    host = SimHost()
    layout = host.layout()
    freezer = layout.freezer_of("K")
    assert freezer is not None
    for path in (layout.memory, layout.guest("K"), layout.ram("K"), layout.vmm("K"), layout.freezer or "", freezer):
        host.mkdir(path)
    host.write(f"{layout.guest('K')}/memory.oom_control", "1")
    host.write(f"{layout.guest('K')}/memory.limit_in_bytes", str(400 * MIB))
    guest = ZOO[kind](host, layout, "K", host.spawn(layout.ram("K"), freezer), RAM_BYTES, NEED_BYTES)
    assert guest.boot() is Fate.DONE
    host.move(guest.pid, layout.vmm("K"))
    guest.running = True
    return host, guest


def stat(host: SimHost, path: str, name: str) -> int:
    """One line of ``memory.stat``."""
    return next(int(line.split()[1]) for line in host.read(f"{path}/memory.stat").splitlines() if line.startswith(name))


def shrink(host: SimHost, guest: SimGuest, size_bytes: int) -> int:
    """Write a lower limit; the errno, 0 for none."""
    try:
        host.write(f"{guest.layout.guest('K')}/memory.limit_in_bytes", str(size_bytes))
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.mark.parametrize("kind", sorted(ZOO))
def test_every_kind_goes_on_and_leaves(kind: str) -> None:
    """Ten ticks of any kind break nothing by themselves, and what it had is given back when it leaves."""
    _, guest = put(kind)
    for _ in range(10):
        guest.tick()
    guest.leave()
    assert not guest.alive
    assert guest.overhead_bytes == 0


def test_the_truth_about_overhead_does_not_depend_on_where_ram_is() -> None:
    """RAM that wandered to ``vmm``, was merged or given back is never taken for overhead."""
    for kind in ("huge pages", "merged", "half touched", "cache filled"):
        _, guest = put(kind)
        before = guest.overhead_bytes - guest.heap_bytes
        for _ in range(6):
            guest.tick()
        assert abs(guest.overhead_bytes - guest.heap_bytes - before) < MIB, kind


def test_ram_wanders() -> None:
    """Huge pages are charged anew to ``vmm`` after the move, and so is what a balloon gives back."""
    host, guest = put("huge pages")
    guest.tick()
    assert stat(host, guest.layout.vmm("K"), "rss_huge ") == RAM_BYTES
    host, guest = put("half touched")
    host.discard(guest.pid, RAM_BYTES // 2)
    host.retouch(guest.pid)
    assert stat(host, guest.layout.vmm("K"), "rss ") == RAM_BYTES // 2


def test_the_stuck_and_the_intermittent_refuse() -> None:
    """Stuck never takes a shrink, intermittent every other one, and a raise is always taken by the stuck."""
    host, guest = put("stuck")
    assert [shrink(host, guest, size * MIB) for size in (300, 300, 500)] == [errno.EBUSY, errno.EBUSY, 0]
    host, guest = put("intermittent")
    assert [shrink(host, guest, size * MIB) for size in (300, 299, 298, 297)] == [errno.EBUSY, 0, errno.EINTR, 0]


def test_the_growing_grow_into_the_write() -> None:
    """At the moment of the write it takes 16 MiB more, so a limit at its use is refused."""
    host, guest = put("growing")
    use = int(host.read(f"{guest.layout.guest('K')}/memory.usage_in_bytes"))
    assert shrink(host, guest, use + 8 * MIB) == errno.EBUSY


def test_the_vanishing_are_gone_at_the_write() -> None:
    """The write finds no file."""
    host, guest = put("vanishing")
    assert shrink(host, guest, 300 * MIB) == errno.ENOENT
    assert not guest.alive


def test_the_reborn_are_somebody_else() -> None:
    """Sooner or later its cgroup has another inode and another's process."""
    host, guest = put("reborn")
    before = host.inode(guest.layout.guest("K"))
    for _ in range(20):
        guest.tick()
    assert not guest.alive
    assert host.inode(guest.layout.guest("K")) != before


def test_the_lying_lag_and_the_mute_are_silent() -> None:
    """Lying: memory.stat is a tick old. Mute: it can't be read from the second tick on."""
    host, guest = put("lying")
    path = guest.layout.vmm("K")
    guest.tick()
    told = stat(host, path, "rss ")
    host.before_read.clear()
    assert stat(host, path, "rss ") != told
    host, guest = put("mute")
    guest.tick()
    assert stat(host, guest.layout.vmm("K"), "rss ") > 0
    guest.tick()
    with pytest.raises(OSError, match="Input/output"):
        host.read(f"{guest.layout.vmm('K')}/memory.stat")


def test_the_hidden_floor_is_nothing_reclaim_could_take() -> None:
    """Locked cache and kernel memory stay when the heap is given back."""
    _, guest = put("hidden floor")
    guest.tick()
    guest.use(0)
    assert guest.overhead_bytes >= 24 * MIB


def test_a_held_guest_goes_on_from_where_it_was() -> None:
    """Frozen in the middle it takes nothing more, and is itself again when let go."""
    host, guest = put("ceiling")
    state = f"{guest.layout.freezer_of('K')}/freezer.state"
    guest.after_step = lambda: host.write(state, "FROZEN")
    guest.use(NEED_BYTES)
    frozen = guest.overhead_bytes
    guest.use(NEED_BYTES)
    assert guest.overhead_bytes == frozen
    host.write(state, "THAWED")
    guest.after_step = lambda: None
    assert guest.use(NEED_BYTES) is Fate.DONE
