"""A real agent in a folder of its own, as the story, the tests and the benchmarks use it.

Each has its own socket, ledger and parent cgroup, so that several can run on one machine without touching
each other or an agent that does real work there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from guestroom.actions import Outcome, SetLimit
from guestroom.apply.upkeep import SystemClock, make_applier, thaw
from guestroom.apply.writes import limit_file
from guestroom.cli.client import AgentClient
from guestroom.errors import AgentError, GuestroomError, HostError
from guestroom.kernelfs import KernelFiles
from guestroom.lab.image import GuestImage
from guestroom.lab.place import Place, find_place
from guestroom.lab.vm import Machine, Vm
from guestroom.layout import Layout
from guestroom.observe.cgroups import cgroups
from guestroom.units import Limit


class Host:
    """An agent with its own state; ``with Host(toml) as host``."""

    def __init__(self, settings_toml: str, *, env: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="guestroom-"))
        self.cgroup = self.folder.name
        text = settings_toml.replace("[host]", f'[host]\ncgroup = "{self.cgroup}"', 1)
        if "[host]" not in settings_toml:
            text = f'[host]\ncgroup = "{self.cgroup}"\n{settings_toml}'
        self.config = self.folder / "config.toml"
        self.config.write_text(text)
        self.socket = str(self.folder / "a.sock")
        self.state = str(self.folder / "state")
        self.files = KernelFiles()
        self.place: Place = find_place(self.files, self.cgroup)
        self.layout: Layout = self.place.layout
        self.cgroups = cgroups(self.layout.version)
        self.client = AgentClient(self.socket)
        self.process: subprocess.Popen[bytes] | None = None
        self.vms: list[Vm] = []
        self.at_end: list[Callable[[], object]] = []
        """Called first of all when this is cleaned up: ends what only its maker can find."""
        self.env = dict(env or {})
        """Added to the agent's environment."""

    def command(self, *words: str) -> list[str]:
        """A guestroom command line of this environment."""
        return [sys.executable, "-m", "guestroom", *words]

    def start(self, *, fault_at: str | None = None, timeout_s: float = 20.0) -> None:
        """Start the agent and wait until it answers. Raises ``AgentError`` with its last words otherwise."""
        env = os.environ | self.env | ({"GUESTROOM_FAULT_AT": fault_at} if fault_at is not None else {})
        argv = self.command("agent", "--config", str(self.config), "--socket", self.socket, "--state", self.state)
        with (self.folder / "agent.log").open("ab") as log:
            argv = self.place.words(argv)
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            with contextlib.suppress(GuestroomError):
                self.client.get("/v1/host")
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AgentError(f"the agent did not come up: {self.log()[-2000:]}", where=str(self.folder / "agent.log"))

    def stop(self) -> int:
        """SIGTERM and wait."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """kill -9 and wait."""
        return self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    def log(self) -> str:
        """What the agent logged so far."""
        path = self.folder / "agent.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # --- guests ----------------------------------------------------------------------------------------

    def machine(self, name: str, image: GuestImage, **shape: Any) -> Machine:
        """A test guest's shape in this host's folder."""
        return Machine(name=name, folder=self.folder, image=image, **({"ram_mib": 256} | shape))

    def run_words(self, name: str, *options: str) -> list[str]:
        """``guestroom run`` for this host, up to its ``--``."""
        return self.command("run", "--name", name, "--socket", self.socket, *options, "--")

    def run(self, machine: Machine, *options: str) -> Vm:
        """Start a guest the guestroom way."""
        vm = machine.start([*self.run_words(machine.name, *options), *machine.argv()])
        self.vms.append(vm)
        return vm

    def ps(self) -> dict[str, dict[str, Any]]:
        """The agent's rows by guest."""
        return {row["name"]: row for row in self.client.get("/v1/guests")}

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Events so far, of one kind or all."""
        return [e for e in self.client.get("/v1/events?limit=10000") if kind is None or e["kind"] == kind]

    def wait_for(
        self, kind: str, guest: str | None = None, *, timeout_s: float = 20.0, after: int = 0
    ) -> dict[str, Any]:
        """The first event of a kind (and guest) numbered above ``after``. Raises ``HostError`` when none comes."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for event in self.events(kind):
                if event["number"] > after and guest in (None, event["guest"]):
                    return event
            time.sleep(0.05)
        raise HostError(f"no event {kind!r} of {guest} within {timeout_s:g} s: {self.log()[-2000:]}")

    def figure(self, path: str, file: str) -> int:
        """A number from a cgroup file, read here and not by the agent."""
        return int(self.files.read(f"{path}/{file}").split()[0])

    def limit(self, path: str) -> Limit:
        """A cgroup's limit as the kernel has it, on either version."""
        return self.cgroups.read_limit(self.files, path)

    def kills(self, path: str) -> int:
        """Processes the kernel's OOM killer took in a cgroup, on either version."""
        return self.cgroups.read_oom_kills(self.files, path) or 0

    def overhead(self, name: str, ram_bytes: int) -> int:
        """What a guest can't give back, less its RAM, from the kernel's own files and past the agent.

        Read in the leaves: ``memory.stat`` of a cgroup with children may stand still for a second (measured on 6.18).
        Raises ``HostError`` where the kernel does not say.
        """
        total = 0
        for path in (self.layout.ram(name), self.layout.vmm(name)):
            found = self.cgroups.read_memory(self.files, path, time.monotonic()).unreclaimable_bytes
            if found is None:
                raise HostError("the kernel does not tell what is charged here", where=path)
            total += found
        return total - ram_bytes

    def lower(self, name: str, limit_bytes: int) -> Outcome:
        """Lower a guest's limit past the agent, but with guestroom's own hand, which never writes one below use."""
        path = self.layout.guest(name)
        action = SetLimit(name, self.limit(path), limit_bytes, 0, 0, 0, "the lab asks")
        return make_applier(self.files, self.layout, SystemClock()).carry_out(action)

    def set_limit(self, name: str, limit_bytes: int) -> OSError | None:
        """The naive write: set a guest's limit past the agent; the kernel's answer (v2 has none, it kills)."""
        try:
            self.files.write(f"{self.layout.guest(name)}/{limit_file(self.layout.version)}", str(limit_bytes))
        except OSError as error:
            return error
        return None

    # --- the end ---------------------------------------------------------------------------------------

    def __enter__(self) -> Host:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.clean_up()

    def clean_up(self) -> None:
        """End every guest and the agent, remove every cgroup and the folder."""
        for end in self.at_end:
            end()
        for vm in self.vms:
            self._thaw(vm.machine.name)
            vm.stop()
        if self.process is not None:
            if self.process.poll() is not None:
                self._kill_left()
            else:
                self.stop()
        self._kill_left()
        for root in (self.layout.memory, self.layout.freezer, self.place.folder):
            if root is not None:
                self._remove_tree(root)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _thaw(self, name: str) -> None:
        thaw(self.files, self.layout, name)

    def _kill_left(self) -> None:
        """Processes that are still in this host's own cgroups are this host's own guests."""
        with contextlib.suppress(OSError):
            for name in self.files.list_dirs(self.layout.memory):
                self._thaw(name)
                for part in ("", "/ram", "/vmm"):
                    with contextlib.suppress(OSError):
                        for pid in self.files.read(f"{self.layout.guest(name)}{part}/cgroup.procs").split():
                            os.kill(int(pid), signal.SIGKILL)

    def _remove_tree(self, path: str) -> None:
        try:
            children = self.files.list_dirs(path)
        except OSError:
            return
        for child in children:
            self._remove_tree(f"{path}/{child}")
        deadline_s = time.monotonic() + 5.0
        while time.monotonic() < deadline_s:
            try:
                self.files.rmdir(path)
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)
            else:
                return
