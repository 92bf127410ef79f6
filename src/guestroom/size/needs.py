"""The need of a guest: what an operator set before what a policy estimates, and the least it can boot with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from guestroom.errors import InputError
from guestroom.guest import Guest
from guestroom.size.model import Estimate, Part, Sizing
from guestroom.size.registry import DEFAULT_COVERAGE, check_policy, estimate, ram_of, summed
from guestroom.units import MIB

BOOT_BASE_BYTES = 96 * MIB
"""Boot floor without a code buffer: a bare QEMU was seen to use 34 to 39 MiB beside it (QEMU 7.2), the rest is room
for firmware, a display and the first I/O."""

DEFAULT_TB_BYTES = 32 * MIB
"""Code buffer counted where ``tb-size`` is not given.

QEMU 7.2 then reserves min(1 GiB, host memory / 8) (``size_code_gen_buffer``, tcg/region.c) but touches it only as code
is translated: a whole boot used 83 to 88 MiB against 66 to 71 with tb-size 32, so about 49 MiB of it. 96 + 32 MiB
covers those 88 with 40 to spare.
"""


class Origin(StrEnum):
    """Where a need comes from, first come first served: EVE's order (``vmmOverhead``, vmm_overhead.go)."""

    HOST_SETTING = "host setting"
    GUEST_SETTING = "guest setting"
    ESTIMATE = "estimate"


@dataclass(frozen=True, slots=True)
class Need:
    """Overhead a guest is expected to need at its peak, and who says so."""

    origin: Origin
    estimate: Estimate
    """The policy's, or for a setting one of policy ``setting`` with a single part."""

    @property
    def overhead_bytes(self) -> int:
        """The need in bytes."""
        return self.estimate.overhead_bytes

    @property
    def is_set(self) -> bool:
        """True where an operator fixed it, so that it is the guest's cap as well."""
        return self.origin is not Origin.ESTIMATE


def need(
    guest: Guest,
    policy: str,
    *,
    host_overhead_bytes: int | None = None,
    guest_overhead_bytes: int | None = None,
    coverage: float = DEFAULT_COVERAGE,
) -> Need:
    """The need of ``guest``: the host-wide setting if there is one, else the guest's own, else ``policy``'s estimate.

    Raises ``InputError`` as ``estimate`` does (also when a setting decides), and for a setting that is not positive:
    a guest without overhead can't live, and "not set" is ``None``.
    """
    check_policy(policy)
    for origin, set_bytes in (
        (Origin.HOST_SETTING, host_overhead_bytes),
        (Origin.GUEST_SETTING, guest_overhead_bytes),
    ):
        if set_bytes is not None:
            return Need(origin, _setting(guest, origin, set_bytes))
    return Need(Origin.ESTIMATE, estimate(guest, policy, coverage=coverage))


def _setting(guest: Guest, origin: Origin, set_bytes: int) -> Estimate:
    if set_bytes <= 0:
        raise InputError(
            f"the {origin.value} for overhead is {set_bytes} bytes",
            numbers={"overhead_bytes": set_bytes},
            hint="set a positive size, or leave it out to use the estimate",
        )
    return summed("setting", ram_of(guest), Sizing((Part(origin.value, set_bytes, f"overhead_bytes, {origin.value}"),)))


def boot_floor_bytes(guest: Guest) -> int:
    """Overhead in bytes that a bare QEMU of this shape needs to start: the least a squeezed guest may be given.

    96 MiB, and under TCG its code buffer (``tb-size``, or 32 MiB where it is not given). A description that names no
    accelerator counts as TCG, which is QEMU's own default and the larger figure.
    """
    if guest.accelerator is not None and guest.accelerator != "tcg":
        return BOOT_BASE_BYTES
    return BOOT_BASE_BYTES + (guest.tb_bytes or DEFAULT_TB_BYTES)
