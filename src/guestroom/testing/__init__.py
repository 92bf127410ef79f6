"""Shipped fakes: a clock moved by hand and a simulated host whose kernel files the real adapters read and write.

``SimHost`` is held against a real kernel by ``tests/kernel``: what it believes is what was measured.
"""

from __future__ import annotations

from guestroom.testing.clock import ManualClock
from guestroom.testing.simhost import SimHost
from guestroom.testing.simprocess import Fate
from guestroom.testing.zoo import SimGuest

__all__ = ["Fate", "ManualClock", "SimGuest", "SimHost"]
