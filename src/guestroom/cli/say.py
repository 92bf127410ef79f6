"""What every command says: results on stdout, complaints as one line on stderr, errors by the contract.

The part of ``output`` that needs neither click nor tables, so that ``guestroom run`` can start without them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence

from guestroom.errors import GuestroomError, HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


def emit_text(text: str) -> None:
    """Print ``text`` and a newline on stdout, at once: whoever follows events through a pipe sees each as it happens.

    Raises ``HostError`` without a stdout, ``OSError`` when writing fails.
    """
    out = stdout()
    out.write(text + "\n")
    out.flush()


def emit_json(obj: object) -> None:
    """Print ``obj`` as one JSON document on stdout: one line, or indented when a person looks at a terminal.

    ASCII only, and NaN or infinity is a programming error (``ValueError``), so that every JSON reader takes it.
    """
    emit_text(json.dumps(obj, allow_nan=False, indent=2 if stdout().isatty() else None))


def note(text: str) -> None:
    """Print one line ``guestroom: text`` on stderr; silent where stderr is closed, full or read by nobody.

    What is said here goes with an exit code, or beside a guest that runs: neither may change because it can't be said.
    """
    if sys.stderr is not None:
        try:
            sys.stderr.write(f"guestroom: {one_line(text)}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            discard(sys.stderr)


def discard(stream: TextIO | None) -> None:
    """Point a stream that can't be written at /dev/null, so that Python's own flush at exit does not fail again."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # type: ignore[union-attr]
        os.close(null)
    except (OSError, ValueError, AttributeError):  # a stream without a descriptor: nothing to silence
        return


def fail(error: GuestroomError, as_json: bool) -> int:
    """Report ``error`` by the contract and return the exit code it stands for.

    The line always goes to stderr; with ``as_json`` the object goes to stdout as well, if that takes it: a stdout
    that does not is no second complaint and no other exit code.
    """
    note(error.line())
    if as_json:
        try:
            emit_json(error.to_dict())
        except (OSError, HostError):
            discard(sys.stdout)
    return error.exit_code


def one_line(text: str) -> str:
    """``text`` on one line: control characters are shown as escapes, so that a name can't forge output."""
    return "".join(ch if ch.isprintable() else ch.encode("unicode_escape").decode() for ch in text)


def wants_json(args: Sequence[str]) -> bool:
    """True when ``--json`` is among guestroom's own arguments (after ``--`` they are QEMU's).

    Read from the bare arguments because wrong usage is found before any option was parsed.
    """
    own = args[: args.index("--")] if "--" in args else args
    return "--json" in own


def guarded(run: Callable[[], object], as_json: bool) -> int:
    """Call ``run`` and return the exit code; every expected error is reported, a bug keeps its traceback."""
    try:
        try:
            result = run()
            code = result if isinstance(result, int) else 0
        except GuestroomError as error:
            code = fail(error, as_json)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (``guestroom ps | head``): nobody is left to tell.
        discard(sys.stdout)
        return 1
    except OSError as error:
        discard(sys.stdout)
        place = str(error.filename) if error.filename is not None else None
        note(HostError(f"failed: {error.strerror or error}", where=place).line())
        return 1
    return code


def stdout() -> TextIO:
    """Standard output; raises ``HostError`` where there is none."""
    if sys.stdout is None:
        raise HostError("there is no standard output to print on", hint="do not start guestroom with stdout closed")
    return sys.stdout
