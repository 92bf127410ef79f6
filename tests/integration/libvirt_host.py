"""A real libvirtd of a test's own: its configuration, sockets and state in a folder, in a mount namespace of its own.

A libvirt that does real work on this machine is neither used nor disturbed. Cgroups are the machine's, so domains
land where libvirt puts them (``/machine/qemu-N-NAME.libvirt-qemu``). Started by hand, because there may be no systemd.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from guestroom.lab.image import GuestImage

QEMU_CONF = """
user = "root"
group = "root"
security_driver = "none"
remember_owner = 0
namespaces = []
"""
LIBVIRTD_CONF = """
auth_unix_rw = "none"
auth_unix_ro = "none"
"""
_DAEMONS = """
set -e
mount --make-rprivate /
mount --bind {0}/etc /etc/libvirt
mount --bind {0}/run /run
mount --bind {0}/lib /var/lib/libvirt
mount --bind {0}/cache /var/cache/libvirt
mount --bind {0}/log /var/log/libvirt
virtlogd >{0}/virtlogd.out 2>&1 &
echo $! >{0}/virtlogd.pid
while [ ! -S /run/libvirt/virtlogd-sock ]; do sleep 0.05; done
libvirtd >{0}/libvirtd.out 2>&1 &
echo $! >{0}/libvirtd.pid
wait
"""


class Libvirt:
    """``with Libvirt() as libvirt``; every domain made is destroyed at the end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="guestroom-libvirt-"))
        for name in ("etc", "run", "lib", "cache", "log"):
            (self.folder / name).mkdir()
        shutil.copytree("/etc/libvirt", self.folder / "etc", dirs_exist_ok=True)
        for network in (self.folder / "etc").glob("qemu/networks/autostart/*"):
            network.unlink()
        (self.folder / "etc" / "qemu.conf").write_text(QEMU_CONF)
        (self.folder / "etc" / "libvirtd.conf").write_text(LIBVIRTD_CONF)
        self.uri = f"qemu+unix:///system?socket={self.folder}/run/libvirt/libvirt-sock"
        self.domains: list[str] = []
        self._there = set(Path("/sys/fs/cgroup").glob("*/machine"))
        self._shell: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Libvirt:
        script = _DAEMONS.format(self.folder)
        with (self.folder / "shell.out").open("wb") as out:
            self._shell = subprocess.Popen(
                ["unshare", "-m", "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        deadline_s = time.monotonic() + 30
        while self.virsh("list").returncode != 0:
            assert self._shell.poll() is None, self.said()
            assert time.monotonic() < deadline_s, f"libvirtd does not answer: {self.said()}"
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.domains:
            self.virsh("destroy", name)
        for daemon in ("libvirtd", "virtlogd"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((self.folder / f"{daemon}.pid").read_text()), signal.SIGTERM)
        if self._shell is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._shell.wait(15)
            self._shell.kill()
            self._shell.wait()
        for folder in set(Path("/sys/fs/cgroup").glob("*/machine")) - self._there:
            with contextlib.suppress(OSError):
                folder.rmdir()
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self) -> str:
        """What the daemons said."""
        return "\n".join(path.read_text(errors="replace")[-1500:] for path in sorted(self.folder.glob("*.out")))

    def virsh(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A virsh command."""
        env = os.environ | {"LIBVIRT_DEFAULT_URI": self.uri, "LC_ALL": "C"}
        return subprocess.run(["virsh", "-q", *words], capture_output=True, text=True, timeout=60, env=env)

    def start(self, name: str, image: GuestImage, ram_mib: int = 256) -> Path:
        """Start a domain of the test guest; the file that its serial line goes to."""
        serial = self.folder / f"{name}.serial"
        definition = self.folder / f"{name}.xml"
        options = "console=ttyS0 quiet guestroom.role=story guestroom.io=off guestroom.touch=0 guestroom.rate=50"
        definition.write_text(
            f"""<domain type='qemu'><name>{name}</name><uuid>{uuid.uuid4()}</uuid>
            <memory unit='MiB'>{ram_mib}</memory><vcpu>1</vcpu>
            <os><type arch='x86_64' machine='q35'>hvm</type><kernel>{image.kernel}</kernel>
            <initrd>{image.initrd}</initrd><cmdline>{options}</cmdline></os>
            <devices><emulator>{shutil.which("qemu-system-x86_64")}</emulator>
            <serial type='file'><source path='{serial}'/></serial><memballoon model='none'/></devices></domain>"""
        )
        self.domains.append(name)
        done = self.virsh("create", str(definition))
        assert done.returncode == 0, done.stderr + self.said()
        return serial

    def hard_limit(self, name: str) -> int | str:
        """What ``virsh memtune`` says: KiB, or ``unlimited``."""
        done = self.virsh("memtune", name, "--live")
        assert done.returncode == 0, done.stderr
        found = next(line for line in done.stdout.splitlines() if line.startswith("hard_limit")).split(":")[1].strip()
        return int(found) if found.isdecimal() else found

    def grow(self, name: str, size_bytes: int, identity: str) -> None:
        """Have the domain's QEMU take memory, through libvirt: its monitor is libvirt's."""
        command = (
            f'{{"execute":"object-add","arguments":{{"qom-type":"memory-backend-ram","id":"{identity}",'
            f'"size":{size_bytes},"prealloc":true,"prealloc-threads":2}}}}'
        )
        done = self.virsh("qemu-monitor-command", name, command)
        assert done.returncode == 0, done.stderr
        assert '"error"' not in done.stdout, done.stdout

    def shrink(self, name: str, identity: str) -> None:
        """Give it back."""
        command = f'{{"execute":"object-del","arguments":{{"id":"{identity}"}}}}'
        assert self.virsh("qemu-monitor-command", name, command).returncode == 0
