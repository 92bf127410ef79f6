"""How much overhead a guest needs, in named parts with sources: every peer's formula, and what was measured. Pure.

>>> from guestroom.guest import Guest
>>> estimate(Guest(ram_bytes=2 << 30, vcpus=1), "kubevirt").overhead_bytes >> 20
292

A new policy is one file with one registration (``@policy("name")``) and its name in the import below.
"""

from guestroom.size import seed, eve, kubevirt, openshift, ovirt, kata, libvirt_2013, measured, learned, promise  # isort: skip  # noqa: F401
from guestroom.size.history import History
from guestroom.size.kept import Kept, kept
from guestroom.size.learned import Learned, learn
from guestroom.size.likeness import likeness
from guestroom.size.model import BARE_QEMU_BYTES, Estimate, Part, Sizing
from guestroom.size.needs import Need, Origin, boot_floor_bytes, need
from guestroom.size.registry import DEFAULT_COVERAGE, check_policy, estimate, policies, policy, promising_policy

__all__ = [
    "BARE_QEMU_BYTES",
    "DEFAULT_COVERAGE",
    "Estimate",
    "History",
    "Kept",
    "Learned",
    "Need",
    "Origin",
    "Part",
    "Sizing",
    "boot_floor_bytes",
    "check_policy",
    "estimate",
    "kept",
    "learn",
    "likeness",
    "need",
    "policies",
    "policy",
    "promise",
    "promising_policy",
]
