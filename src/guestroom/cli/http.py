"""HTTP/1.1 to the agent's socket, just enough: one request a connection, an answer with its length or in chunks.

Python's own ``http.client`` takes 16 ms to import (it reads mail headers and knows TLS), a third of what
``guestroom run`` may add to a guest's start; this takes none. The agent is the only server it has to understand, so
whatever else is answered is a ``BadAnswerError``.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

_CONNECT_S = 5.0
_LONGEST_LINE = 1 << 16
_MOST_HEADERS = 100


class BadAnswerError(ValueError):
    """What came back is no answer of an agent, or it ended in the middle."""


class Answer:
    """An answer whose head was read. Closing it closes the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file: BinaryIO = connection.makefile("rb")
        self.status, self.reason = _status(self._line())
        headers = self._headers()
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        length = headers.get("content-length")
        if length is not None and not (length.isascii() and length.isdigit() and len(length) < 19):
            raise BadAnswerError(f"a length was expected, found {length[:40]!r}")
        self._length = None if length is None else int(length)

    def read(self) -> bytes:
        """The whole body. Raises ``BadAnswerError`` or ``OSError``."""
        return b"".join(self._pieces())

    def lines(self) -> Iterator[bytes]:
        """Lines of the body as they come, up to its end; a last one without its newline is not one."""
        rest = b""
        for piece in self._pieces():
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole

    def hang_up(self) -> None:
        """End the connection: the agent and whoever reads ``lines`` in another thread see it at once."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # the agent was quicker
            return

    def close(self) -> None:
        """Give the descriptors back."""
        self._file.close()
        self._connection.close()

    def _pieces(self) -> Iterator[bytes]:
        if not self._chunked:
            yield self._exactly(self._length) if self._length is not None else self._file.read()
            return
        while (size := _chunk_size(self._line())) > 0:
            yield self._exactly(size)
            if self._line():
                raise BadAnswerError("a chunk is longer than it said")

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise BadAnswerError(f"the answer ended after {len(data)} of {size} bytes")
        return data

    def _headers(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for _ in range(_MOST_HEADERS):
            line = self._line()
            if not line:
                return found
            name, colon, value = line.partition(":")
            if not colon:
                raise BadAnswerError(f"a header was expected, found {line[:40]!r}")
            found[name.strip().lower()] = value.strip()
        raise BadAnswerError(f"more than {_MOST_HEADERS} headers")

    def _line(self) -> str:
        raw = self._file.readline(_LONGEST_LINE)
        if not raw.endswith(b"\n"):
            raise BadAnswerError("the agent ended the connection" if len(raw) < _LONGEST_LINE else "a line is too long")
        return raw.decode("latin-1").rstrip("\r\n")


def ask(path: str, method: str, target: str, body: bytes | None, *, answer_s: float | None = None) -> Answer:
    """Send one request to the socket at ``path``; each wait for its answer may take ``answer_s``, None: for ever.

    Raises ``OSError`` or ``BadAnswerError``.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT_S)
        connection.connect(path)
        connection.settimeout(answer_s)
        head = f"{method} {target} HTTP/1.1\r\nhost: guestroom\r\n"
        if body is not None:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        # An agent that refuses a body without reading all of it has answered nevertheless.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(f"{head}\r\n".encode() + (body or b""))
        return Answer(connection)
    except (OSError, ValueError):
        connection.close()
        raise


def _status(line: str) -> tuple[int, str]:
    version, _, rest = line.partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not (len(code) == 3 and code.isascii() and code.isdigit()):
        raise BadAnswerError(f"HTTP was expected, found {line[:40]!r}")
    return int(code), reason


def _chunk_size(line: str) -> int:
    size = line.partition(";")[0].strip()
    if not 0 < len(size) < 16 or set(size.lower()) - set("0123456789abcdef"):
        raise BadAnswerError(f"a chunk's size was expected, found {line[:40]!r}")
    return int(size, 16)
