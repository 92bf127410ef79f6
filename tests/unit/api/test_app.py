"""The API's answers: what it lets through, and what every wrong request is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx import Response
from tests.unit.api.fake_keeper import PID, UID, FakeKeeper, client_of

from guestroom.errors import ConfigError, HostError, NoRoomError
from guestroom.units import MIB

ARGV = ["qemu-system-x86_64", "-m", "64"]
START = {"name": "b", "argv": ARGV, "child_pid": 7}
DEEP = b"[" * 100_000


def ask(method: str, target: str, keeper: FakeKeeper | None = None, **more: Any) -> Response:
    """One request's answer."""

    async def go() -> Response:
        async with client_of(keeper or FakeKeeper()) as client:
            return await client.request(method, target, **more)

    return asyncio.run(go())


def error_of(answer: Response) -> dict[str, Any]:
    """The error of an answer that is one, checked for its form."""
    assert 400 <= answer.status_code < 600
    (error,) = answer.json().values()
    assert set(error) == {"code", "message", "where", "numbers", "hint"}
    assert error["message"]
    assert isinstance(error, dict)
    return error


def test_a_start_is_passed_on_with_who_asks() -> None:
    """The keeper gets the request and the caller's pid and uid by the kernel's word; lines come back as JSON."""
    keeper = FakeKeeper()
    answer = ask("POST", "/v1/start", keeper, json=START | {"on_short": "wait", "timeout_s": 5})
    assert answer.status_code == 200
    assert json.loads(answer.text) == {"event": "verdict", "name": "b"}
    (request,) = keeper.asked
    assert (request.peer_pid, request.peer_uid, request.argv) == (PID, UID, tuple(ARGV))  # type: ignore[attr-defined]
    assert (request.on_short, request.timeout_s, request.waited_s) == ("wait", 5.0, 0.0)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "status"), [(ConfigError("in"), 422), (NoRoomError("room"), 409), (HostError("host"), 500)]
)
def test_errors_keep_their_code_and_say_whose_fault(error: Exception, status: int) -> None:
    """Wrong input is 422, no room 409, a machine that refused 500; the object is the commands' own."""
    keeper = FakeKeeper()
    keeper.fails = error  # type: ignore[assignment]
    answer = ask("GET", "/v1/host", keeper)
    assert answer.status_code == status
    assert error_of(answer)["code"] == error.code  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body.name"),
        (START | {"child_pid": 0}, "body.child_pid"),
        (START | {"child_pid": "7"}, "body.child_pid"),
        (START | {"child_pid": True}, "body.child_pid"),
        (START | {"child_pid": 1 << 40}, "body.child_pid"),
        (START | {"argv": "qemu -m 64"}, "body.argv"),
        (START | {"argv": [1]}, "body.argv.0"),
        (START | {"argv": ["x"] * 10_001}, "body.argv"),
        (START | {"helper_pids": [1] * 65}, "body.helper_pids"),
        (START | {"on_short": "perhaps"}, "body.on_short"),
        (START | {"timeout_s": -1}, "body.timeout_s"),
        (START | {"timeout_s": "5"}, "body.timeout_s"),
        (START | {"waited_s": None}, "body.waited_s"),
        (START | {"ram_bytes": 1}, "body.ram_bytes"),
        (START | {"readconfig": {"f": None}}, "body.readconfig.f"),
        ([START], "body"),
        (None, "body"),
    ],
)
def test_a_malformed_start_is_told_where(body: object, where: str) -> None:
    """Each wrong, missing or unknown key is wrong input with its place, and the keeper never hears of it."""
    keeper = FakeKeeper()
    answer = ask("POST", "/v1/start", keeper, json=body)
    assert answer.status_code == 422
    assert error_of(answer)["where"] == where
    assert keeper.asked == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"\0" * 100, DEEP, b'{"name": ' + b"9" * 5000 + b"}", b'{"\\ud800": 1}', b"NaN"],
)
def test_a_body_that_is_no_json_is_wrong_input(content: bytes) -> None:
    """Bytes, endless nesting, numbers of 5,000 digits, lone surrogates: an error object, never a traceback."""
    for target in ("/v1/start", "/v1/plan", "/v1/release"):
        answer = ask("POST", target, content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 422)
        error_of(answer)


def test_a_key_of_any_length_and_kind_is_shown_in_short() -> None:
    """An unknown key of a megabyte does not come back as one, and one that is no text is refused."""
    assert len(ask("POST", "/v1/release", json={"name": "a", "x" * MIB: 1}).content) < 1000
    content = b'{"name": "a", "\\ud800": 1}'
    answer = ask("POST", "/v1/release", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert error_of(answer)["where"] == "body"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/docs", 404),
        ("GET", "/v1/../../etc/passwd", 404),
        ("DELETE", "/v1/guests", 405),
        ("PUT", "/v1/start", 405),
        ("GET", "/v1/start", 405),
        ("POST", "/v1/host", 405),
        ("BREW", "/v1/guests", 405),
        ("GET", "/v1/guests/nobody", 422),
        ("GET", "/v1/guests/%00%ff", 422),
        ("GET", "/v1/guests/nobody/orders", 422),
        ("GET", "/v1/events?after=-1", 422),
        ("GET", "/v1/events?after=9007199254740992", 422),
        ("GET", "/v1/events?after=" + "9" * 5000, 422),
        ("GET", "/v1/events?after=x&follow=true", 422),
        ("GET", "/v1/events?limit=0", 422),
        ("GET", "/v1/events?limit=10001", 422),
        ("GET", "/v1/events?follow=perhaps", 422),
    ],
)
def test_what_is_not_there_is_told_so(method: str, target: str, status: int) -> None:
    """Unknown paths, wrong methods and numbers out of range are answered in the one form of error."""
    answer = ask(method, target)
    assert answer.status_code == status
    error_of(answer)


def test_a_body_announced_too_large_is_not_read() -> None:
    """A client that announces a terabyte gets 413 before it sent anything."""

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("read although it was announced too large")
        yield b""

    answer = ask("POST", "/v1/start", content=never(), headers={"content-length": str(1 << 40)})
    assert answer.status_code == 413
    assert "8.0 MiB" in error_of(answer)["message"]
    assert answer.headers["connection"] == "close"


def test_a_body_that_does_not_end_is_cut_off() -> None:
    """What was not announced is counted: after the limit nothing more is taken."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += MIB
            yield b" " * MIB

    answer = ask("POST", "/v1/plan", content=endless())
    assert answer.status_code == 413
    error_of(answer)
    assert sent <= 10 * MIB


def test_the_largest_honest_request_is_taken() -> None:
    """The longest argv Linux executes passes: 2 MiB in arguments of 100 KiB."""
    argv = [*ARGV, *(word for i in range(20) for word in ("-append", f"{i}" * 100_000))]
    assert ask("POST", "/v1/start", json=START | {"argv": argv}).status_code == 200


def test_the_description_of_the_api_is_there() -> None:
    """/openapi.json names every path and the sizes of what is taken."""
    paths = ask("GET", "/openapi.json").json()["paths"]
    assert {"/v1/guests", "/v1/start", "/v1/plan", "/v1/release", "/v1/events", "/v1/host"} <= set(paths)
