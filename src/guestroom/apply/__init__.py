"""The only writer: decided actions go to the kernel here, as data first, then carried out and read back."""

from guestroom.apply.cgroup1 import KernelApplier
from guestroom.apply.cgroup2 import KernelApplier2
from guestroom.apply.processes import ProcessHandle, move, open_process, read_start_ticks
from guestroom.apply.swap import swap_out, without_swap
from guestroom.apply.upkeep import (
    Report,
    SystemClock,
    drop_cache,
    make_applier,
    oom_killers,
    remove_guest,
    reset_peak,
    set_up_wall,
    thaw,
)
from guestroom.apply.upkeep2 import brake, lift, limit_swap, protect_ram, take_place
from guestroom.apply.write import Write
from guestroom.apply.writes import wall_writes, writes

__all__ = [
    "KernelApplier",
    "KernelApplier2",
    "ProcessHandle",
    "Report",
    "SystemClock",
    "Write",
    "brake",
    "drop_cache",
    "lift",
    "limit_swap",
    "make_applier",
    "move",
    "oom_killers",
    "open_process",
    "protect_ram",
    "read_start_ticks",
    "remove_guest",
    "reset_peak",
    "set_up_wall",
    "swap_out",
    "take_place",
    "thaw",
    "wall_writes",
    "without_swap",
    "writes",
]
