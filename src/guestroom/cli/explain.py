"""``guestroom explain``: where every byte is that a guest is charged for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from guestroom.attribute.knobs import Knob, knobs
from guestroom.attribute.mappings import Hints
from guestroom.attribute.monitor import block_names, job_names
from guestroom.attribute.parts import SPLIT_DUE, Charge, Explanation
from guestroom.attribute.parts import explain as attribute
from guestroom.cli.client import DEFAULT_SOCKET, AgentClient
from guestroom.cli.inputs import SIZE
from guestroom.cli.output import Column, emit_json, emit_text, json_option, size_cell, table
from guestroom.describe.burst import disk_burst_bytes
from guestroom.describe.qcow2 import HEADER_BYTES, Qcow2, parse_header
from guestroom.describe.running import RunningGuest, running
from guestroom.describe.split import own_monitor
from guestroom.errors import DescribeError, GuestroomError, HostError, InputError, UsageError
from guestroom.guest import Disk, check_name
from guestroom.kernelfs import KernelFiles
from guestroom.layout import Version
from guestroom.observe import pages, procfs
from guestroom.observe.charges import find_cgroup, read_charge, read_processes
from guestroom.units import format_bytes

_LOOKS, _STEADY = 5, 500
"""Looks at a guest whose memory moves meanwhile, until all but a 500th agrees."""
_ASK_S = 0.25
"""QEMU answers within some ms, or it is held; ``explain`` does not wait for that to end."""
_KERNEL_COPY = "copy of the kernel image"


@dataclass(frozen=True, slots=True)
class Looked:
    """One look at a guest."""

    explanation: Explanation
    knobs: tuple[Knob, ...]
    cgroup: str
    took_ms: float
    by_pages_bytes: int | None = None
    """What an independent count by pages found; None where it was not asked for."""
    by_parts_bytes: int = 0
    """The parts that such a count can see: all but slab, kernel stacks and what is charged in advance."""

    def sizes(self) -> dict[str, int]:
        """Bytes by part."""
        return {part.name: part.size_bytes for part in self.explanation.parts}


@dataclass(frozen=True, slots=True)
class Told:
    """What QEMU said of itself."""

    blocks: Mapping[int, str] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()


@click.command()
@click.argument("name", required=False)
@click.option("--pid", type=click.IntRange(1, (1 << 22) - 1), help="Any QEMU of this host, under care or not.")
@click.option("--ram", type=SIZE, help="Its RAM, where its arguments don't say (-readconfig).")
@click.option("--watch", "watch_s", type=click.FloatRange(0.1), metavar="SECONDS", help="Look again and again.")
@click.option(
    "--diff", "diff_s", type=click.FloatRange(0.1), metavar="SECONDS", help="Look twice: what grew in between?"
)
@click.option("--check", is_flag=True, help="Count page by page as well (root; half a second): do both agree?")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture of the parts there.")
@click.option("--png", type=click.Path(path_type=Path, dir_okay=False), help="The same as PNG (extra: plots).")
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's socket.",
)
@json_option
def explain(
    name: str | None,
    pid: int | None,
    ram: int | None,
    watch_s: float | None,
    diff_s: float | None,
    check: bool,
    svg: Path | None,
    png: Path | None,
    socket_path: str,
    as_json: bool,
) -> None:
    """Where every byte is that the guest NAME (or the QEMU with --pid) is charged for.

    Guest RAM, QEMU's own memory by part, the kernel's memory for it, page cache; what is left is named unexplained.
    Only reads, and never stops the guest. Needs root, or the guest's own user.
    """
    if (name is None) == (pid is None):
        raise UsageError("name one guest: NAME or --pid PID", hint="see 'guestroom explain --help'")
    if watch_s is not None and diff_s is not None:
        raise UsageError("--watch and --diff are two things", hint="leave one of them out")
    if pid is None:
        assert name is not None
        pid = _pid_of(check_name(name), socket_path)
    if diff_s is not None:
        before = look(pid, ram)
        time.sleep(diff_s)
        _show_difference(before, look(pid, ram), diff_s, as_json=as_json)
        return
    while True:
        seen = look(pid, ram, check=check, told=ask(pid))
        _draw(seen.explanation, name or f"pid {pid}", svg, png)
        if as_json:
            emit_json(as_dict(seen))
        else:
            _show(seen, name or f"pid {pid}")
        if watch_s is None:
            return
        sys.stdout.flush()
        time.sleep(watch_s)


def _draw(found: Explanation, title: str, svg: Path | None, png: Path | None) -> None:
    """Write the pictures that were asked for."""
    if svg is None and png is None:
        return
    from guestroom.cli.picture import stacked_bar, write_png

    try:
        if svg is not None:
            svg.write_text(stacked_bar(found, title))
        if png is not None:
            write_png(found, title, png)
    except OSError as error:
        raise HostError(
            f"the picture could not be written: {error.strerror}", where=error.filename, hint="name another file"
        ) from error


def _pid_of(name: str, socket_path: str) -> int:
    rows = AgentClient(socket_path).get("/v1/guests")
    for row in rows:
        if row["name"] == name:
            if row["pid"] is None:
                raise InputError(f"guest {name!r} has no process yet: it is {row['state']}", where=name)
            return int(row["pid"])
    names = ", ".join(row["name"] for row in rows) or "nobody"
    raise InputError(
        f"no guest {name!r} is under care", where=name, hint=f"under care: {names}; any QEMU: explain --pid PID"
    )


def ask(pid: int) -> Told:
    """What QEMU says of itself on guestroom's own monitor: names of its RAM blocks, block jobs that run.

    Nothing where it has no such monitor (not started by ``guestroom run``), does not answer at once (it is held),
    or may not be asked. Never the user's monitor: QEMU serves one client on each, and that is its owner's.
    """
    try:
        path = own_monitor(procfs.cmdline(KernelFiles(), pid))
        if path is None:
            return Told()
        from guestroom.observe.qmp import QmpClient  # asyncio and its client: only where there is a monitor

        with QmpClient(path, _ASK_S) as monitor:
            text = monitor.execute("human-monitor-command", **{"command-line": "info ramblock"})
            jobs = monitor.execute("query-block-jobs")
    except GuestroomError:
        return Told()
    return Told(block_names(str(text)), job_names(jobs))


def look(pid: int, ram_bytes: int | None = None, *, check: bool = False, told: Told | None = None) -> Looked:
    """One look at the guest of process ``pid``. Raises ``GuestroomError`` with what to do."""
    began_s = time.perf_counter()
    files = KernelFiles()
    if not procfs.is_qemu(files, pid):
        raise InputError(
            f"process {pid} is no QEMU", where=f"pid {pid}", hint="give the pid of a qemu-system-* process"
        )
    described = running(procfs.cmdline(files, pid), huge_paths=procfs.hugetlb_mounts(files), ram_bytes=ram_bytes)
    folder, version = find_cgroup(files, pid)
    charge, found = _steadiest(files, pid, folder, version, described, _hints(pid, described, told or Told()))
    depth = max((disk.queue_size or 0 for disk in described.guest.disks), default=0) or None
    took_ms = (time.perf_counter() - began_s) * 1e3
    by_pages = pages.charged_bytes(pages.inodes(folder)) if check else None
    tables = sum(part.size_bytes for part in found.parts if part.name in ("page tables", SPLIT_DUE))
    visible = charge.anon_bytes + charge.file_bytes + charge.shmem_bytes + tables
    return Looked(found, knobs(found.parts, queue_size=depth), folder, took_ms, by_pages, visible)


def look_at_row(row: Mapping[str, Any]) -> Looked:
    """One look at a guest of ``ps``: where its arguments don't say its RAM (-readconfig), the agent's figure is taken.

    Raises as ``look`` does; the row must have a pid.
    """
    try:
        return look(row["pid"])
    except DescribeError:
        return look(row["pid"], row["ram_bytes"])


def _steadiest(
    files: KernelFiles, pid: int, folder: str, version: Version, described: RunningGuest, hints: Hints
) -> tuple[Charge, Explanation]:
    """The look at which the sources agree best: no two files are read at the same instant, and loads move memory."""
    cpus = os.cpu_count() or 1
    best: tuple[Charge, Explanation] | None = None
    charges = [read_charge(files, folder, version)]
    for _ in range(_LOOKS):
        processes = read_processes(files, folder, version)
        if all(process.pid != pid for process in processes):
            raise HostError(f"process {pid} left {folder} while it was looked at", where=folder, hint="try again")
        charges = [charges[-1], read_charge(files, folder, version)]
        for charge in charges:
            found = attribute(charge, processes, described.ram_block_bytes, hints, cpus)
            if best is None or _doubt(found) < _doubt(best[1]):
                best = charge, found
        assert best is not None
        if _doubt(best[1]) * _STEADY < best[1].charged_bytes:
            break
    assert best is not None
    return best


def _doubt(found: Explanation) -> int:
    return found.error_bytes + found.charged_bytes - found.explained_bytes


def _hints(pid: int, described: RunningGuest, told: Told) -> Hints:
    """What the guest's files foretell; a file that can't be read foretells nothing."""
    sizes: dict[int, str] = {}
    root = Path(f"/proc/{pid}/cwd")
    if described.guest.kernel is not None and (size := _size(root, described.guest.kernel)) is not None:
        sizes[size] = _KERNEL_COPY
    caches, burst, clusters = 0, 0, []
    for disk in described.guest.disks:
        image = _header(root, disk)
        if image is not None:
            caches += image.l2_cache_bytes(disk.l2_cache_bytes) + image.refcount_cache_bytes
            burst += disk_burst_bytes(replace(disk, cluster_bytes=image.cluster_bytes), described.guest.vcpus)
            clusters.append(image.cluster_bytes)
    return Hints(told.blocks, sizes, min(clusters, default=None), caches, burst, told.jobs)


def _size(root: Path, file: str) -> int | None:
    try:
        return (root / file).stat().st_size
    except OSError:
        return None


def _header(root: Path, disk: Disk) -> Qcow2 | None:
    if disk.file is None or disk.format not in (None, "qcow2"):
        return None
    path = root / disk.file.removeprefix("file:")
    try:
        if not path.is_file():
            return None
        with path.open("rb") as image:
            return parse_header(image.read(HEADER_BYTES))
    except OSError:
        return None


def as_dict(seen: Looked) -> dict[str, object]:
    """The contract's JSON."""
    found = seen.explanation
    return {
        "charged_bytes": found.charged_bytes,
        "explained_bytes": found.explained_bytes,
        "overhead_bytes": found.overhead_bytes,
        "parts": [
            {"name": part.name, "bytes": part.size_bytes, "source": part.source, "kind": part.kind.value}
            for part in found.parts
        ],
        "error_bytes": found.error_bytes,
        "elsewhere_bytes": found.elsewhere_bytes,
        "cgroup": seen.cgroup,
        "took_ms": round(seen.took_ms, 1),
        "by_pages_bytes": seen.by_pages_bytes,
        "by_parts_bytes": seen.by_parts_bytes if seen.by_pages_bytes is not None else None,
        "knobs": [
            {"part": knob.part, "what": knob.what, "gain_bytes": knob.gain_bytes, "cost": knob.cost}
            for knob in seen.knobs
        ],
    }


def _show(seen: Looked, title: str) -> None:
    found = seen.explanation
    columns = (
        Column("PART"),
        Column("KIND"),
        Column("BYTES", right=True),
        Column("SHARE", right=True),
        Column("SOURCE"),
    )
    charged = max(1, found.charged_bytes)
    rows = [
        (part.name, part.kind.value, size_cell(part.size_bytes), f"{part.size_bytes / charged:.1%}", part.source)
        for part in found.parts
    ]
    table(columns, rows)
    emit_text(
        f"{title}: {format_bytes(found.charged_bytes)} charged, {found.explained_bytes / charged:.2%} explained, "
        f"overhead {format_bytes(found.overhead_bytes)}; sources differ by {format_bytes(found.error_bytes)}"
    )
    if found.elsewhere_bytes:
        emit_text(
            f"{format_bytes(found.elsewhere_bytes)} of mapped programs and libraries are charged to other cgroups, "
            "which touched them first"
        )
    if seen.by_pages_bytes is not None:
        apart = abs(seen.by_pages_bytes - seen.by_parts_bytes) / max(1, seen.by_parts_bytes)
        emit_text(
            f"counted page by page: {format_bytes(seen.by_pages_bytes)}; the parts such a count can see: "
            f"{format_bytes(seen.by_parts_bytes)} ({apart:.2%} apart)"
        )
    for knob in seen.knobs:
        gain = f"about {format_bytes(knob.gain_bytes)}" if knob.gain_bytes is not None else "depends on its load"
        emit_text(f"smaller {knob.part}: {knob.what} ({gain}; {knob.cost})")


def _show_difference(before: Looked, after: Looked, seconds: float, *, as_json: bool) -> None:
    changes = changed(before.sizes(), after.sizes())
    if as_json:
        emit_json(
            {
                "seconds": seconds,
                "charged_before_bytes": before.explanation.charged_bytes,
                "charged_after_bytes": after.explanation.charged_bytes,
                "changes": [{"name": name, "bytes": size} for name, size in changes.items()],
            }
        )
        return
    if not changes:
        emit_text(f"nothing changed within {seconds:g} s")
        return
    signed = [(name, f"{'+' if size > 0 else '-'}{size_cell(abs(size))}") for name, size in changes.items()]
    table((Column("PART"), Column("CHANGE", right=True)), signed)


def changed(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Bytes by which each part moved, the largest first; parts that did not are left out."""
    moved = {name: after.get(name, 0) - before.get(name, 0) for name in {*before, *after}}
    return dict(sorted(((n, s) for n, s in moved.items() if s), key=lambda item: (-abs(item[1]), item[0])))
