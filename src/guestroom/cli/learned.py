"""What a ledger says about a guest's size, for ``guestroom size --ledger``: the figure, its samples and its promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from guestroom.cli.output import emit_text, one_line
from guestroom.guest import Guest
from guestroom.size import Estimate, History, Learned, learn
from guestroom.size.learned import NAME


def learned_from(guest: Guest, path: str, argv: Sequence[str], qemu: str | None, coverage: float) -> Learned:
    """What the ledger at ``path`` teaches about ``guest``. Raises as ``read_lives`` and ``learn`` do.

    Samples age from the newest on: a ledger that was copied away says the same next year.
    """
    from guestroom.record.reader import read_lives  # SQLite: only when asked for

    history = History(read_lives(path))
    lives = history.lives()
    qemu = qemu or (history.qemu_of(argv[0]) if argv else None) or history.newest_qemu(guest.accelerator or "tcg")
    now_s = lives[-1].at_wall_s if lives else 0.0
    return learn(guest, history, now_s, qemu=qemu, coverage=coverage)


def in_place(estimates: Sequence[Estimate], found: Learned | None) -> tuple[Estimate, ...]:
    """``estimates`` with what was really learned instead of what ``learned`` starts from."""
    if found is None:
        return tuple(estimates)
    return tuple(found.estimate if one.policy == NAME else one for one in estimates)


def as_json(found: Learned) -> dict[str, Any]:
    """The samples behind a figure and what they support, for JSON."""
    return {
        "promise": asdict(found.promise),
        "qemu": found.likeness.qemu,
        "accelerator": found.likeness.accelerator,
        "prior": found.prior_name,
        "prior_bytes": found.prior.overhead_bytes,
        "steps": [asdict(step) | {"level": str(step.level)} for step in found.steps],
        "recent": asdict(found.recent) if found.recent is not None else None,
        "miss": asdict(found.miss) if found.miss is not None else None,
        "why": list(found.why()),
    }


def print_why(found: Learned) -> None:
    """The same for people."""
    emit_text(f"learned, for {found.likeness.accelerator} on QEMU {found.likeness.qemu or 'of unknown version'}:")
    for line in found.why():
        emit_text(one_line(f"- {line}"))
