"""A rewritten command line starts the real QEMU stopped, watched, and with its RAM in place."""

from __future__ import annotations

from pathlib import Path

import pytest
from qemu_probe import BASE, QEMU, have_qemu, ram_blocks, running

from guestroom.describe import prepare
from guestroom.units import MIB

pytestmark = [pytest.mark.integration, pytest.mark.skipif(not have_qemu(), reason="no qemu-system-x86_64 here")]

REST = [argument for argument in BASE if argument != "-S"]
CONFIG = '[machine]\n  type = "q35"\n[memory]\n  size = "96"\n[smp-opts]\n  cpus = "2"\n'
CONFIG_OBJECT = (
    '[object "r"]\n  qom-type = "memory-backend-ram"\n  size = "96M"\n  prealloc = "on"\n'
    '[machine]\n  memory-backend = "r"\n'
)
CASES = {
    "plain": ("-m 96", None, [96]),
    "q35": ("-M q35 -m 96", None, [96]),
    "maxmem": ("-m 96M,slots=2,maxmem=1G", None, [96]),
    "backend": (
        "-m 96 -object memory-backend-ram,id=r,size=96M,prealloc=off, -machine pc,memory-backend=r",
        None,
        [96],
    ),
    "numa": (
        "-m 160 -object memory-backend-ram,id=a,size=64M "
        '-object {"qom-type":"memory-backend-ram","id":"b","size":100663296,"prealloc":false} '
        "-numa node,memdev=a -numa node,nodeid=1,memdev=b",
        None,
        [64, 96],
    ),
    "memfd": ("-m 96 -object memory-backend-memfd,id=r,size=96M,share=on -machine memory-backend=r", None, [96]),
    "dimm": (
        "-m 96,slots=1,maxmem=1G -object memory-backend-ram,id=d,size=128M -device pc-dimm,memdev=d",
        None,
        [96, 128],
    ),
    "virtio-mem": (
        "-m 96,maxmem=1G -object memory-backend-ram,id=d,size=128M -device virtio-mem-pci,memdev=d",
        None,
        [96],
    ),
    "global switch": ("-m 96 -mem-prealloc -object memory-backend-ram,id=x,size=64M", None, [96]),
    "old numa": ("-M pc-i440fx-5.0 -m 96 -numa node,mem=32 -numa node,mem=64", None, [96]),
    "microvm": ("-M microvm -m 96", None, [96]),
    "readconfig": ("-readconfig CONFIG", CONFIG, [96]),
    "readconfig object": ("-readconfig CONFIG", CONFIG_OBJECT, [96]),
    "incoming": ("-m 96 -incoming defer", None, [96]),
}


@pytest.mark.parametrize("case", CASES)
def test_prepared_qemu_waits_with_its_ram(tmp_path: Path, case: str) -> None:
    """The real QEMU takes the rewritten line, answers on our monitor before any vCPU ran, and its RAM is resident."""
    text, config, sizes = CASES[case]
    path = tmp_path / "guest.cfg"
    path.write_text(config or "")
    argv = [QEMU, *(str(path) if word == "CONFIG" else word for word in text.split()), *REST]
    monitor_path = tmp_path / "mon,itor"
    prepared = prepare(argv, monitor_path=str(monitor_path), readconfig={str(path): config} if config else {})
    assert [size // MIB for size in prepared.ram_block_bytes] == sizes
    with running(prepared.argv, monitor_path) as (pid, monitor):
        status = monitor.command("query-status")["status"]
        memory = monitor.command("query-memory-size-summary")
        blocks = ram_blocks(pid)
    assert status == ("inmigrate" if case == "incoming" else "prelaunch")
    assert prepared.own_stop is (case != "incoming")
    assert memory["base-memory"] + memory.get("plugged-memory", 0) == sum(sizes) * MIB
    for size in prepared.ram_block_bytes:
        assert (size, size) in blocks, f"no fully resident block of {size} bytes in {blocks}"


def test_nothing_else_is_filled(tmp_path: Path) -> None:
    """A memory object that is no RAM stays empty, also where the user asked for the global switch."""
    argv = [QEMU, "-m", "96", "-mem-prealloc", "-object", "memory-backend-ram,id=x,size=64M", *REST]
    monitor_path = tmp_path / "monitor"
    prepared = prepare(argv, monitor_path=str(monitor_path), readconfig={})
    with running(prepared.argv, monitor_path) as (pid, _):
        resident = dict(ram_blocks(pid))
    assert resident[96 * MIB] == 96 * MIB
    assert resident[64 * MIB] == 0


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        # The default of -nographic: serial port and human monitor share stdio through a multiplexer.
        ("-nographic", {"serial0": "mux", "parallel0": "null"}),
        ("-nographic -serial null", {"serial0": "null", "parallel0": "null", "compat_monitor0": "stdio"}),
        ("-display none", {"serial0": "vc", "parallel0": "vc", "compat_monitor0": "vc"}),
        ("-display none -monitor none", {"serial0": "vc", "parallel0": "vc"}),
        ("-display none -nodefaults", {}),
    ],
)
def test_the_users_own_monitor_stays(tmp_path: Path, text: str, devices: dict[str, str]) -> None:
    """QEMU's default human monitor, which any -mon takes away, is still where it would be without ours."""
    monitor_path = tmp_path / "monitor"
    argv = [QEMU, "-m", "32", "-accel", "tcg,tb-size=8", *text.split()]
    prepared = prepare(argv, monitor_path=str(monitor_path), readconfig={})
    with running(prepared.argv, monitor_path) as (_, monitor):
        found = {each["label"]: each["filename"].partition(":")[0] for each in monitor.command("query-chardev")}
    del found["guestroom-monitor"]
    found.pop("serial0-base", None)
    assert found == devices
