"""The HTTP application: thin over the keeper, streams as one JSON object a line.

``POST /v1/start`` keeps its response open: verdict first, then ``running``, then orders and the end. The
reservation dies with that connection until the guest runs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from guestroom import __version__
from guestroom.agent.adopt import AdoptRequest
from guestroom.agent.keeper import Keeper
from guestroom.agent.request import StartRequest
from guestroom.agent.session import Session
from guestroom.api.limits import BodyLimit
from guestroom.api.models import Adopt, GuestDescription, Release, Start
from guestroom.config import OnShort
from guestroom.errors import AgentError, GuestroomError, InputError
from guestroom.units import MAX_JSON_INT

_HTTP_STATUS = {2: 422, 3: 409}
_FOLLOW_S = 0.25
_LINES = "application/x-ndjson"
_After = Annotated[int, Query(ge=0, le=MAX_JSON_INT, description="Only events after this number.")]
_Limit = Annotated[int, Query(ge=1, le=10_000, description="At most this many.")]


def build_app(keeper: Keeper) -> FastAPI:
    """The application over one keeper."""
    app = FastAPI(title="guestroom", version=__version__, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.add_exception_handler(GuestroomError, _ours)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _no_such_thing)
    app.add_middleware(BodyLimit)
    _looking(app, keeper)
    _ordering(app, keeper)
    _starting(app, keeper)
    return app


def _looking(app: FastAPI, keeper: Keeper) -> None:
    """What only shows: guests, the host, events."""

    @app.get("/v1/guests")
    async def guests() -> list[dict[str, object]]:
        """Guests under care, by name."""
        return keeper.guest_rows()

    @app.get("/v1/guests/{name}")
    async def guest(name: str) -> dict[str, object]:
        """One guest under care."""
        for row in keeper.guest_rows():
            if row["name"] == name:
                return row
        raise InputError(f"no guest named {name!r} is under care", where=name[:63])

    @app.get("/v1/host")
    async def host() -> dict[str, object]:
        """The host: budget, reserve, headroom and their terms."""
        return await keeper.host_row()

    @app.get("/v1/learning")
    async def learning() -> dict[str, object]:
        """What was promised for guests at their admission, and how often it was kept."""
        return await keeper.learning_row()

    @app.get("/v1/events", response_model=None)
    async def events(
        after: _After = 0, limit: _Limit = 1000, follow: bool = False, last: bool = False, guest: str | None = None
    ) -> StreamingResponse | JSONResponse:
        """What was decided and happened, oldest first.

        The first ``limit`` after a number, or with ``last`` the last ones; ``follow`` keeps the response open.
        """
        if not follow:
            return JSONResponse(await keeper.events(after, limit, guest=guest, last=last))
        return StreamingResponse(_follow(keeper, after), media_type=_LINES)


def _ordering(app: FastAPI, keeper: Keeper) -> None:
    """What is asked for and answered at once."""

    @app.post("/v1/plan")
    async def plan(body: GuestDescription) -> dict[str, object]:
        """Dry run: the verdict for this guest now, and every limit that would change."""
        return await keeper.plan(body.name, tuple(body.argv), body.readconfig, _on_short(body.on_short))

    @app.post("/v1/adopt")
    async def adopt(body: Adopt, request: Request) -> dict[str, object]:
        """Take a QEMU that runs already under care: the limit it has is kept."""
        return await keeper.adopt(
            AdoptRequest(
                pid=body.pid,
                domain=body.libvirt,
                name=body.name,
                limit_bytes=body.limit_bytes,
                watch=body.watch,
                ram_bytes=body.ram_bytes,
                peer_uid=_peer_uid(request),
            )
        )

    @app.post("/v1/release")
    async def release(body: Release) -> dict[str, object]:
        """Let a guest go: its limit stays and counts."""
        return await keeper.release(body.name)

    @app.post("/v1/stopping")
    async def stopping(body: Release) -> dict[str, object]:
        """A guest's user is about to end it: if it is held it is let go, so that it can end."""
        return await keeper.stopping(body.name)


def _starting(app: FastAPI, keeper: Keeper) -> None:
    """The streams of ``guestroom run``."""

    @app.post("/v1/start", response_model=None)
    async def start(body: Start, request: Request) -> StreamingResponse:
        """Ask for room and be started: lines ``waiting``, ``verdict``, ``running``, ``recreate``, ``ended``, ``error``.

        With ``on_short`` ``wait`` a line ``waiting`` tells the place, again when it changes; the verdict comes last.
        """
        session = Session()
        wish = StartRequest(
            name=body.name,
            argv=tuple(body.argv),
            readconfig=body.readconfig,
            child_pid=body.child_pid,
            helper_pids=tuple(body.helper_pids),
            peer_pid=_peer_pid(request),
            peer_uid=_peer_uid(request),
            on_short=_on_short(body.on_short),
            timeout_s=body.timeout_s,
            waited_s=body.waited_s,
        )
        keeper.begin_start(wish, session)
        return StreamingResponse(_encode(session.lines()), media_type=_LINES)

    @app.get("/v1/guests/{name}/orders", response_model=None)
    async def orders(name: str, request: Request) -> StreamingResponse:
        """The lines of a start again, for a ``run`` that lost its connection (an agent that restarted)."""
        session = Session()
        await keeper.rejoin(name, _peer_pid(request), session)
        return StreamingResponse(_encode(session.lines()), media_type=_LINES)


def _on_short(text: str | None) -> OnShort | None:
    return OnShort(text) if text is not None else None


def _peer_pid(request: Request) -> int:
    """Who asks, from the socket's credentials (``server.PeerProtocol`` puts them where a port would be)."""
    if request.client is None or request.client.port <= 0:
        raise AgentError("the caller's process is not known: the socket gave no credentials")
    return request.client.port


def _peer_uid(request: Request) -> int:
    assert request.client is not None
    return int(request.client.host)


async def _encode(lines: AsyncIterator[Mapping[str, object]]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield json.dumps(line).encode() + b"\n"


async def _follow(keeper: Keeper, after: int) -> AsyncIterator[bytes]:
    while not keeper.ending:
        for event in await keeper.events(after, 1000):
            after = int(str(event["number"]))
            yield json.dumps(event).encode() + b"\n"
        await asyncio.sleep(_FOLLOW_S)


async def _ours(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GuestroomError)
    return JSONResponse(error.to_dict(), status_code=_HTTP_STATUS.get(error.exit_code, 500))


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    # The place may hold a key of the client's, of any length.
    where = ".".join(str(part)[:64] for part in first["loc"])
    return JSONResponse(InputError(f"the request is malformed: {first['msg']}", where=where).to_dict(), status_code=422)


async def _no_such_thing(_: Request, error: Exception) -> JSONResponse:
    """A path or method that is not there, a body that is no JSON or too large."""
    assert isinstance(error, HTTPException)
    known = InputError(str(error.detail), hint="see /openapi.json")
    return JSONResponse(known.to_dict(), status_code=error.status_code, headers=error.headers)
