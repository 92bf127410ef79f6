"""The commands' side of the agent's socket. Start-up time matters here: nothing heavier than ``socket`` is imported."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping

from guestroom.cli.http import Answer, ask
from guestroom.cli.plain import DEFAULT_SOCKET as DEFAULT_SOCKET
from guestroom.errors import AgentError, GuestroomError, InputError, NoRoomError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KINDS: Mapping[int, type[GuestroomError]] = {400: InputError, 409: NoRoomError, 413: InputError, 422: InputError}
"""What an answer's status makes of its error; the agent's failure otherwise."""


class Stream:
    """An open answer of JSON lines."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def lines(self) -> Iterator[dict[str, Any]]:
        """Lines until the agent closes the stream or is gone, or ``close`` is called from another thread."""
        try:
            for raw in self._answer.lines():
                yield json.loads(raw)
        except (OSError, ValueError):
            return
        finally:
            self._answer.close()

    def close(self) -> None:
        """End the connection: a reservation dies with it. Whoever reads ``lines`` sees their end."""
        self._answer.hang_up()


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
        answer = self._ask(method, target, body)
        if answer.status != 200:
            self._raise(answer)
        return Stream(answer)

    def _whole(self, method: str, target: str, body: Mapping[str, object] | None) -> Any:
        answer = self._ask(method, target, body)
        if answer.status != 200:
            self._raise(answer)
        try:
            return json.loads(answer.read())
        except (OSError, ValueError) as error:
            raise AgentError(f"the agent's answer can't be read: {error}", where=self.path) from error
        finally:
            answer.close()

    def _ask(self, method: str, target: str, body: Mapping[str, object] | None) -> Answer:
        payload = json.dumps(body).encode() if body is not None else None
        try:
            return ask(self.path, method, target, payload, answer_s=self._answer_s)
        except OSError as error:
            known = errno.errorcode.get(error.errno or 0, "")
            raise AgentError(
                f"no agent answers: {known} {error.strerror or error}".replace(":  ", ": "),
                where=self.path,
                hint="start it with 'guestroom agent' (as root), or name its --socket",
            ) from error
        except ValueError as error:
            raise AgentError(f"the agent's answer can't be read: {error}", where=self.path) from error

    def _raise(self, answer: Answer) -> None:
        try:
            error = json.loads(answer.read())["error"]
            error["message"].strip()
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as bad:
            raise AgentError(f"the agent answered {answer.status} {answer.reason}", where=self.path) from bad
        finally:
            answer.close()
        raise remote_error(error, _KINDS.get(answer.status, AgentError))


def remote_error(error: Mapping[str, Any], kind: type[GuestroomError]) -> GuestroomError:
    """The agent's error as one of ours, with its own code."""
    ours = kind(str(error["message"]), where=error.get("where"), numbers=error.get("numbers"), hint=error.get("hint"))
    ours.code = str(error.get("code", kind.code))
    return ours
