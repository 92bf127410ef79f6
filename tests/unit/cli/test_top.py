"""What ``guestroom top`` draws: order, history, parts."""

from __future__ import annotations

from typing import Any

from guestroom.cli.top import HISTORY, LOOKS_A_FRAME, Memory, frame, full, in_order, sparkline
from guestroom.units import MIB

HOST = {
    "reserve_bytes": 800 * MIB,
    "headroom_bytes": 128 * MIB,
    "headroom_left_bytes": 100 * MIB,
    "granted_bytes": 600 * MIB,
    "walls_hit": 0,
    "waiting": 0,
    "overcommitted_bytes": 0,
}


def row(name: str, overhead_mib: int | None, grant_mib: int = 100, ram_mib: int = 256) -> dict[str, Any]:
    """A guest as the agent shows it."""
    return {
        "name": name,
        "pid": 7,
        "state": "running",
        "ram_bytes": ram_mib * MIB,
        "overhead_bytes": None if overhead_mib is None else overhead_mib * MIB,
        "grant_bytes": grant_mib * MIB,
    }


ROWS = [row("b", 50), row("a", 90, 400), row("c", None), row("d", 80, 100, 512)]


def names(rows: list[dict[str, Any]]) -> str:
    """Names in a row."""
    return "".join(one["name"] for one in rows)


def test_the_largest_comes_first_and_the_unknown_last() -> None:
    """Each key sorts by its figure; unknown overhead is not zero overhead."""
    assert names(in_order(ROWS, "overhead")) == "adbc"
    assert names(in_order(ROWS, "full")) == "dbac"
    assert names(in_order(ROWS, "name")) == "abcd"
    assert names(in_order(ROWS, "ram"))[0] == "d"
    assert names(in_order(ROWS, "grant"))[0] == "a"


def test_a_history_is_drawn_from_nothing_to_the_grant() -> None:
    """0 is the lowest bar, the grant and more the highest, and what was not known is a dot."""
    assert sparkline([0, 50, 100, 130, None], 100) == "▁▅██·"
    assert sparkline([5], 0) == "█"


def test_how_full_a_grant_is() -> None:
    """A share where both are known."""
    assert full(row("a", 50, 200)) == 0.25
    assert full(row("a", None)) is None
    assert full(row("a", 5, 0)) is None


def test_a_frame_has_the_host_every_guest_and_the_keys() -> None:
    """Host line, one line a guest in order, and on a terminal what the keys do."""
    memory = Memory()
    memory.take(ROWS, lambda one: f"heap of {one['name']}")
    lines = frame(ROWS, HOST, memory, "name", interactive=True)
    assert lines[0].startswith("host: reserve 800.0 MiB")
    assert [line.split()[0] for line in lines[3:7]] == ["a", "b", "c", "d"]
    assert "heap of a" in lines[3]
    assert "sorted by name" in lines[-1]
    assert "q quit" in lines[-1]
    assert "keys" not in frame(ROWS, HOST, memory, "name", interactive=False)[-1]
    assert "no guests" in frame([], HOST, memory, "name", interactive=False)[-1]


def test_parts_are_looked_up_a_few_guests_at_a_time() -> None:
    """Everybody's turn comes, nobody's twice before, and who is gone is forgotten."""
    memory, looked = Memory(), []
    many = [row(f"g{n}", n) for n in range(10)]

    def parts(one: dict[str, Any]) -> str:
        looked.append(one["name"])
        return "heap"

    for _ in range(3):
        memory.take(many, parts)
    assert len(looked) == 3 * LOOKS_A_FRAME
    assert set(looked) == {one["name"] for one in many}
    memory.take(many[:1], parts)
    assert set(memory.history) == set(memory.parts) == {"g0"}
    for _ in range(2 * HISTORY):
        memory.take(many[:1], parts)
    assert len(memory.history["g0"]) == HISTORY
