"""Runs a whole study: every configuration as often as asked for, in random order, some side by side.

Each run is in the journal as soon as it ended, with its figures or with why it has none; what is there already is not
run again, so that an interrupted study goes on. Guests in the middle of a run are ended with it. Where guests ran side
by side, a few are measured again with nothing beside them at the end: do both say the same?
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock

from guestroom.errors import GuestroomError
from guestroom.lab.study.alone import ALONE, apart, choose
from guestroom.lab.study.dataset import Run, append, latest, read
from guestroom.lab.study.matrix import Configuration
from guestroom.lab.study.measure import host_facts, measure

JOURNAL = "runs.jsonl"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One run that is to be made."""

    one: Configuration
    accounting: str
    number: int
    """Which repetition."""
    again: bool = False
    """Whether it repeats, alone, what was measured beside others."""

    @property
    def run_id(self) -> str:
        """Its name in the study."""
        return f"{self.one.name}/{self.accounting}/{ALONE if self.again else ''}{self.number}"


def wanted_runs(configurations: Sequence[Configuration], repetitions: int) -> list[Wanted]:
    """Every run of a study: a configuration as often as it says, ``repetitions`` at least."""
    return [
        Wanted(one, accounting, number)
        for one in configurations
        for accounting in one.accountings
        for number in range(1, max(one.repeat, repetitions) + 1)
    ]


def run_study(
    configurations: Sequence[Configuration],
    folder: Path,
    *,
    repetitions: int,
    jobs: int,
    seed: int,
    say: Callable[[str], None],
) -> tuple[Run, ...]:
    """Measure what the journal in ``folder`` lacks; all its runs. Raises ``GuestroomError``."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    wanted = wanted_runs(configurations, repetitions)
    random.Random(seed).shuffle(wanted)  # noqa: S311 - an order, not a secret
    study = _Study(journal, jobs, say)
    study.measure_all(wanted)
    if jobs > 1 and journal.exists():
        _again(study, configurations, journal, say)
    return read(journal) if journal.exists() else ()


def _again(study: _Study, configurations: Sequence[Configuration], journal: Path, say: Callable[[str], None]) -> None:
    """Measure a few of the side by side runs again, alone, and say how far apart the peaks are."""
    named = {one.name: one for one in configurations}
    chosen = choose(run for run in latest(read(journal)) if run.config in named)
    _Study(journal, 1, say, study.host).measure_all([Wanted(named[name], "joint", 1, again=True) for name in chosen])
    for line in apart(latest(read(journal))):
        say(line.text())


class _Study:
    """A study's journal, and who writes it."""

    def __init__(self, journal: Path, jobs: int, say: Callable[[str], None], host: dict[str, str] | None = None):
        self.journal, self.jobs, self.say = journal, jobs, say
        self.host = host_facts() if host is None else host
        self._slots, self._stop, self._writing = SimpleQueue[int](), Event(), Lock()
        for slot in range(jobs):
            self._slots.put(slot)

    def measure_all(self, wanted: Sequence[Wanted]) -> None:
        """Measure those the journal has no figures of, in this order."""
        known = read(self.journal) if self.journal.exists() else ()
        done = {run.run_id for run in known if run.error is None}
        todo = [(order, each) for order, each in enumerate(wanted) if each.run_id not in done]
        before, began_s = len(wanted) - len(todo), time.monotonic()
        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._one, order, each) for order, each in todo]
            try:
                for count, future in enumerate(as_completed(futures), 1):
                    run = future.result()
                    if run is not None:
                        left = time_left(time.monotonic() - began_s, count, len(todo))
                        self.say(f"{before + count}/{len(wanted)} {run.run_id}: {_said(run)}{left}")
            except KeyboardInterrupt:
                self._stop.set()
                self.say(f"stopping after the guests that run; the same command goes on ({self.journal})")
                raise

    def _one(self, order: int, wanted: Wanted) -> Run | None:
        if self._stop.is_set():
            return None
        slot = self._slots.get()
        try:
            run = _run(order, wanted, slot, self.host, alone=self.jobs == 1)
        finally:
            self._slots.put(slot)
        with self._writing:
            append(self.journal, run)  # here, so that guests which end after an interruption count as well
        return run


def time_left(took_s: float, done: int, total: int) -> str:
    """How long the rest takes at the pace so far; nothing where there is no rest."""
    left_s = took_s / done * (total - done)
    if total == done:
        return ""
    return f"; about {left_s / 60:.0f} min left" if left_s >= 90 else f"; about {left_s:.0f} s left"


def _run(order: int, wanted: Wanted, slot: int, host: dict[str, str], *, alone: bool) -> Run:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found, error = None, None
    try:
        found = measure(wanted.one.factors, f"{slot}", split=wanted.accounting == "split")
    except GuestroomError as problem:
        error = problem.line()
    return Run(
        run_id=wanted.run_id,
        config=wanted.one.name,
        family=wanted.one.family,
        repetition=wanted.number,
        order=order,
        slot=slot,
        alone=alone,
        started=started,
        host=host,
        accounting=wanted.accounting,
        argv=found.argv if found is not None else (),
        factors=wanted.one.factors,
        moments=found.moments if found is not None else {},
        figures=found.figures if found is not None else {},
        error=error,
    )


def _said(run: Run) -> str:
    if run.error is not None:
        return f"failed: {run.error}"
    least = min(moment.explained_share for moment in run.moments.values())
    return f"peak {run.figures['overhead_peak_bytes'] / 2**20:.1f} MiB, {least:.2%} explained"
