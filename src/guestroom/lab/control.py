"""The control run: the same guest, the same load, under the plain limit that equal shares would have set.

Without it the story would prove nothing: nobody being killed is only news if somebody would have been.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from guestroom.errors import GuestroomError
from guestroom.lab.vm import Vm
from guestroom.units import MIB, format_bytes

if TYPE_CHECKING:
    from guestroom.lab.story import Story

_WAIT_S = 30.0


def without_guestroom(story: Story) -> None:
    """Start a guest under RAM + 400 MiB with the kernel's OOM killer as it is, and let it grow as A did."""
    host = story.host
    limit = (256 + 400) * MIB
    path = f"{host.layout.memory}-control"
    story.screen.say(f"the control run, without guestroom: the same guest under a plain limit of {format_bytes(limit)}")
    host.files.mkdir(path)
    machine = replace(host.machine("control", story.image), extra=("-mem-prealloc",))
    vm = None
    try:
        host.files.write(f"{path}/memory.limit_in_bytes", str(limit))
        vm = Vm(machine, machine.argv(), cgroup=path)
        if not story.waiting(lambda: vm.wait_alive(0.5), 60.0, lambda: vm.process.poll() is not None):
            story.finding("the control guest came alive", vm.stderr() or "it did not", ok=False)
        with contextlib.suppress(GuestroomError):
            # The kernel kills QEMU in the middle of this command: the broken connection is the expected answer.
            vm.grow(450 * MIB, "load")
        story.waiting(lambda: vm.process.poll() is not None, _WAIT_S)
        code = vm.process.poll()
        text = host.files.read(f"{path}/memory.oom_control")
        kills = int(dict(line.split() for line in text.splitlines())["oom_kill"])
        figures = f"ended with {code}, the kernel counts {kills} kill" if code is not None else "it lives"
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
