"""``guestroom size``: how much memory a guest needs beside its RAM, by policy and part. Needs no host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TypeVar

import click

from guestroom.cli.inputs import SIZE, STDIN, read_text
from guestroom.cli.learned import as_json as learned_json
from guestroom.cli.learned import in_place, learned_from, print_why
from guestroom.cli.output import Column, emit_json, emit_text, json_option, one_line, table
from guestroom.errors import DescribeError, GuestroomError, UsageError
from guestroom.guest import Guest, check_name
from guestroom.size import Estimate, check_policy, estimate, need, policies
from guestroom.size.learned import DEFAULT_COVERAGE
from guestroom.units import MIB, format_bytes

_T = TypeVar("_T")

MAIN_PARTS = 3
"""Parts shown side by side with other policies; ``--policy`` shows all."""
MOST_VCPUS = 65_536


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--ram", type=SIZE, help="Guest RAM, e.g. 1GiB; overrides what the description says.")
@click.option("--vcpus", type=click.IntRange(1, MOST_VCPUS), help="vCPUs at start.")
@click.option("--max-vcpus", type=click.IntRange(1, MOST_VCPUS), help="vCPUs it may grow to.")
@click.option("--name", help="The guest's name: its settings in --config apply.")
@click.option("--readconfig", metavar="FILE", help="Describe the guest by a QEMU -readconfig file ('-': stdin).")
@click.option("--libvirt", metavar="FILE", help="Describe the guest by libvirt's domain XML ('-': stdin).")
@click.option("--kubevirt", metavar="FILE", help="Describe the guest by KubeVirt's YAML or JSON ('-': stdin).")
@click.option("--policy", "chosen", multiple=True, metavar="NAME", help="Only this policy, with all parts; repeatable.")
@click.option("--ledger", metavar="PATH", help="Let policy learned learn from this agent's ledger or state folder.")
@click.option("--why", is_flag=True, help="With --ledger: say which samples the figure of learned rests on.")
@click.option("--qemu", metavar="VERSION", help="With --ledger: QEMU's version, like 7.2 [default: the last it ran].")
@click.option("--config", metavar="FILE", help="Settings file: its fixed overheads come before any estimate.")
@json_option
@click.argument("argv", nargs=-1, type=click.UNPROCESSED, metavar="[-- QEMU ARGV]")
def size(
    ram: int | None,
    vcpus: int | None,
    max_vcpus: int | None,
    name: str | None,
    readconfig: str | None,
    libvirt: str | None,
    kubevirt: str | None,
    chosen: tuple[str, ...],
    ledger: str | None,
    why: bool,
    qemu: str | None,
    config: str | None,
    as_json: bool,
    argv: tuple[str, ...],
) -> None:
    """How much memory a guest needs beside its RAM, by policy and part.

    Describe the guest by --ram and --vcpus, by a -readconfig file, by libvirt's domain XML (virsh dumpxml), by
    KubeVirt's machine (kubectl get vm -o yaml), or by its QEMU command line after --.
    """
    names = tuple(dict.fromkeys(_at("--policy", check_policy, policy) for policy in chosen))
    guest = _overridden(described(argv, readconfig, libvirt, kubevirt), ram, vcpus, max_vcpus, name)
    if guest.ram_bytes is None and not argv and (readconfig, libvirt, kubevirt) == (None, None, None):
        raise UsageError(
            "no guest is described",
            hint="give --ram, --readconfig FILE, --libvirt FILE, --kubevirt FILE, or its QEMU command line after --",
        )
    estimates = (*_settings(guest, config), *(estimate(guest, policy) for policy in names or policies()))
    if ledger is None and (why or qemu is not None):
        raise UsageError("--why and --qemu are about a ledger's samples", hint="name the agent's with --ledger PATH")
    found = learned_from(guest, ledger, argv, qemu, DEFAULT_COVERAGE) if ledger is not None else None
    estimates = in_place(estimates, found)
    if as_json:
        learned = {"learned": learned_json(found)} if found is not None else {}
        emit_json({"guest": asdict(guest), "estimates": [asdict(one) for one in estimates]} | learned)
    else:
        emit_text(_headline(guest))
        _print_parts(estimates[0]) if len(estimates) == 1 else _print_side_by_side(estimates)
        _print_warnings(guest, estimates)
        if found is not None and why:
            print_why(found)


def described(argv: Sequence[str], readconfig: str | None, libvirt: str | None, kubevirt: str | None) -> Guest:
    """The guest as its description says; an empty one where there is none."""
    if argv and readconfig is not None:
        raise UsageError("both --readconfig and a QEMU command line are given", hint="put -readconfig into the latter")
    if kubevirt is not None and (argv or readconfig is not None or libvirt is not None):
        raise UsageError("--kubevirt and another description are given", hint="describe one guest in one way")
    if libvirt is not None and (argv or readconfig is not None):
        raise UsageError("--libvirt and another description are given", hint="describe one guest in one way")
    if not argv and (readconfig, libvirt, kubevirt) == (None, None, None):
        return Guest()
    from guestroom import describe  # its parsers are not needed for --ram

    if readconfig is not None:
        return _of_file(describe.from_readconfig, readconfig)
    if libvirt is not None:
        return _of_file(describe.from_libvirt, libvirt)
    if kubevirt is not None:
        return _of_file(describe.from_kubevirt, kubevirt)
    return describe.from_qemu_argv(list(argv), read_file=read_text)


def _of_file(parse: Callable[[str], Guest], path: str) -> Guest:
    """The guest of one file; the parser knows only lines, so an error's place becomes file:line here."""
    text, name = read_text(path), STDIN if path == "-" else path
    try:
        return parse(text)
    except DescribeError as error:
        error.where = f"{name}:{error.where.removeprefix('line ')}" if error.where else name
        raise


def _overridden(guest: Guest, ram: int | None, vcpus: int | None, max_vcpus: int | None, name: str | None) -> Guest:
    """``guest`` with what the options say instead."""
    if name is not None:
        guest = replace(guest, name=_at("--name", check_name, name))
    if ram is not None:
        traits = guest.kubevirt and replace(guest.kubevirt, memory_request_bytes=None)
        guest = replace(guest, ram_bytes=ram, boot_ram_bytes=ram, kubevirt=traits)
    if vcpus is not None:
        kept = guest.max_vcpus if guest.max_vcpus is None else max(guest.max_vcpus, vcpus)
        guest = replace(guest, vcpus=vcpus, max_vcpus=kept)
    if max_vcpus is not None:
        if guest.vcpus is not None and max_vcpus < guest.vcpus:
            raise UsageError(f"--max-vcpus {max_vcpus} is less than the guest's {guest.vcpus} vCPUs")
        guest = replace(guest, max_vcpus=max_vcpus)
    return guest


def _settings(guest: Guest, config: str | None) -> tuple[Estimate, ...]:
    """The fixed overhead of the settings file that applies to this guest, as an estimate named ``setting``."""
    if config is None:
        return ()
    from guestroom.agent.settings_file import load_settings  # validation by pydantic: only when asked for

    settings = load_settings(config)
    of_guest = settings.guest(guest.name).overhead_bytes if guest.name is not None else None
    wanted = need(guest, settings.policy, host_overhead_bytes=settings.overhead_bytes, guest_overhead_bytes=of_guest)
    return (wanted.estimate,) if wanted.is_set else ()


def _at(where: str, check: Callable[[str], _T], text: str) -> _T:
    """``check(text)``, with the place of the text in its error where the error has none."""
    try:
        return check(text)
    except GuestroomError as error:
        error.where = error.where or where
        raise


def _headline(guest: Guest) -> str:
    vcpus = "vCPUs not known" if guest.vcpus is None else f"{guest.vcpus} vCPU{'s' if guest.vcpus > 1 else ''}"
    grown = f" (up to {guest.max_vcpus})" if guest.max_vcpus is not None and guest.max_vcpus != guest.vcpus else ""
    ram = "RAM not known" if guest.ram_bytes is None else f"{format_bytes(guest.ram_bytes)} RAM"
    return one_line(f"{guest.name or 'guest'}: {ram}, {vcpus}{grown}")


def _print_side_by_side(estimates: Sequence[Estimate]) -> None:
    columns = (Column("policy"), Column("overhead", right=True), Column("limit", right=True), Column("main parts"))
    table(
        columns,
        [(one.policy, _mib(one.overhead_bytes), _mib(one.limit_bytes), _main_parts(one)) for one in estimates],
    )


def _mib(size_bytes: int) -> str:
    """A size in MiB whatever it is, so that figures below each other compare at a glance."""
    return f"{size_bytes / MIB:,.1f} MiB"


def _main_parts(one: Estimate) -> str:
    largest = sorted(one.parts, key=lambda part: -part.bytes)
    shown = ", ".join(f"{part.name} {_mib(part.bytes)}" for part in largest[:MAIN_PARTS])
    return shown + (", ..." if len(largest) > MAIN_PARTS else "")


def _print_parts(one: Estimate) -> None:
    rows = [(part.name, _mib(part.bytes), part.source) for part in one.parts]
    rows.append(("overhead", _mib(one.overhead_bytes), f"sum of the parts, by policy {one.policy}"))
    rows.append(("limit", _mib(one.limit_bytes), "guest RAM + overhead"))
    table((Column("part"), Column("size", right=True), Column("source")), rows)


def _print_warnings(guest: Guest, estimates: Sequence[Estimate]) -> None:
    """Each warning once, with the policies it holds for, and what of the description was not understood."""
    holders: dict[str, list[str]] = {}
    for one in estimates:
        for warning in one.warnings:
            holders.setdefault(warning, []).append(one.policy)
    for warning, names in holders.items():
        emit_text(one_line(f"warning: {', '.join(names)}: {warning}"))
    if guest.unknown:
        emit_text(one_line(f"note: not understood and not counted: {' '.join(guest.unknown)}"))
