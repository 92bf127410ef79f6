"""The control run: the same guest, the same load, under the plain limit that equal shares would have set.

Without it the story would prove nothing: nobody being killed is only news if somebody would have been. On v1 the limit
stands from the start and the guest grows into it; on v2 the guest has grown when the limit is lowered, which is the
write that everybody makes: it is taken, and it kills.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from guestroom.apply.writes import limit_file
from guestroom.errors import GuestroomError
from guestroom.units import MIB, format_bytes

if TYPE_CHECKING:
    from guestroom.lab.story import Story

BOOT_S = 60.0
_WAIT_S = 30.0
_SHARE_BYTES = (256 + 400) * MIB
_AMPLE_BYTES = (256 + 600) * MIB
_LOAD_BYTES = 450 * MIB


def without_guestroom(story: Story) -> None:
    """Bring a guest that has grown as A did and the limit of an equal share together, with nobody in between."""
    host = story.host
    path = f"{host.layout.memory}-control"
    naive = host.layout.version == 2
    how = "it grows, and then its limit is lowered to" if naive else "the same guest under a plain limit of"
    story.screen.say(f"the control run, without guestroom: {how} {format_bytes(_SHARE_BYTES)}")
    host.files.mkdir(path)
    file = f"{path}/{limit_file(host.layout.version)}"
    machine = story.machine("control", extra=("-mem-prealloc",))
    vm = None
    try:
        host.files.write(file, str(_AMPLE_BYTES if naive else _SHARE_BYTES))
        vm = machine.start(machine.argv(), cgroup=path)
        if not story.waiting(lambda: vm.wait_alive(0.5), BOOT_S, lambda: vm.process.poll() is not None):
            story.finding("the control guest came alive", vm.stderr() or "it did not", ok=False)
        with contextlib.suppress(GuestroomError):
            # Under a plain limit the kernel kills QEMU in the middle of this: the broken connection is expected then.
            story.load(vm, _LOAD_BYTES, "load")
        if naive:
            story.alive(vm)
            host.files.write(file, str(_SHARE_BYTES))
        story.waiting(lambda: vm.process.poll() is not None, _WAIT_S)
        code, kills = vm.process.poll(), host.kills(path)
        figures = f"ended with {code}, the kernel counts {kills} kill" if code is not None else "it lives"
        if naive:
            figures = f"the write was taken; {figures}"
        story.finding("without guestroom the guest is lost", figures, code is not None and kills > 0)
    finally:
        if vm is not None:
            vm.process.kill()
            vm.process.wait()
        _remove(story, path)


def _remove(story: Story, path: str) -> None:
    deadline_s = time.monotonic() + 5.0
    while time.monotonic() < deadline_s:
        try:
            story.host.files.rmdir(path)
        except OSError:
            time.sleep(0.05)
        else:
            return
