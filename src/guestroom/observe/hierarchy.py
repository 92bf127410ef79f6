"""Where this process's cgroups are: mount points and its own path, from ``/proc/self``.

A container or a cgroup namespace sees only part of the tree: the mount's root is then not ``/`` and paths in
``/proc/self/cgroup`` are relative to the namespace (cgroup_namespaces(7)). What can't be resolved is an
error that says what is missing, never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from guestroom.errors import HostError, ReadError, from_read
from guestroom.layout import Layout
from guestroom.observe.text import read_text
from guestroom.ports import Files

_MOUNTINFO = "/proc/self/mountinfo"
_CGROUP = "/proc/self/cgroup"
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted v1 hierarchy (proc(5), ``mountinfo``)."""

    point: str
    root: str
    """The cgroup seen at the mount point, as a path in this process's cgroup namespace."""
    read_only: bool


def controller_mounts(files: Files) -> dict[str, Mount]:
    """Mount of each v1 controller by its name (``memory``, ``freezer``, ...). Raises ``HostError``.

    Where one is mounted more than once the first that can be written wins, then the first.
    """
    found: dict[str, Mount] = {}
    for number, line in enumerate(read_text(files, _MOUNTINFO).split("\n"), start=1):
        if not line:
            continue
        before, dash, after = line.partition(" - ")
        fields, tail = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(tail) < 3:
            raise ReadError(_MOUNTINFO, "a line is not a mount", line=number, text=line)
        if tail[0] != "cgroup":
            continue
        mount = Mount(_plain(fields[4]), _plain(fields[3]), "ro" in fields[5].split(","))
        for controller in tail[2].split(","):
            known = found.get(controller)
            if known is None or (known.read_only and not mount.read_only):
                found[controller] = mount
    return found


def own_cgroups(files: Files) -> dict[str, str]:
    """This process's cgroup in each v1 hierarchy, by controller (cgroups(7)). Raises ``HostError``."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(files, _CGROUP).split("\n"), start=1):
        if not line:
            continue
        hierarchy, first, rest = line.partition(":")
        controllers, second, path = rest.partition(":")
        if not first or not second or not hierarchy.isdecimal() or not path.startswith("/"):
            raise ReadError(_CGROUP, "a line is not 'number:controllers:/path'", line=number, text=line)
        for controller in controllers.split(","):
            if controller:
                found[controller] = path
    return found


def own_cgroup(files: Files, controller: str = "memory") -> str:
    """Absolute folder of this process's cgroup in the v1 hierarchy of ``controller``.

    Raises ``HostError`` where the hierarchy is not mounted or this cgroup can't be seen in it.
    """
    return _own(controller, controller_mounts(files), own_cgroups(files))


def find_layout(files: Files, cgroup_name: str, *, probe: bool = True) -> Layout:
    """Where guestroom's cgroups belong: ``cgroup_name`` inside this process's own cgroups.

    Only looks, and with ``probe`` makes and removes one empty cgroup to see that it may. A missing freezer gives a
    layout without one; holding guests is then impossible, which is for ``doctor`` to say. Raises ``HostError`` where
    v1 memory is not mounted, not visible or not writable, with what to do.
    """
    mounts, own = controller_mounts(files), own_cgroups(files)
    memory = _own("memory", mounts, own)
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


def mount_root(files: Files, controller: str = "memory") -> str:
    """The mount point of a v1 controller: the highest cgroup that can be seen. Raises ``HostError``."""
    return _mount(controller, controller_mounts(files)).point


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
    """Mount point + own path less the mount's root."""
    mount = _mount(controller, mounts)
    path = own.get(controller)
    if path is None:
        raise HostError(
            f"this process is in no cgroup of the v1 {controller} hierarchy",
            where=_CGROUP,
            hint="the controller is mounted but off: see the kernel's cgroup_disable= setting",
        )
    if path.endswith(" (deleted)"):
        raise HostError(
            f"this process's own {controller} cgroup {path} was removed",
            where=_CGROUP,
            hint="start again from a cgroup that exists",
        )
    root = mount.root.rstrip("/")
    if ".." in root.split("/") or ".." in path.split("/") or not f"{path}/".startswith(f"{root}/"):
        raise HostError(
            f"this process's own {controller} cgroup {path} can't be seen: {mount.point} shows {mount.root}",
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
