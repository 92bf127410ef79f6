"""What a measured guest needs beside it: the other end of its network, a share's server, huge pages, VNC clients.

Only the share's server is part of the guest's bill, and runs in its cgroup; the rest belongs to whoever measures.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from guestroom.errors import HostError

SERVER = "/usr/lib/qemu/virtiofsd"
"""The share's server that comes with QEMU 7.2 (Debian: qemu-system-common)."""
_HUGE_PAGES = "/proc/sys/vm/nr_hugepages"
HUGE_MIB = 2
_HUGE_LOCK = threading.Lock()
_CHUNK = bytes(1 << 16)


class Peer:
    """A TCP server on this host's loopback, which QEMU's user network shows its guest as the gateway."""

    def __init__(self, *, sends: bool) -> None:
        self.sends, self.moved_bytes = sends, 0
        self._ended = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.2)
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        # Closing refuses whoever comes late, and resets those that nobody accepted: their programs end as well.
        with self._socket:
            while not self._ended.is_set():
                with contextlib.suppress(TimeoutError):
                    stream, _ = self._socket.accept()
                    self._threads.append(threading.Thread(target=self._move, args=(stream,), daemon=True))
                    self._threads[-1].start()

    def _move(self, stream: socket.socket) -> None:
        stream.settimeout(0.2)
        with stream:
            while not self._ended.is_set():
                try:
                    moved = stream.send(_CHUNK) if self.sends else len(stream.recv(1 << 16))
                except TimeoutError:
                    continue
                except OSError:
                    return
                self.moved_bytes += moved
                if not moved:
                    return

    def hang_up(self) -> None:
        """Ask all streams to end: the guest's programs end with them."""
        self._ended.set()

    def close(self) -> None:
        """Hang up, and wait until all streams have ended."""
        self.hang_up()
        for thread in self._threads:
            thread.join(2.0)


@contextlib.contextmanager
def huge_pages(wanted_mib: int) -> Iterator[None]:
    """A pool of huge pages that large, and as it was afterwards; one user at a time.

    Raises ``HostError`` where the machine has not so much unbroken memory, or may not be told.
    """
    if not wanted_mib:
        yield
        return
    path = Path(_HUGE_PAGES)
    with _HUGE_LOCK:
        try:
            before = int(path.read_text())
            count = before + -(-wanted_mib // HUGE_MIB)
            path.write_text(str(count))
            got = int(path.read_text())
        except (OSError, ValueError) as error:
            raise HostError(f"no huge pages can be set aside: {error}", where=_HUGE_PAGES) from error
        try:
            if got < count:
                raise HostError(
                    f"this machine set {got - before} huge pages aside, {count - before} are needed",
                    where=_HUGE_PAGES,
                    hint="its memory is broken into small pieces: try after a restart",
                )
            yield
        finally:
            path.write_text(str(before))


@contextlib.contextmanager
def share_server(folder: Path, number: int, cgroup: str) -> Iterator[None]:
    """A virtiofsd for the guest's share ``number``, in the guest's cgroup. Raises ``HostError``."""
    shared, path = folder / f"share{number}", folder / f"fs{number}"
    shared.mkdir()
    argv = [SERVER, f"--socket-path={path}", "-o", f"source={shared}", "-o", "sandbox=chroot"]
    if not Path(SERVER).exists():
        raise HostError("there is no virtiofsd", where=SERVER, hint="apt-get install qemu-system-common (QEMU 7.2)")
    words = ["sh", "-c", f'echo $$ > "{cgroup}/cgroup.procs" && exec "$@"', "sh", *argv]
    log = folder / f"fs{number}.err"
    with log.open("wb") as errors:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
    try:
        deadline_s = time.monotonic() + 10
        while not path.exists():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise HostError(f"virtiofsd did not start: {log.read_text(errors='replace').strip()[-300:]}")
            time.sleep(0.01)
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def viewers(path: str, count: int) -> Iterator[None]:
    """VNC clients that look at the whole picture. Raises ``HostError``."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(_viewer(path))
        yield


def _viewer(path: str) -> socket.socket:
    """One client by the RFB protocol (RFC 6143), shared, that asked for one whole picture. Raises ``HostError``."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10)
    try:
        client.connect(path)
        client.send(client.recv(12))
        client.recv(64)
        client.send(b"\x01")
        client.recv(4)
        client.send(b"\x01")
        size = client.recv(256)[:4]
        client.send(b"\x03\x00\x00\x00\x00\x00" + size)
        client.recv(4096)
    except OSError as error:
        client.close()
        raise HostError(f"no VNC client could connect: {error}", where=path) from error
    return client
