"""Ledgers of every kind, for one suite that holds all of them to the same contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guestroom.ports import Ledger
from guestroom.record import SqliteLedger, open_ledger
from guestroom.testing.clock import ManualClock
from guestroom.testing.ledger import MemoryLedger


@pytest.fixture
def clock() -> ManualClock:
    """A clock moved by hand."""
    return ManualClock()


@pytest.fixture
def state_dir(tmp_path: Path) -> str:
    """A state folder that is not there yet."""
    return str(tmp_path / "state")


@pytest.fixture
def sqlite(state_dir: str, clock: ManualClock) -> Iterator[SqliteLedger]:
    """An open ledger in SQLite."""
    with open_ledger(state_dir, clock=clock) as ledger:
        yield ledger


@pytest.fixture(params=["sqlite", "memory"])
def ledger(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Ledger]:
    """Every kind of ledger, one after the other: the contract tests run on each."""
    kind: Ledger = MemoryLedger(clock) if request.param == "memory" else request.getfixturevalue("sqlite")
    yield kind
    kind.close()
