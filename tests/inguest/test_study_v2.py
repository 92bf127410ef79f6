"""Where a study charges its guests on a real v2 kernel: together, and with RAM charged apart."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from tests.inguest.test_agent_v2 import RAM_MIB, until
from tests.inguest.test_explain_v2 import holds_together, settled, stopped

from guestroom.kernelfs import KernelFiles
from guestroom.lab.study.home import Home, make_home
from guestroom.observe.qmp import QmpClient
from guestroom.units import MIB


def started(home: Home, monitor: Path) -> subprocess.Popen[bytes]:
    """A QEMU with preallocated RAM that waits, as a study starts one."""
    backend = f"memory-backend-ram,id=ram0,size={RAM_MIB}M,prealloc=on"
    argv = ["qemu-system-x86_64", "-M", "q35,memory-backend=ram0", "-m", f"{RAM_MIB}M", "-object", backend]
    argv += ["-accel", "tcg,tb-size=8", "-nodefaults", "-display", "none", "-S"]
    argv += ["-qmp", f"unix:{monitor},server=on,wait=off"]
    words = ["sh", "-c", f'echo $$ >{home.start}/cgroup.procs && exec "$@"', "sh", *argv]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("split", [False, True])
def test_a_studys_guest_is_charged_in_cgroups_of_its_own(split: bool) -> None:
    """Its RAM and the rest are charged where they are expected, explained, and nothing is left behind."""
    files = KernelFiles()
    home = make_home(files, f"study-{split}", split=split)
    try:
        assert home.version == 2
        with tempfile.TemporaryDirectory() as folder:
            monitor = Path(folder) / "qmp"
            process = started(home, monitor)
            with QmpClient(str(monitor), 60.0) as client:
                client.query_status()
                if split:
                    home.move(process.pid)
                client.cont()
            until(settled(process.pid), 20)
            seen = stopped(process.pid)
            holds_together(seen)
            assert seen.cgroup == home.memory
            assert seen.sizes()["guest RAM"] == RAM_MIB * MIB
            if split:
                held = int(files.read(f"{home.start}/memory.current"))
                assert RAM_MIB * MIB <= held < (RAM_MIB + 48) * MIB
                assert int(files.read(f"{home.rest}/memory.current")) > MIB
    finally:
        home.remove()
    process.wait(10)
    assert not Path(home.memory).exists()
