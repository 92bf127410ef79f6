"""The cgroups of guests that ended: removed while they are ours, tried again while the kernel drains them."""

from __future__ import annotations

from collections.abc import Collection

from guestroom.agent.deps import Deps
from guestroom.errors import HostError, VanishedError


class Folders:
    """Removes ended guests' cgroups. ``left`` are those that could not be removed yet, with the inode that is ours."""

    def __init__(self, deps: Deps) -> None:
        self.deps = deps
        self.left: dict[str, int | None] = {}
        self._told: set[str] = set()

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

    async def try_again(self, present: Collection[str]) -> None:
        """Remove what could not be removed before, but nothing a guest of ``present`` lives in."""
        for name in sorted(self.left.keys() - set(present)):
            await self.remove(name, self.left.pop(name))
