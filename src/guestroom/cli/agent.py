"""``guestroom agent``: the host agent, in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time

import click

from guestroom.agent.alarm_client import AlarmClient
from guestroom.agent.keeper import Keeper
from guestroom.agent.settings_file import load_settings
from guestroom.api.app import build_app
from guestroom.api.server import bind_socket, build_server
from guestroom.apply.upkeep import SystemClock
from guestroom.cli.client import DEFAULT_SOCKET
from guestroom.cli.memory import few_arenas, trim
from guestroom.cli.output import emit_json, json_option, one_line, place_option
from guestroom.cli.wiring import build_deps, take_wall
from guestroom.config import Settings
from guestroom.errors import UsageError
from guestroom.kernelfs import KernelFiles
from guestroom.observe.hierarchy import find_layout
from guestroom.record import SqliteLedger, open_ledger

DEFAULT_STATE = "/var/lib/guestroom"


@click.command()
@click.option("--config", "config_path", help="Settings file [default: /etc/guestroom/config.toml if it is there].")
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="Where to listen.",
)
@click.option(
    "--state",
    "state_dir",
    envvar="GUESTROOM_STATE",
    default=DEFAULT_STATE,
    show_default=True,
    help="Where the ledger is kept.",
)
@place_option
@click.option("--check", is_flag=True, help="Only check the settings file.")
@json_option
def agent(
    config_path: str | None, socket_path: str, state_dir: str, place: str | None, check: bool, as_json: bool
) -> None:
    """Run the host agent in the foreground: it keeps the room of all guests until it gets SIGTERM."""
    for option, path in (("--socket", socket_path), ("--state", state_dir)):
        if not path:
            raise UsageError(f"{option} is empty", hint="name a path, or leave it out")
    few_arenas()
    settings = load_settings(config_path)
    if check:
        if as_json:
            emit_json({"ok": True, "config": config_path})
        return
    files = KernelFiles()
    layout = find_layout(files, settings.cgroup, place=place)
    listener = bind_socket(os.path.abspath(socket_path), settings.socket_group)  # noqa: PTH100
    try:
        with open_ledger(state_dir, clock=SystemClock(), reading_keep_s=settings.reading_keep_s) as ledger:
            wall = take_wall(files, layout)
            log = _JsonLog() if as_json else _Log()
            asyncio.run(_serve(settings, layout, ledger, listener, os.path.abspath(socket_path), log))  # noqa: PTH100
            os.close(wall)
    finally:
        listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket_path)  # noqa: PTH108


class _Log:
    """Log lines for people, on stderr."""

    def __call__(self, kind: str, guest: str | None, message: str) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%S")
        self._write(f"{at} {kind:<12} {guest or '-':<12} {one_line(message)}")

    def _write(self, line: str) -> None:
        # A closed or full stderr must not stop the agent.
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


class _JsonLog(_Log):
    """The same as JSON lines."""

    def __call__(self, kind: str, guest: str | None, message: str) -> None:
        import json

        self._write(json.dumps({"at_wall_s": time.time(), "kind": kind, "guest": guest, "message": message}))


async def _serve(
    settings: Settings, layout: object, ledger: SqliteLedger, listener: socket.socket, socket_path: str, log: _Log
) -> None:
    from guestroom.layout import Layout

    assert isinstance(layout, Layout)
    alarms = await AlarmClient.start(layout, settings.agent_lost_s, step_bytes=settings.alarm_step_bytes)
    folder = f"{os.path.dirname(socket_path)}/monitors"  # noqa: PTH120
    deps = build_deps(settings, layout, ledger, alarms, folder, log, os.environ.get("GUESTROOM_FAULT_AT"))
    keeper = Keeper(deps)
    await keeper.begin()
    # Taking back a thousand guests needs much for a moment.
    trim()
    asyncio.get_running_loop().call_later(20.0, trim)
    server = build_server(build_app(keeper))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    news = asyncio.create_task(_pass_on(alarms, keeper))
    serving = asyncio.create_task(server._serve(sockets=[listener]))
    log("ready", None, f"listening on {socket_path}; guests go to {layout.memory}")
    _notify("READY=1")
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait((serving, waiting, keeper.tasks.failed), return_when=asyncio.FIRST_COMPLETED)
    _notify("STOPPING=1")
    await alarms.stop()
    await keeper.end()
    server.should_exit = True
    await serving
    for task in (waiting, news):
        task.cancel()
    deps.close()
    if keeper.tasks.failed.done():
        keeper.tasks.failed.result()


async def _pass_on(alarms: AlarmClient, keeper: Keeper) -> None:
    async for event in alarms.events():
        await keeper.alarm(event)


def _notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing where there is none."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
