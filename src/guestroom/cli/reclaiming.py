"""The ``Reclaimer`` port on this host: page cache, swap and balloons of the guests guestroom started."""

from __future__ import annotations

from guestroom.agent.deps import Balloon
from guestroom.apply.swap import swap_out
from guestroom.apply.upkeep import drop_cache, reset_peak
from guestroom.errors import HostError
from guestroom.layout import Layout
from guestroom.observe.balloon import QmpBalloon
from guestroom.ports import Files


class KernelReclaimer:
    """``deps.Reclaimer`` over cgroups of the layout's version and QEMU's monitor."""

    def __init__(self, files: Files, layout: Layout) -> None:
        self._files = files
        self._layout = layout

    def drop_cache(self, name: str) -> None:
        """Drop what page cache ``ram`` and ``vmm`` hold, then begin a new window of the kernel's peak of ``vmm``.

        That of ``ram`` stays: it bounds what ``ram`` can hold beside RAM. Raises ``HostError`` where it can't be tried.
        """
        version = self._layout.version
        vmm = self._layout.vmm(name)
        reports = [drop_cache(self._files, path, version) for path in (vmm, self._layout.ram(name))]
        for report in (*reports, reset_peak(self._files, vmm, version)):
            if not report.ok:
                raise HostError(f"page cache was not dropped: {report.detail}", where=report.path)

    def swap_out(self, name: str, size_bytes: int) -> None:
        """Let ``size_bytes`` of ``vmm`` go into swap, never of ``ram``."""
        swap_out(self._files, self._layout.vmm(name), size_bytes, self._layout.version)

    def balloon(self, path: str, timeout_s: float) -> Balloon:
        """A guest's balloon over our own monitor at ``path``."""
        return QmpBalloon(path, timeout_s)
