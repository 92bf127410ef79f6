"""``guestroom metrics``: the figures of guests and host for Prometheus, once as text or served.

A process of its own and not a page of the agent's: a look at where a guest's bytes are reads all of its mappings, which
has no place beside decisions and alarms. In the background looks are paced by the processor time they take.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.explain import Looked, look_at_row
from guestroom.cli.output import emit_json, emit_text, json_option
from guestroom.errors import GuestroomError, HostError, UsageError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from guestroom.cli.families import Seen

SHARE_OF_A_CORE = 0.01
"""Most that looking goes on to take in the background: 100 guests of 256 MiB are gone round in about 150 s."""
REST_S = 1.0
"""Least time between two looks, and between two questions to an agent without guests."""
_ANSWER_S = 5.0

Row = Mapping[str, Any]


class Watcher:
    """Asks the agent and looks at its guests, one after the other."""

    def __init__(self, client: AgentClient, look_at: Callable[[Row], Looked] | None = None) -> None:
        self._client = client
        self._look_at = look_at if look_at is not None else look_at_row
        self._looks: dict[str, Seen] = {}
        self._lock = threading.Lock()

    def look_once(self) -> None:
        """One look at every guest that has a process."""
        for row in self._rows() or ():
            self._take(row)

    def look_on(self, ended: threading.Event) -> None:
        """Look at one guest after the other until ``ended``, at most ``SHARE_OF_A_CORE`` of a processor."""
        while True:
            rows = self._rows()
            for row in rows or ():
                began_s = time.thread_time()
                self._take(row)
                rest_s = (time.thread_time() - began_s) / SHARE_OF_A_CORE
                if ended.wait(max(REST_S, rest_s)):
                    return
            if not rows and ended.wait(REST_S):
                return

    def collect(self) -> Iterator[Metric]:
        """Everything, for a scrape: the agent's figures of now, and the last look at each guest."""
        from guestroom.cli.families import families

        rows = self._rows()
        with self._lock:
            looks = dict(self._looks)
        host = self._ask("/v1/host") if rows is not None else None
        learning = self._ask("/v1/learning") if host is not None else None
        yield from families(rows, host, looks, time.monotonic(), learning)

    def _rows(self) -> list[Row] | None:
        try:
            rows: list[Row] = self._client.get("/v1/guests")
        except GuestroomError:
            return None
        names = {row["name"] for row in rows}
        with self._lock:
            self._looks = {name: seen for name, seen in self._looks.items() if name in names}
        return rows

    def _ask(self, target: str) -> Row | None:
        try:
            answer: Row = self._client.get(target)
        except GuestroomError:
            return None
        return answer

    def _take(self, row: Row) -> None:
        from guestroom.cli.families import Seen

        if row["pid"] is None:
            return
        try:
            found = self._look_at(row).explanation
        except GuestroomError:
            # Ended meanwhile, or not to be read: its age says how old the last look is.
            return
        with self._lock:
            self._looks[row["name"]] = Seen(found, time.monotonic())


@click.command()
@click.option("--listen", metavar="ADDRESS:PORT", help="Serve /metrics there until ended, e.g. 127.0.0.1:9177.")
@click.option("--no-parts", is_flag=True, help="Don't look into the guests' memory.")
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's socket.",
)
@json_option
def metrics(listen: str | None, no_parts: bool, socket_path: str, as_json: bool) -> None:
    """Figures of guests and host for Prometheus: printed once, or served with --listen.

    Printed, they suit node_exporter's textfile collector. Needs the extra ``metrics``.
    """
    try:
        from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    except ImportError as error:
        raise HostError(
            "metrics need the library prometheus-client", hint="pip install 'guestroom[metrics]'"
        ) from error
    if listen is not None and as_json:
        raise UsageError("--json is for one print, not for --listen", hint="leave one of them out")
    watcher, registry = Watcher(AgentClient(socket_path, answer_s=_ANSWER_S)), CollectorRegistry()
    if listen is None:
        if not no_parts:
            watcher.look_once()
        if as_json:
            samples = [one for family in watcher.collect() for one in family.samples]
            emit_json([{"name": one.name, "labels": one.labels, "value": one.value} for one in samples])
            return
        registry.register(_Collector(watcher))
        emit_text(generate_latest(registry).decode().rstrip("\n"))
        return
    address, port = parse_address(listen)
    registry.register(_Collector(watcher))
    ended = threading.Event()
    looking = threading.Thread(target=watcher.look_on, args=(ended,), daemon=True)
    try:
        server, serving = start_http_server(port, address, registry)
    except OSError as error:
        raise HostError(
            f"can't listen: {error.strerror or error}", where=listen, hint="choose another --listen ADDRESS:PORT"
        ) from error
    if not no_parts:
        looking.start()
    emit_text(f"metrics of {socket_path} on http://{address}:{server.server_port}/metrics; end with Ctrl-C")
    try:
        serving.join()
    finally:
        ended.set()
        server.shutdown()


class _Collector:
    """What the registry asks at each scrape (``prometheus_client``'s custom collectors)."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def collect(self) -> Iterable[Metric]:
        """All families."""
        return self._watcher.collect()

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are not asked for in advance, so that registering needs no agent."""
        return ()


def parse_address(text: str) -> tuple[str, int]:
    """Address and port of ``ADDRESS:PORT``; ``[::1]:9177`` for IPv6. Raises ``UsageError``."""
    address, colon, port = text.rpartition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not colon or not address or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        raise UsageError(f"--listen {text!r} is no ADDRESS:PORT", hint="for example --listen 127.0.0.1:9177")
    return address, int(port)
