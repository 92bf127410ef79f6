"""Lives for the tests of what is learned: one shape of guest, its peaks in MiB."""

from __future__ import annotations

from dataclasses import replace

from guestroom.guest import Disk, Guest
from guestroom.lives import Life, Promised
from guestroom.size import likeness
from guestroom.units import MIB

NOW_S = 1_750_000_000.0
DAY_S = 86_400.0
GUEST = Guest(
    name="web",
    ram_bytes=256 * MIB,
    boot_ram_bytes=256 * MIB,
    vcpus=1,
    max_vcpus=1,
    machine="q35",
    accelerator="tcg",
    disks=(Disk(format="qcow2", interface="virtio-blk", file="/a.qcow2"),),
)


def named(name: str) -> Guest:
    """The same guest under another name."""
    return replace(GUEST, name=name)


def life(
    peak_mib: float,
    name: str = "web",
    *,
    guest: Guest = GUEST,
    at_s: float = NOW_S - 60.0,
    started_s: float | None = None,
    ran_s: float = 3600.0,
    promised_mib: float = 1000.0,
    prior: str = "eve",
    prior_mib: float = 400.0,
    qemu: str | None = "7.2.22",
    fixed: bool = False,
    coverage: float | None = None,
    policy: str = "learned",
) -> Life:
    """A life that came to ``peak_mib``; promised so much that nothing is a miss unless said."""
    promised = Promised(
        policy=policy,
        overhead_bytes=int(promised_mib * MIB),
        likeness=likeness(guest, qemu),
        prior=prior,
        prior_bytes=int(prior_mib * MIB),
        wanted_coverage=0.95,
        coverage=coverage,
        fixed=fixed,
        binary="qemu-system-x86_64",
    )
    began = at_s - ran_s if started_s is None else started_s
    return Life(name, began, at_s, ran_s, True, int(peak_mib * MIB), 500 * MIB, promised)


def many(peaks: list[float], name: str | None = "web", **kept: object) -> list[Life]:
    """Lives one minute apart, the last one a minute ago; ``name`` None: each of another guest of that shape."""
    count = len(peaks)
    return [
        life(peak, name if name is not None else f"g{i}", at_s=NOW_S - 60.0 * (count - i), **kept)  # type: ignore[arg-type]
        for i, peak in enumerate(peaks)
    ]
