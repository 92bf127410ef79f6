"""``guestroom replay``: recorded or made-up hosts through the agent's own rules, by several policies and settings."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TypeVar

import click

from guestroom.agent.settings_file import load_settings
from guestroom.agent.settings_model import read_reserve
from guestroom.cli.inputs import SIZE, read_text
from guestroom.cli.output import Column, emit_json, emit_text, json_option, note, one_line, size_cell, table
from guestroom.config import Reserve, Settings, Sharing
from guestroom.errors import GuestroomError, InputError, UsageError
from guestroom.facts import HostFacts
from guestroom.lab.cases import RECORDED, Case, Result, play, reserve_text
from guestroom.lab.madeup import KINDS, made_up
from guestroom.lab.recorded import history
from guestroom.lab.traces import Trace, read_trace
from guestroom.lab.verify import verify as verify_all
from guestroom.record.reader import read_ledger
from guestroom.size import check_policy
from guestroom.units import GIB, format_bytes

_T = TypeVar("_T")

STEP_S = 1.0
"""As often as the agent's own sweep looks."""
PROGRESS_S = 2.0
MADE_UP_HOST_BYTES = 8 * GIB


@dataclass(frozen=True, slots=True)
class _Source:
    """What is replayed, and what it says of host and settings."""

    title: str
    trace: Trace
    host: HostFacts | None = None
    settings: Settings | None = None
    needs: bool = True
    """Whether its guests come with a need."""
    left_out: tuple[str, ...] = ()


@click.command()
@click.option("--ledger", metavar="PATH", help="Replay an agent's ledger (ledger.db, or its state folder); only read.")
@click.option("--trace", "trace_file", metavar="FILE", help="Replay a trace file ('-': stdin).")
@click.option("--synthetic", "kind", type=click.Choice(KINDS), help="Replay a made-up host of this kind.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the made-up host.")
@click.option("--guests", type=click.IntRange(1, 10_000), default=32, show_default=True, help="How many come to it.")
@click.option("--hours", type=click.FloatRange(0.01, 10_000), default=1.0, show_default=True, help="How long it lasts.")
@click.option("--host-memory", type=SIZE, help="Memory of the host [default: as recorded; made up: 8GiB].")
@click.option("--policy", "policies", multiple=True, metavar="NAME", help="Size the guests by this policy; repeatable.")
@click.option("--config", metavar="FILE", help="Settings file [default: as recorded, else the defaults].")
@click.option("--reserve", "reserves", multiple=True, metavar="RESERVE", help="25%, a size, or rest; repeatable.")
@click.option("--headroom", "headrooms", multiple=True, metavar="SIZE|auto", help="The shared part; repeatable.")
@click.option(
    "--sharing", "sharings", multiple=True, type=click.Choice([one.value for one in Sharing]), help="Repeatable."
)
@click.option("--verify", is_flag=True, help="Make each recorded decision again from its facts; compare the steps.")
@json_option
def replay(
    ledger: str | None,
    trace_file: str | None,
    kind: str | None,
    seed: int,
    guests: int,
    hours: float,
    host_memory: int | None,
    policies: tuple[str, ...],
    config: str | None,
    reserves: tuple[str, ...],
    headrooms: tuple[str, ...],
    sharings: tuple[str, ...],
    verify: bool,
    as_json: bool,
) -> int:
    """Play a recorded or made-up host under policies and settings: who is admitted, and what it costs.

    Every decision is made by the code that the agent runs. Each combination of --policy, --reserve, --headroom and
    --sharing is one row. The oracle knows each guest's peak before it starts. Exit code 1 when --verify finds a
    difference.
    """
    if verify:
        return _verified(ledger, as_json)
    if [ledger, trace_file, kind].count(None) != 2:
        raise UsageError("name one thing to replay", hint="give --ledger PATH, --trace FILE or --synthetic KIND")
    source = _source(ledger, trace_file, kind, seed, guests, hours)
    host = _host(source, host_memory)
    base = load_settings(config) if config is not None else source.settings or Settings()
    cases = _cases(source, base, policies, reserves, headrooms, sharings)
    results = _played(cases, source.trace, host)
    if as_json:
        emit_json(
            {"source": source.title, "left_out": list(source.left_out), "results": [one.row() for one in results]}
        )
        return 0
    for line in source.left_out:
        emit_text(one_line(f"left out: {line}"))
    emit_text(one_line(f"{source.title}, {source.trace.length_s:,.0f} s, on {format_bytes(host.total_bytes)}"))
    _print(results)
    return 0


def _verified(ledger: str | None, as_json: bool) -> int:
    """Make a ledger's decisions again; 1 where one comes out otherwise."""
    if ledger is None:
        raise UsageError("--verify needs a ledger", hint="give --ledger PATH")
    found = verify_all(read_ledger(ledger).decisions, _Progress("decisions"))
    code = 1 if found.differences else 0
    if as_json:
        emit_json({"checked": found.checked} | asdict(found))
        return code
    by_rule = ", ".join(f"{rule} {count}" for rule, count in found.same.items())
    same = f"{sum(found.same.values())} the same" + f" ({by_rule})" * bool(by_rule)
    emit_text(f"{found.checked} decisions made again, {same}")
    if found.incomplete:
        emit_text(f"not made again: {found.incomplete} of another guestroom, with less of what they were made from")
    if found.no_rule:
        emit_text(f"not made again: {found.no_rule} that no rule of room made (thaws, adopted guests, others' limits)")
    for one in found.differences:
        emit_text(one_line(f"decision {one.decision} ({one.rule}: {one.reason}) differs in step {one.step}"))
        emit_text(one_line(f"  recorded: {one.recorded or 'no such step'}"))
        emit_text(one_line(f"  again:    {one.again or 'no such step'}"))
    return code


def _source(
    ledger: str | None, trace_file: str | None, kind: str | None, seed: int, guests: int, hours: float
) -> _Source:
    if ledger is not None:
        found = history(read_ledger(ledger))
        title = f"{len(found.trace.shapes)} recorded guests"
        return _Source(title, found.trace, found.host, found.settings, left_out=found.left_out)
    if trace_file is not None:
        trace = read_trace(read_text(trace_file), "stdin" if trace_file == "-" else trace_file)
        if not any(trace.samples.values()):
            raise InputError("this trace has no samples", where=trace_file)
        return _Source(f"{len(trace.shapes)} guests of {trace_file}", trace)
    assert kind is not None
    made = made_up(kind, seed=seed, guests=guests, length_s=hours * 3600)
    return _Source(f"{guests} made-up guests ({kind}, seed {seed})", made, _plain_host(MADE_UP_HOST_BYTES), needs=False)


def _host(source: _Source, host_memory: int | None) -> HostFacts:
    if host_memory is not None:
        return replace(source.host or _plain_host(host_memory), total_bytes=host_memory)
    if source.host is None:
        raise UsageError("the memory of the host is not known", hint="give --host-memory SIZE")
    return source.host


def _plain_host(total_bytes: int) -> HostFacts:
    return HostFacts(total_bytes=total_bytes, available_bytes=None, hugetlb_bytes=0, swap_total_bytes=None)


def _cases(
    source: _Source,
    base: Settings,
    policies: Sequence[str],
    reserves: Sequence[str],
    headrooms: Sequence[str],
    sharings: Sequence[str],
) -> list[Case]:
    """Every combination, in the order given; what is not given is as the settings have it."""
    named = list(dict.fromkeys(policies)) or [RECORDED if source.needs else base.policy]
    for name in named:
        if name == RECORDED and not source.needs:
            raise UsageError("made-up guests have no recorded need", where="--policy", hint="name a sizing policy")
        if name != RECORDED:
            _at("--policy", partial(check_policy, name))
    rooms = [_reserve(text) for text in reserves] or [base.reserve]
    heads = [_headroom(text) for text in headrooms] or [base.headroom_bytes]
    ways = [Sharing(text) for text in sharings] or [base.sharing]
    return [
        Case(name, replace(base, sharing=way, reserve=room, headroom_bytes=head))
        for name, way, room, head in itertools.product(named, ways, rooms, heads)
    ]


def _reserve(text: str) -> Reserve:
    try:
        return read_reserve(text)
    except ValueError as error:
        raise UsageError(f"--reserve {text!r}: {error}", hint="give a percentage, a size or rest") from error


def _headroom(text: str) -> int | None:
    return None if text == "auto" else _at("--headroom", lambda: SIZE.convert(text, None, None))


def _at(where: str, check: Callable[[], _T]) -> _T:
    try:
        return check()
    except GuestroomError as error:
        error.where = error.where or where
        raise


def _played(cases: Sequence[Case], trace: Trace, host: HostFacts) -> list[Result]:
    """All cases, one after the other; whoever waits at a terminal is told how far it is."""
    progress = _Progress("replay")
    results = []
    for number, case in enumerate(cases, 1):
        progress.what = f"replay {number} of {len(cases)}"
        results.append(play(case, trace, host, step_s=STEP_S, progress=progress))
    return results


class _Progress:
    """How far it is, every other second, on stderr."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._told_s = time.monotonic()

    def __call__(self, done: float) -> None:
        if time.monotonic() - self._told_s >= PROGRESS_S and _is_watched():
            self._told_s = time.monotonic()
            note(f"{self.what}: {done:.0%}")


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _print(results: Sequence[Result]) -> None:
    """One row a case; settings are columns only where they differ, else one line above says them all."""
    first = results[0].case.settings
    settings = [one.case.settings for one in results]
    varying = {
        "sharing": [one.sharing.value for one in settings],
        "reserve": [reserve_text(one.reserve) for one in settings],
        "headroom": ["auto" if one.headroom_bytes is None else format_bytes(one.headroom_bytes) for one in settings],
    }
    same = [f"{name} {texts[0]}" for name, texts in varying.items() if len(set(texts)) == 1]
    differing = {name: texts for name, texts in varying.items() if len(set(texts)) > 1}
    if same:
        emit_text(", ".join(same) + f"; {first.on_short.value} when short")
    columns = (
        Column("policy"),
        *(Column(name) for name in differing),
        Column("admitted", right=True),
        Column("oracle", right=True),
        Column("ratio", right=True),
        Column("squeezed", right=True),
        Column("idle", right=True),
        Column("grown", right=True),
        Column("given back", right=True),
        Column("writes", right=True),
        Column("held", right=True),
        Column("walls", right=True),
    )
    rows = []
    for place, one in enumerate(results):
        totals = one.totals
        ratio = "-" if one.oracle_ratio is None else f"{one.oracle_ratio:.2f}"
        rows.append(
            (
                one.case.policy,
                *(texts[place] for texts in differing.values()),
                f"{totals.admitted} of {one.offered}",
                one.oracle,
                ratio,
                totals.squeezed,
                size_cell(totals.idle_mean_bytes),
                totals.raises,
                totals.given_back,
                totals.changes,
                f"{totals.held} ({totals.held_s:,.0f} s)" if totals.held else 0,
                totals.walls_hit,
            )
        )
    table(columns, rows)
