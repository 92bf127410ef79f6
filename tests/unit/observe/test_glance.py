"""Whom a sweep looks at: few reads, nobody overlooked. Counts of reads are what keeps a thousand guests cheap."""

from __future__ import annotations

import pytest
from tests.unit.observe.test_snapshot import RAM, House, kernel_of

from guestroom.units import MIB

LIMIT = RAM + 400 * MIB


def running(*names: str) -> tuple[House, dict[str, int]]:
    """A host whose guests were looked at once, with limits and a wall far away."""
    house = House()
    house.host.write(f"{house.layout.memory}/memory.limit_in_bytes", str(len(names) * (RAM + 900 * MIB)))
    pids = {name: house.start(name) for name in names}
    for name, pid in pids.items():
        house.host.write(f"{house.layout.guest(name)}/memory.limit_in_bytes", str(LIMIT))
        house.observer.overhead(name, RAM, pid, (RAM,))
    house.observer.moved(names)
    house.reads.clear()
    return house, pids


@pytest.mark.parametrize("count", [1, 20])
def test_a_quiet_sweep_is_two_reads_a_guest(count: int) -> None:
    """Of guests that stand still only usage and limit are read, and those of the wall; nothing else."""
    names = tuple(f"g{number}" for number in range(count))
    house, _ = running(*names)
    assert house.observer.moved(names).moved == frozenset()
    assert len(house.reads) == 2 * (count + 1)


def test_who_moved_is_told() -> None:
    """A guest charged otherwise than last time is told once; it is told again when it moves again."""
    house, pids = running("a", "b")
    house.host.touch(pids["b"], MIB)
    assert house.observer.moved(("a", "b")).moved == {"b"}
    assert house.observer.moved(("a", "b")).moved == frozenset()
    house.host.touch(pids["b"], 4096)
    assert house.observer.moved(("a", "b")).moved == {"b"}


def test_newcomers_count_as_moved_and_others_do_not() -> None:
    """Another list of guests begins anew only for those that were not in it before."""
    house, _ = running("a", "b")
    house.start("c")
    assert house.observer.moved(("a", "b", "c")).moved == {"c"}
    assert house.observer.moved(("a", "c")).moved == frozenset()


def test_near_its_limit_it_is_looked_at_each_time() -> None:
    """Page cache that gives way to growth at the limit leaves usage as it was: so who is near is always told."""
    house, pids = running("a", "b")
    house.host.fill_cache(pids["a"], LIMIT)
    for _ in range(3):
        found = house.observer.moved(("a", "b"))
        assert found.moved == found.near == {"a"}


def test_under_a_full_wall_everybody_is_looked_at() -> None:
    """Where the host wall is nearly full reclaim may be at work in any guest."""
    house, _ = running("a", "b")
    used = int(house.host.read(f"{house.layout.memory}/memory.usage_in_bytes"))
    house.host.write(f"{house.layout.memory}/memory.limit_in_bytes", str(used + 4096))
    assert house.observer.moved(("a", "b")).near == {"a", "b"}


def test_a_limit_somebody_wrote_is_seen() -> None:
    """A changed limit is worth a look although nothing was charged."""
    house, _ = running("a", "b")
    house.host.write(f"{house.layout.guest('a')}/memory.limit_in_bytes", str(LIMIT + MIB))
    assert house.observer.moved(("a", "b")).near == {"a"}


def test_the_gone_are_looked_at() -> None:
    """A guest whose files can't be read is never taken for one that stands still."""
    house, pids = running("a", "b")
    house.host.exit(pids["a"])
    for folder in (house.layout.vmm("a"), house.layout.ram("a"), house.layout.guest("a")):
        house.host.rmdir(folder)
    for _ in range(2):
        assert "a" in house.observer.moved(("a", "b")).near


def test_a_quick_look_says_what_a_complete_one_says() -> None:
    """Whatever a guest does, the short look gives the very figures of the complete one, with at most five reads."""
    house, pids = running("a")
    for change in ("touch", "cache", "kernel", "free"):
        match change:
            case "touch":
                house.host.touch(pids["a"], 30 * MIB)
            case "cache":
                house.host.fill_cache(pids["a"], 50 * MIB)
            case "kernel":
                house.host.kernel_memory(pids["a"], 8 * MIB)
            case _:
                house.host.release_kernel(pids["a"])
        house.reads.clear()
        quick = house.observer.quick("a", RAM, pids["a"], (RAM,))
        assert len(house.reads) <= 5, house.reads
        complete = house.observer.overhead("a", RAM, pids["a"], (RAM,))
        for figure in ("overhead_bytes", "upper_bound_bytes", "ram_resident_bytes", "cache_bytes", "kernel_peak_bytes"):
            assert getattr(quick, figure) == getattr(complete, figure), (change, figure)


def test_ram_that_left_is_looked_at_completely() -> None:
    """RAM that went to ``vmm`` is told by smaps in a quick look too, and never taken for overhead."""
    house, pids = running("a")
    house.host.collapse(pids["a"])
    found = house.observer.quick("a", RAM, pids["a"], (RAM,))
    assert house.smaps_reads() == 1
    assert found.overhead_bytes == 20 * MIB + kernel_of(house, "a")
    house.host.discard(pids["a"], 12 * MIB)
    assert house.observer.quick("a", RAM, pids["a"], (RAM,)).ram_resident_bytes == RAM - 12 * MIB
