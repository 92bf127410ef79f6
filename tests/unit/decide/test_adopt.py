"""Whether a running QEMU may be adopted, and with which limit (P9)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from guestroom.decide.adopt import limit_objection, objection, unit_to_tell
from guestroom.facts import Candidate, Identity, Resident, Unit
from guestroom.units import UNLIMITED, Limit

from .samples import M

WALL = "/cg/agent/guestroom"
QEMU = Resident(100, 1, "qemu-system-x86", qemu=True)
FOUND = Candidate(
    identity=Identity("b", 5, 100, 77),
    uid=0,
    argv=("/usr/bin/qemu-system-x86_64", "-m", "512"),
    qemu=True,
    cgroup="/cg/vms/web",
    residents=(QEMU,),
    freezer=None,
    limit_bytes=UNLIMITED,
    killer=True,
    still=False,
)


def said(found: Candidate, *, watch: bool = False, domain: str | None = None, under_care: tuple[int, ...] = ()) -> str:
    """The objection's message, empty where there is none."""
    answer = objection(found, wall=WALL, under_care=under_care, watch=watch, domain=domain)
    assert answer is None or answer.hint
    return answer.message if answer else ""


def test_a_qemu_alone_in_its_cgroup_is_taken() -> None:
    """Nothing is said against one that has a memory cgroup to itself."""
    assert said(FOUND) == said(FOUND, watch=True) == ""


def test_only_a_qemu_and_only_once() -> None:
    """Another program, and a guest that is under care, are refused, also for looking on."""
    shell = replace(FOUND, qemu=False, argv=("/bin/sh",))
    for watch in (False, True):
        assert "is no QEMU (sh)" in said(shell, watch=watch)
        assert "under care already" in said(FOUND, watch=watch, under_care=(100,))
    assert "is no QEMU" in said(replace(FOUND, qemu=False, argv=()))


@pytest.mark.parametrize("path", ["/cg", "/cg/agent", "/cg/agent/guestroom", "/cg/agent/guestroom/web/vmm"])
def test_a_limit_that_would_bind_others_is_not_set(path: str) -> None:
    """The root, the agent's own cgroup, whatever is above guestroom's, and guestroom's own are refused."""
    assert said(replace(FOUND, cgroup=path))
    assert said(replace(FOUND, cgroup=path), watch=True)


@pytest.mark.parametrize("path", ["/cg/agents", "/cg/agent/guestroom-2", "/cg/agent/other"])
def test_a_name_that_only_begins_alike_is_another(path: str) -> None:
    """Folders are compared by their parts, not by their letters."""
    assert said(replace(FOUND, cgroup=path)) == ""


def test_helpers_are_its_children_and_known_servants() -> None:
    """QEMU's children, their children, swtpm and virtiofsd may be there; a shell, a parent, another QEMU may not."""
    child, grandchild = Resident(101, 100, "helper", qemu=False), Resident(102, 101, "worker", qemu=False)
    servants = (Resident(90, 1, "swtpm", qemu=False), Resident(91, 1, "virtiofsd", qemu=False))
    assert said(replace(FOUND, residents=(QEMU, child, grandchild, *servants))) == ""
    for stranger in (
        Resident(50, 1, "bash", qemu=False),
        Resident(60, 50, "qemu-system-x86", qemu=True),
        Resident(103, 100, "qemu-system-x86", qemu=True),
    ):
        message = said(replace(FOUND, residents=(QEMU, child, stranger)))
        assert f"{stranger.pid} ({stranger.command})" in message
        assert said(replace(FOUND, residents=(QEMU, stranger)), watch=True), "also for looking on: its use is not told"


def test_on_kubernetes_it_is_only_looked_at() -> None:
    """Under kubepods guestroom sizes and explains; it does not write."""
    pod = replace(FOUND, cgroup="/cg/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope")
    assert "does not write" in said(pod)
    assert said(pod, watch=True) == ""


@pytest.mark.parametrize(
    "folder", ["machine/qemu-1-web.1.libvirt-qemu", r"machine.slice/machine-qemu\x2d3\x2dweb.scope/libvirt"]
)
def test_libvirt_s_are_adopted_through_libvirt(folder: str) -> None:
    """A libvirt guest given by pid is refused, by its name it is not: virsh must go on saying what holds."""
    found = replace(FOUND, cgroup=f"/cg/{folder}")
    assert "virsh" in said(found)
    assert said(found, domain="web") == said(found, watch=True) == ""


def test_one_that_stands_still_is_somebody_else_s() -> None:
    """Letting it go later would undo what somebody did on purpose."""
    assert "stands still" in said(replace(FOUND, still=True))
    assert said(replace(FOUND, still=True), watch=True) == ""


# --- limits: RAM 512, overhead 100, floor 164 (two margins), margin 32 -------------------------------------


def limit_said(limit: Limit, wanted: int | None, **changes: int | None) -> str:
    """The objection to a limit."""
    facts: dict[str, int | None] = {"overhead_bytes": 100 * M, "floor_bytes": 164 * M} | changes
    answer = limit_objection(limit, wanted, ram_charged_bytes=512 * M, margin_bytes=32 * M, how="no smaps", **facts)
    assert answer is None or answer.hint
    return answer.message + "; " + answer.hint if answer else ""


def test_a_limit_that_is_there_is_kept_if_it_leaves_a_margin() -> None:
    """RAM + use + margin is enough, a byte less would be held at once and is refused with the numbers."""
    assert limit_said(644 * M, None) == ""
    assert "would be held at once" in limit_said(644 * M - 1, None)
    assert "at least RAM 512.0 MiB + floor 164.0 MiB = 676.0 MiB" in limit_said(400 * M, None)


def test_no_limit_needs_one() -> None:
    """Without a limit there is nothing that could be kept: --limit or --watch."""
    assert "no memory limit" in limit_said(UNLIMITED, None)


def test_a_limit_that_is_given_leaves_the_floor_and_never_shrinks() -> None:
    """--limit is at least RAM + floor, and not below the one that holds."""
    assert limit_said(UNLIMITED, 676 * M) == ""
    assert "below what it must keep" in limit_said(UNLIMITED, 676 * M - 1)
    assert limit_said(700 * M, 700 * M) == ""
    assert "never shrinks" in limit_said(700 * M, 700 * M - 1)
    assert "below what it must keep" in limit_said(600 * M, 650 * M)


@pytest.mark.parametrize("unknown", ["overhead_bytes", "floor_bytes"])
def test_unknown_overhead_can_only_be_watched(unknown: str) -> None:
    """P6: what can't be told can't be kept from its limit."""
    message = limit_said(700 * M, None, **{unknown: None})
    assert "can't be told" in message
    assert "--watch" in message


def test_one_that_is_slowed_down_below_its_limit_is_only_watched() -> None:
    """A raise of its limit would give it nothing while ``memory.high`` is below; at its limit it does no harm."""
    braked = replace(FOUND, limit_bytes=300 * M, brake_bytes=200 * M)
    assert "memory.high = 200.0 MiB" in said(braked)
    assert "memory.high" in said(replace(braked, limit_bytes=UNLIMITED))
    assert said(braked, watch=True) == said(replace(braked, brake_bytes=300 * M)) == ""


def test_a_unit_of_a_user_s_own_systemd_is_only_watched() -> None:
    """That systemd would take a limit back, and it is not ours to ask; below the unit nobody would."""
    unit = replace(FOUND, unit=Unit("web.scope", own=True, manager_uid=1000))
    assert "user 1000's own systemd" in said(unit)
    assert said(unit, watch=True) == said(replace(FOUND, unit=Unit("web.scope", own=False, manager_uid=1000))) == ""


def test_systemd_is_told_of_its_units_own_limits_only() -> None:
    """What lies below a unit, or outside of all, is written directly."""
    assert unit_to_tell(replace(FOUND, unit=Unit("web.scope", own=True, manager_uid=None))) == "web.scope"
    assert unit_to_tell(replace(FOUND, unit=Unit("web.scope", own=False, manager_uid=None))) is None
    assert unit_to_tell(FOUND) is None
