"""The report's first page: the questions a study is made for, each answered in a sentence with its numbers.

A question that this study's guests can't answer is answered with "not measured".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from guestroom.lab.study.checks import Twice
from guestroom.lab.study.costs import BOUND_MIB, Cost, Matter, Tables
from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.document import Block, Bullets, Heading, Paragraph
from guestroom.lab.study.knobs import Gain
from guestroom.lab.study.rule import COPIED, L2_CACHE_MIB, QUEUE, Judged, Rule, mean_error, sureness, verdicts
from guestroom.lab.study.samples import Contrast
from guestroom.lab.study.stats import Estimate
from guestroom.lab.study.undefined import EVE_MIB, Share
from guestroom.lab.study.words import signed, times

HEAVY_MIB = 200.0
NOT_MEASURED = "not measured"
_CLUSTERS_KIB = (64, 128, 256, 512, 1024, 2048)
_LARGE_MIB = 1024.0 * 1024
"""An image so large that two requests hardly ever meet in one cluster."""
_DEEPEST = 4 * QUEUE


@dataclass(frozen=True, slots=True)
class Found:
    """Everything the answers are made of."""

    costs: Sequence[Cost]
    flights: Sequence[Cost]
    tables: Tables | None
    first_viewer: Contrast | None
    """One VNC client against none."""
    knobs: Sequence[Gain]
    negligible: Sequence[Matter]
    shares: Sequence[Share]
    rule: Rule | None
    judged: Sequence[Judged]
    heaviest: tuple[str, float] | None
    """The configuration with the largest mean peak, and that peak in MiB."""
    split: Sequence[Twice]
    """Guests charged jointly and split."""
    again: Sequence[Twice]
    """Guests measured in the study and again alone."""
    disturbed: bool
    """Whether guests ran side by side, so that their speeds are those of a busy machine."""


def summary(found: Found) -> Iterable[Block]:
    """The first page."""
    yield Heading(2, "In short")
    yield Paragraph("What one more costs, at the peak, in MiB of unreclaimable memory (95 % interval):")
    yield Bullets(tuple(_costs(found)))
    yield Paragraph(f"**The five knobs that matter most.** {_noise(found)}".strip())
    yield Bullets(tuple(_knob(one) for one in found.knobs) or (NOT_MEASURED,))
    yield Paragraph(
        f"**What does not matter**: shown by tests of equivalence at 5 % to cost less than {BOUND_MIB:g} MiB either "
        f"way."
    )
    yield Bullets(
        tuple(f"{one.label}: at most {one.farthest_mib:.1f} MiB" for one in found.negligible)
        or ("nothing that this study can show: it needs repetitions",)
    )
    yield Paragraph(f'**EVE\'s "undefined" {EVE_MIB:.0f} MiB.** {_undefined(found.shares)}{_heaviest(found)}')
    yield Paragraph(f"**When the overhead passes {HEAVY_MIB:.0f} MiB.** {_heavy(found.rule)}")
    yield Paragraph(f"**How far the rule can be trusted.** {_trust(found.judged)}")
    yield Paragraph(
        f"**Measured in two ways.** RAM charged apart or not: {_farthest(found.split)}. In the study or again alone: "
        f"{_farthest(found.again)}."
    )


def _farthest(found: Sequence[Twice]) -> str:
    """How far apart the two ways are at most, and whether that is more than chance."""
    if not found:
        return NOT_MEASURED
    most = max(found, key=lambda one: abs(one.apart.value))
    told = sum(one.apart.may_be_zero is False for one in found)
    return (
        f"at most {signed(most.apart)} apart (`{most.config}`, {most.first_mib:.0f} MiB), {told} of {len(found)} "
        f"guests told "
        "apart from chance"
    )


def _noise(found: Found) -> str:
    if found.disturbed:
        return "Some guests ran side by side: what is said of speed is as much the machine's doing as the knob's."
    return ""


def _costs(found: Found) -> Iterable[str]:
    known = {cost.unit: cost for cost in found.costs}
    for unit in ("vCPU", "disk", "network device", "GiB of RAM (anon)", "GiB of RAM (memfd)"):
        yield f"a {unit}: {signed(known[unit].found, digits=2) if unit in known else NOT_MEASURED}"
    yield f"a GiB of qcow2: {_of_qcow2(found.tables)}"
    yield f"a VNC client: {_viewers(found.first_viewer, known.get('VNC client'))}"
    if found.rule is not None and found.judged:
        copied = sureness(found.rule, found.judged)[COPIED]
        yield f"a MiB of clusters being copied on write: {signed(copied, digits=2)}"
    if not found.flights:
        yield f"a request in flight: {NOT_MEASURED}"
    for flight in sorted(found.flights, key=lambda one: (one.found.value, one.unit)):
        if flight.plain:
            yield f"a request in flight ({flight.unit}): {signed(flight.found, digits=3)}"


def _of_qcow2(tables: Tables | None) -> str:
    if tables is None:
        return NOT_MEASURED
    each = tables.slope
    scaled = Estimate(each.value / 8, None if each.half_width is None else each.half_width / 8, each.count)
    full_gib = L2_CACHE_MIB * 8
    return (
        f"{signed(scaled, digits=3)} where its clusters are of 64 KiB and all of it is read or written (its L2 tables: "
        f"{each.value:.2f} MiB for each MiB of them), and nothing beyond {full_gib:.0f} GiB: their cache is full at "
        f"{L2_CACHE_MIB:.0f} MiB unless `l2-cache-size` says otherwise"
    )


def _viewers(first: Contrast | None, more: Cost | None) -> str:
    if first is None and more is None:
        return NOT_MEASURED
    words = []
    if first is not None:
        words.append(f"the first {signed(first.overhead_mib)}")
    if more is not None:
        words.append(f"on average {signed(more.found)}")
    return ", ".join(words)


def _knob(one: Gain) -> str:
    speed = f"IOPS {times(one.iops)}, boot time {times(one.boot)}"
    saved = signed(Estimate(-one.saved_mib.value, one.saved_mib.half_width, one.saved_mib.count))
    return f"{one.label}: {saved} on `{one.before}`; {speed}"


def _undefined(shares: Sequence[Share]) -> str:
    total, used = 0.0, 0
    for used, one in enumerate(shares, 1):  # noqa: B007 - how many it took is the answer
        total += one.size_mib
        if total >= EVE_MIB:
            break
    if not shares:
        return f"{NOT_MEASURED}."
    named = ", ".join(f"{one.what} {one.size_mib:.0f}" for one in shares[:used])
    if total < EVE_MIB:
        return f"The parts measured here add up to {total:.0f} MiB only: {named}."
    return f"It is reached with {used} parts, each measured on a guest of its own and added up: {named} MiB."


def _heaviest(found: Found) -> str:
    if found.heaviest is None:
        return ""
    config, peak_mib = found.heaviest
    return f" The heaviest guest of the study is `{config}` with {peak_mib:.0f} MiB, TCG's buffer included."


def flying(cluster_kib: int, depth: int, *, compressed: bool = False) -> dict[str, Factor]:
    """Factors of a guest with so many random requests in flight on a large image."""
    return {
        "format": "qcow2",
        "cluster_kib": cluster_kib,
        "backing": not compressed,
        "compressed": compressed,
        "load": "randread" if compressed else "randwrite",
        "depth": depth,
        "queues": max(1, -(-depth // QUEUE)),
        "l2_cache_mib": 1,
        "image_mib": _LARGE_MIB,
    }


def first_above(rule: Rule, cluster_kib: int, *, at_most: bool, compressed: bool = False) -> int | None:
    """Fewest requests in flight with which the peak, or its bound, passes ``HEAVY_MIB``; None where none does."""
    for depth in range(1, _DEEPEST + 1):
        factors = flying(cluster_kib, depth, compressed=compressed)
        if (rule.at_most_mib(factors) if at_most else rule.expected_mib(factors)) > HEAVY_MIB:
            return depth
    return None


def _heavy(rule: Rule | None) -> str:
    if rule is None:
        return f"{NOT_MEASURED}: too few guests that differ in image, queue and load only."
    text = (
        f"By cluster size and requests in flight, copy-on-write from a backing file may pass it so: {_depths(rule)}. "
        f"Reads of a compressed image: {_depths(rule, compressed=True)}."
    )
    guest, each = rule.coefficients[0], rule.coefficients[-1]
    if each > 0:
        room = (HEAVY_MIB - guest) / each
        text += (
            f" L2 tables alone pass it with {room:.0f} MiB of them in their caches: {int(room // L2_CACHE_MIB) + 1} "
            f"images of 256 GiB at the default limit, or one with a larger `l2-cache-size`."
        )
    return text


def _depths(rule: Rule, *, compressed: bool = False) -> str:
    """For each cluster size the fewest requests that may pass it, and that are expected to."""
    told = []
    for kib in _CLUSTERS_KIB:
        may = first_above(rule, kib, at_most=True, compressed=compressed)
        likely = first_above(rule, kib, at_most=False, compressed=compressed)
        if may is not None:
            told.append(f"{kib} KiB: from {may}{'' if likely is None else f' (likely from {likely})'}")
    return ", ".join(told) or "never"


def _trust(judged: Sequence[Judged]) -> str:
    if not judged:
        return f"{NOT_MEASURED}."
    heavy = verdicts(judged, HEAVY_MIB)
    missed = [one for one in judged if one.point.peak_mib > one.at_most_mib]
    farthest = max((one.point.peak_mib - one.at_most_mib for one in missed), default=0.0)
    return (
        f"Of {len(judged)} configurations, each judged by a rule fitted on all the others, {len(missed)} passed the "
        f"bound (by {farthest:.1f} MiB at most); the expected peak was off by {mean_error(judged):.1f} MiB on average. "
        f"Against {HEAVY_MIB:.0f} MiB: {len(heavy.false_fits)} wrongly said to fit, {len(heavy.false_exceeds)} wrongly "
        f"said to exceed, {heavy.really_above} really above."
    )
