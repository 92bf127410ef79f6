"""Who may have what adopted, and which records are adopted guests'."""

from __future__ import annotations

import os

import pytest
from tests.unit.record.samples import record

from guestroom.agent.adopt import AdoptRequest, _check_asker, split_off
from guestroom.errors import InputError
from guestroom.facts import Adoption, Candidate, Identity
from guestroom.units import UNLIMITED

FOUND = Candidate(
    identity=Identity("b", 5, 100, 77),
    uid=1000,
    argv=("qemu-system-x86_64",),
    qemu=True,
    cgroup="/cg/web",
    residents=(),
    freezer=None,
    limit_bytes=UNLIMITED,
    killer=True,
    still=False,
)


def wish(peer_uid: int) -> AdoptRequest:
    """Somebody's wish."""
    return AdoptRequest(100, None, None, None, watch=False, ram_bytes=None, peer_uid=peer_uid)


def test_root_the_agent_and_the_owner_may_ask() -> None:
    """Others who may talk to the socket can't have other people's processes held."""
    for uid in (0, os.geteuid(), 1000):
        _check_asker(FOUND, wish(uid))
    with pytest.raises(InputError, match="belongs to user 1000, not to user 1001"):
        _check_asker(FOUND, wish(1001))


def test_records_are_told_apart() -> None:
    """What guestroom made is found by its folders, what it adopted by its process."""
    adopted = record("b", adoption=Adoption("/cg/web", None, UNLIMITED, True, None, watch=True))
    assert split_off({"a": record("a"), "b": adopted}) == ({"a": record("a")}, {"b": adopted})
