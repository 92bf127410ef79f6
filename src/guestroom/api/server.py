"""Serving the API on a unix socket of our own making.

uvicorn's own ``--uds`` makes a world-writable socket, and an open stream blocks its shutdown; so the
socket is bound here with mode 0660, and shutdown has a time-out. Peer credentials (who connects, by the
kernel's word) are put where a TCP server has the peer's port.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import grp
import logging
import os
import socket
import stat
import struct

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from guestroom.errors import AgentError

_PATH_BYTES = 107
"""Longest path of a unix socket: sun_path is 108 bytes with its NUL (unix(7))."""


_PATIENCE_S = 30.0
"""How long a client may owe the rest of a request. uvicorn waits for ever for a first one that never comes."""


class PeerProtocol(H11Protocol):
    """h11 with SO_PEERCRED: ``scope["client"]`` is (uid as text, pid). Who sends nothing, or half a request, is cut."""

    patience_s = _PATIENCE_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the credentials once per connection."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        size = struct.calcsize("3i")
        pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        self.client = (str(uid), pid)
        self._heard_s = self.loop.time()
        self._looking = self.loop.call_later(self.patience_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        self._looking.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Note that the client is still sending."""
        self._heard_s = self.loop.time()
        super().data_received(data)

    def _look(self) -> None:
        """Close a connection whose client has owed a request, or the rest of one, for too long."""
        owes = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if owes and self.loop.time() - self._heard_s >= self.patience_s:
            self.transport.close()
            return
        self._looking = self.loop.call_later(self.patience_s, self._look)


def bind_socket(path: str, group: str | None) -> socket.socket:
    """Bind the agent's socket at ``path``, mode 0660.

    A socket left by an agent that is gone is replaced; one that answers, or that belongs to another user,
    or a path that is something else, is an ``AgentError``: it is never taken over.
    """
    if len(path.encode()) > _PATH_BYTES:
        raise AgentError(
            f"the socket path is too long: {len(path.encode())} bytes, {_PATH_BYTES} at most",
            where=path,
            hint="choose a shorter --socket",
        )
    try:
        _make_folder(os.path.dirname(path) or ".")  # noqa: PTH120
        _clear(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o117)
        try:
            listener.bind(path)
            listener.listen(128)
        finally:
            os.umask(before)
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError as error:
        raise AgentError(f"there is no group {group!r}", where="host.socket_group", hint="groupadd it") from error
    except OSError as error:
        text = f"{errno.errorcode.get(error.errno or 0, '?')} {error.strerror}"
        raise AgentError(
            f"the agent's socket can't be made: {text}", where=path, hint="choose another --socket"
        ) from error
    listener.setblocking(False)
    return listener


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, mode=0o755, exist_ok=True)  # noqa: PTH103
    except FileExistsError as error:
        # What is in the way is a file: "File exists" would send its reader to the socket.
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from error


def _clear(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise AgentError("this path is not a socket; it is left alone", where=path, hint="choose another --socket")
    if found.st_uid != os.geteuid():
        raise AgentError(
            f"this socket belongs to user {found.st_uid}; it is left alone", where=path, hint="choose another --socket"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108
            return
    raise AgentError("another agent answers on this socket", where=path, hint="stop it, or choose another --socket")


def build_server(app: FastAPI) -> uvicorn.Server:
    """A server that leaves signals to its caller."""
    config = uvicorn.Config(
        app,
        http=PeerProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=60,
    )
    logging.getLogger("uvicorn.error").addFilter(is_news)
    return uvicorn.Server(config)


def is_news(record: logging.LogRecord) -> bool:
    """False for what the server says of streams that it cuts when the agent stops: that is meant, and no failure."""
    cut = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cut and "timeout graceful shutdown exceeded" not in record.getMessage()
