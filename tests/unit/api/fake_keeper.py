"""A keeper that understands requests as the real one does, and has neither a host nor a ledger."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from guestroom.agent.adopt import AdoptRequest
from guestroom.agent.request import StartRequest, understand
from guestroom.agent.session import Session
from guestroom.api.app import build_app
from guestroom.config import OnShort, Settings
from guestroom.errors import GuestroomError, InputError
from guestroom.guest import check_name

UID, PID = 1000, 4242
"""Who asks, as the kernel would say."""


class FakeKeeper:
    """What ``build_app`` calls. ``asked`` has every call that was let through."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.fails: GuestroomError | None = None
        self.ending = False

    def guest_rows(self) -> list[dict[str, object]]:
        """One guest."""
        return [{"name": "a", "state": "running"}]

    async def host_row(self) -> dict[str, object]:
        """A host."""
        if self.fails is not None:
            raise self.fails
        return {"guests": 1}

    async def learning_row(self) -> dict[str, object]:
        """Nothing learned."""
        return {"lives": 0, "groups": []}

    async def plan(
        self, name: str, argv: tuple[str, ...], readconfig: Mapping[str, str], on_short: OnShort | None
    ) -> dict[str, object]:
        """Understand the guest, really."""
        wanted = understand(name, argv, readconfig, Settings(), "/run/m/qmp", on_short=on_short)
        self.asked.append(wanted)
        return {"verdict": "admit", "ram_bytes": wanted.newcomer.ram_bytes}

    async def release(self, name: str) -> dict[str, object]:
        """Nobody but ``a`` is there."""
        self.asked.append(check_name(name))
        if name != "a":
            raise InputError(f"no guest named {name!r} is under care", where=name)
        return {"name": name}

    async def events(
        self, after: int, limit: int, *, guest: str | None = None, last: bool = False
    ) -> list[dict[str, object]]:
        """Events as SQLite could be asked for them."""
        assert 0 <= after < 1 << 63
        assert 1 <= limit <= 10_000
        return [{"number": after + 1}]

    def begin_start(self, request: StartRequest, session: Session) -> None:
        """A verdict, and no more."""
        self.asked.append(request)
        session.emit({"event": "verdict", "name": request.name})
        session.close()

    async def adopt(self, request: AdoptRequest) -> dict[str, object]:
        """Nobody is there to adopt."""
        self.asked.append(request)
        return {"name": request.name}

    async def stopping(self, name: str) -> dict[str, object]:
        """Nobody but ``a`` is there."""
        return await self.release(name)

    async def rejoin(self, name: str, peer_pid: int, session: Session) -> None:
        """Nobody to rejoin."""
        raise InputError(f"no guest named {name!r} is under care", where=name[:63])


def app_of(keeper: FakeKeeper) -> FastAPI:
    """The application over it."""
    return build_app(keeper)  # type: ignore[arg-type]


def client_of(keeper: FakeKeeper) -> AsyncClient:
    """A client of the application, in this process; a bug in a handler is raised here."""
    return AsyncClient(transport=ASGITransport(app_of(keeper), client=(str(UID), PID)), base_url="http://guestroom")
