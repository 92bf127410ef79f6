"""Where this process's cgroups are: mount points and its own path, from ``/proc/self``.

A container or a cgroup namespace sees only part of the tree: the mount's root is then not ``/`` and paths in
``/proc/self/cgroup`` are relative to the namespace (cgroup_namespaces(7)). What can't be resolved is an
error that says what is missing, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import assert_never

from guestroom.errors import HostError, ReadError, from_read
from guestroom.layout import AGENT_LEAF, Layout, Version
from guestroom.observe.text import exists, read_optional, read_text
from guestroom.ports import Files

_MOUNTINFO = "/proc/self/mountinfo"
_CGROUP = "/proc/self/cgroup"
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted hierarchy (proc(5), ``mountinfo``)."""

    point: str
    root: str
    """The cgroup seen at the mount point, as a path in this process's cgroup namespace."""
    read_only: bool


def controller_mounts(files: Files) -> dict[str, Mount]:
    """Mount of each v1 controller by its name (``memory``, ``freezer``, ...). Raises ``HostError``.

    Where one is mounted more than once the first that can be written wins, then the first.
    """
    found: dict[str, Mount] = {}
    for kind, options, mount in _cgroup_mounts(files):
        for controller in options if kind == "cgroup" else ():
            found[controller] = _better(found.get(controller), mount)
    return found


def unified_mount(files: Files) -> Mount | None:
    """Where the v2 tree is mounted, ``None`` where it is not. Raises ``HostError``."""
    found = None
    for kind, _, mount in _cgroup_mounts(files):
        if kind == "cgroup2":
            found = _better(found, mount)
    return found


def _better(known: Mount | None, other: Mount) -> Mount:
    return other if known is None or (known.read_only and not other.read_only) else known


def _cgroup_mounts(files: Files) -> Iterator[tuple[str, list[str], Mount]]:
    """Type, super block options and place of every cgroup mount."""
    for number, line in enumerate(read_text(files, _MOUNTINFO).split("\n"), start=1):
        if not line:
            continue
        before, dash, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(tail) < 3:
            raise ReadError(_MOUNTINFO, "a line is not a mount", line=number, text=line)
        if tail[0] in ("cgroup", "cgroup2"):
            mount = Mount(_plain(fields[4]), _plain(fields[3]), "ro" in fields[5].split(","))
            yield tail[0], tail[2].split(","), mount


def own_cgroups(files: Files) -> dict[str, str]:
    """This process's cgroup in each v1 hierarchy, by controller (cgroups(7)). Raises ``HostError``."""
    found: dict[str, str] = {}
    for _, controllers, path in _own_lines(files):
        for controller in controllers.split(","):
            if controller:
                found[controller] = path
    return found


def _own_lines(files: Files) -> Iterator[tuple[int, str, str]]:
    """Hierarchy number, controllers and path of each line of ``/proc/self/cgroup``."""
    for number, line in enumerate(read_text(files, _CGROUP).split("\n"), start=1):
        if not line:
            continue
        hierarchy, first, rest = line.partition(":")
        controllers, second, path = rest.partition(":")
        if not first or not second or not hierarchy.isdecimal() or not path.startswith("/"):
            raise ReadError(_CGROUP, "a line is not 'number:controllers:/path'", line=number, text=line)
        yield int(hierarchy), controllers, path


def own_cgroup(files: Files, controller: str = "memory") -> str:
    """Absolute folder of this process's cgroup in the v1 hierarchy of ``controller``.

    Raises ``HostError`` where the hierarchy is not mounted or this cgroup can't be seen in it.
    """
    return _own(controller, controller_mounts(files), own_cgroups(files))


def own_cgroup2(files: Files) -> str:
    """Absolute folder of this process's cgroup in the v2 tree.

    Raises ``HostError`` where the tree is not mounted or this cgroup can't be seen in it.
    """
    mount = unified_mount(files)
    if mount is None:
        raise HostError("no cgroup v2 tree is mounted", where=_MOUNTINFO)
    own = {path for number, controllers, path in _own_lines(files) if number == 0 and not controllers}
    return _folder("v2", mount, own.pop() if own else None)


def place_of(files: Files, pid: int) -> str:
    """The cgroup of a process that its memory is charged to, as ``/proc/PID/cgroup`` names it.

    For telling people; it is not a folder here where another namespace or mount shows less. Raises ``VanishedError`` or
    ``ReadError``.
    """
    path = f"/proc/{pid}/cgroup"
    unified = ""
    for line in read_text(files, path).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if "memory" in controllers.split(","):
            return place
        if not controllers:
            unified = place
    if not unified:
        raise ReadError(path, "there is no line for memory")
    return unified


def find_layout(files: Files, cgroup_name: str, *, place: str | None = None, probe: bool = True) -> Layout:
    """Where guestroom's cgroups belong: ``cgroup_name`` inside this process's own cgroups, or inside ``place``.

    ``place`` is a cgroup's path as ``/proc/PID/cgroup`` shows it. Under systemd the guests need one that outlives the
    agent's unit: a service can't be started again in a cgroup whose children have limits (systemd 252: status
    219/CGROUP).

    v1 where its memory controller is mounted, as a controller is in one hierarchy only; else v2. Only looks, and with
    ``probe`` makes and removes one empty cgroup to see that it may. Raises ``HostError`` where memory cgroups are not
    mounted, not visible or not writable, with what to do.
    """
    mounts = controller_mounts(files)
    if "memory" not in mounts and unified_mount(files) is not None:
        return _layout2(files, cgroup_name, place, probe=probe)
    return _layout1(files, mounts, cgroup_name, place, probe=probe)


def _placed(files: Files, mount: Mount, place: str) -> str:
    """The folder of the cgroup ``place``. Raises ``HostError``."""
    if not place.startswith("/") or ".." in place.split("/"):
        raise HostError(f"{place!r} is no cgroup's path", where=place, hint="give it as /proc/PID/cgroup shows it")
    folder = f"{mount.point.rstrip('/')}/{place.strip('/')}".rstrip("/")
    if not exists(files, folder):
        raise HostError(
            f"there is no cgroup {place} for the guests",
            where=folder,
            hint="start the unit it belongs to (systemctl start guestroom-guests)",
        )
    return folder


def _layout2(files: Files, cgroup_name: str, place: str | None, *, probe: bool) -> Layout:
    """In our own cgroup, or beside it where we live in the agent's own leaf: processes and limited children exclude
    each other (kernel cgroup-v2.rst, "No Internal Process Constraint")."""
    mount = unified_mount(files)
    assert mount is not None
    folder = own_cgroup2(files) if place is None else _placed(files, mount, place)
    if place is None and folder != mount.point and folder.rpartition("/")[2] == AGENT_LEAF:
        folder = folder.rpartition("/")[0]
    if mount.read_only:
        raise HostError(
            "the cgroup v2 tree is mounted read-only",
            where=mount.point,
            hint="remount it: mount -o remount,rw " + mount.point,
        )
    if "memory" not in read_text(files, f"{folder}/cgroup.controllers").split():
        raise HostError(
            f"the memory controller is not there for {folder}",
            where=f"{folder}/cgroup.controllers",
            hint=f"switch it on above (echo +memory > {folder.rpartition('/')[0]}/cgroup.subtree_control), or have it "
            "delegated (systemd: Delegate=memory)",
        )
    # The root of the whole tree has no type; it can always have children with limits.
    kind = read_optional(files, folder, "cgroup.type")
    if kind is not None and kind.strip() != "domain":
        raise HostError(
            f"{folder} is a {kind.strip()} cgroup: its children can't have memory limits",
            where=f"{folder}/cgroup.type",
            hint="start the agent from a cgroup that is not threaded",
        )
    if probe:
        _probe(files, folder, cgroup_name)
    wall = f"{folder}/{cgroup_name}"
    return Layout(memory=wall, freezer=wall, version=2)


def _layout1(files: Files, mounts: Mapping[str, Mount], cgroup_name: str, place: str | None, *, probe: bool) -> Layout:
    """A missing freezer gives a layout without one; then no guest can be held, which is for ``doctor`` to say.

    The freezer's folder is in this process's own cgroup always: systemd makes no units there.
    """
    own = own_cgroups(files)
    memory = _own("memory", mounts, own) if place is None else _placed(files, _mount("memory", mounts), place)
    freezer = _own("freezer", mounts, own) if "freezer" in mounts and "freezer" in own else None
    if mounts["memory"].read_only:
        raise HostError(
            "the cgroup v1 memory hierarchy is mounted read-only",
            where=mounts["memory"].point,
            hint="remount it: mount -o remount,rw " + mounts["memory"].point,
        )
    if probe:
        _probe(files, memory, cgroup_name)
        if freezer is not None:
            _probe(files, freezer, cgroup_name)
    return Layout(memory=f"{memory}/{cgroup_name}", freezer=None if freezer is None else f"{freezer}/{cgroup_name}")


def mount_root(files: Files, version: Version = 1) -> str:
    """The mount point of the memory hierarchy: the highest cgroup that can be seen. Raises ``HostError``."""
    match version:
        case 1:
            return _mount("memory", controller_mounts(files)).point
        case 2:
            mount = unified_mount(files)
            if mount is None:
                raise HostError("no cgroup v2 tree is mounted", where=_MOUNTINFO)
            return mount.point
    assert_never(version)


def _mount(controller: str, mounts: Mapping[str, Mount]) -> Mount:
    mount = mounts.get(controller)
    if mount is None:
        raise HostError(
            f"no cgroup v1 {controller} hierarchy is mounted",
            where=_MOUNTINFO,
            hint=f"boot with systemd.unified_cgroup_hierarchy=0, or mount it: mount -t cgroup -o {controller} "
            f"cgroup /sys/fs/cgroup/{controller} (works only while no cgroup v2 tree has taken the controller)",
        )
    return mount


def _own(controller: str, mounts: Mapping[str, Mount], own: Mapping[str, str]) -> str:
    return _folder(f"v1 {controller}", _mount(controller, mounts), own.get(controller))


def _folder(hierarchy: str, mount: Mount, path: str | None) -> str:
    """Mount point + own path less the mount's root."""
    if path is None:
        raise HostError(
            f"this process is in no cgroup of the {hierarchy} hierarchy",
            where=_CGROUP,
            hint="the controller is mounted but off: see the kernel's cgroup_disable= setting",
        )
    if path.endswith(" (deleted)"):
        raise HostError(
            f"this process's own {hierarchy} cgroup {path} was removed",
            where=_CGROUP,
            hint="start again from a cgroup that exists",
        )
    root = mount.root.rstrip("/")
    if ".." in root.split("/") or ".." in path.split("/") or not f"{path}/".startswith(f"{root}/"):
        raise HostError(
            f"this process's own {hierarchy} cgroup {path} can't be seen: {mount.point} shows {mount.root}",
            where=_CGROUP,
            hint="inside a container mount the hierarchy anew in its own cgroup namespace, or start on the host",
        )
    return (mount.point + path[len(root) :]).rstrip("/")


def _probe(files: Files, folder: str, cgroup_name: str) -> None:
    """Make and remove an empty cgroup: the only proof that one may."""
    path = f"{folder}/{cgroup_name}.probe"
    try:
        files.mkdir(path)
    except FileExistsError:
        return
    except OSError as error:
        cause = from_read(error, path)
        raise HostError(
            f"no cgroup can be made in {folder}: {error.strerror or cause.message}",
            where=folder,
            hint="run as root, or have this cgroup delegated to your user (chown the folder and its files)",
        ) from error
    try:
        files.rmdir(path)
    except OSError as error:
        raise from_read(error, path) from error


def _plain(text: str) -> str:
    """mountinfo writes space, tab, newline and backslash as octal."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
