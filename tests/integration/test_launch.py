"""A guest's start and end as its user sees it: stdio, exit codes, signals, refusals, and room given back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.conftest import MakeHost

from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.units import MIB

pytestmark = pytest.mark.integration

ROOMY = """
[host]
reserve = "1GiB"
headroom = "128MiB"
"""
TINY = """
[host]
reserve = "300MiB"
headroom = "0"
guard = "0"
"""


def until(done: Callable[[], bool], timeout_s: float = 15.0) -> bool:
    """Whether something came true in time."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if done():
            return True
        time.sleep(0.02)
    return False


def firmware(ram_mib: int = 64, *extra: str) -> list[str]:
    """A small guest without a kernel: SeaBIOS is enough where only the process matters."""
    return [
        *("qemu-system-x86_64", "-M", "q35", "-m", str(ram_mib), "-accel", "tcg,tb-size=8", "-nodefaults"),
        *("-display", "none", "-monitor", "none", *extra),
    ]


def run_firmware(
    host: Host, name: str, *options: str, extra: tuple[str, ...] = (), ram_mib: int = 64
) -> subprocess.Popen[str]:
    """`guestroom run` of a firmware guest."""
    argv = [*host.run_words(name, *options), *firmware(ram_mib, *extra)]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def running(host: Host, name: str) -> Callable[[], bool]:
    """A condition: this guest runs."""
    return lambda: host.ps().get(name, {}).get("state") == "running"


def room_is_back(host: Host) -> bool:
    """No guest under care, no cgroup left, and the wall at the reserve alone."""
    wall = host.figure(host.layout.memory, "memory.limit_in_bytes")
    return (
        not host.ps()
        and not host.files.list_dirs(host.layout.memory)
        and wall == host.client.get("/v1/host")["reserve_bytes"]
    )


def test_stdin_and_stdout_are_qemus(make_host: MakeHost, image: GuestImage) -> None:
    """What is typed reaches the guest, what the guest prints reaches stdout, and nothing of guestroom is in between."""
    host = make_host(ROOMY)
    vm = host.run(host.machine("talk", image, role="shell", io="off"))
    assert until(lambda: vm.signs.booted, 60)
    vm.type("echo @@SAID $((6*7))")
    assert until(lambda: any("@@SAID 42" in line for line in vm.signs.lines))
    assert "guestroom: guest talk gets" in vm.stderr()


def test_exit_code_is_qemus(make_host: MakeHost, image: GuestImage) -> None:
    """A guest that powers itself off ends run with QEMU's own exit code 0, and its room is back."""
    host = make_host(ROOMY)
    vm = host.run(host.machine("off", image, role="shell", io="off"))
    assert until(lambda: vm.signs.booted, 60)
    vm.type("poweroff")
    assert vm.process.wait(20) == 0
    assert until(lambda: room_is_back(host))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, 137)])
def test_a_signal_to_qemu_shows_in_the_exit_code(make_host: MakeHost, number: int, code: int) -> None:
    """QEMU ends on TERM and INT by itself (0); killed it is 128 + 9; the room comes back each time."""
    host = make_host(ROOMY)
    process = run_firmware(host, "sig")
    assert until(running(host, "sig"))
    os.kill(host.ps()["sig"]["pid"], number)
    assert process.wait(20) == code
    assert until(lambda: room_is_back(host))


def test_a_signal_to_run_is_passed_on(make_host: MakeHost) -> None:
    """SIGTERM to run ends QEMU cleanly, not run alone."""
    host = make_host(ROOMY)
    process = run_firmware(host, "pass")
    assert until(running(host, "pass"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert "terminating on signal 15" in process.stderr.read() if process.stderr else False
    assert until(lambda: room_is_back(host))


def test_a_guest_outlives_its_run(make_host: MakeHost) -> None:
    """kill -9 of run leaves the guest running under its limit and under care; its room comes back when it ends."""
    host = make_host(ROOMY)
    process = run_firmware(host, "orphan")
    assert until(running(host, "orphan"))
    pid, limit = host.ps()["orphan"]["pid"], host.ps()["orphan"]["limit_bytes"]
    process.kill()
    process.wait()
    time.sleep(1.5)
    assert host.ps()["orphan"]["state"] == "running"
    assert host.figure(host.layout.guest("orphan"), "memory.limit_in_bytes") == limit
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: room_is_back(host))


def test_a_reservation_dies_with_its_connection(make_host: MakeHost) -> None:
    """A run killed while its guest starts leaves neither a process nor a reservation."""
    host = make_host(ROOMY)
    process = run_firmware(host, "gone", ram_mib=2048)
    assert until(lambda: host.ps().get("gone", {}).get("pid") is not None)
    pid = host.ps()["gone"]["pid"]
    process.kill()
    process.wait()
    assert until(lambda: room_is_back(host))
    assert until(lambda: not Path(f"/proc/{pid}").exists())


def test_qemu_that_dies_while_starting(make_host: MakeHost) -> None:
    """A wrong QEMU option ends run with QEMU's own message and code, and nothing is left."""
    host = make_host(ROOMY)
    process = run_firmware(host, "typo", extra=("-device", "no-such-device"))
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "no-such-device" in stderr
    assert until(lambda: room_is_back(host))


def test_a_program_that_is_not_there(make_host: MakeHost) -> None:
    """A misspelt QEMU ends run with 127 and its name, and nothing is left."""
    host = make_host(ROOMY)
    process = subprocess.run(
        [*host.run_words("miss"), "qemu-system-none", "-m", "64"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert process.returncode == 127
    assert "qemu-system-none" in process.stderr
    assert until(lambda: room_is_back(host))


def test_a_refusal_has_the_numbers(make_host: MakeHost) -> None:
    """A guest that does not fit ends with 3 and says what was asked, what is left, who holds what, and what helps."""
    host = make_host(TINY)
    first = run_firmware(host, "first", "--on-short", "squeeze")
    assert until(running(host, "first"))
    second = run_firmware(host, "second", "--on-short", "refuse")
    _, stderr = second.communicate(timeout=30)
    assert second.returncode == 3
    for word in ("second", "MiB", "first"):
        assert word in stderr
    event = host.wait_for("refused", "second")
    assert event["numbers"]["short_bytes"] > 0
    assert "first" in str(event["numbers"]["holders"])
    first.terminate()
    assert first.wait(20) == 0


def test_the_verdict_descriptor_gets_one_json_line(make_host: MakeHost) -> None:
    """--verdict-fd has the verdict as one JSON line, before QEMU starts, and the descriptor is closed for QEMU."""
    host = make_host(ROOMY)
    reader, writer = os.pipe()
    argv = [*host.run_words("fd", "--verdict-fd", str(writer)), *firmware()]
    process = subprocess.Popen(argv, pass_fds=(writer,), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as file:
        verdict = json.loads(file.readline())
        assert verdict["verdict"] == "admit"
        assert verdict["grant_bytes"] + 64 * MIB <= verdict["limit_bytes"]
        assert until(running(host, "fd"))
        assert not Path(f"/proc/{host.ps()['fd']['pid']}/fd/{writer}").exists()
        process.terminate()
        process.wait(20)
        assert file.read() == ""


def test_the_users_own_stop_is_respected(make_host: MakeHost, image: GuestImage) -> None:
    """A guest started with -S stays paused until its user continues it."""
    host = make_host(ROOMY)
    vm = host.run(host.machine("paused", image, extra=("-S",)))
    assert until(lambda: host.ps().get("paused", {}).get("state") == "paused", 30)
    assert vm.qmp("query-status")["status"] in ("prelaunch", "paused")  # type: ignore[index]
    assert vm.signs.beats == 0
    vm.qmp("cont")
    assert vm.wait_alive(60)


def test_a_guest_described_by_readconfig(make_host: MakeHost, tmp_path: Path) -> None:
    """RAM that only a -readconfig file names (as EVE writes it) is read, promised and preallocated."""
    host = make_host(ROOMY)
    config = tmp_path / "qemu.conf"
    config.write_text('[memory]\n  size = "96"\n\n[smp-opts]\n  cpus = "1"\n')
    argv = [*host.run_words("conf"), "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,tb-size=8", "-nodefaults"]
    argv += ["-display", "none", "-monitor", "none", "-readconfig", str(config)]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert until(running(host, "conf")), process.communicate()
    assert host.ps()["conf"]["ram_bytes"] == 96 * MIB
    process.terminate()
    assert process.wait(20) == 0


def test_wrong_usage_starts_nothing(make_host: MakeHost) -> None:
    """-daemonize, a bad name, a name that is taken and a malformed size end with 2 and a line that says what to do."""
    host = make_host(ROOMY)
    first = run_firmware(host, "taken")
    assert until(running(host, "taken"))
    cases = [
        (host.run_words("demon"), firmware(64, "-daemonize"), "daemonize"),
        (host.run_words("a/b"), firmware(), "letters"),
        (host.run_words("x" * 300), firmware(), "letters"),
        (host.run_words("taken"), firmware(), "already"),
        (host.run_words("size"), ["qemu-system-x86_64", "-m", "64Q"], "64Q"),
        (host.run_words("hint"), ["qemu-system-x86_64", "-m", "64", "-mem-path", "/tmp"], "share=on"),
    ]
    for words, argv, mention in cases:
        done = subprocess.run([*words, *argv], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 2, done.stderr
        assert mention in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    assert list(host.ps()) == ["taken"]
    first.terminate()
    first.wait(20)


def test_without_an_agent_nothing_starts(make_host: MakeHost) -> None:
    """No agent: run ends with 1, names the socket and says how to start one."""
    host = make_host(ROOMY, start=False)
    done = subprocess.run(
        [*host.run_words("alone"), *firmware()], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "guestroom agent" in done.stderr
    assert host.socket in done.stderr


def test_helpers_start_first_and_end_with_their_guest(make_host: MakeHost, tmp_path: Path) -> None:
    """A helper is in the guest's vmm before QEMU starts, counts as its overhead, and ends with it."""
    host = make_host(ROOMY)
    ready = tmp_path / "ready"
    helper = f"sh -c 'cat /proc/self/cgroup > {ready}; exec sleep 1000'"
    process = run_firmware(host, "help", "--helper", helper, "--helper-ready", str(ready))
    assert until(running(host, "help"))
    assert f"{host.cgroup}/help/vmm" in ready.read_text()
    pids = host.files.read(f"{host.layout.vmm('help')}/cgroup.procs").split()
    assert len(pids) == 2
    process.terminate()
    process.wait(20)
    assert until(lambda: room_is_back(host))
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
