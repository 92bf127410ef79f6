"""A running process as adoption has to see it: what it is, which cgroups are its, and who else is in them.

Only reads. Whether it may be adopted is decided elsewhere, from what is found here. Paths in ``/proc/PID/cgroup`` are
relative to this process's cgroup namespace (cgroup_namespaces(7)), so a process that lives outside of what the
mount shows can't be found and is an error that says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from guestroom.errors import HostError, ReadError, VanishedError
from guestroom.facts import Candidate, Identity, Resident
from guestroom.layout import Version
from guestroom.observe import cgroup1, cgroup2, procfs
from guestroom.observe.cgroups import cgroups
from guestroom.observe.hierarchy import controller_mounts, mount_root, unified_mount
from guestroom.observe.systemd import is_running, unit_of
from guestroom.observe.text import folder_inode, read_optional, read_text, words
from guestroom.ports import Files
from guestroom.units import UNLIMITED, Limit

FREEZE_FILE = "cgroup.freeze"
"""Every v2 cgroup but the root has its own freezer."""


def read_candidate(files: Files, pid: int, version: Version = 1) -> Candidate:
    """Everything adoption asks about process ``pid`` on a host with this ``version`` of cgroups.

    The start time is read first and last: if the pid changed hands in between, it is gone. Raises ``VanishedError``
    where it is, ``HostError`` where its cgroups can't be seen.
    """
    ticks = procfs.start_ticks(files, pid)
    argv = procfs.cmdline(files, pid)
    readers = cgroups(version)
    cgroup = cgroup_of(files, pid, "memory") if version == 1 else cgroup2_of(files, pid)
    inode = folder_inode(files, cgroup)
    residents = tuple(_resident(files, one) for one in readers.read_all_procs(files, cgroup))
    if version == 1:
        freezer = _own_freezer(files, pid, {one.pid for one in residents})
    else:
        freezer = None if read_optional(files, cgroup, FREEZE_FILE) is None else cgroup
    found = Candidate(
        identity=Identity(procfs.boot_id(files), inode, pid, ticks),
        uid=_uid(files, pid),
        argv=argv,
        qemu=procfs.is_qemu(files, pid),
        cgroup=cgroup,
        residents=residents,
        freezer=freezer,
        limit_bytes=readers.read_limit(files, cgroup),
        killer=read_killer(files, cgroup) if version == 1 else None,
        still=stands_still(files, pid, freezer),
        brake_bytes=UNLIMITED if version == 1 else read_brake(files, cgroup),
        unit=unit_of(mount_root(files, version), cgroup) if is_running(files) else None,
    )
    if procfs.start_ticks(files, pid) != ticks:
        raise VanishedError(f"process {pid}")
    return found


def cgroup_of(files: Files, pid: int, controller: str) -> str:
    """Absolute folder of a process's cgroup in the v1 hierarchy of ``controller``. Raises ``HostError``."""
    mount = controller_mounts(files).get(controller)
    if mount is None:
        raise HostError(f"no cgroup v1 {controller} hierarchy is mounted", where="/proc/self/mountinfo")
    for controllers, folder in _lines(files, pid):
        if controller in controllers:
            return _in_mount(mount.point, mount.root, folder, pid)
    raise ReadError(f"/proc/{pid}/cgroup", f"there is no line for {controller}")


def cgroup2_of(files: Files, pid: int) -> str:
    """Absolute folder of the v2 cgroup that a process's memory is charged to and limited by. Raises ``HostError``.

    That is not always the one it is in: threaded cgroups (libvirt makes them for vCPUs) and those for which the memory
    controller is not switched on are charged to the nearest above that has it.
    """
    mount = unified_mount(files)
    if mount is None:
        raise HostError("no cgroup v2 tree is mounted", where="/proc/self/mountinfo")
    for controllers, folder in _lines(files, pid):
        if controllers == [""]:
            path = _in_mount(mount.point, mount.root, folder, pid)
            while path != mount.point and read_optional(files, path, "memory.max") is None:
                path = path.rpartition("/")[0]
            return path
    raise ReadError(f"/proc/{pid}/cgroup", "there is no line for the v2 tree (0::)")


def _lines(files: Files, pid: int) -> Iterator[tuple[list[str], str]]:
    """Controllers and path of each line of ``/proc/PID/cgroup`` (cgroups(7))."""
    path, text = f"/proc/{pid}/cgroup", read_text(files, f"/proc/{pid}/cgroup")
    for number, line in enumerate(text.split("\n"), start=1):
        hierarchy, first, rest = line.partition(":")
        controllers, second, folder = rest.partition(":")
        if line and (not first or not second or not hierarchy.isdecimal() or not folder.startswith("/")):
            raise ReadError(path, "a line is not 'number:controllers:/path'", line=number, text=line)
        if line:
            yield controllers.split(","), folder


def _in_mount(point: str, root: str, folder: str, pid: int) -> str:
    """Mount point + path less the mount's root."""
    root = root.rstrip("/")
    if folder.endswith(" (deleted)") or ".." in folder.split("/") or not f"{folder}/".startswith(f"{root}/"):
        raise HostError(
            f"the cgroup {folder} of process {pid} can't be seen from here: {point} shows {root or '/'}",
            where=f"/proc/{pid}/cgroup",
            hint="run the agent outside of containers, where it sees the whole tree",
        )
    return (point + folder[len(root) :]).rstrip("/")


def read_brake(files: Files, cgroup: str) -> Limit:
    """``memory.high`` of a v2 cgroup. Raises ``VanishedError`` or ``ReadError``."""
    text = read_optional(files, cgroup, "memory.high")
    return UNLIMITED if text is None else cgroup2.as_limit(f"{cgroup}/memory.high", text)


def read_killer(files: Files, cgroup: str) -> bool | None:
    """Whether its OOM killer is on; None where this kernel does not say. Raises ``VanishedError`` or ``ReadError``."""
    text = read_optional(files, cgroup, "memory.oom_control")
    if text is None:
        return None
    path = f"{cgroup}/memory.oom_control"
    disabled = words(path, text).get("oom_kill_disable")
    if disabled not in (None, "0", "1"):
        raise ReadError(path, "oom_kill_disable is neither 0 nor 1", text=disabled)
    return None if disabled is None else disabled == "0"


def stands_still(files: Files, pid: int, freezer: str | None) -> bool:
    """True where the process is stopped by a signal or its own freezer cgroup (v1 or v2) is not thawed."""
    if freezer is not None:
        for name, thawed in (("freezer.state", "THAWED"), (FREEZE_FILE, "0")):
            state = read_optional(files, freezer, name)
            if state is not None and state.strip() != thawed:
                return True
    return is_stopped(files, pid)


def is_stopped(files: Files, pid: int) -> bool:
    """True where the process's first thread is stopped (state T or t, proc(5)). Raises as ``start_ticks`` does."""
    path = f"/proc/{pid}/stat"
    rest = read_text(files, path).rpartition(") ")[2]
    if not rest:
        raise ReadError(path, "not a process's stat line")
    return rest[0] in "Tt"


def _resident(files: Files, pid: int) -> Resident:
    return Resident(pid, procfs.ppid(files, pid), procfs.comm(files, pid), procfs.is_qemu(files, pid))


def _own_freezer(files: Files, pid: int, residents: set[int]) -> str | None:
    """Its freezer cgroup if it can be frozen (the root can't) and holds exactly the residents; else None."""
    mount = controller_mounts(files).get("freezer")
    if mount is None or mount.read_only:
        return None
    try:
        folder = cgroup_of(files, pid, "freezer")
        inside = set(cgroup1.read_all_procs(files, folder))
    except HostError:
        return None
    return folder if folder != mount.point.rstrip("/") and inside == residents else None


def _uid(files: Files, pid: int) -> int:
    """The real user id (proc(5), status). Raises ``VanishedError`` or ``ReadError``."""
    path = f"/proc/{pid}/status"
    for line in read_text(files, path).split("\n"):
        name, _, rest = line.partition(":")
        if name == "Uid" and rest.split() and rest.split()[0].isdecimal():
            return int(rest.split()[0])
    raise ReadError(path, "there is no line 'Uid'")
