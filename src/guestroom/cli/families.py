"""The figures that ``guestroom metrics`` gives, as Prometheus wants them: base units, few labels, stable names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from guestroom import __version__
from guestroom.attribute.parts import Explanation, PartKind

Row = Mapping[str, Any]

OF_GUEST: Mapping[str, tuple[str, str]] = {
    "guestroom_guest_ram_bytes": ("ram_bytes", "RAM promised to the guest."),
    "guestroom_guest_overhead_bytes": ("overhead_bytes", "Memory in use beside the guest's RAM."),
    "guestroom_guest_overhead_peak_bytes": ("overhead_peak_bytes", "Largest overhead of the last window."),
    "guestroom_guest_need_bytes": ("need_bytes", "Overhead the guest was expected to need at its peak."),
    "guestroom_guest_floor_bytes": ("floor_bytes", "Least overhead the guest may be granted now."),
    "guestroom_guest_grant_bytes": ("grant_bytes", "Overhead granted to the guest."),
    "guestroom_guest_limit_bytes": ("limit_bytes", "The guest's limit: RAM, grant and headroom."),
    "guestroom_guest_cache_bytes": ("cache_bytes", "Page cache charged to the guest."),
    "guestroom_guest_held": ("held", "1 while the guest stands still for lack of room."),
    "guestroom_guest_held_seconds": ("held_s", "How long the guest has been held in all."),
    "guestroom_guest_squeezed": ("squeezed", "1 where the guest got less than its need."),
    "guestroom_guest_life_peak_bytes": ("life_peak_bytes", "Largest overhead since the guest started."),
    "guestroom_guest_promised_coverage_ratio": (
        "promised_coverage",
        "Share of guests its need was promised to hold for.",
    ),
    "guestroom_guest_missed": ("missed", "1 where the guest needed more than was promised for it."),
}
"""Metric -> the field of ``ps`` and what it means. A field without a figure gives no sample: unknown is not 0."""
OF_HOST: Mapping[str, tuple[str, str]] = {
    "guestroom_host_budget_bytes": ("budget_bytes", "Memory of the host that guests may have."),
    "guestroom_host_reserve_bytes": ("reserve_bytes", "The part of the budget kept for overheads."),
    "guestroom_host_headroom_bytes": ("headroom_bytes", "Shared room behind all grants."),
    "guestroom_host_headroom_left_bytes": ("headroom_left_bytes", "Headroom that nobody uses now."),
    "guestroom_host_granted_bytes": ("granted_bytes", "Sum of all grants."),
    "guestroom_host_promised_ram_bytes": ("promised_ram_bytes", "Sum of the guests' RAM."),
    "guestroom_host_overcommitted_bytes": ("overcommitted_bytes", "By how much promises exceed the budget."),
    "guestroom_host_guests": ("guests", "Guests under care."),
    "guestroom_host_waiting": ("waiting", "Guests that wait for room."),
}

OF_PROMISES: Mapping[str, tuple[str, str]] = {
    "guestroom_promise_lives": (
        "lives",
        "Guests remembered that were promised a need and ran long enough to judge it.",
    ),
    "guestroom_promise_missed_lives": ("missed", "Of them, those that needed more."),
    "guestroom_promise_kept_ratio": ("coverage", "Share of them that stayed within it."),
    "guestroom_promise_kept_least_ratio": ("coverage_at_least", "What that share surely is, with 95 % confidence."),
    "guestroom_promise_promised_ratio": ("promised_coverage", "Share that was promised, on average."),
    "guestroom_promise_waste_bytes": ("waste_bytes", "Granted above the peak, on average."),
    "guestroom_promise_peak_bytes": ("peak_bytes", "Median peak."),
    "guestroom_promise_largest_miss_bytes": ("largest_miss_bytes", "Most that one needed above its promise."),
}
"""By policy, QEMU and accelerator: promises, held against what happened. Forgotten lives leave them."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The last look at where a guest's bytes are."""

    explanation: Explanation
    at_s: float
    """Monotonic seconds."""


def families(
    rows: Iterable[Row] | None,
    host: Row | None,
    looks: Mapping[str, Seen],
    now_s: float,
    learning: Row | None = None,
) -> Iterator[Metric]:
    """Every family with its samples; without an agent only ``guestroom_up`` 0 and the version."""
    up = rows is not None and host is not None
    yield GaugeMetricFamily("guestroom_up", "1 where the agent answers.", value=float(up))
    build = GaugeMetricFamily("guestroom_build_info", "Version of guestroom; always 1.", labels=["version"])
    build.add_metric([__version__], 1.0)
    yield build
    if rows is None or host is None:
        return
    for name, (field, meaning) in OF_HOST.items():
        yield GaugeMetricFamily(name, meaning, value=float(host[field]))
    yield CounterMetricFamily(
        "guestroom_host_walls_hit", "Times a guest or the host wall met its limit.", value=float(host["walls_hit"])
    )
    shown = [row for row in rows if row.get("place") is None]
    for name, (field, meaning) in OF_GUEST.items():
        family = GaugeMetricFamily(name, meaning, labels=["guest"])
        for row in shown:
            if isinstance(row[field], int | float):
                family.add_metric([row["name"]], float(row[field]))
        yield family
    yield from _promises(learning)
    yield from _parts({row["name"] for row in shown}, looks, now_s)


def _promises(learning: Row | None) -> Iterator[Metric]:
    groups = learning["groups"] if learning is not None else []
    for name, (field, meaning) in OF_PROMISES.items():
        family = GaugeMetricFamily(name, meaning, labels=["policy", "qemu", "accelerator"])
        for group in groups:
            if group[field] is not None:
                labels = [group["policy"], group["qemu"] or "", group["accelerator"]]
                family.add_metric(labels, float(group[field]))
        yield family


def _parts(names: set[str], looks: Mapping[str, Seen], now_s: float) -> Iterator[Metric]:
    charged = GaugeMetricFamily(
        "guestroom_guest_charged_bytes", "What the guest's cgroups are charged for, by kind.", labels=["guest", "kind"]
    )
    unexplained = GaugeMetricFamily(
        "guestroom_guest_unexplained_bytes", "Charged bytes that have no name (see doctor).", labels=["guest"]
    )
    age = GaugeMetricFamily(
        "guestroom_guest_explained_age_seconds", "Age of the look behind charged and unexplained.", labels=["guest"]
    )
    for name in sorted(names & set(looks)):
        found = looks[name].explanation
        for kind in PartKind:
            size = sum(part.size_bytes for part in found.parts if part.kind is kind)
            charged.add_metric([name, kind.value], float(size))
        unexplained.add_metric([name], float(found.charged_bytes - found.explained_bytes))
        age.add_metric([name], max(0.0, now_s - looks[name].at_s))
    yield from (charged, unexplained, age)
