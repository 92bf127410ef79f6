"""The registry of sizing policies and the one function that runs them.

A policy is a function ``(guest, ram_bytes) -> Sizing`` with ``@policy("name")`` above it, in a module that
``guestroom.size`` imports. Everything every policy needs (guest RAM known, exact sums, warnings) is done here, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from guestroom.errors import InputError
from guestroom.guest import Guest
from guestroom.size.model import BARE_QEMU_BYTES, Estimate, Sizing
from guestroom.units import MAX_JSON_INT, format_bytes

Policy = Callable[[Guest, int], Sizing]
"""``(guest, ram_bytes)`` to its terms; ``ram_bytes`` is the guest's RAM, known and positive."""

PromisingPolicy = Callable[[Guest, int, float], Sizing]
"""``(guest, ram_bytes, coverage)``: one that can be asked for a share of guests it is to be enough for."""

DEFAULT_COVERAGE = 0.95

_POLICIES: dict[str, Policy | PromisingPolicy] = {}
_PROMISING: set[str] = set()


def policy(name: str) -> Callable[[Policy], Policy]:
    """Decorator that registers a sizing policy under ``name``; registering a name twice is a ``ValueError``."""

    def register(function: Policy) -> Policy:
        if name in _POLICIES:
            raise ValueError(f"two sizing policies are called {name!r}")
        _POLICIES[name] = function
        return function

    return register


def promising_policy(name: str) -> Callable[[PromisingPolicy], PromisingPolicy]:
    """Decorator as ``policy``, for a policy that takes the coverage it is to promise."""

    def register(function: PromisingPolicy) -> PromisingPolicy:
        policy(name)(cast(Policy, function))
        _PROMISING.add(name)
        return function

    return register


def policies() -> tuple[str, ...]:
    """Names of all sizing policies, in the order they were registered: the seed's first, then the peers'."""
    return tuple(_POLICIES)


def can_promise(name: str) -> bool:
    """Whether a policy can be asked for a share of guests it is to be enough for."""
    return name in _PROMISING


def check_policy(name: str) -> str:
    """Return ``name`` if it is a sizing policy; raise ``InputError`` listing the known ones otherwise."""
    if name not in _POLICIES:
        shown = name if len(name) <= 40 else name[:37] + "..."
        raise InputError(f"there is no sizing policy {shown!r}", hint=f"known: {', '.join(policies())}")
    return name


def ram_of(guest: Guest) -> int:
    """The guest's RAM in bytes; raises ``InputError`` where it is not known, not positive or not below 2^53."""
    who = f"guest {guest.name}" if guest.name else "the guest"
    if guest.ram_bytes is None:
        raise InputError(
            f"the RAM of {who} is not known, so its overhead can't be told",
            hint="give its size, or the files its description refers to",
        )
    if not 0 < guest.ram_bytes <= MAX_JSON_INT:
        raise InputError(
            f"the RAM of {who} is {guest.ram_bytes} bytes",
            numbers={"ram_bytes": guest.ram_bytes, "most_bytes": MAX_JSON_INT},
            hint="RAM must be at least 1 byte and below 2^53 bytes",
        )
    return guest.ram_bytes


def estimate(guest: Guest, policy: str, *, coverage: float = DEFAULT_COVERAGE) -> Estimate:
    """Overhead of ``guest`` by ``policy``, in parts that sum exactly; terms that come to 0 bytes are left out.

    ``coverage`` is the share of guests it is to be enough for, above 0 and below 1: policies that promise nothing (all
    peers' formulas) don't look at it.

    Raises ``InputError`` for an unknown policy (listing the known ones), for a guest whose RAM is not known,
    for a coverage nobody can promise, and for a result that is not below 2^53 bytes. Warnings say what was assumed,
    and when a formula gives less than a bare QEMU was seen to use.
    """
    ram_bytes = ram_of(guest)
    chosen = _POLICIES[check_policy(policy)]
    if not 0 < coverage < 1:
        raise InputError(f"a coverage of {coverage:g} can't be promised", hint="give a share above 0 and below 1: 0.95")
    if policy in _PROMISING:
        sizing = cast(PromisingPolicy, chosen)(guest, ram_bytes, coverage)
    else:
        sizing = cast(Policy, chosen)(guest, ram_bytes)
    return summed(policy, ram_bytes, sizing)


def summed(name: str, ram_bytes: int, sizing: Sizing) -> Estimate:
    """The estimate that ``sizing``'s terms sum to, with the warning about starving; see ``estimate`` for errors."""
    parts = tuple(part for part in sizing.parts if part.bytes != 0)
    overhead_bytes = sum(part.bytes for part in parts)
    if ram_bytes + overhead_bytes > MAX_JSON_INT:
        raise InputError(
            f"RAM and overhead by {name} come to more than 2^53 bytes",
            numbers={"ram_bytes": ram_bytes, "overhead_bytes": str(overhead_bytes)},
        )
    return Estimate(
        policy=name,
        overhead_bytes=overhead_bytes,
        limit_bytes=ram_bytes + overhead_bytes,
        parts=parts,
        warnings=(*sizing.warnings, *(_starves(overhead_bytes) if sizing.promise is None else ())),
        promise=sizing.promise,
    )


def _starves(overhead_bytes: int) -> tuple[str, ...]:
    if overhead_bytes >= BARE_QEMU_BYTES:
        return ()
    return (
        f"{format_bytes(overhead_bytes)} is less than the 66 to 71 MiB that a bare QEMU was seen to use "
        "(QEMU 7.2, TCG, tb-size 32): the guest would not live",
    )
