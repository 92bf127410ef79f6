"""What a brake says to QEMU, against a monitor that keeps what it was told."""

from __future__ import annotations

from typing import Any

import pytest

from guestroom.agent.brake_qmp import apply, cluster_bytes, ease, mark_for, release, trim, unfit
from guestroom.config import Brake
from guestroom.facts import BrakeMark, DriveLimits, Figure

BASE = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0}
PATH = "/machine/peripheral-anon/device[0]/virtio-backend"


class FakeMonitor:
    """A QEMU with disks; limits that are set are there when asked for."""

    def __init__(self, status: str = "running", migration: str | None = None) -> None:
        self.status = status
        self.migration = migration
        self.news: list[str] = []
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.disks: dict[str, dict[str, Any]] = {PATH: disk(PATH)}

    def query_status(self) -> str:
        """The run state."""
        return self.status

    def cont(self) -> None:
        """Run."""
        self.status = "running"

    def events(self) -> tuple[str, ...]:
        """What came."""
        return tuple(self.news)

    def close(self) -> None:
        """Nothing to close."""

    def execute(self, command: str, /, **arguments: Any) -> Any:
        """Do as QEMU would."""
        match command:
            case "query-migrate":
                return {} if self.migration is None else {"status": self.migration}
            case "query-block":
                return list(self.disks.values())
            case "stop":
                self.status = "paused"
            case "block_set_io_throttle":
                limits = self.disks[arguments.get("id") or arguments["device"]]["inserted"]
                # A total next to a read or write limit is refused by QEMU.
                assert not (arguments["iops"] and (arguments["iops_rd"] or arguments["iops_wr"]))
                for name in [name for name in limits if name not in ("ro", "image")]:
                    del limits[name]
                limits |= {name: value for name, value in arguments.items() if name not in ("id", "device")}
            case _:
                pass
        self.said.append((command, arguments))
        return {}


def disk(path: str, *, cluster: int = 2 << 20, ro: bool = False, **limits: Any) -> dict[str, Any]:
    """An entry of query-block."""
    inserted = BASE | limits | {"ro": ro, "image": {"cluster-size": cluster}}
    return {
        "device": "" if path.startswith("/") else path,
        "qdev": path if path.startswith("/") else "",
        "inserted": inserted,
    }


def mark(monitor: FakeMonitor, kind: Brake = Brake.THROTTLE) -> BrakeMark:
    """The mark for it."""
    found = mark_for(monitor, kind, 64)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("status", "migration", "fit"),
    [
        ("running", None, True),
        ("running", "completed", True),
        ("running", "active", False),
        ("running", "postcopy-active", False),
        ("running", "pre-switchover", False),
        *((state, None, False) for state in ("paused", "postmigrate", "finish-migrate", "io-error", "inmigrate")),
    ],
)
def test_only_a_running_guest_that_stays_is_touched(status: str, migration: str | None, fit: bool) -> None:
    """A guest that is paused, migrates or has an I/O error is its user's business."""
    assert (unfit(FakeMonitor(status, migration)) is None) is fit


def test_a_disk_without_limits_has_none_again() -> None:
    """Throttled by its path, then without any limit as before."""
    monitor = FakeMonitor()
    found = mark(monitor)
    apply(monitor, found)
    assert monitor.disks[PATH]["inserted"]["iops"] == 64
    assert release(monitor, found) is None
    assert {name: monitor.disks[PATH]["inserted"][name] for name in BASE} == BASE
    assert "group" not in monitor.said[-1][1]


def test_a_users_own_limits_hold_meanwhile_and_come_back_exactly() -> None:
    """Bytes a second stay limited while we throttle; afterwards every figure is as its user had it, its group too."""
    own = {"bps": 5 << 20, "bps_max": 9 << 20, "bps_max_length": 3, "iops_rd": 900, "iops_wr": 800, "group": "both"}
    monitor = FakeMonitor()
    monitor.disks = {PATH: disk(PATH, **own)}
    found = mark(monitor)
    apply(monitor, found)
    now = monitor.disks[PATH]["inserted"]
    assert (now["bps"], now["bps_max"], now["iops"], now["iops_rd"], now["group"]) == (5 << 20, 9 << 20, 64, 0, "both")
    release(monitor, found)
    now = monitor.disks[PATH]["inserted"]
    assert {name: now[name] for name in own} == own
    assert now["iops"] == 0


def test_slower_ones_are_left_as_they_are() -> None:
    """A disk whose user allows it no more than we would, a read-only one and an empty drive are not touched."""
    monitor = FakeMonitor()
    empty = {"device": "cd", "qdev": ""}
    monitor.disks = {
        "slow": disk("slow", iops=50),
        "both": disk("both", iops_rd=30, iops_wr=30),
        "ro": disk("ro", ro=True),
        "cd": empty,
    }
    assert mark_for(monitor, Brake.THROTTLE, 64) is None
    monitor.disks["named"] = disk("named", iops_wr=20)
    assert [drive.drive for drive in mark(monitor).drives] == ["named"]
    apply(monitor, mark(monitor))
    assert monitor.said[-1][1]["device"] == "named"


def test_limits_that_somebody_set_meanwhile_stay() -> None:
    """A limit that is not ours any more is its user's newest wish; a disk that is gone is no error."""
    monitor = FakeMonitor()
    monitor.disks["b"] = disk("b")
    monitor.disks["c"] = disk("c")
    found = mark(monitor)
    apply(monitor, found)
    monitor.disks["b"]["inserted"]["iops"] = 777
    del monitor.disks["c"]
    told = release(monitor, found)
    assert told is not None
    assert "2 of 3" in told
    assert monitor.disks["b"]["inserted"]["iops"] == 777
    assert monitor.disks[PATH]["inserted"]["iops"] == 0


def test_easing_leaves_out_what_is_not_ours_and_can_be_undone_from_the_older_mark() -> None:
    """Steps go on for our own limits only; a crash between easing and writing that down loses no disk."""
    monitor = FakeMonitor()
    monitor.disks["b"] = disk("b")
    found = mark(monitor)
    apply(monitor, found)
    monitor.disks["b"]["inserted"]["iops"] = 777
    eased = ease(monitor, found, 256)
    assert [drive.drive for drive in eased.drives] == [PATH]
    assert monitor.disks[PATH]["inserted"]["iops"] == 256
    release(monitor, found)
    assert monitor.disks[PATH]["inserted"]["iops"] == 0


def test_a_stop_is_continued() -> None:
    """Our own stop ends with our own cont."""
    monitor = FakeMonitor()
    found = mark(monitor, Brake.STOP)
    apply(monitor, found)
    assert monitor.status == "paused"
    assert release(monitor, found) is None
    assert monitor.status == "running"


def test_after_a_users_cont_and_stop_it_stays_stopped() -> None:
    """A RESUME we did not ask for made it its user's again: the stop that came after is theirs."""
    monitor = FakeMonitor()
    found = mark(monitor, Brake.STOP)
    apply(monitor, found)
    monitor.news = ["STOP", "RESUME", "STOP"]
    assert release(monitor, found) is not None
    assert monitor.status == "paused"


@pytest.mark.parametrize("state", ["running", "postmigrate", "finish-migrate", "io-error", "inmigrate", "prelaunch"])
def test_it_is_continued_in_no_other_state(state: str) -> None:
    """Whatever it became meanwhile, only ``paused`` is left by our cont."""
    monitor = FakeMonitor(state)
    assert release(monitor, BrakeMark("stop")) is not None
    assert monitor.status == state


def test_a_trim_leaves_nothing_behind() -> None:
    """What comes goes, under the same name, and it is the smallest block there is."""
    monitor = FakeMonitor()
    trim(monitor)
    (_, added), (_, removed) = monitor.said
    assert added["size"] == 4096
    assert added["id"] == removed["id"]


def test_clusters_are_those_of_images_written_to() -> None:
    """The largest one counts; read-only images and formats without clusters have none."""
    monitor = FakeMonitor()
    monitor.disks = {"a": disk("a", cluster=1 << 16), "b": disk("b", cluster=1 << 20), "c": disk("c", ro=True)}
    assert cluster_bytes(monitor) == 1 << 20
    monitor.disks = {"a": {"device": "a", "qdev": "", "inserted": BASE | {"ro": False}}}
    assert cluster_bytes(monitor) == 0


def test_a_mark_knows_what_to_put_back() -> None:
    """Names, path or name, group and figures are in the mark, so that whoever has it can undo the brake."""
    monitor = FakeMonitor()
    monitor.disks = {"d0": disk("d0", iops=100, iops_size=8192, group="g")}
    (drive,) = mark(monitor).drives
    figures = (*(Figure(name, 100 if name == "iops" else 0) for name in BASE), Figure("iops_size", 8192))
    assert drive == DriveLimits("d0", False, "g", figures)
