"""The only writer: decided actions go to the kernel here, as data first, then carried out and read back."""

from guestroom.apply.cgroup1 import KernelApplier
from guestroom.apply.execute import carry_out_all, fault_point
from guestroom.apply.processes import ProcessHandle, move, open_process, read_start_ticks
from guestroom.apply.upkeep import (
    Report,
    SystemClock,
    drop_cache,
    oom_killers,
    remove_guest,
    reset_peak,
    set_up_wall,
    thaw,
)
from guestroom.apply.writes import Write, wall_writes, writes

__all__ = [
    "KernelApplier",
    "ProcessHandle",
    "Report",
    "SystemClock",
    "Write",
    "carry_out_all",
    "drop_cache",
    "fault_point",
    "move",
    "oom_killers",
    "open_process",
    "read_start_ticks",
    "remove_guest",
    "reset_peak",
    "set_up_wall",
    "thaw",
    "wall_writes",
    "writes",
]
