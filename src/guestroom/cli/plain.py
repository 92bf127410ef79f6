"""``guestroom run`` in its usual form, read without click.

Only what is surely right is recognised: known options with their values, then ``--`` and the command. Anything else
(another order, ``--option=value``, a mistake, ``--help``) gives None, and click reads it and says what is wrong. A
property test holds both readings to the same result.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class RunOptions(TypedDict):
        """What ``begin`` takes."""

        name: str
        on_short: str | None
        timeout_s: float | None
        helpers: tuple[str, ...]
        helper_ready: tuple[str, ...]
        verdict_fd: int | None
        agent_lost_s: float
        socket_path: str
        argv: tuple[str, ...]
        lean: bool
        lean_visible: bool


DEFAULT_SOCKET = "/run/guestroom/agent.sock"
SOCKET_VARIABLE = "GUESTROOM_SOCKET"
DEFAULT_AGENT_LOST_S = 30.0
ON_SHORT = ("squeeze", "refuse", "recreate", "wait")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")
_FD = re.compile(r"[0-9]{1,5}\Z")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?\Z")
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|min|h)?\Z")
_UNITS = {None: 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}
_TAKEN = ("ram", "vmm", "tasks", "notify_on_release")
_OPTIONS = (
    "--name",
    "--on-short",
    "--helper",
    "--helper-ready",
    "--verdict-fd",
    "--agent-lost",
    "--socket",
    "--timeout",
)


def plain_run(args: Sequence[str], environ: Mapping[str, str]) -> RunOptions | None:
    """Options of ``run`` where ``args`` (without the program) are its usual form, else None."""
    if not args or args[0] != "run" or "--" not in args:
        return None
    end = args.index("--")
    given = _pairs(args[1:end])
    argv = tuple(args[end + 1 :])
    if given is None or not argv or not all(_is_text(word) for word in args):
        return None
    once = {option: values[-1] for option, values in given.items()}
    name, fd = once.get("--name", ""), once.get("--verdict-fd")
    lost, on_short, timeout = once.get("--agent-lost"), once.get("--on-short"), once.get("--timeout")
    if not _NAME.match(name) or name in _TAKEN:
        return None
    if (fd is not None and not _FD.match(fd)) or (lost is not None and not _SECONDS.match(lost)):
        return None
    if (on_short is not None and on_short not in ON_SHORT) or (timeout is not None and read_time(timeout) is None):
        return None
    return {
        "name": name,
        "on_short": on_short,
        "timeout_s": None if timeout is None else read_time(timeout),
        "helpers": tuple(given.get("--helper", ())),
        "helper_ready": tuple(given.get("--helper-ready", ())),
        "verdict_fd": None if fd is None else int(fd),
        "agent_lost_s": DEFAULT_AGENT_LOST_S if lost is None else float(lost),
        "socket_path": once.get("--socket", environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET),
        "argv": argv,
        "lean": False,
        "lean_visible": False,
    }


def read_time(text: str) -> float | None:
    """Seconds of a time as people write it: ``90``, ``90s``, ``5min``, ``1.5h``; None for anything else."""
    match = _TIME.match(text)
    return None if match is None else float(match[1]) * _UNITS[match[2]]


def _pairs(words: Sequence[str]) -> dict[str, list[str]] | None:
    """Values by option, in order; None for anything but known options with a value each, and ``--json``."""
    found: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        if word == "--json":
            continue
        value = next(rest, None) if word in _OPTIONS else None
        if value is None or value.startswith("-"):
            return None
        found.setdefault(word, []).append(value)
    return found


def _is_text(word: str) -> bool:
    """Whether an argument was UTF-8: other bytes are lone surrogates in Python's argv, and can't be sent."""
    return word.isascii() or not any("\ud800" <= character <= "\udfff" for character in word)
