"""A fitted model, and what a guest costs by it: parts by term, a margin for a promised coverage, what was stretched.

The model itself is data (``measured_model``), written by ``guestroom study fit``; other data of this shape works the
same, which is how held-out evaluation runs it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from guestroom.errors import InputError
from guestroom.guest import Guest
from guestroom.size import promise
from guestroom.size.measured_terms import BY_NAME, Load, Term, amounts
from guestroom.size.model import Part
from guestroom.size.promise import Promise
from guestroom.units import MIB, format_bytes

IN_FLIGHT = "clusters in flight"
"""The term whose size depends on the host's speed: what is over it is a share of it, not a size."""
HEAVY_BYTES = 4 * MIB
"""Clusters in flight from which on a guest is of the group ``in flight``."""
PLAIN, HEAVY, WORKED_ON = "plain", "in flight", "worked on"
"""Groups whose misses are alike; the last: guests that the host copies, moves, snapshots, or plugs disks into."""
WIDENED = 0.25
"""Least share by which a slope is raised beyond the largest amount that was measured."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one unit of a term costs, as fitted."""

    bytes_per_unit: tuple[float, ...]
    """One slope for each stretch between the term's knots."""
    highest: tuple[float, ...]
    """The highest slopes of the fits that each left out a part of the configurations."""
    most: float
    """Largest amount measured; 0 where no run has any."""
    configurations: int
    """Configurations that have some of it."""


@dataclass(frozen=True, slots=True)
class Margin:
    """What is added so that a share of guests stays within."""

    coverage: float
    size: float
    """Bytes; in group ``in flight`` a share of what is in flight, over the bytes of ``plain``."""
    within: int
    """Samples that stay within it; as many as there are where it is continued from their tail, unsupported by any."""


@dataclass(frozen=True, slots=True)
class Group:
    """Guests whose figures miss by alike amounts."""

    samples: int
    """Configurations that were predicted by a fit that had not seen them."""
    margins: tuple[Margin, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A fit, with where it comes from."""

    study: str
    """Day of its last run."""
    host: str
    """Kernel, memory and CPUs it was measured on."""
    qemu: str
    accelerator: str
    configurations: int
    runs: int
    touched_bytes: float
    """TCG code buffer that the study's guest touched where it was large enough."""
    terms: Mapping[str, Cost]
    groups: Mapping[str, Group]


@dataclass(frozen=True, slots=True)
class Predicted:
    """Parts before the margin, and what had to be stretched."""

    parts: tuple[Part, ...]
    beyond: tuple[str, ...]
    """Terms whose amount is larger than any measured one, with both."""
    stated: tuple[str, ...]
    """Terms that are not measured but stated by somebody else."""
    group: str

    @property
    def bytes(self) -> int:
        """Sum of the parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def in_flight_bytes(self) -> int:
        """Of it what clusters in flight take."""
        return sum(part.bytes for part in self.parts if part.name == IN_FLIGHT)


def predict(model: Model, guest: Guest, ram_bytes: int, load: Load) -> Predicted:
    """The parts of a guest's peak overhead under a load, in the middle of what was measured."""
    found = amounts(guest, ram_bytes, load, model.touched_bytes)
    parts, beyond, stated = [], [], []
    for name, amount in found.items():
        term, cost = BY_NAME[name], model.terms.get(name)
        if cost is None or cost.most == 0:
            if term.stated_bytes is not None:
                stated.append(name)
                parts.append(Part(name, math.ceil(amount * term.stated_bytes), term.stated_source))
            continue
        if amount > cost.most:
            beyond.append(f"{name} ({_amount(term, amount)}; at most {_amount(term, cost.most)} measured)")
        parts.append(Part(name, math.ceil(cost_bytes(term, cost, amount)), _source(model, term, cost, amount)))
    group = HEAVY if found.get(IN_FLIGHT, 0.0) > HEAVY_BYTES else PLAIN
    return Predicted(tuple(parts), tuple(beyond), tuple(stated), WORKED_ON if load.is_worked_on else group)


def cost_bytes(term: Term, cost: Cost, amount: float) -> float:
    """What an amount costs: each stretch at its slope, and beyond the largest measured amount at a raised one."""
    total, past = 0.0, max(0.0, amount - cost.most)
    for slope, length in zip(cost.bytes_per_unit, stretches(term, amount), strict=True):
        total += slope * length
    raised = max(high - slope for high, slope in zip(cost.highest, cost.bytes_per_unit, strict=True))
    return total + past * max(raised, WIDENED * max(cost.bytes_per_unit))


def stretches(term: Term, amount: float) -> tuple[float, ...]:
    """How much of an amount lies in each stretch between the term's knots."""
    ends = (*term.knots, math.inf)
    return tuple(max(0.0, min(amount, end) - start) for start, end in zip((0.0, *term.knots), ends, strict=True))


def margin(model: Model, seen: Predicted, coverage: float) -> tuple[Part, Promise]:
    """What is added for ``coverage``, and what that promise rests on. Raises ``InputError`` for one nobody fitted."""
    plain = _margin(model.groups[PLAIN], coverage)
    group = model.groups[seen.group]
    chosen = _margin(group, coverage)
    size = plain.size + chosen.size * seen.in_flight_bytes if seen.group == HEAVY else chosen.size
    made = promise.made(coverage, group.samples, group.samples, chosen.within, f"unseen {seen.group} configurations")
    stretched = "" if made.is_kept else f", not supported by samples ({made.needed} needed)"
    source = f"for {chosen.coverage:g} of guests: n={group.samples} unseen {seen.group} configurations{stretched}"
    return Part("margin", math.ceil(size), f"{source}; study of {model.study}"), made


def _margin(group: Group, coverage: float) -> Margin:
    """The margin for ``coverage``, or for the next higher one that was fitted."""
    for one in group.margins:
        if coverage <= one.coverage + 1e-12:
            return one
    most = group.margins[-1].coverage
    raise InputError(
        f"nothing can be promised for {coverage:.4%} of guests",
        numbers={"coverage": coverage, "most": most},
        hint=f"ask for at most {most}",
    )


def _source(model: Model, term: Term, cost: Cost, amount: float) -> str:
    each = sum(s * x for s, x in zip(cost.bytes_per_unit, stretches(term, amount), strict=True)) / amount
    how = f"{_amount(term, amount)} x {_each(term, each)} ({term.unit})"
    return f"{how}; study of {model.study}, n={cost.configurations}, QEMU {model.qemu}, {model.accelerator.upper()}"


def _amount(term: Term, amount: float) -> str:
    if term.unit.startswith("byte"):
        return format_bytes(int(amount))
    return f"{amount:g}"


def _each(term: Term, each: float) -> str:
    return f"{each:.3g}" if term.unit.startswith("byte") else format_bytes(round(each))


def told(model: Model, guest: Guest, seen: Predicted) -> Iterator[str]:
    """What was stretched or taken from elsewhere, a sentence each."""
    if seen.beyond:
        yield f"outside what the study of {model.study} covers, and widened: {', '.join(seen.beyond)}"
    if seen.stated:
        yield f"not measured by the study of {model.study}, but taken from stated sources: {', '.join(seen.stated)}"
    if guest.arch not in (None, "x86_64", "i386"):
        yield f"the study of {model.study} is of x86_64, this guest is {guest.arch}"
    if guest.accelerator in (None, "tcg") and guest.tb_bytes is None:
        whose = (
            "no accelerator is described: TCG assumed, as QEMU does, with" if guest.accelerator is None else "TCG with"
        )
        yield (
            f"{whose} {format_bytes(int(model.touched_bytes))} of its code buffer, as the study's guest touched; one"
            " that runs more code takes up to tb-size, by itself min(1 GiB, host memory / 8)"
        )
    elif guest.accelerator is None:
        yield "no accelerator is described: TCG assumed, as QEMU does"
