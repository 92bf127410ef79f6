"""The need of a newcomer with what this host has learned, and what is thereby promised for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from guestroom import size
from guestroom.config import Settings
from guestroom.guest import Guest
from guestroom.lives import Promised
from guestroom.size.learned import NAME, reference


@dataclass(frozen=True, slots=True)
class Sizer:
    """Settings and history at one moment."""

    settings: Settings
    history: size.History = field(default_factory=size.History)
    now_wall_s: float = 0.0

    def need(self, guest: Guest, name: str, binary: str) -> tuple[size.Need, Promised]:
        """The need of ``guest``, to be started as ``name`` by ``binary``, and the promise that will be checked.

        Peaks are held against what ``learned`` starts from, whichever policy decides: so there is something to learn
        from on the day it is chosen. Raises ``InputError`` as ``size.need`` does.
        """
        settings, own = self.settings, self.settings.guest(name)
        found = size.need(
            guest,
            settings.policy,
            host_overhead_bytes=settings.overhead_bytes,
            guest_overhead_bytes=own.overhead_bytes,
            coverage=settings.coverage,
        )
        guest, qemu = replace(guest, name=name), self.history.qemu_of(binary)
        if settings.policy == NAME and not found.is_set:
            learned = size.learn(guest, self.history, self.now_wall_s, qemu=qemu, coverage=settings.coverage)
            return size.Need(found.origin, learned.estimate), learned.promised(binary)
        (prior, prior_bytes), made = reference(guest), found.estimate.promise
        return found, Promised(
            policy=found.origin.value if found.is_set else settings.policy,
            overhead_bytes=found.overhead_bytes,
            likeness=size.likeness(guest, qemu),
            prior=prior,
            prior_bytes=prior_bytes,
            wanted_coverage=made.wanted if made is not None else None,
            coverage=made.coverage if made is not None else None,
            level=made.level if made is not None else None,
            samples=made.samples if made is not None else 0,
            fixed=found.is_set,
            binary=binary,
        )
