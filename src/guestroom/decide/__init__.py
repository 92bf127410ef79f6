"""What is to be done: facts in, actions out, pure (no clock, no files, no randomness; the time is passed in)."""

from __future__ import annotations

from guestroom.decide.divide import Claim, Division, divide
from guestroom.decide.hold import Excess, headroom_left, hold

__all__ = ["Claim", "Division", "Excess", "divide", "headroom_left", "hold"]
