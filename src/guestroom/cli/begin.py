"""``guestroom run`` once its options are read: the last checks, then the start.

Apart from ``run`` so that a start in its usual form needs no click.
"""

from __future__ import annotations

import os

from guestroom.cli.client import AgentClient
from guestroom.cli.running import Running, Wish, read_configs
from guestroom.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from guestroom.describe.lean import Lean

_LONGEST_S = 366 * 86400.0


def begin(
    *,
    name: str,
    on_short: str | None,
    timeout_s: float | None,
    helpers: tuple[str, ...],
    helper_ready: tuple[str, ...],
    verdict_fd: int | None,
    agent_lost_s: float,
    socket_path: str,
    argv: tuple[str, ...],
    lean: bool = False,
    lean_visible: bool = False,
) -> int:
    """Start the guest and stay with it; returns QEMU's exit code. Everything given is checked before room is asked for.

    ``name`` was checked by ``check_name``. Raises ``GuestroomError``.
    """
    for option in ("-daemonize", "--daemonize"):
        if option in argv:
            raise UsageError(
                f"{option} does not go with guestroom run", where=name, hint="leave it out: run stays with QEMU"
            )
    if verdict_fd is not None:
        _check_writable(verdict_fd)
    if not agent_lost_s >= 0:  # a NaN compares with nothing
        raise UsageError(f"--agent-lost {agent_lost_s} is not a number of seconds", hint="give 0 or more")
    if timeout_s is not None and on_short not in (None, "wait"):
        raise UsageError(
            f"--timeout does not go with --on-short {on_short}",
            where=name,
            hint="only one that waits can stop waiting: leave one of them out",
        )
    if timeout_s is not None and timeout_s > _LONGEST_S:
        raise UsageError(f"--timeout {timeout_s:g} s is more than a year", where=name, hint="leave it out: no end")
    leaner = _leaner(argv, visible=lean_visible) if lean or lean_visible else None
    if leaner is not None:
        argv = leaner.argv
    wish = Wish(
        name=name,
        argv=argv,
        readconfig=read_configs(argv),
        helpers=tuple(_words(command) for command in helpers),
        helper_ready=helper_ready,
        on_short="wait" if timeout_s is not None and on_short is None else on_short,
        timeout_s=timeout_s,
        verdict_fd=verdict_fd,
        agent_lost_s=agent_lost_s,
        lean=None if leaner is None else _told(leaner),
    )
    return Running(wish, AgentClient(socket_path)).go()


def _leaner(argv: tuple[str, ...], *, visible: bool) -> Lean:
    """The lean form of ``argv``; says each change, and sets the variables that QEMU inherits."""
    from guestroom.cli.say import note
    from guestroom.describe.lean import lean

    found = lean(argv, os.environ, visible=visible)
    for change in found.changes:
        note(f"lean: {change.what} (saves {change.gain}; {change.cost})")
    for sentence in found.kept:
        note(f"lean: {sentence}")
    os.environ.update(found.environment)
    return found


def _told(leaner: Lean) -> Mapping[str, object]:
    """What was changed, for the verdict."""
    changes = [{"what": one.what, "gain": one.gain, "cost": one.cost} for one in leaner.changes]
    return {"changes": changes, "kept": list(leaner.kept)}


def _check_writable(fd: int) -> None:
    """Raise ``UsageError`` unless the verdict can be written to ``fd``: later would be too late to say so."""
    import fcntl

    hint = f"redirect it, for example {fd if 2 < fd < 10 else 3}>verdict.json"
    try:
        mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    except (OSError, OverflowError, ValueError) as error:
        raise UsageError(f"--verdict-fd {fd} is not open", hint=hint) from error
    if mode == os.O_RDONLY:
        raise UsageError(f"--verdict-fd {fd} is open for reading only", hint=hint)


def _words(command: str) -> tuple[str, ...]:
    """A helper's command line as words, as a shell splits it. Raises ``UsageError``."""
    import shlex

    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(
            f"--helper {command!r} is not understood: {str(error).lower()}", hint="quote it as for a shell"
        ) from error
    if not words:
        raise UsageError("--helper has no command", hint="name a program, or leave it out")
    return words
