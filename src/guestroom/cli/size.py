"""``guestroom size``: how much memory a guest needs beside its RAM, by policy and part. Needs no host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click

from guestroom.cli import size_more
from guestroom.cli.inputs import SIZE, STDIN, read_text
from guestroom.cli.learned import in_place, learned_from
from guestroom.cli.output import emit_json, json_option
from guestroom.config import Settings
from guestroom.errors import DescribeError, GuestroomError, UsageError
from guestroom.guest import Guest, check_name
from guestroom.size import Estimate, check_policy, estimate, need, policies
from guestroom.size.registry import DEFAULT_COVERAGE

_T = TypeVar("_T")

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
@click.option(
    "--coverage",
    type=click.FloatRange(0.5, 0.999),
    default=DEFAULT_COVERAGE,
    show_default=True,
    help="Share of guests it is to be enough for, by policies that can promise one.",
)
@click.option("--ledger", metavar="PATH", help="Let policy learned learn from this agent's ledger or state folder.")
@click.option("--qemu", metavar="VERSION", help="With --ledger: QEMU's version, like 7.2 [default: the last it ran].")
@click.option("--config", metavar="FILE", help="Settings file: its fixed overheads come before any estimate.")
@click.option("--parts", is_flag=True, help="What kinds of parts each policy counts, side by side.")
@click.option("--why", is_flag=True, help="Say in words why each part is needed; with --ledger also by which samples.")
@click.option("--smaller", is_flag=True, help="What would make this guest's overhead smaller, and by how much.")
@click.option("--fit", is_flag=True, help="How many such guests fit on this host under each policy.")
@click.option("--host-memory", type=SIZE, help="The same for a host of that size, e.g. 64GiB.")
@click.option("--plot", is_flag=True, help="Draw the policies as bars.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write the bars as a picture there.")
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
    coverage: float,
    ledger: str | None,
    qemu: str | None,
    config: str | None,
    parts: bool,
    why: bool,
    smaller: bool,
    fit: bool,
    host_memory: int | None,
    plot: bool,
    svg: Path | None,
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
    settings = _load(config)
    fixed = _fixed(guest, settings)
    if ledger is None and qemu is not None:
        raise UsageError("--qemu is about a ledger's samples", hint="name the agent's with --ledger PATH")
    learned = learned_from(guest, ledger, argv, qemu, coverage) if ledger is not None else None
    found = (estimate(guest, policy, coverage=coverage) for policy in names or policies())
    estimates = in_place((*fixed, *found), learned)
    more = size_more.More(
        learned=learned,
        fit=size_more.fitted(guest, estimates, host_memory, settings) if fit or host_memory is not None else None,
        smaller=size_more.made_smaller(guest, estimates, coverage) if smaller else None,
        parts=parts,
        why=why,
        plot=plot,
    )
    if svg is not None:
        size_more.write_picture(svg, guest, estimates)
    if as_json:
        emit_json(size_more.document(guest, estimates, more))
    else:
        size_more.show(guest, estimates, more)


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


def _load(config: str | None) -> Settings | None:
    if config is None:
        return None
    from guestroom.agent.settings_file import load_settings  # validation by pydantic: only when asked for

    return load_settings(config)


def _fixed(guest: Guest, settings: Settings | None) -> tuple[Estimate, ...]:
    """The fixed overhead of the settings file that applies to this guest, as an estimate named ``setting``."""
    if settings is None:
        return ()
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
