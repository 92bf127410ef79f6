"""What a study's guest does while it is measured: a line for its shell, and what the host does to it meanwhile.

The guest's own tools make the load (``guest/gio.c``, busybox); the host's part is QMP, as a user's manager would speak
it. Everything is a table, so that a load is one entry and the matrix knows what each needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from guestroom.errors import HostError
from guestroom.lab.study.dataset import Factor
from guestroom.observe.qmp import QmpClient

Factors = Mapping[str, Factor]
DEVICES: Mapping[str, str] = {"virtio-blk": "/dev/vda", "virtio-scsi": "/dev/sda", "nvme": "/dev/nvme0n1"}
"""First disk of each bus in the guest."""
ADDRESS, GATEWAY = "10.0.2.15", "10.0.2.2"
"""The guest's address and the host's in QEMU's user network (QEMU documentation, "Using the user mode network
stack")."""
_PATIENCE_S = 60.0
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of load."""

    line: Callable[[Factors, int], str] | None = None
    """What is typed in the guest, given the factors and the port of the network peer."""
    act: Callable[[QmpClient, Factors, Path], None] | None = None
    """What the host does meanwhile, its files in the given folder. Raises ``GuestroomError``."""
    needs: tuple[str, ...] = ()
    """Factors that can't be 0 or False."""
    figure: str | None = None
    """Figure of the bytes a second that its network peer moved, where it has one."""


def number(factors: Factors, name: str, silent: int = 0) -> int:
    """A factor that is a number."""
    return int(factors[name] or silent)


def _gio(written_percent: int, *, sequential: bool = False) -> Callable[[Factors, int], str]:
    """Requests to the first disk, as many in flight as asked for."""

    def line(factors: Factors, _: int) -> str:
        device = DEVICES[str(factors["bus"])]
        words = [f"while [ ! -b {device} ]; do usleep 10000; done; gio", *(["-s"] if sequential else [])]
        words += [str(number(factors, name)) for name in ("load_s", "jobs", "depth")]
        return " ".join([*words, str(number(factors, "block_kib", 4) * 1024), str(written_percent), "0", device])

    return line


def _network(command: str) -> Callable[[Factors, int], str]:
    """As many TCP streams as jobs, until the other end hangs up."""

    def line(factors: Factors, port: int) -> str:
        streams = " ".join([f"nc {GATEWAY} {port} {command} &"] * number(factors, "jobs", 1))
        return f"ip addr add {ADDRESS}/24 dev eth0; ip link set eth0 up; {streams} wait"

    return line


def _share(factors: Factors, _: int) -> str:
    """Files written to a share and read back, by as many as jobs, over and over."""
    loop = (
        "while [ $(date +%s) -lt $end ]; do dd if=/dev/zero of=$f bs=1M count=16 conv=fsync; dd if=$f of=/dev/null "
        "bs=1M; done 2>/dev/null"
    )
    jobs = " ".join(f"(f=/mnt/{job}; {loop}) &" for job in range(number(factors, "jobs", 1)))
    end = f"end=$(($(date +%s)+{number(factors, 'load_s')}))"
    return f"mkdir -p /mnt; mount -t virtiofs share0 /mnt && {end} && {{ {jobs} wait; }}"


def _hot_plug(monitor: QmpClient, factors: Factors, folder: Path) -> None:
    """More disks, one after the other."""
    for name in (f"h{disk}" for disk in range(number(factors, "hot_disks"))):
        file = {"driver": "file", "filename": str(folder / f"{name}.qcow2"), "cache": {"direct": True}}
        monitor.execute("blockdev-add", **{"node-name": name, "driver": "qcow2", "file": file})
        monitor.execute("device_add", driver="virtio-blk-pci", drive=name, id=f"dev-{name}")


def _snapshots(monitor: QmpClient, factors: Factors, folder: Path) -> None:
    """External snapshots of the first disk: each puts a new file above those that are there."""
    for layer in range(number(factors, "snapshots")):
        name = str(folder / f"snapshot-{layer}.qcow2")
        monitor.execute("blockdev-snapshot-sync", device="d0", **{"snapshot-file": name, "format": "qcow2"})


def _savevm(monitor: QmpClient, _: Factors, __: Path) -> None:
    """An internal snapshot with the guest's state."""
    said = monitor.execute("human-monitor-command", **{"command-line": "savevm study"})
    if str(said).strip():
        raise HostError(f"savevm failed: {said!s:.300}")


def _migrate(monitor: QmpClient, _: Factors, folder: Path) -> None:
    """A live migration into a file; the guest then goes on here."""
    monitor.execute("migrate", uri=f"exec:cat > '{folder}/state'")
    wait_for(lambda: monitor.execute("query-migrate").get("status") in ("completed", "failed"), "the migration")
    if monitor.execute("query-migrate").get("status") != "completed":
        raise HostError(f"the migration failed: {monitor.execute('query-migrate')}")
    monitor.execute("cont")


def _job(command: str) -> Callable[[QmpClient, Factors, Path], None]:
    """A block job that copies the whole first disk; a mirror follows the guest's writes until the load ends."""

    def act(monitor: QmpClient, factors: Factors, folder: Path) -> None:
        began_s = time.monotonic()
        target = {"target": str(folder / "copy.qcow2"), "format": "qcow2", "sync": "full"}
        monitor.execute(command, device="d0", **target, **{"job-id": "copy"})

        def jobs() -> list[dict[str, object]]:
            return list(monitor.execute("query-block-jobs"))

        wait_for(lambda: all(job["ready"] for job in jobs()), f"the {command}")
        time.sleep(max(0.0, began_s + number(factors, "load_s") - time.monotonic()))
        if jobs():
            monitor.execute("block-job-cancel", device="copy")
        wait_for(lambda: not jobs(), f"the end of the {command}")

    return act


def wait_for(done: Callable[[], bool], what: str) -> None:
    """Until it is done. Raises ``HostError`` when that takes too long."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > deadline_s:
            raise HostError(f"{what} took more than {_PATIENCE_S:g} s")
        time.sleep(_LOOK_S)


_WRITES = _gio(100)
LOADS: Mapping[str, Load] = {
    "idle": Load(),
    "randread": Load(_gio(0), needs=("disks",)),
    "randwrite": Load(_WRITES, needs=("disks",)),
    "randrw": Load(_gio(50), needs=("disks",)),
    "seqread": Load(_gio(0, sequential=True), needs=("disks",)),
    "seqwrite": Load(_gio(100, sequential=True), needs=("disks",)),
    "receive": Load(_network("</dev/null >/dev/null"), needs=("nics",), figure="received_bytes_s"),
    "send": Load(_network("</dev/zero >/dev/null"), needs=("nics",), figure="sent_bytes_s"),
    "share": Load(_share, needs=("shares",)),
    "hotplug": Load(_WRITES, _hot_plug, ("disks", "hot_disks")),
    "snapshot": Load(_WRITES, _snapshots, ("disks", "snapshots")),
    "savevm": Load(_WRITES, _savevm, ("disks",)),
    "migrate": Load(_WRITES, _migrate, ("disks",)),
    "mirror": Load(_WRITES, _job("drive-mirror"), ("disks",)),
    "backup": Load(_WRITES, _job("drive-backup"), ("disks",)),
}
"""Every load by its name. Those with an act have the guest write at random meanwhile."""
MODULES: Mapping[str, tuple[str, ...]] = {
    "nics": ("failover", "net_failover", "virtio_net"),
    "virtio-scsi": ("scsi_common", "scsi_mod", "sd_mod", "virtio_scsi"),
    "shares": ("fuse", "virtiofs"),
    "microvm": ("virtio_mmio",),
}
"""Kernel modules the guest loads (guest/modules-more) for a factor that is not 0, or a word."""


def modules(factors: Factors) -> tuple[str, ...]:
    """What the guest has to load for its devices, in order."""
    wanted = [name for name in ("nics", "shares") if factors[name]]
    wanted += [str(factors[name]) for name in ("bus", "machine") if factors[name] in MODULES]
    # An idle network device has no driver, as in the runs of docs/study; one with traffic needs it.
    if factors["load"] not in ("receive", "send"):
        wanted = [name for name in wanted if name != "nics"]
    return tuple(module for name in wanted for module in MODULES[name])
