"""A guest's balloon, spoken to over our own monitor: what it holds, whether it comes back unasked, and its target.

QEMU has one balloon device at most. ``balloon`` sets a target and returns at once; the guest's driver gives pages up
as it can, and ``query-balloon`` says how far it is (QAPI ``BalloonInfo.actual``: RAM the guest has left). The driver
may do nothing at all, and it may take all of it back at any time: a reset guest has an empty balloon.
"""

from __future__ import annotations

from types import TracebackType

from guestroom.errors import QmpError
from guestroom.observe.qmp import QmpClient

_FOLDERS = ("/machine/peripheral", "/machine/peripheral-anon")
_TYPE = "child<virtio-balloon"
_OPTION = "deflate-on-oom"


class QmpBalloon:
    """The balloon of the QEMU at monitor ``path``, used in a ``with``. Raises ``QmpError``, also where it has none."""

    def __init__(self, path: str, timeout_s: float) -> None:
        self._client = QmpClient(path, timeout_s)

    def ram_bytes(self) -> int:
        """RAM the guest has left, by its driver's own word."""
        answer = self._client.execute("query-balloon")
        actual = answer.get("actual") if isinstance(answer, dict) else None
        if not isinstance(actual, int):
            raise QmpError(
                f"QMP query-balloon: a size was expected, found {str(answer)[:80]!r}", where=self._client.path
            )
        return actual

    def returns_unasked(self) -> bool | None:
        """Whether its driver may empty it when the guest is short (``deflate-on-oom``); None: not known."""
        for folder in _FOLDERS:
            for entry in self._client.execute("qom-list", path=folder) or ():
                if str(entry.get("type", "")).startswith(_TYPE):
                    value = self._client.execute("qom-get", path=f"{folder}/{entry['name']}", property=_OPTION)
                    return value if isinstance(value, bool) else None
        return None

    def ask(self, ram_bytes: int) -> None:
        """Ask the guest to make do with ``ram_bytes`` of RAM, or give it back up to that; nothing is waited for."""
        self._client.execute("balloon", value=ram_bytes)

    def close(self) -> None:
        """Give the monitor's one place free."""
        self._client.close()

    def __enter__(self) -> QmpBalloon:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
