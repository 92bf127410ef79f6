"""What ``doctor`` says of each guest under care: whether all that it is charged for has a name."""

from __future__ import annotations

from collections.abc import Callable

from guestroom.cli.checks import Check, Level
from guestroom.cli.client import AgentClient
from guestroom.cli.explain import Looked, look
from guestroom.errors import GuestroomError, HostError, VanishedError
from guestroom.units import format_bytes

MOST_UNEXPLAINED = 0.01
"""Share of a guest's charge that may be without a name: what ``explain`` promises (0 on Linux 6.1 and 6.18)."""


def check_explained(socket_path: str, look_at: Callable[[int], Looked] = look) -> list[Check]:
    """One line for each guest with a process; one line where there is no agent or no guest."""
    try:
        rows = AgentClient(socket_path).get("/v1/guests")
    except GuestroomError:
        return [Check("explained", Level.OK, "not known without an agent")]
    found = [_of(row["name"], int(row["pid"]), look_at) for row in rows if row["pid"] is not None]
    return found or [Check("explained", Level.OK, "no guest runs")]


def _of(name: str, pid: int, look_at: Callable[[int], Looked]) -> Check:
    title = f"explained: {name}"
    try:
        found = look_at(pid).explanation
    except VanishedError:
        return Check(title, Level.OK, "ended while it was looked at")
    except HostError as error:
        return Check(title, Level.WARN, error.message, error.hint)
    except GuestroomError as error:
        return Check(title, Level.WARN, error.message, f"{error.hint or 'look yourself'}: guestroom explain {name}")
    unknown = found.charged_bytes - found.explained_bytes
    share = unknown / max(1, found.charged_bytes)
    text = f"{format_bytes(unknown)} of {format_bytes(found.charged_bytes)} charged has no name ({share:.2%})"
    if share < MOST_UNEXPLAINED:
        return Check(title, Level.OK, text)
    return Check(
        title,
        Level.WARN,
        f"{name}: {text}: this kernel or QEMU brings a part that guestroom has no name for; it counts as overhead",
        f"see 'guestroom explain {name} --check', and report it with the kernel's and QEMU's version",
    )
