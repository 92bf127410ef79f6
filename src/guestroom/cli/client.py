"""The commands' side of the agent's socket: plain ``http.client``, because start-up time matters.

httpx would cost more than the whole budget of ``guestroom run`` just to import.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from guestroom.errors import AgentError, GuestroomError, InputError, NoRoomError

DEFAULT_SOCKET = "/run/guestroom/agent.sock"
_CONNECT_S = 5.0
_KINDS: Mapping[int, type[GuestroomError]] = {400: InputError, 409: NoRoomError, 413: InputError, 422: InputError}
"""What an answer's status makes of its error; the agent's failure otherwise."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, answer_s: float | None) -> None:
        super().__init__("guestroom")
        self._path = path
        self._answer_s = answer_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_CONNECT_S)
        self.sock.connect(self._path)
        self.sock.settimeout(self._answer_s)


class Stream:
    """An open response of JSON lines. ``fileno`` for select; ``next_line`` blocks."""

    def __init__(self, connection: _UnixConnection, response: http.client.HTTPResponse) -> None:
        self._connection = connection
        self._response = response

    def lines(self) -> Iterator[dict[str, Any]]:
        """Lines until the agent closes the stream or is gone, or ``close`` is called from another thread."""
        try:
            for raw in self._response:
                yield json.loads(raw)
        except (http.client.HTTPException, OSError, ValueError):
            return
        finally:
            self._connection.close()

    def close(self) -> None:
        """End the connection: a reservation dies with it. Whoever reads ``lines`` sees their end."""
        sock = self._connection.sock
        if sock is not None:
            # The response holds a file on the socket: without this its close would not reach the agent.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class AgentClient:
    """Requests to the agent on ``path``."""

    def __init__(self, path: str, *, answer_s: float | None = None) -> None:
        """``answer_s``: how long an answer is waited for; None, for people at a terminal: until it comes."""
        self.path = path
        self._answer_s = answer_s

    def get(self, target: str) -> Any:
        """The decoded answer of a GET."""
        return self._whole("GET", target, None)

    def post(self, target: str, body: Mapping[str, object]) -> Any:
        """The decoded answer of a POST."""
        return self._whole("POST", target, body)

    def stream(self, method: str, target: str, body: Mapping[str, object] | None = None) -> Stream:
        """A response that stays open."""
        connection, response = self._ask(method, target, body)
        if response.status != 200:
            self._raise(response)
        return Stream(connection, response)

    def _whole(self, method: str, target: str, body: Mapping[str, object] | None) -> Any:
        connection, response = self._ask(method, target, body)
        try:
            if response.status != 200:
                self._raise(response)
            return json.loads(response.read())
        except (ValueError, http.client.HTTPException, OSError) as error:
            raise AgentError(f"the agent's answer can't be read: {error}", where=self.path) from error
        finally:
            connection.close()

    def _ask(
        self, method: str, target: str, body: Mapping[str, object] | None
    ) -> tuple[_UnixConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(self.path, self._answer_s)
        try:
            payload = json.dumps(body).encode() if body is not None else None
            headers = {"content-type": "application/json"} if payload is not None else {}
            # An agent that refuses a body without reading all of it has answered nevertheless.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, payload, headers)
            return connection, connection.getresponse()
        except OSError as error:
            connection.close()
            known = errno.errorcode.get(error.errno or 0, "")
            raise AgentError(
                f"no agent answers: {known} {error.strerror or error}".replace(":  ", ": "),
                where=self.path,
                hint="start it with 'guestroom agent' (as root), or name its --socket",
            ) from error
        except http.client.HTTPException as error:
            connection.close()
            raise AgentError(f"the agent's answer can't be read: {error!r}", where=self.path) from error

    def _raise(self, response: http.client.HTTPResponse) -> None:
        try:
            error = json.loads(response.read())["error"]
            error["message"].strip()
        except (ValueError, KeyError, TypeError, AttributeError, OSError, http.client.HTTPException) as bad:
            raise AgentError(f"the agent answered {response.status} {response.reason}", where=self.path) from bad
        raise remote_error(error, _KINDS.get(response.status, AgentError))


def remote_error(error: Mapping[str, Any], kind: type[GuestroomError]) -> GuestroomError:
    """The agent's error as one of ours, with its own code."""
    ours = kind(str(error["message"]), where=error.get("where"), numbers=error.get("numbers"), hint=error.get("hint"))
    ours.code = str(error.get("code", kind.code))
    return ours
