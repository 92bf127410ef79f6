"""The other end of a guest's network, over this machine's own loopback."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from guestroom.lab.study.beside import Peer


@pytest.fixture(params=[True, False])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """A peer that sends, and one that takes."""
    made = Peer(sends=request.param)
    yield made
    made.close()


def ends(stream: socket.socket) -> bool:
    """Whether the other end hangs up."""
    stream.settimeout(5)
    try:
        while stream.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    return True


def test_what_goes_through_is_counted(peer: Peer) -> None:
    """Bytes are counted whichever way they go."""
    with socket.create_connection(("127.0.0.1", peer.port), 5) as stream:
        if peer.sends:
            assert stream.recv(1000)
        else:
            stream.sendall(bytes(1000))
        deadline_s = time.monotonic() + 5
        while peer.moved_bytes < (1 if peer.sends else 1000) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert peer.moved_bytes >= (1 if peer.sends else 1000)
        peer.hang_up()
        assert ends(stream)


def test_whoever_comes_late_is_not_left_waiting(peer: Peer) -> None:
    """A stream that was not accepted before the end ends with it, and one after it is refused."""
    peer.hang_up()
    try:
        with socket.create_connection(("127.0.0.1", peer.port), 5) as stream:
            assert ends(stream)
    except ConnectionError:
        pass
    peer.close()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", peer.port), 5)
