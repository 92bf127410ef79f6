"""Where guestroom's cgroups are: plain path arithmetic, shared by those who read and those who write.

``MEMORY/guestroom`` is the host wall, ``.../NAME`` a guest with its only limit, ``.../NAME/ram`` and
``.../NAME/vmm`` its RAM and everything charged later. On v1 the freezer hierarchy carries a folder of the
same name per guest; on v2 there is one tree, and the guest's own cgroup is what is frozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Version = Literal[1, 2]
"""Of cgroups."""

AGENT_LEAF = "agent"
"""On v2 a cgroup whose children have limits may hold no process itself: the agent then lives in this child of it
(the name systemd's ``DelegateSubgroup=`` is given in our unit)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Absolute paths of the host wall in each hierarchy."""

    memory: str
    """The host wall's folder in the memory hierarchy."""
    freezer: str | None
    """The same in the v1 freezer hierarchy; None where there is none. On v2 the same as ``memory``."""
    version: Version = 1

    @property
    def parent(self) -> str:
        """The cgroup the host wall is made in."""
        return self.memory.rpartition("/")[0]

    def guest(self, name: str) -> str:
        """The guest's cgroup, which holds its only limit."""
        return f"{self.memory}/{name}"

    def ram(self, name: str) -> str:
        """Where its RAM is charged."""
        return f"{self.memory}/{name}/ram"

    def vmm(self, name: str) -> str:
        """Where everything charged after its vCPUs run goes."""
        return f"{self.memory}/{name}/vmm"

    def freezer_of(self, name: str) -> str | None:
        """The cgroup that is frozen to hold it: on v1 its freezer cgroup, on v2 its own."""
        return f"{self.freezer}/{name}" if self.freezer is not None else None
