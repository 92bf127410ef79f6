"""The small HTTP client against a server that answers anything."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestroom.cli import http
from guestroom.cli.client import AgentClient
from guestroom.cli.http import Answer, BadAnswerError
from guestroom.errors import AgentError, InputError, NoRoomError

OK = b"HTTP/1.1 200 OK\r\n"
Serve = Callable[[bytes], str]


def answer(raw: bytes) -> Answer:
    """What the client makes of raw bytes."""
    ours, theirs = socket.socketpair()
    theirs.sendall(raw)
    theirs.close()
    return Answer(ours)


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Answers one request on a socket with raw bytes; returns its path."""

    def start(raw: bytes) -> str:
        path = str(tmp_path / "a.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(1)

        def reply() -> None:
            connection, _ = listener.accept()
            connection.recv(1 << 16)
            connection.sendall(raw)
            connection.close()
            listener.close()

        threading.Thread(target=reply, daemon=True).start()
        return path

    return start


def chunks(*pieces: bytes) -> bytes:
    """A chunked body."""
    sized = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + sized + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        OK + b"content-length: 5\r\n\r\nhello and more",
        OK + b"Content-Length:5\r\nx: y\r\n\r\nhello",
        OK + b"\r\nhello",
        chunks(b"hel", b"lo"),
        chunks(*(bytes([byte]) for byte in b"hello")),
        b"HTTP/1.0 200\r\n\r\nhello",
    ],
)
def test_a_body_is_read_whole(raw: bytes) -> None:
    """With a length, in chunks, or up to the end of the connection."""
    assert (answer(raw).status, answer(raw).read()) == (200, b"hello")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\xff hello\n",
        b"HTTP/1.1 OK 200\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        OK,
        OK + b"no colon\r\n\r\n",
        OK + b"x: y\r\n" * 200 + b"\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: 9" + b"9" * 30 + b"\r\n\r\n",
        OK + b"content-length: 10\r\n\r\nhello",
        OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhel",
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\nhello\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"x" * 100_000,
    ],
)
def test_what_is_no_answer_is_said(raw: bytes) -> None:
    """Garbage, a torn body, a chunk that lies: an error of its own kind, never a short body taken for a whole."""
    with pytest.raises(BadAnswerError):
        answer(raw).read()


@given(st.lists(st.lists(st.binary(max_size=20).filter(lambda b: b"\n" not in b), max_size=3), max_size=5), st.data())
def test_lines_do_not_depend_on_how_they_were_cut(texts: list[list[bytes]], data: st.DataObject) -> None:
    """However the agent's chunks cut a stream, the same lines come out; a last one without its end does not."""
    lines = [line for group in texts for line in group]
    stream = b"".join(line + b"\n" for line in lines) + b"torn"
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert list(answer(chunks(*pieces)).lines()) == lines


@pytest.mark.parametrize(
    ("status", "kind"), [(422, InputError), (400, InputError), (413, InputError), (409, NoRoomError), (500, AgentError)]
)
def test_the_agents_error_becomes_ours(serve: Serve, status: int, kind: type[Exception]) -> None:
    """With its own code, place, numbers and hint, and the exit code its status stands for."""
    body = b'{"error": {"code": "c", "message": "m", "where": "w", "numbers": {"n": 1}, "hint": "h"}}'
    path = serve(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
    with pytest.raises(kind) as caught:
        AgentClient(path).get("/v1/host")
    error = caught.value
    assert (error.code, error.message, error.where, error.numbers, error.hint) == ("c", "m", "w", {"n": 1}, "h")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"error": 12}', b'{"error": {"message": 3}}', b'{"error": "x"}', b"\xff"]
)
def test_an_error_that_makes_no_sense_is_the_agents(serve: Serve, body: bytes) -> None:
    """A status without an error object we know is the agent's failure, told with the status."""
    path = serve(b"HTTP/1.1 503 Busy\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    with pytest.raises(AgentError, match="503 Busy") as caught:
        AgentClient(path).get("/v1/host")
    assert caught.value.where == path


def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """With ``answer_s`` a deaf agent is an error after that time."""
    path = str(tmp_path / "a.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        with pytest.raises(AgentError, match="timed out"):
            AgentClient(path, answer_s=0.05).get("/v1/host")


def test_hanging_up_ends_the_lines_of_another_thread() -> None:
    """A reader that waits for a line gets the end of them, without an error of its own."""
    ours, theirs = socket.socketpair()
    theirs.sendall(OK + b"transfer-encoding: chunked\r\n\r\n2\r\na\n\r\n")
    stream = http.Answer(ours)
    got: list[bytes] = []
    failed: list[BaseException] = []

    def read() -> None:
        try:
            got.extend(stream.lines())
        except BadAnswerError as error:
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    stream.hang_up()
    reader.join(10)
    assert not reader.is_alive()
    assert len(failed) == 1
    theirs.close()
