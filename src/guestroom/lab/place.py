"""Where a lab's host wall goes, so that ``make run`` works from any shell on either version of cgroups.

v1 takes a child of our own cgroup. v2 allows a cgroup processes or children with limits, not both (kernel
cgroup-v2.rst, "No Internal Process Constraint"), and a shell's cgroup holds that shell and everything it started: so
there the wall and the agent get a cgroup of their own beside ours, as ``systemd-run --scope`` would make one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from guestroom.errors import HostError, from_write
from guestroom.layout import AGENT_LEAF, Layout
from guestroom.observe.cgroup2 import own_cgroup2
from guestroom.observe.hierarchy import find_layout, mount_root
from guestroom.ports import Files


@dataclass(frozen=True, slots=True)
class Place:
    """Where the wall is, and how an agent is started that finds it there."""

    layout: Layout
    folder: str | None = None
    """A cgroup that was made for the wall and the agent; None where ours will do."""

    def words(self, argv: Sequence[str]) -> list[str]:
        """``argv``, to be started inside."""
        if self.folder is None:
            return list(argv)
        return ["sh", "-c", f'echo $$ > "{self.folder}/{AGENT_LEAF}/cgroup.procs" && exec "$@"', "sh", *argv]


def find_place(files: Files, name: str) -> Place:
    """The place for a wall called ``name``; on v2 its folder is made. Raises ``HostError`` with what to do."""
    layout = find_layout(files, name)
    if layout.version == 1:
        return Place(layout)
    own = own_cgroup2(files)
    if own in (mount_root(files, 2), f"{layout.parent}/{AGENT_LEAF}"):
        return Place(layout)
    folder = f"{own.rpartition('/')[0]}/{name}"
    try:
        for path in (folder, f"{folder}/{AGENT_LEAF}"):
            files.mkdir(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            files.rmdir(folder)
        raise HostError(
            f"no cgroup can be made beside this shell's: {from_write(error, folder, 'mkdir').message}",
            where=folder,
            hint="run as root, or in a cgroup of your own: systemd-run --scope -p Delegate=memory make run",
        ) from error
    wall = f"{folder}/{name}"
    return Place(Layout(memory=wall, freezer=wall, version=2), folder)
