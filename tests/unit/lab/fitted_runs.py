"""Runs of a study that never was: its costs are known, so a fit has to find them."""

from __future__ import annotations

from guestroom.lab.study.dataset import Factor, Moment, Run
from guestroom.lab.study.matrix import DEFAULTS
from guestroom.units import MIB

KERNEL, CODE = 13 * MIB, 32 * MIB
HOST = {
    "accelerator": "tcg",
    "cgroup": "v1",
    "cpus": "2",
    "glibc": "2.36",
    "kernel": "6.18",
    "memory_mib": "24105",
    "qemu": "QEMU emulator version 7.2.22 (Debian)",
}


def argv_of(factors: dict[str, Factor]) -> tuple[str, ...]:
    """A command line with what the factors here vary."""
    argv = ["qemu-system-x86_64", "-M", "q35", "-m", f"{factors['ram_mib']}M", "-smp", str(factors["vcpus"])]
    argv += ["-accel", f"tcg,tb-size={factors['tb_mib']}", "-nodefaults", "-kernel", "vmlinuz", "-display", "none"]
    for number in range(int(factors["disks"] or 0)):
        argv += ["-drive", f"if=none,id=d{number},file=d{number}.qcow2,format=qcow2,cache=none"]
        argv += ["-device", f"virtio-blk-pci,drive=d{number},num-queues=1"]
    for number in range(int(factors["nics"] or 0)):
        argv += ["-netdev", f"user,id=n{number}", "-device", f"virtio-net-pci,netdev=n{number}"]
    return tuple(argv)


def true_bytes(factors: dict[str, Factor]) -> int:
    """What such a guest takes in that study: 20 MiB, 13 for its kernel, 32 of code, 2 a vCPU, 1 a disk, 3 a network
    device, a 512th of RAM, and one and a half of what is decompressed at once."""
    number = {name: int(value) for name, value in factors.items() if isinstance(value, int)}
    inflated = number["jobs"] * number["depth"] * number["cluster_kib"] * 1024 if factors["compressed"] else 0
    devices = 2 * number["vcpus"] + number["disks"] + 3 * number["nics"]
    return KERNEL + CODE + (20 + devices) * MIB + number["ram_mib"] * MIB // 512 + inflated * 3 // 2


def run(config: str, *, off_bytes: int = 0, repetition: int = 1, **changed: Factor) -> Run:
    """One run of a configuration, off by so much."""
    factors = {**DEFAULTS, "tb_mib": 32, "load": "randwrite", "depth": 16, "ram_mib": 512} | changed
    parts = {"copy of the kernel image": ("overhead", KERNEL), "TCG code buffer": ("overhead", CODE)}
    return Run(
        run_id=f"{config}/joint/{repetition}",
        config=config,
        family="family",
        repetition=repetition,
        order=0,
        slot=0,
        alone=True,
        started="2026-11-25T09:00:00Z",
        host=HOST,
        accounting="joint",
        argv=argv_of(factors),
        factors=factors,
        moments={"idle": Moment(0.0, 0, 0, 1.0, parts)},
        figures={"overhead_peak_bytes": float(true_bytes(factors) + off_bytes)},
    )


def chance_bytes(config: str) -> int:
    """Up to 5 MiB that a configuration takes by chance, the same in every process."""
    return sum(config.encode()) % 100 * 50_000


def study() -> list[Run]:
    """Fifty configurations, one measured three times."""
    runs = [run("base", repetition=number, off_bytes=number) for number in (1, 2, 3)]
    runs += [run(f"ram-{size}", ram_mib=size) for size in (128, 256, 1024, 2048, 4096, 3000, 1500, 700)]
    runs += [run(f"vcpus-{count}", vcpus=count) for count in (2, 3, 4, 5, 6, 7, 8, 12)]
    runs += [run(f"disks-{count}", disks=count) for count in (2, 3, 4, 5, 6, 8, 12, 16)]
    runs += [run(f"nics-{count}", nics=count) for count in (1, 2, 3, 4, 5, 6, 7, 8)]
    runs += [run(f"depth-{depth}", depth=depth) for depth in (1, 2, 4, 8, 32, 64, 128, 200)]
    zipped = [(depth, cluster) for cluster in (64, 512, 1024) for depth in (1, 16, 64)]
    return runs + [run(f"zip-{c}-{depth}", depth=depth, cluster_kib=c, compressed=True) for depth, c in zipped]
