"""The cgroups of guests that ended: removed while they are ours, tried again while the kernel drains them."""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from guestroom.agent.deps import Deps
from guestroom.errors import HostError, VanishedError

_LONGEST_WAIT_S = 60.0


class Folders:
    """Removes ended guests' cgroups. ``left`` are those that could not be removed yet, with the inode that is ours."""

    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.left: dict[str, int | None] = {}
        self._told: set[str] = set()
        self._again_s = 0.0
        self._wait_s = 0.0
        self._busy = False

    def made(self, name: str) -> None:
        """A guest's cgroups were made: from now on only these are written or removed under its name (P9)."""
        with contextlib.suppress(VanishedError):
            self.deps.inodes[name] = self.deps.machine.inode(name)

    def reset_peak(self, name: str) -> None:
        """Begin a new window of the kernel's own peak, in the cgroup that is ours and no other of its name."""
        machine, ours = self.deps.machine, self.deps.inodes.get(name)
        with contextlib.suppress(VanishedError):
            if ours is None or machine.inode(name) == ours:
                machine.reset_peak(name, "vmm")

    async def remove(self, name: str, inode: int | None) -> None:
        """Remove the folder that is ours; another's under the same name is left alone (P9)."""
        deps = self.deps
        try:
            if inode is not None and await deps.kernel(deps.machine.inode, name) != inode:
                deps.event("foreign", name, f"the folder of {name} was made anew by somebody else; it is left alone")
                return
            await deps.kernel(deps.machine.remove, name)
        except VanishedError:
            pass
        except HostError as error:
            self.left[name] = inode
            if name not in self._told:
                self._told.add(name)
                deps.event("not_removed", name, f"its cgroups could not be removed yet: {error.line()}")
            return
        self._told.discard(name)

    def due(self, now_s: float) -> bool:
        """Whether it is worth trying again: a folder that somebody keeps full is asked for less and less often."""
        if not self.left:
            self._again_s = self._wait_s = 0.0
        return bool(self.left) and not self._busy and now_s >= self._again_s

    async def try_again(self, present: Collection[str], now_s: float) -> None:
        """Remove what could not be removed before, but nothing a guest of ``present`` lives in."""
        self._busy = True
        self._wait_s = min(_LONGEST_WAIT_S, 2 * self._wait_s + 1.0)
        self._again_s = now_s + self._wait_s
        try:
            for name in sorted(self.left.keys() - set(present)):
                await self.remove(name, self.left.pop(name))
        finally:
            self._busy = False
