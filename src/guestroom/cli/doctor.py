"""``guestroom doctor``: is this host fit, and what to do where it is not."""

from __future__ import annotations

import click

from guestroom.cli import checks
from guestroom.cli.checks import Level
from guestroom.cli.client import DEFAULT_SOCKET
from guestroom.cli.output import Column, emit_json, json_option, note, place_option, table
from guestroom.cli.unexplained import check_explained
from guestroom.kernelfs import KernelFiles


@click.command()
@click.option(
    "--socket",
    "socket_path",
    envvar="GUESTROOM_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The agent's socket.",
)
@click.option("--cgroup", default="guestroom", show_default=True, help="Name of guestroom's parent cgroup.")
@place_option
@click.option("--qemu", default="qemu-system-x86_64", show_default=True, help="The QEMU to look at.")
@click.option("--boot", "kernel", type=click.Path(exists=True, dir_okay=False), help="Also boot this kernel under KVM.")
@click.option("--kvm-timeout", "kvm_timeout_s", type=float, default=10.0, show_default=True, help="Seconds for KVM.")
@json_option
def doctor(
    socket_path: str, cgroup: str, place: str | None, qemu: str, kernel: str | None, kvm_timeout_s: float, as_json: bool
) -> int:
    """Check whether this host is fit for guestroom. Exit code 1 when something needed is missing."""
    files = KernelFiles()
    note(f"trying KVM (up to {kvm_timeout_s:g} s)")
    found = [
        checks.check_memory_cgroup(files, cgroup, place),
        checks.check_freezer(files, cgroup, place),
        checks.check_rights(),
        checks.check_systemd(files, cgroup, place),
        checks.check_qemu(qemu),
        checks.check_kvm(qemu, kvm_timeout_s, kernel),
        checks.check_memory(files),
        checks.check_swap(files, cgroup),
        checks.check_hugepages(files),
        checks.check_ksm(files),
        checks.check_libvirt(),
        checks.check_agent(socket_path),
        checks.check_headroom(socket_path),
        checks.check_guard(socket_path),
        *check_explained(socket_path),
    ]
    failed = any(check.level is Level.FAIL for check in found)
    if as_json:
        rows = [{"name": c.name, "level": c.level.value, "detail": c.detail, "hint": c.hint} for c in found]
        emit_json({"fit": not failed, "checks": rows})
    else:
        hints = [(c.name, c.level.value, c.detail + (f" -> {c.hint}" if c.hint else "")) for c in found]
        table((Column("CHECK"), Column(""), Column("FOUND")), hints)
    return 1 if failed else 0
