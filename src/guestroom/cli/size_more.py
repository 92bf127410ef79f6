"""What ``guestroom size`` tells beside its figures: parts by kind, words, bars, what fits, what would be smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guestroom.cli import size_show
from guestroom.cli.learned import as_json as learned_json
from guestroom.cli.learned import print_why
from guestroom.cli.output import Column, emit_text, is_drawn, stdout, table
from guestroom.config import Settings
from guestroom.errors import HostError
from guestroom.guest import Guest
from guestroom.size import Estimate, Learned
from guestroom.size.kinds import by_kind, words_of

if TYPE_CHECKING:
    from guestroom.cli.size_fit import Fit
    from guestroom.cli.size_smaller import Knob


@dataclass(frozen=True, slots=True)
class More:
    """What was asked for beside the figures."""

    learned: Learned | None
    """What a ledger taught, where one was named."""
    fit: Fit | None
    smaller: tuple[Knob, ...] | None
    parts: bool
    why: bool
    plot: bool


def document(guest: Guest, estimates: Sequence[Estimate], more: More) -> dict[str, object]:
    """The JSON of ``guestroom size``: a key for each thing that was asked for."""
    from guestroom.cli import size_fit, size_smaller

    found: dict[str, object] = {"guest": asdict(guest), "estimates": [asdict(one) for one in estimates]}
    if more.learned is not None:
        found["learned"] = learned_json(more.learned)
    if more.parts or more.plot:
        found["kinds"] = {one.policy: by_kind(one) for one in estimates}
    if more.why:
        found["why"] = {part.name: words_of(part.name) for one in estimates for part in one.parts}
    if more.smaller is not None:
        found["smaller"] = [size_smaller.as_dict(knob) for knob in more.smaller]
    if more.fit is not None:
        found["fit"] = size_fit.as_dict(more.fit)
    return found


def show(guest: Guest, estimates: Sequence[Estimate], more: More) -> None:
    """The same for people: figures first, then what was asked for beside them."""
    emit_text(size_show.headline(guest))
    fits = dict(more.fit.guests) if more.fit is not None else None
    if more.fit is not None:
        from guestroom.cli.size_fit import headline

        emit_text(headline(more.fit))
    if more.parts:
        size_show.parts_by_kind(estimates)
    elif more.plot:
        from guestroom.cli.size_picture import bars

        emit_text("\n".join(bars(estimates, encoding=stdout().encoding or "ascii", coloured=is_drawn())))
    elif len(estimates) == 1 and not more.why:
        size_show.all_parts(estimates[0])
    if fits is not None or (not more.parts and not more.plot and len(estimates) > 1):
        size_show.side_by_side(estimates, fits)
    if more.why:
        size_show.in_words(estimates)
    if more.smaller is not None:
        _print_smaller(more.smaller)
    size_show.warnings(guest, estimates)
    if more.learned is not None and more.why:
        print_why(more.learned)


def _print_smaller(found: Sequence[Knob]) -> None:
    """Changes with their gain by measurement, of the burst, and by each formula."""
    emit_text("\nwhat would make it smaller:" if found else "\nnothing is known that would make it smaller")
    rows = []
    for knob in found:
        formulas = ", ".join(f"{name} {size_show.mib(gain)}" for name, gain in knob.gains if name != "measured")
        measured = dict(knob.gains).get("measured") or knob.known_bytes
        rows.append((knob.what, _gain(measured), _gain(knob.burst_bytes), knob.known, formulas, knob.cost))
    if rows:
        titles = ("seen", "by formula", "costs")
        columns = [Column("change"), Column("saves", right=True), Column("burst", right=True)]
        table([*columns, *(Column(title) for title in titles)], rows)


def _gain(size_bytes: int | None) -> str | None:
    return size_show.mib(size_bytes) if size_bytes else None


def fitted(guest: Guest, estimates: Sequence[Estimate], host_memory: int | None, settings: Settings | None) -> Fit:
    """What fits on a host of ``host_memory`` bytes, or on this machine. Raises ``InputError``, ``HostError``."""
    from guestroom.cli.size_fit import Host, fit

    if host_memory is None:
        from guestroom.kernelfs import KernelFiles
        from guestroom.observe.procfs import hugetlb_pool_bytes, read_meminfo

        files = KernelFiles()
        host = Host(read_meminfo(files).total_bytes, hugetlb_pool_bytes(files))
    else:
        host = Host(host_memory)
    return fit(guest, estimates, host, settings or Settings())


def made_smaller(guest: Guest, estimates: Sequence[Estimate], coverage: float) -> tuple[Knob, ...]:
    """Changes to the guest that make it smaller, the best first."""
    from guestroom.cli.size_smaller import smaller

    return smaller(guest, estimates, coverage=coverage)


def write_picture(path: Path, guest: Guest, estimates: Sequence[Estimate]) -> None:
    """The bars as SVG. Raises ``HostError`` where the file can't be written."""
    from guestroom.cli.size_picture import stacked_policies

    try:
        path.write_text(stacked_policies(estimates, size_show.headline(guest)))
    except OSError as error:
        raise HostError(
            f"the picture could not be written: {error.strerror}", where=error.filename, hint="name another file"
        ) from error
