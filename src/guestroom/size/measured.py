"""The ``measured`` policy: a guest's parts by what real guests of the study took, and a margin for a stated coverage.

The need is what the guest's devices take, with a typical load: 16 requests in flight. What it may do beyond, up to all
that its queues hold, is its burst (``describe.burst``), which the shared headroom covers instead of every guest's need.
"""

from __future__ import annotations

from guestroom.guest import Guest
from guestroom.size.measured_cost import Model, margin, predict, told
from guestroom.size.measured_model import MODEL
from guestroom.size.measured_terms import TYPICAL, Load, assumed
from guestroom.size.model import Sizing
from guestroom.size.registry import promising_policy


@promising_policy("measured")
def measured(guest: Guest, ram_bytes: int, coverage: float) -> Sizing:
    """What guests of guestroom's own study took, term by term, and a margin for the coverage asked for (0.95).

    The load is assumed: 16 requests in flight, copies on write where an image can make any, one viewer of a remote
    display. What a guest can do beyond is its burst, which the shared headroom covers. Terms: QEMU itself, the copy of
    a kernel image, TCG's code buffer, vCPUs, page tables by kind of RAM, disks, queues and I/O threads, L2 caches and
    tables of qcow2, write-back, requests and clusters in flight, graphics, remote displays, USB, network, balloon,
    firmware, shared folders; from stated sources: KVM, TPM, passed-through devices.
    """
    return size_by(MODEL, guest, ram_bytes, coverage, TYPICAL)


def size_by(model: Model, guest: Guest, ram_bytes: int, coverage: float, load: Load) -> Sizing:
    """The same by any model and for any load. Raises ``InputError`` for a coverage the model has no margin for."""
    seen = predict(model, guest, ram_bytes, load)
    added, promise = margin(model, seen, coverage)
    return Sizing((*seen.parts, added), (*assumed(guest), *told(model, guest, seen)), promise)
