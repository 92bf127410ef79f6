"""Faults of the machine and of guestroom's own processes: nobody is killed, and the state is right afterwards.

Each test plants one fault while guests live and grow: alarms lost, a storm of events, an agent or alarm process that
stands still, a slow and a full disk, a clock that jumps. Afterwards nobody has hit a wall, ledger, agent and kernel
say the same, and the events say what happened.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.faults import TIGHT, Small, alarm_pid, cpu_s, refused, unharmed
from tests.integration.test_bad_input import fill, mounted
from tests.integration.test_launch import firmware, run_firmware, running, until

from guestroom.errors import GuestroomError
from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = """
[host]
reserve = "800MiB"
headroom = "256MiB"
guard = "48MiB"
[sizing]
policy = "openshift"
[timing]
settle_s = 0
sweep_s = 0.2
"""


@contextlib.contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Processes that stand still (SIGSTOP); one that is gone by the end needs no SIGCONT."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def grant(host: Host, name: str) -> int:
    """Its grant now."""
    value = host.ps()[name]["grant_bytes"]
    assert isinstance(value, int)
    return value


def overhead(host: Host, name: str) -> int:
    """Its overhead as last seen."""
    value = host.ps()[name]["overhead_bytes"]
    assert isinstance(value, int)
    return value


def over_its_grant(host: Host, guest: Small, by_bytes: int) -> int:
    """How much it has to grow to be so far above its grant; for when its overhead is known."""
    assert until(lambda: host.ps()[guest.name]["overhead_bytes"] is not None)
    return (grant(host, guest.name) + by_bytes - overhead(host, guest.name)) // MIB * MIB


# --- alarms lost ---------------------------------------------------------------------------------------------


def test_with_alarms_lost_the_sweep_raises(make_host: MakeHost, image: GuestImage) -> None:
    """A loaded guest grows over its grant while the alarm process stands still: the agent's sweep raises it."""
    host = make_host(SETTINGS)
    vm, other = host.run(host.machine("A", image)), Small(host, "B")
    assert vm.wait_alive(60)
    assert until(lambda: host.ps()["A"]["overhead_bytes"] is not None)
    before = grant(host, "A")
    with stopped(alarm_pid(host)):
        vm.grow(before - overhead(host, "A") + 60 * MIB, "load", threads=2)
        assert until(lambda: grant(host, "A") >= overhead(host, "A") > before, 3)
        assert vm.alive() is None
    assert other.alive
    assert host.wait_for("grown", "A")
    assert not host.events("held")
    assert refused(host, "A") == 0
    unharmed(host)


def test_an_alarm_process_that_stands_still_is_replaced(make_host: MakeHost) -> None:
    """One that does not answer is ended by its agent and a new one holds who must be held; the event says so."""
    host = make_host(TIGHT)
    guest = Small(host, "A")
    deaf = alarm_pid(host)
    grow = over_its_grant(host, guest, 110 * MIB)
    with stopped(deaf):
        guest.grow(grow, "load")
        event = host.wait_for("alarm_error", timeout_s=15)
        assert f"pid {deaf}" in event["message"]
        host.wait_for("held", "A", timeout_s=10)
    assert alarm_pid(host) != deaf
    assert refused(host, "A") == 0
    unharmed(host)
    assert host.ps()["A"]["held"]
    assert host.stop() == 0
    assert guest.alive, "a clean stop lets it go"


def test_a_killed_alarm_process_hands_its_hold_on(make_host: MakeHost) -> None:
    """kill -9 of the alarm process while it holds a guest: the new one keeps the hold until there is room."""
    host = make_host(TIGHT)
    guest = Small(host, "A")
    guest.grow(over_its_grant(host, guest, 20 * MIB), "first")
    grow = over_its_grant(host, guest, 110 * MIB)
    grower = threading.Thread(target=lambda: guest.grow(grow, "load", timeout_s=60))
    grower.start()
    host.wait_for("held", "A")
    os.kill(alarm_pid(host), signal.SIGKILL)
    host.wait_for("alarm_error")
    time.sleep(1.0)
    assert host.ps()["A"]["held"]
    unharmed(host)
    assert host.stop() == 0
    grower.join(30)
    guest.shrink("load")
    host.start()
    assert until(running(host, "A"))
    assert until(lambda: not host.ps()["A"]["held"])
    assert guest.alive


# --- an agent that stands still --------------------------------------------------------------------------------


def test_an_agent_stopped_for_ten_seconds(make_host: MakeHost, image: GuestImage) -> None:
    """While it stands still a guest grows and another ends: served from the headroom, and put in order afterwards."""
    host = make_host(SETTINGS)
    vm, other = host.run(host.machine("A", image)), Small(host, "B")
    assert vm.wait_alive(60)
    assert until(lambda: host.ps()["A"]["overhead_bytes"] is not None)
    share, grow = grant(host, "A"), grant(host, "A") - overhead(host, "A") + 80 * MIB
    assert host.process is not None
    alarm = alarm_pid(host)
    with stopped(host.process.pid, alarm):
        vm.grow(grow, "load", threads=2)
        os.kill(other.pid, signal.SIGTERM)
        time.sleep(10)
        assert vm.alive() is None
    assert until(lambda: list(host.ps()) == ["A"], 10)
    assert until(lambda: grant(host, "A") >= overhead(host, "A") > share, 10)
    host.wait_for("ended", "B")
    assert other.run.wait(20) == 0
    assert refused(host, "A") == 0
    assert alarm_pid(host) == alarm, "the alarm process was not to blame"
    unharmed(host)
    assert vm.alive() is None


def test_while_the_agent_is_stopped_the_alarm_holds(make_host: MakeHost) -> None:
    """With only the agent stopped a guest that uses up the headroom is held, and the agent hears of it later."""
    host = make_host(TIGHT)
    guest = Small(host, "A")
    grow = over_its_grant(host, guest, 120 * MIB)
    freezer = f"{host.layout.freezer_of('A')}/freezer.state"
    assert host.process is not None
    with stopped(host.process.pid):
        grower = threading.Thread(target=lambda: guest.grow(grow, "load", timeout_s=60))
        grower.start()
        assert until(lambda: host.files.read(freezer).strip() == "FROZEN", 5)
    host.wait_for("held", "A")
    assert refused(host, "A") == 0
    unharmed(host)
    assert host.stop() == 0
    grower.join(30)
    assert guest.alive


# --- storms ----------------------------------------------------------------------------------------------------

FLAPPING = """
import mmap, sys, time
sys.stdin.readline()
block = b"x" * (1 << 20)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    regions = [mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) for _ in range(2)]
    for region in regions:
        region.write(block)
    for region in regions:
        region.close()
"""


def flap(host: Host, guest: Small, seconds: float) -> subprocess.Popen[str]:
    """A helper in the guest's cgroup that touches and frees 2 MiB as fast as it can, hundreds of times a second."""
    words = [sys.executable, "-S", "-c", FLAPPING, str(seconds)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, text=True)
    host.files.write(f"{host.layout.vmm(guest.name)}/cgroup.procs", str(process.pid))
    return process


def test_a_storm_of_crossings_starves_nobody(make_host: MakeHost) -> None:
    """A guest around its grant crosses a rung all the time: its neighbour is raised, events and CPU are bounded."""
    host = make_host(
        SETTINGS.replace("[sizing]", 'alarm_step = "1MiB"\n[sizing]') + '[guests.A]\noverhead = "120MiB"\n'
    )
    flapping, other, idle = Small(host, "A"), Small(host, "B"), Small(host, "C")
    flapping.grow(over_its_grant(host, flapping, -1 * MIB), "up-to")
    before, alarm = len(host.events()), alarm_pid(host)
    assert host.process is not None
    storm = flap(host, flapping, 4.0)
    spent_s = cpu_s(alarm), cpu_s(host.process.pid)
    assert storm.stdin is not None
    storm.stdin.write("go\n")
    storm.stdin.flush()
    began_s, share = time.monotonic(), grant(host, "B")
    other.grow(over_its_grant(host, other, 20 * MIB), "load")
    assert until(lambda: grant(host, "B") >= overhead(host, "B") > share, 2)
    storm.wait(20)
    took_s = time.monotonic() - began_s
    alarm_s, agent_s = cpu_s(alarm) - spent_s[0], cpu_s(host.process.pid) - spent_s[1]
    print(f"alarm {alarm_s / took_s:.0%}, agent {agent_s / took_s:.0%} of a core")
    assert alarm_s < 0.35 * took_s
    assert agent_s < 0.8 * took_s
    assert len(host.events()) - before < 12
    assert not host.events("held")
    unharmed(host)
    assert all(guest.alive for guest in (flapping, other, idle))


def test_a_storm_of_requests_delays_no_growth(make_host: MakeHost, image: GuestImage) -> None:
    """Twelve clients ask without pause, guests come and go: one that grows is raised meanwhile and lives."""
    host = make_host(SETTINGS)
    vm, other = host.run(host.machine("A", image)), Small(host, "B")
    assert vm.wait_alive(60)
    assert until(lambda: host.ps()["A"]["overhead_bytes"] is not None)
    done = threading.Event()
    asked = [0]

    def ask() -> None:
        while not done.is_set():
            with contextlib.suppress(GuestroomError):
                host.client.get("/v1/guests")
                host.client.post("/v1/plan", {"name": "x", "argv": firmware()})
            asked[0] += 2

    def come_and_go() -> None:
        while not done.is_set():
            subprocess.run(
                [*host.run_words("bad"), "qemu-system-x86_64", "-m", "64Q"], capture_output=True, check=False
            )

    crowd = [threading.Thread(target=ask) for _ in range(12)] + [threading.Thread(target=come_and_go)]
    for one in crowd:
        one.start()
    try:
        time.sleep(0.5)
        before = grant(host, "A")
        vm.grow(before - overhead(host, "A") + 40 * MIB, "load", threads=2)
        assert until(lambda: grant(host, "A") > before, 5)
        assert vm.alive(10) is None
    finally:
        done.set()
        for one in crowd:
            one.join(60)
    assert asked[0] > 50
    assert other.alive
    assert refused(host, "A") == 0
    unharmed(host)


# --- disks -----------------------------------------------------------------------------------------------------

SLOW_FSYNC = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
static void wait_if_told(void) {
    const char *file = getenv("SLOW_FSYNC_WHILE");
    if (file && access(file, F_OK) == 0) usleep(1500000);
}
int fsync(int fd) { wait_if_told(); return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { wait_if_told(); return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(fd); }
"""
JUMPING_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    int code = ((int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime"))(id, at);
    char text[32] = {0};
    int fd = id == CLOCK_REALTIME ? open(getenv("JUMP_FILE"), O_RDONLY) : -1;
    if (fd >= 0) {
        if (read(fd, text, sizeof text - 1) > 0) at->tv_sec += atol(text);
        close(fd);
    }
    return code;
}
"""


def preloaded(folder: Path, source: str) -> str:
    """A library for LD_PRELOAD made from C."""
    (folder / "shim.c").write_text(source)
    library = folder / "shim.so"
    words = ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(folder / "shim.c"), "-ldl"]
    subprocess.run(words, check=True, capture_output=True)
    return str(library)


def test_on_a_slow_disk_a_raise_waits_for_nothing(make_host: MakeHost, tmp_path: Path) -> None:
    """With each fsync taking 1.5 s a start waits for it, and a guest that grows meanwhile is raised at once (P8)."""
    settings = SETTINGS.replace("[sizing]", 'sharing = "static"\n[sizing]')
    host = make_host(settings + '[guests.B]\noverhead = "60MiB"\n', start=False)
    slow = tmp_path / "slow"
    host.env |= {"LD_PRELOAD": preloaded(tmp_path, SLOW_FSYNC), "SLOW_FSYNC_WHILE": str(slow)}
    host.start()
    guest = Small(host, "A")
    grow, share = over_its_grant(host, guest, 40 * MIB), grant(host, "A")
    slow.touch()
    late = run_firmware(host, "B")
    time.sleep(0.7)
    guest.grow(grow, "load")
    assert until(lambda: grant(host, "A") >= overhead(host, "A") > share, 0.7), "no fsync was waited for"
    assert not running(host, "B")(), "a start is durable before it is carried out"
    assert host.figure(guest.folder, "memory.limit_in_bytes") == host.ps()["A"]["limit_bytes"]
    slow.unlink()
    assert until(running(host, "B"), 30)
    host.wait_for("grown", "A")
    unharmed(host)
    assert guest.alive
    assert late.poll() is None


def test_on_a_full_disk_guests_grow_and_are_held(make_host: MakeHost, tmp_path: Path) -> None:
    """Nothing can be written while a guest is raised and held: both are done, and told in order when there is room."""
    with mounted(tmp_path / "small", "size=1m,mode=0700") as small:
        host = make_host(TIGHT.replace('sharing = "static"\n', ""), start=False)
        host.state = str(small / "state")
        host.start()
        guest = Small(host, "A")
        filler = fill(small)
        grow = over_its_grant(host, guest, 120 * MIB)
        grower = threading.Thread(target=lambda: guest.grow(grow, "load", timeout_s=60))
        grower.start()
        assert until(lambda: host.ps()["A"]["held"], 10)
        assert refused(host, "A") == 0
        assert host.process is not None
        assert host.process.poll() is None
        filler.unlink()
        held = host.wait_for("held", "A")
        assert held["numbers"]["over_bytes"] > 0
        unharmed(host)
        assert host.stop() == 0
        grower.join(30)
        assert guest.alive


# --- clocks ----------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_changes_no_limit(make_host: MakeHost, tmp_path: Path) -> None:
    """A year forward and two back, with growth and a restart between: told, nothing held or moved, numbers go on."""
    host = make_host(SETTINGS.replace("settle_s = 0", "settle_s = 1000"), start=False)
    jump = tmp_path / "jump"
    host.env |= {"LD_PRELOAD": preloaded(tmp_path, JUMPING_CLOCK), "JUMP_FILE": str(jump)}
    host.start()
    guest = Small(host, "A")
    assert until(lambda: host.ps()["A"]["overhead_bytes"] is not None)
    before = host.ps()["A"]
    year_s = 365 * 86400
    for seconds, moved in ((year_s, year_s), (-year_s, -2 * year_s)):
        jump.write_text(str(seconds))
        event = host.wait_for("clock_set", after=host.events()[-1]["number"] if moved < 0 else 0)
        assert abs(event["numbers"]["jumped_s"] - moved) < 2
        time.sleep(0.5)
        row = host.ps()["A"]
        for key in ("grant_bytes", "limit_bytes", "floor_bytes", "held"):
            assert row[key] == before[key], key
        if moved > 0:
            assert host.stop() == 0
            host.start()
            assert host.ps()["A"]["floor_bytes"] == before["floor_bytes"], "still unsettled: it began minutes ago"
    events = host.events()
    assert [event["number"] for event in events] == sorted({event["number"] for event in events})
    guest.grow(100 * MIB, "load")
    assert until(lambda: overhead(host, "A") > before["overhead_bytes"] + 90 * MIB)
    unharmed(host)
    assert guest.alive
