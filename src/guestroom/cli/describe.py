"""``guestroom describe``: the guest as guestroom understands it, and what of its description it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from guestroom.cli.output import emit_json, emit_text, json_option, one_line
from guestroom.cli.size import described
from guestroom.errors import UsageError
from guestroom.guest import Disk, Guest, MemoryBackend, Nic, Video
from guestroom.units import format_bytes


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--readconfig", metavar="FILE", help="A QEMU -readconfig file ('-': stdin).")
@click.option("--libvirt", metavar="FILE", help="libvirt's domain XML ('-': stdin).")
@click.option(
    "--kubevirt", metavar="FILE", help="KubeVirt's VirtualMachine or its instance, YAML or JSON ('-': stdin)."
)
@json_option
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[-- QEMU ARGV]")
def describe(
    readconfig: str | None, libvirt: str | None, kubevirt: str | None, as_json: bool, argv: tuple[str, ...]
) -> None:
    """Print the guest that a description describes: what was understood, what is unknown, and what was passed over.

    The description is a -readconfig file, libvirt's domain XML (virsh dumpxml), KubeVirt's machine (kubectl get vm
    -o yaml), or a QEMU command line after --.
    """
    if not argv and (readconfig, libvirt, kubevirt) == (None, None, None):
        hint = "give --readconfig FILE, --libvirt FILE, --kubevirt FILE, or QEMU's command line"
        raise UsageError("no guest is described", hint=hint)
    guest = described(argv, readconfig, libvirt, kubevirt)
    if as_json:
        emit_json(asdict(guest))
        return
    for line in lines(guest):
        emit_text(one_line(line))


def lines(guest: Guest) -> Iterator[str]:
    """The guest in words, a line for each thing; what is not known says so."""
    yield f"name: {guest.name or 'not known'}"
    yield f"RAM promised: {_size(guest.ram_bytes)}, at boot {_size(guest.boot_ram_bytes)}"
    yield f"vCPUs: {_known(guest.vcpus)}, at most {_known(guest.max_vcpus)}"
    yield f"machine: {_known(guest.machine)}, {_known(guest.arch)}, accelerator {_known(guest.accelerator)}"
    if guest.tb_bytes is not None:
        yield f"TCG code buffer: {format_bytes(guest.tb_bytes)}"
    yield from (f"memory object: {_backend(one)}" for one in guest.memory_backends)
    yield from (f"disk: {_disk(one)}" for one in guest.disks)
    yield from (f"network: {_nic(one)}" for one in guest.nics)
    yield from (f"graphics: {_video(one)}" for one in guest.videos)
    yield from (f"display: {one}" for one in guest.displays)
    yield from (f"passed through: {one.kind} {one.address or ''}".rstrip() for one in guest.passthrough)
    yield from _counts(guest)
    yield from (f"passed over: {text}" for text in guest.unknown)


def _counts(guest: Guest) -> Iterator[str]:
    named = {
        "iothreads": guest.iothreads,
        "shares": guest.shares,
        "USB controllers": guest.usb_controllers,
        "USB devices": guest.usb_devices,
        "sound cards": guest.sounds,
        "NUMA nodes": guest.numa_nodes,
    }
    yield from (f"{name}: {count}" for name, count in named.items() if count)
    flags = {
        "TPM": guest.tpm,
        "balloon": guest.balloon,
        "locked memory": guest.mem_lock,
        "huge pages": guest.hugepages,
        "starts paused": guest.paused,
        "waits for a migration": guest.incoming,
        "daemonizes": guest.daemonize,
    }
    present = [name for name, there in flags.items() if there]
    if present:
        yield f"also: {', '.join(present)}"
    files = {"firmware": guest.firmware, "kernel": guest.kernel, "initrd": guest.initrd}
    yield from (f"{name}: {path}" for name, path in files.items() if path)


def _known(value: object) -> str:
    return "not known" if value is None else str(value)


def _size(size_bytes: int | None) -> str:
    return "not known" if size_bytes is None else format_bytes(size_bytes)


def _words(*words: str | None) -> str:
    return ", ".join(word for word in words if word)


def _backend(one: MemoryBackend) -> str:
    what = "guest RAM" if one.backs_ram else "backs no guest RAM"
    shared = "shared" if one.share else None
    return _words(f"{one.id} ({one.kind})", _size(one.size_bytes), what, shared, "huge pages" if one.hugetlb else None)


def _disk(one: Disk) -> str:
    queues = None if one.queues is None else f"{one.queues} queues"
    depth = None if one.queue_size is None else f"queue size {one.queue_size}"
    cache = None if one.l2_cache_bytes is None else f"L2 cache {format_bytes(one.l2_cache_bytes)}"
    mode = None if one.cache is None else f"cache={one.cache}"
    read_only = "read-only" if one.read_only else None
    return _words(
        one.id or one.file or "no back end", one.format, one.interface, mode, one.aio, queues, depth, cache, read_only
    )


def _nic(one: Nic) -> str:
    queues = None if one.queues is None else f"{one.queues} queues"
    return _words(one.model or "model not known", one.backend, queues, "vhost" if one.vhost else None)


def _video(one: Video) -> str:
    memory = None if one.vga_bytes is None else format_bytes(one.vga_bytes)
    outputs = None if one.outputs is None else f"{one.outputs} outputs"
    window = None if one.hostmem_bytes is None else f"window of {format_bytes(one.hostmem_bytes)}"
    return _words(one.model, memory, outputs, window)
