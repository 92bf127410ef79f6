"""The host's swap, read: devices with their use, zram told apart, and what is missing or malformed."""

from __future__ import annotations

import errno

import pytest

from guestroom.errors import ReadError
from guestroom.layout import Layout
from guestroom.observe.swap import SwapDevice, parse_swaps, read_swap

RECORDED = (
    "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    "/dev/zram0                              partition\t65532\t\t41972\t\t-2\n"
)
"""Of kernel 6.18 with a zram device of 64 MiB."""


class FakeFiles:
    """Files by path."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def read(self, path: str) -> str:
        """Its text, ENOENT where there is none."""
        if path not in self.files:
            raise OSError(errno.ENOENT, "no such file", path)
        return self.files[path]


def test_devices_with_their_use() -> None:
    """Sizes are KiB; zram is known by its name; what is free is what is not used."""
    files = FakeFiles(
        {
            "/proc/swaps": RECORDED + "/swap\\040file file 1024 0 -3\n",
            "/proc/sys/vm/swappiness": "60\n",
            "/sys/module/zswap/parameters/enabled": "N\n",
            "/m/memory.memsw.usage_in_bytes": "0\n",
        }
    )
    state = read_swap(files, Layout("/m/guestroom", None))  # type: ignore[arg-type]
    assert state.devices[0] == SwapDevice("/dev/zram0", 65532 * 1024, 41972 * 1024)
    assert [device.is_zram for device in state.devices] == [True, False]
    assert state.free_bytes == (65532 - 41972 + 1024) * 1024
    assert (state.swappiness, state.zswap, state.counted) == (60, False, True)


def test_a_kernel_without_any_of_it() -> None:
    """Where nothing is there nothing is claimed: no devices, unknown settings; a cgroup shows if it is counted."""
    state = read_swap(FakeFiles({}), Layout("/m/guestroom", None, 2))  # type: ignore[arg-type]
    assert (state.devices, state.swappiness, state.zswap, state.counted) == ((), None, None, None)
    files = FakeFiles({"/m/guestroom/memory.max": "max\n"})
    assert read_swap(files, Layout("/m/guestroom", None, 2)).counted is False  # type: ignore[arg-type]
    files = FakeFiles({"/m/guestroom/memory.max": "max\n", "/m/guestroom/memory.swap.current": "0\n"})
    assert read_swap(files, Layout("/m/guestroom", None, 2)).counted is True  # type: ignore[arg-type]


@pytest.mark.parametrize("line", ["/dev/sda1 partition 1024 0", "/dev/sda1 partition x 0 -1"])
def test_a_malformed_line_is_told_with_its_place(line: str) -> None:
    """Path and line are in the error."""
    with pytest.raises(ReadError) as caught:
        parse_swaps("/proc/swaps", RECORDED + line + "\n")
    assert "/proc/swaps:3" in caught.value.line()
