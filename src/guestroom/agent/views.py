"""What the agent shows: verdicts, guests and the host as plain data with the contract's names."""

from __future__ import annotations

from dataclasses import asdict

from guestroom import decide
from guestroom.actions import Verdict
from guestroom.agent.care import Care
from guestroom.agent.following import Follows
from guestroom.config import Settings
from guestroom.decide import Budget, Place
from guestroom.facts import Accounting, GuestRecord, GuestState, HostFacts
from guestroom.turns import QueueEntry
from guestroom.units import UNLIMITED, Limit


def plain_limit(limit: Limit | None) -> int | str | None:
    """A limit for JSON: bytes, ``"unlimited"`` or null."""
    return "unlimited" if limit is UNLIMITED else limit


def verdict_row(verdict: Verdict) -> dict[str, object]:
    """A verdict with its numbers."""
    return {
        "verdict": verdict.kind.value,
        "name": verdict.name,
        "message": verdict.message,
        "need_bytes": verdict.need_bytes,
        "grant_bytes": verdict.grant_bytes,
        "limit_bytes": verdict.limit_bytes,
        "left_bytes": verdict.left_bytes,
        "short_bytes": verdict.short_bytes,
        "short_of": verdict.short_of,
        "holders": [asdict(holder) for holder in verdict.holders],
        "recreate": list(verdict.recreate),
        "advice": list(verdict.advice),
    }


def guest_row(care: Care, settings: Settings, now_s: float) -> dict[str, object]:
    """One guest as ``guestroom ps`` shows it (command contract)."""
    record, reading = care.record, care.reading
    floor = decide.floor_bytes(care.facts(), settings, now_s)
    return {
        "name": record.name,
        "pid": record.identity.pid if record.identity is not None else None,
        "state": record.state.value,
        "held": record.held,
        "held_s": round(care.held_s(now_s), 3),
        "braked": record.braked.kind if record.braked is not None else None,
        "braked_s": round(care.brake.braked_s(now_s), 3),
        "warned": care.warned,
        "squeezed": record.squeezed,
        "adopted": record.adoption is not None,
        "watched": record.adoption is not None and record.adoption.watch,
        "released": record.released,
        "accounting": record.accounting.value,
        "ram_bytes": record.ram_bytes,
        "lent_ram_bytes": record.lent_ram_bytes,
        "ram_resident_bytes": reading.ram_resident_bytes if reading is not None else None,
        "overhead_bytes": reading.overhead_bytes if reading is not None else None,
        "overhead_upper_bound_bytes": reading.upper_bound_bytes if reading is not None else None,
        "overhead_peak_bytes": record.overhead_peak_bytes,
        "cache_bytes": reading.cache_bytes if reading is not None else None,
        "need_bytes": record.need_bytes,
        "policy": record.policy,
        "life_peak_bytes": record.life_peak_bytes,
        "promised_coverage": record.promised.coverage if record.promised is not None else None,
        "missed": missed(record),
        "floor_bytes": floor,
        "grant_bytes": record.grant_bytes,
        "cap_bytes": record.cap_bytes,
        "weight": record.weight,
        "limit_bytes": plain_limit(care.limit_bytes),
        "how": reading.how if reading is not None else None,
        "place": None,
        "waited_s": None,
    }


def missed(record: GuestRecord) -> bool | None:
    """Whether a guest needed more than an estimate promised for it; None where none did, or nothing was seen yet."""
    promised, peak = record.promised, record.life_peak_bytes
    if promised is None or promised.fixed or peak is None:
        return None
    return peak > promised.overhead_bytes


def queued_row(entry: QueueEntry, place: Place, now_s: float) -> dict[str, object]:
    """One that waits for room, with the same fields: it has asked for some and holds none."""
    newcomer = entry.newcomer
    nothing = ("held", "warned", "squeezed", "adopted", "watched", "released")
    unknown = ("pid", "ram_resident_bytes", "overhead_bytes", "overhead_upper_bound_bytes", "overhead_peak_bytes")
    return {
        "name": entry.name,
        "state": GuestState.QUEUED.value,
        **dict.fromkeys(nothing, False),
        **dict.fromkeys((*unknown, "cache_bytes", "policy", "floor_bytes", "limit_bytes", "braked")),
        **dict.fromkeys(("life_peak_bytes", "promised_coverage", "missed")),
        "held_s": 0.0,
        "braked_s": 0.0,
        "accounting": Accounting.SPLIT.value,
        "ram_bytes": newcomer.ram_bytes,
        "need_bytes": newcomer.need_bytes,
        "lent_ram_bytes": 0,
        "grant_bytes": 0,
        "cap_bytes": newcomer.cap_bytes,
        "weight": newcomer.weight,
        "how": place.message,
        "place": place.place,
        "waited_s": round(max(0.0, now_s - entry.queued_s), 3),
    }


def waiting_row(place: Place) -> dict[str, object]:
    """Where one that waits stands, as its ``run`` hears it."""
    return {"event": "waiting"} | asdict(place)


def host_row(
    host: HostFacts, budget: Budget, cares: list[Care], walls_hit: int, follows: Follows, waiting: int
) -> dict[str, object]:
    """The host, its budget by terms, and what is promised and used."""
    under_wall = [care for care in cares if care.record.accounting is Accounting.SPLIT]
    overheads = [care.reading.overhead_bytes if care.reading is not None else None for care in under_wall]
    grants = sum(care.record.grant_bytes for care in under_wall)
    lent = sum(
        max(0, overhead + care.returned_bytes - care.record.grant_bytes)
        for care, overhead in zip(under_wall, overheads, strict=True)
        if overhead is not None
    )
    return {
        "total_bytes": host.total_bytes,
        "available_bytes": host.available_bytes,
        "hugetlb_bytes": host.hugetlb_bytes,
        "swap_total_bytes": host.swap_total_bytes,
        "swap_free_bytes": host.swap_free_bytes,
        "wall_limit_bytes": plain_limit(host.wall_limit_bytes),
        "wall_unreclaimable_bytes": host.wall_unreclaimable_bytes,
        "budget_bytes": budget.budget_bytes,
        "reserve_bytes": budget.reserve_bytes,
        "headroom_bytes": budget.headroom_bytes,
        "headroom_left_bytes": budget.headroom_bytes - lent,
        "headroom_wanted_bytes": follows.headroom_wanted_bytes,
        "headroom_because": follows.headroom_because,
        "guard_bytes": budget.guard_bytes,
        "guard_because": follows.guard_because,
        "growth_bytes_per_s": follows.growth_bytes_per_s,
        "reaction": asdict(follows.reaction) if follows.reaction is not None else None,
        "raise_ms": follows.raise_ms,
        "promised_ram_bytes": budget.promised_ram_bytes,
        "overcommitted_bytes": budget.overcommitted_bytes,
        "granted_bytes": grants,
        "terms": [{"name": name, "bytes": size} for name, size in budget.terms],
        "outsiders": [asdict(outsider) for outsider in host.outsiders],
        "ancestors": [
            {
                "path": a.path,
                "limit_bytes": plain_limit(a.limit_bytes),
                "other_use_bytes": a.other_use_bytes,
            }
            for a in host.ancestors
        ],
        "guests": len(cares),
        "waiting": waiting,
        "walls_hit": walls_hit,
    }
