"""Figures for Prometheus: what is in them, what is not, and how slowly they look."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from guestroom.attribute.parts import Explanation, Part, PartKind
from guestroom.cli import metrics
from guestroom.cli.explain import Looked
from guestroom.cli.families import OF_GUEST, OF_HOST, OF_PROMISES, Seen, families
from guestroom.cli.metrics import Watcher, parse_address
from guestroom.errors import AgentError, HostError, UsageError
from guestroom.units import MIB

HOST: dict[str, Any] = {field: 7 * MIB for field, _ in OF_HOST.values()} | {"walls_hit": 3}


LEARNING: dict[str, Any] = {
    "groups": [
        {
            "policy": "learned",
            "qemu": "7.2",
            "accelerator": "tcg",
            "lives": 60,
            "missed": 2,
            "coverage": 58 / 60,
            "coverage_at_least": 0.898,
            "promised_coverage": None,
            "waste_bytes": 3 * MIB,
            "peak_bytes": 90 * MIB,
            "largest_miss_bytes": 12 * MIB,
        }
    ]
}


def row(name: str, **own: object) -> dict[str, Any]:
    """A row of ps."""
    usual: dict[str, Any] = dict.fromkeys((field for field, _ in OF_GUEST.values()), MIB)
    return usual | {"name": name, "pid": 4711, "place": None, "held": False, "held_s": 1.5} | own


def looked(unknown_bytes: int = MIB) -> Looked:
    """A look at 65 MiB, with so much of it that has no name."""
    parts = (
        Part("guest RAM", 64 * MIB - unknown_bytes, "", PartKind.RAM),
        Part("heap", MIB, "", PartKind.OVERHEAD),
        Part("unexplained", unknown_bytes, "", PartKind.UNKNOWN),
    )
    return Looked(Explanation(65 * MIB, parts, 0, 0), (), "/cg", 1.0)


class Agent:
    """An agent with these rows; None: it does not answer."""

    def __init__(self, rows: list[dict[str, Any]] | None) -> None:
        self.rows = rows

    def get(self, target: str) -> Any:
        """An answer."""
        if self.rows is None:
            raise AgentError("no agent answers")
        return {"/v1/host": HOST, "/v1/learning": LEARNING}.get(target, self.rows)


def samples(watcher: Watcher) -> dict[str, float]:
    """What a scrape gives, read back by the library's own parser."""

    class One:
        def collect(self) -> Any:
            return watcher.collect()

    registry = CollectorRegistry()
    registry.register(One())  # type: ignore[arg-type]
    text = generate_latest(registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(one.labels.items()))
            found[f"{one.name}{{{labels}}}"] = one.value
    return found


def test_unexplained_bytes_have_a_figure_of_their_own() -> None:
    """What has no name at the last look shows by guest, and kinds sum to what is charged."""
    watcher = Watcher(Agent([row("web")]), lambda row: looked(2 * MIB))  # type: ignore[arg-type]
    watcher.look_once()
    found = samples(watcher)
    assert found["guestroom_guest_unexplained_bytes{guest=web}"] == 2 * MIB
    kinds = [value for name, value in found.items() if name.startswith("guestroom_guest_charged_bytes")]
    assert sum(kinds) == 65 * MIB
    assert found["guestroom_guest_explained_age_seconds{guest=web}"] >= 0


def test_host_and_guest_figures_are_the_agents() -> None:
    """Fields of ps under base-unit names; walls hit is a counter."""
    found = samples(Watcher(Agent([row("web", grant_bytes=5 * MIB, held=True)])))  # type: ignore[arg-type]
    assert found["guestroom_guest_grant_bytes{guest=web}"] == 5 * MIB
    assert found["guestroom_guest_held{guest=web}"] == 1
    assert found["guestroom_host_walls_hit_total{}"] == 3
    assert found["guestroom_up{}"] == 1


def test_what_is_unknown_gives_no_sample() -> None:
    """None and "unlimited" are no figure, and who waits for room holds none."""
    rows = [row("web", overhead_bytes=None, limit_bytes="unlimited"), row("queued", place=1)]
    found = samples(Watcher(Agent(rows)))  # type: ignore[arg-type]
    assert "guestroom_guest_overhead_bytes{guest=web}" not in found
    assert "guestroom_guest_limit_bytes{guest=web}" not in found
    assert not [name for name in found if "queued" in name]


def test_without_an_agent_it_is_down() -> None:
    """No agent: up is 0 and nothing else is told."""
    found = samples(Watcher(Agent(None)))  # type: ignore[arg-type]
    assert found["guestroom_up{}"] == 0
    assert not [name for name in found if "guest_" in name or "host_" in name]


def test_a_guest_that_ended_is_forgotten() -> None:
    """Its last look goes with it, and one that can't be looked at keeps its older look."""
    agent = Agent([row("web"), row("db")])
    watcher = Watcher(agent, lambda row: looked())  # type: ignore[arg-type]
    watcher.look_once()
    agent.rows = [row("db")]
    found = samples(watcher)
    assert "guestroom_guest_unexplained_bytes{guest=db}" in found
    assert not [name for name in found if "web" in name]


def test_it_looks_at_its_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking on takes at most its share of a processor: a look of 5 ms is followed by 100 times that."""
    monkeypatch.setattr(metrics, "REST_S", 0.0)
    rests: list[float] = []

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(timeout or 0.0)
            return len(rests) == 4

    def busy(_: Mapping[str, Any]) -> Looked:
        end_s = time.thread_time() + 0.005
        while time.thread_time() < end_s:
            pass
        return looked()

    Watcher(Agent([row("web"), row("db")]), busy).look_on(Ended())  # type: ignore[arg-type]
    assert len(rests) == 4
    assert min(rests) >= 0.005 / metrics.SHARE_OF_A_CORE


def test_a_look_that_fails_stops_nothing() -> None:
    """A process that ended meanwhile leaves the others' figures alone."""

    def fails(row: Mapping[str, Any]) -> Looked:
        if row["name"] == "web":
            raise HostError("gone")
        return looked()

    watcher = Watcher(Agent([row("web"), row("db")]), fails)  # type: ignore[arg-type]
    watcher.look_once()
    assert "guestroom_guest_unexplained_bytes{guest=db}" in samples(watcher)


def test_addresses() -> None:
    """ADDRESS:PORT, also IPv6; anything else is refused with an example."""
    assert parse_address("127.0.0.1:9177") == ("127.0.0.1", 9177)
    assert parse_address("[::1]:0") == ("::1", 0)
    for bad in ("9177", ":9177", "localhost:", "localhost:http", "localhost:70000"):
        with pytest.raises(UsageError, match="ADDRESS:PORT"):
            parse_address(bad)


def test_names_carry_units() -> None:
    """Sizes end in _bytes, times in _seconds; the rest are 0 or 1 or counts."""
    now_s = 10.0
    for family in families([row("web")], HOST, {"web": Seen(looked().explanation, 1.0)}, now_s):
        name = family.name
        assert name.startswith("guestroom_")
        assert name.endswith(
            (
                "_bytes",
                "_seconds",
                "_held",
                "_squeezed",
                "_hit",
                "_guests",
                "_waiting",
                "_up",
                "_info",
                "_ratio",
                "_lives",
                "_missed",
            )
        )


def test_promises_are_given_with_what_became_of_them() -> None:
    """By policy, QEMU and accelerator: how many kept, missed and wasted; a share nobody promised gives no sample."""
    found = samples(Watcher(Agent([]), looked))  # type: ignore[arg-type]
    on = "{accelerator=tcg,policy=learned,qemu=7.2}"
    assert found[f"guestroom_promise_lives{on}"] == 60
    assert found[f"guestroom_promise_missed_lives{on}"] == 2
    assert found[f"guestroom_promise_kept_ratio{on}"] == 58 / 60
    assert found[f"guestroom_promise_waste_bytes{on}"] == 3 * MIB
    assert f"guestroom_promise_promised_ratio{on}" not in found
    assert {field for field, _ in OF_PROMISES.values()} <= set(LEARNING["groups"][0])
