"""Where guestroom's cgroups are: plain path arithmetic, shared by those who read and those who write.

``MEMORY/guestroom`` is the host wall, ``.../NAME`` a guest with its only limit, ``.../NAME/ram`` and
``.../NAME/vmm`` its RAM and everything charged later. On v1 the freezer hierarchy carries a folder of the
same name per guest.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """Absolute paths of the host wall in each hierarchy."""

    memory: str
    """The host wall's folder in the memory hierarchy."""
    freezer: str | None
    """The same in the v1 freezer hierarchy; None where there is none."""

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
        """Its freezer cgroup (v1)."""
        return f"{self.freezer}/{name}" if self.freezer is not None else None
