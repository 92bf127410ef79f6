"""What the alarm reads, holds, lets go and says."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import Any

import pytest

from guestroom.actions import Action, Hold, LetGo, Outcome, OutcomeKind, SetLimit
from guestroom.agent.alarm_watch import Watch
from guestroom.agent.alarm_wire import GuestOp, WallOp
from guestroom.errors import AgentError
from guestroom.layout import Layout
from guestroom.testing import ManualClock
from guestroom.units import MIB

LAYOUT = Layout("/m/g", "/f/g")
RAM, GRANT, HEADROOM, GUARD = 256 * MIB, 64 * MIB, 128 * MIB, 64 * MIB


class Kernel:
    """Files of a wall with guests, and an applier that freezes them."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {"/m/g/memory.limit_in_bytes": str(2 * (RAM + GRANT) + HEADROOM)}
        self.reads: list[str] = []
        self.done: list[Action] = []
        self.refuse = False

    def read(self, path: str) -> str:
        """Text of a file."""
        self.reads.append(path)
        if path not in self.texts:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.texts[path] + "\n"

    def charge(self, name: str, *, ram: int = RAM, vmm: int = 0, cache: int = 0, kernel: int = 0) -> None:
        """Set what a guest is charged, in bytes."""
        for part, rss, file in (("ram", ram, 0), ("vmm", vmm, cache)):
            text = f"cache {file}\nrss {rss}\nshmem 0\ntotal_cache {file}\ntotal_rss {rss}\ntotal_shmem 0"
            self.texts[f"/m/g/{name}/{part}/memory.stat"] = text
        # The guest's own figures stand still, as the kernel's may: reading them would be wrong.
        self.texts[f"/m/g/{name}/memory.stat"] = "cache 0\ntotal_cache 0\ntotal_rss 0\ntotal_shmem 0"
        self.texts[f"/m/g/{name}/memory.kmem.usage_in_bytes"] = str(kernel)
        self.texts[f"/m/g/{name}/memory.usage_in_bytes"] = str(ram + vmm + cache + kernel)
        self.texts.setdefault(f"/f/g/{name}/freezer.state", "THAWED")

    def carry_out(self, action: Action) -> Outcome:
        """Freeze at once."""
        if self.refuse:
            return Outcome(action, OutcomeKind.NOT_PERMITTED, "no")
        self.done.append(action)
        match action:
            case Hold(name=name):
                self.texts[f"/f/g/{name}/freezer.state"] = "FROZEN"
            case LetGo(name=name):
                self.texts[f"/f/g/{name}/freezer.state"] = "THAWED"
            case SetLimit(name=name, to_bytes=to_bytes):
                self.texts[f"/m/g/{name}/memory.limit_in_bytes"] = str(to_bytes)
            case _:
                raise AssertionError(action)
        return Outcome(action, OutcomeKind.DONE, "")

    def no(self, *_: Any) -> Any:
        """The watch writes nothing itself."""
        raise AssertionError("not the watch's to do")

    write = mkdir = rmdir = list_dirs = inode = no


class Scene:
    """A watch over two guests, a and b."""

    def __init__(self) -> None:
        self.kernel, self.clock, self.said = Kernel(), ManualClock(), list[dict[str, Any]]()
        self.watch = Watch(self.kernel, LAYOUT, self.kernel, self.clock, lambda fields: self.said.append(dict(fields)))
        self.watch.set_wall(WallOp("/m/g", 2 * (RAM + GRANT) + HEADROOM, HEADROOM, GUARD))
        for name in ("a", "b"):
            self.kernel.charge(name)
            self.watch.set_guest(guest(name))

    def look(self) -> list[Action]:
        """One look; returns what was done in it."""
        self.kernel.done.clear()
        self.watch.look()
        self.watch.settle()
        return list(self.kernel.done)

    def kinds(self) -> list[str]:
        """Kinds of events so far."""
        return [news["event"] for news in self.said]


def guest(name: str, **changes: Any) -> GuestOp:
    """A guest's numbers."""
    op = GuestOp(name, LAYOUT.guest(name), LAYOUT.freezer_of(name), RAM, 1, GRANT, RAM + GRANT + HEADROOM, 16 * MIB)
    return replace(op, **changes)


@pytest.fixture
def scene() -> Scene:
    """A quiet scene."""
    return Scene()


def test_quiet(scene: Scene) -> None:
    """Nobody above its grant: one short read a guest, nothing done, nothing said."""
    assert scene.look() == []
    assert scene.said == []
    assert sorted(scene.kernel.reads) == [
        "/m/g/a/memory.usage_in_bytes",
        "/m/g/b/memory.usage_in_bytes",
        "/m/g/memory.limit_in_bytes",
    ]


def test_over_with_headroom(scene: Scene) -> None:
    """Above the grant with headroom left: said once, not held; said again when it is back within."""
    scene.kernel.charge("a", vmm=GRANT + 32 * MIB)
    assert scene.look() == []
    assert scene.look() == []
    numbers = {"overhead_bytes": GRANT + 32 * MIB, "grant_bytes": GRANT, "at_s": scene.clock.monotonic()}
    assert scene.said == [{"event": "over", "name": "a"} | numbers]
    scene.kernel.charge("a", vmm=MIB)
    scene.look()
    assert scene.kinds() == ["over", "within"]


def test_held_at_the_guard(scene: Scene) -> None:
    """At the guard the one above its grant is held and told with its numbers; its neighbour is not touched."""
    scene.kernel.charge("a", vmm=GRANT + 60 * MIB, kernel=4 * MIB)
    scene.kernel.charge("b", vmm=GRANT)
    assert [(type(action), action.name) for action in scene.look()] == [(Hold, "a")]  # type: ignore[union-attr]
    assert scene.kinds() == ["over", "holding", "decided", "held"]
    assert scene.said[-1] | {"reason": ""} == {
        "event": "held",
        "name": "a",
        "over_bytes": 64 * MIB,
        "headroom_left_bytes": 64 * MIB,
        "guard_bytes": GUARD,
        "took_ms": 0.0,
        "frozen": True,
        "reason": "",
    }
    assert scene.look() == [], "held once"


def test_let_go_when_there_is_room(scene: Scene) -> None:
    """A raised grant lets it go, and that is told."""
    scene.kernel.charge("a", vmm=GRANT + 64 * MIB)
    scene.look()
    scene.watch.set_guest(guest("a", grant_bytes=2 * GRANT))
    assert [type(action) for action in scene.look()] == [LetGo]
    assert scene.kinds()[-3:] == ["within", "let_go", "decided"]
    assert "let_go" in scene.kinds()
    assert scene.look() == []


def test_cache_is_no_overhead(scene: Scene) -> None:
    """Page cache up to the limit holds nobody and is nobody's excess."""
    scene.kernel.charge("a", vmm=MIB, cache=GRANT + HEADROOM)
    assert scene.look() == []
    assert scene.said == []


def test_wandered_ram_is_no_overhead(scene: Scene) -> None:
    """RAM charged to vmm instead of ram is still RAM."""
    scene.kernel.charge("a", ram=0, vmm=RAM + MIB, cache=GRANT)
    assert scene.look() == []
    assert scene.said == []


def test_leaves_are_read(scene: Scene) -> None:
    """The guest's own memory.stat, which the kernel may leave standing still, is never read."""
    scene.kernel.charge("a", vmm=GRANT + 32 * MIB)
    scene.look()
    assert "/m/g/a/vmm/memory.stat" in scene.kernel.reads
    assert "/m/g/a/memory.stat" not in scene.kernel.reads


def test_wall_nearer_than_the_headroom(scene: Scene) -> None:
    """On an overcommitted host the kernel's wall counts, less what everybody is granted, not the headroom on paper."""
    scene.kernel.texts["/m/g/memory.limit_in_bytes"] = str(2 * (RAM + GRANT) + 32 * MIB)
    scene.kernel.charge("a", vmm=GRANT + MIB)
    assert [type(action) for action in scene.look()] == [Hold]
    assert scene.said[-1]["headroom_left_bytes"] == 31 * MIB


def test_more_wall_is_not_more_headroom(scene: Scene) -> None:
    """A wall that leaves more than the headroom does not delay a hold: the rest is the agent's to give."""
    scene.kernel.texts["/m/g/memory.limit_in_bytes"] = "9223372036854771712"
    scene.kernel.charge("a", vmm=GRANT + 64 * MIB)
    assert [type(action) for action in scene.look()] == [Hold]
    assert scene.said[-1]["headroom_left_bytes"] == 64 * MIB


def test_told_before_or_after_the_wall(scene: Scene) -> None:
    """A newcomer told while the alarm has only the old wall's number holds nobody: the kernel's limit is read."""
    scene.kernel.texts["/m/g/memory.limit_in_bytes"] = str(3 * (RAM + GRANT) + HEADROOM)
    scene.kernel.charge("a", vmm=GRANT + 32 * MIB)
    scene.kernel.charge("c")
    scene.watch.set_guest(guest("c"))
    assert scene.look() == []


def test_missing_ram_is_not_lent(scene: Scene) -> None:
    """RAM that a guest gave back does not count as room: it is promised to it."""
    scene.kernel.charge("b", ram=0)
    scene.kernel.charge("a", vmm=GRANT + 64 * MIB)
    assert [type(action) for action in scene.look()] == [Hold]
    assert scene.said[-1]["headroom_left_bytes"] == 64 * MIB


def test_wall_that_cannot_be_read(scene: Scene) -> None:
    """Without the kernel's figure the told one is used, and that is told once."""
    del scene.kernel.texts["/m/g/memory.limit_in_bytes"]
    scene.kernel.charge("a", vmm=GRANT + 64 * MIB)
    assert [type(action) for action in scene.look()] == [Hold]
    scene.look()
    assert [news["code"] for news in scene.said if news["event"] == "error"] == ["vanished"]


def test_unreadable_is_not_zero(scene: Scene) -> None:
    """P6: a guest that can't be read is told once and neither held nor let go; others are still watched."""
    scene.kernel.charge("a", vmm=GRANT + 64 * MIB)
    scene.look()
    scene.kernel.texts["/m/g/a/memory.usage_in_bytes"] = "nonsense"
    scene.kernel.charge("b", vmm=GRANT + 64 * MIB)
    assert [action.name for action in scene.look()] == ["b"]  # type: ignore[union-attr]
    scene.look()
    errors = [news for news in scene.said if news["event"] == "error"]
    assert [(news["name"], news["code"]) for news in errors] == [("a", "read")]


def test_vanished_guest(scene: Scene) -> None:
    """A guest whose cgroup is gone is told once as vanished and disturbs nobody."""
    for path in [path for path in scene.kernel.texts if path.startswith("/m/g/a/")]:
        del scene.kernel.texts[path]
    assert scene.look() == []
    assert scene.look() == []
    assert [news["code"] for news in scene.said] == ["vanished"]


@pytest.mark.parametrize("text", ["rss 5", "cache 0\ntotal_cache 1\ntotal_rss x\ntotal_shmem 0"])
def test_malformed_stat(scene: Scene, text: str) -> None:
    """A memory.stat without its lines, or with nonsense in them, is unknown, not zero."""
    scene.kernel.charge("a", vmm=GRANT + 100 * MIB)
    scene.kernel.texts["/m/g/a/vmm/memory.stat"] = text
    assert scene.look() == []
    assert scene.kinds() == ["error"]


def test_without_kmem_file(scene: Scene) -> None:
    """Where the kernel has no kmem figure, everything but page cache is taken: a bound, not less."""
    scene.kernel.charge("a", vmm=GRANT + 60 * MIB, cache=300 * MIB, kernel=4 * MIB)
    del scene.kernel.texts["/m/g/a/memory.kmem.usage_in_bytes"]
    assert [type(action) for action in scene.look()] == [Hold]
    assert scene.said[-1]["over_bytes"] == 64 * MIB


@pytest.mark.parametrize("state", ["FROZEN", "FREEZING"])
def test_foreign_hold(scene: Scene, state: str) -> None:
    """A guest somebody else froze is not taken for ours: not said, not thawed."""
    scene.kernel.charge("a", vmm=GRANT + 100 * MIB)
    scene.kernel.texts["/f/g/a/freezer.state"] = state
    assert scene.look() == []
    scene.kernel.charge("a")
    assert scene.look() == []
    scene.watch.forget("a")
    assert scene.kernel.done == []


def test_told_hold_is_ours(scene: Scene) -> None:
    """A hold that was handed over is let go by us when there is room, and kept when numbers move without saying so."""
    scene.kernel.texts["/f/g/a/freezer.state"] = "FROZEN"
    scene.watch.set_guest(guest("a", held=True))
    scene.watch.set_guest(guest("a"))
    assert [type(action) for action in scene.look()] == [LetGo]


def test_forget_lets_go(scene: Scene) -> None:
    """Nobody we hold is forgotten frozen."""
    scene.kernel.charge("a", vmm=GRANT + 64 * MIB)
    scene.look()
    scene.kernel.done.clear()
    scene.watch.forget("a")
    assert [type(action) for action in scene.kernel.done] == [LetGo]
    scene.watch.forget("never")


def test_refused_hold(scene: Scene) -> None:
    """A hold that fails is an error, not a hold, and is tried again at the next look."""
    scene.kernel.charge("a", vmm=GRANT + 64 * MIB)
    scene.kernel.refuse = True
    assert scene.look() == []
    assert scene.kinds() == ["over", "holding", "error"]
    scene.kernel.refuse = False
    assert [type(action) for action in scene.look()] == [Hold]


def test_slow_freeze_is_told_as_such(scene: Scene) -> None:
    """A freeze still under way is waited for without blocking, and after 100 ms told as not complete."""
    scene.kernel.charge("a", vmm=GRANT + 64 * MIB)
    scene.watch.look()
    scene.kernel.texts["/f/g/a/freezer.state"] = "FREEZING"
    scene.clock.advance(0.05)
    scene.watch.settle()
    assert scene.kinds() == ["over", "holding", "decided"]
    scene.clock.advance(0.06)
    scene.watch.settle()
    assert scene.said[-1]["frozen"] is False
    assert scene.said[-1]["took_ms"] == pytest.approx(110)
    assert not scene.watch.freezing


def test_foreign_paths_are_refused(scene: Scene) -> None:
    """P9: a guest or wall whose paths are not its own is not watched."""
    with pytest.raises(AgentError):
        scene.watch.set_guest(guest("a", memory_path="/m/g/b"))
    with pytest.raises(AgentError):
        scene.watch.set_guest(guest("a", freezer_path="/f/other"))
    with pytest.raises(AgentError):
        scene.watch.set_wall(WallOp("/m/other", 1, 1, 1))


def test_before_the_wall_is_known(scene: Scene) -> None:
    """Without the wall's numbers nothing is decided."""
    scene.watch.wall = None
    scene.kernel.charge("a", vmm=10 * GRANT)
    assert scene.look() == []


def test_held_before_its_own_cap(scene: Scene) -> None:
    """Within its grant and with all the headroom left, but at its cap's mark: held, and let go when it is forgotten."""
    scene.watch.set_guest(guest("a", limit_bytes=RAM + GRANT, hold_at_bytes=GRANT - 16 * MIB))
    scene.kernel.charge("a", vmm=GRANT - 17 * MIB)
    assert scene.look() == []
    scene.kernel.charge("a", vmm=GRANT - 16 * MIB)
    assert [type(action) for action in scene.look()] == [Hold]
    assert scene.kinds() == ["holding", "decided", "held"]
    assert "cap" in scene.said[-1]["reason"]
    assert scene.look() == []
    scene.watch.set_guest(guest("a"))
    assert [type(action) for action in scene.look()] == [LetGo]


def test_page_cache_before_its_cap_holds_nobody(scene: Scene) -> None:
    """Only what can't be reclaimed counts against the mark."""
    scene.watch.set_guest(guest("a", limit_bytes=RAM + GRANT, hold_at_bytes=GRANT - 16 * MIB))
    scene.kernel.charge("a", vmm=16 * MIB, cache=GRANT - 16 * MIB)
    assert scene.look() == []


# --- raises from lent room -----------------------------------------------------------------------------------


def test_a_raise_from_lent_room_is_written_and_told(scene: Scene) -> None:
    """Who passes its grant is raised at once while room is on loan; what is left of the loan falls by it."""
    scene.watch.free_bytes = 100 * MIB
    scene.kernel.charge("a", vmm=GRANT + 6 * MIB)
    scene.watch.raise_woken(["a"], 0.0)
    (action,) = scene.kernel.done
    assert isinstance(action, SetLimit)
    assert action.grant_to_bytes == GRANT + 22 * MIB
    assert scene.watch.free_bytes == 78 * MIB
    assert scene.kinds() == ["raised"]
    scene.kernel.reads.clear()
    scene.watch.raise_woken(["a"], 0.0)
    assert len(scene.kernel.done) == 1, "it is within its grant again"


def test_the_woken_is_read_before_all_others(scene: Scene) -> None:
    """A raise costs at most seven reads, however many guests there are: the others are looked at afterwards."""
    scene.watch.free_bytes = 100 * MIB
    scene.kernel.charge("a", vmm=GRANT + 6 * MIB)
    scene.kernel.reads.clear()
    scene.watch.raise_woken(["a"], 0.0)
    assert scene.kernel.done
    assert all("/b/" not in path for path in scene.kernel.reads)
    assert len(scene.kernel.reads) <= 7


def test_nothing_is_raised_without_a_loan_or_beyond_a_cap(scene: Scene) -> None:
    """Room that was not lent is the agent's, and a capped guest gets no more than its cap."""
    scene.kernel.charge("a", vmm=GRANT + 6 * MIB)
    scene.watch.look()
    assert scene.kinds() == ["over"]
    scene.watch.free_bytes = 100 * MIB
    scene.watch.set_guest(replace(scene.watch.guests["a"].op, cap_bytes=GRANT))
    scene.watch.look()
    assert scene.kernel.done == []


def test_a_refused_raise_costs_no_loan(scene: Scene) -> None:
    """A write the kernel refuses leaves numbers and loan as they were, and is told."""
    scene.watch.free_bytes = 100 * MIB
    scene.kernel.charge("a", vmm=GRANT + 6 * MIB)
    scene.kernel.refuse = True
    scene.watch.raise_woken(["a"], 0.0)
    assert scene.watch.free_bytes == 100 * MIB
    assert scene.watch.guests["a"].op.grant_bytes == GRANT
    assert scene.kinds() == ["error"]


def test_what_was_measured_is_told_now_and_then(scene: Scene) -> None:
    """A burst seen in many looks is told in few lines, the largest in the end; the answer's time too."""
    for step in range(1, 14):
        scene.clock.sleep(0.05)
        scene.kernel.charge("a", vmm=GRANT + step * 8 * MIB)
        scene.look()
        scene.watch.report()
    grown = [news for news in scene.said if news["event"] == "growth"]
    assert 1 <= len(grown) <= 3
    assert grown[-1]["burst_bytes"] >= 64 * MIB
    assert grown[-1]["growth_bytes_per_s"] == 160 * MIB
    assert "reaction" in scene.kinds()
