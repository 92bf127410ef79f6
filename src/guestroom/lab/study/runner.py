"""Runs a whole study: every configuration as often as asked for, in random order, some side by side.

Each run is in the journal as soon as it ended, with its figures or with why it has none; what is there already is not
run again, so that an interrupted study goes on. Guests in the middle of a run are ended with it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Lock

from guestroom.errors import GuestroomError
from guestroom.lab.study.dataset import Run, append, read
from guestroom.lab.study.matrix import Configuration
from guestroom.lab.study.measure import host_facts, measure

JOURNAL = "runs.jsonl"


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
    done = {run.run_id for run in read(journal) if run.error is None} if journal.exists() else set()
    wanted = [(one, number) for number in range(1, repetitions + 1) for one in configurations]
    random.Random(seed).shuffle(wanted)  # noqa: S311 - an order, not a secret
    todo = [(order, one, number) for order, (one, number) in enumerate(wanted) if run_id(one, number) not in done]
    host, slots, stop = host_facts(), SimpleQueue[int](), Event()
    writing = Lock()
    for slot in range(jobs):
        slots.put(slot)

    def one_run(order: int, one: Configuration, number: int) -> Run | None:
        if stop.is_set():
            return None
        slot = slots.get()
        try:
            run = _run(order, one, number, slot, host, alone=jobs == 1)
        finally:
            slots.put(slot)
        with writing:
            append(journal, run)  # here, so that guests which end after an interruption count as well
        return run

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(one_run, *each) for each in todo]
        try:
            for count, future in enumerate(as_completed(futures), len(wanted) - len(todo) + 1):
                run = future.result()
                if run is not None:
                    say(f"{count}/{len(wanted)} {run.run_id}: {_said(run)}")
        except KeyboardInterrupt:
            stop.set()
            say(f"stopping after the guests that run; what is measured is kept: the same command goes on ({journal})")
            raise
    return read(journal) if journal.exists() else ()


def run_id(one: Configuration, number: int) -> str:
    """Name of one run in its study."""
    return f"{one.name}/joint/{number}"


def _run(order: int, one: Configuration, number: int, slot: int, host: dict[str, str], *, alone: bool) -> Run:
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found, error = None, None
    try:
        found = measure(one.factors, f"{slot}")
    except GuestroomError as problem:
        error = problem.line()
    return Run(
        run_id=run_id(one, number),
        config=one.name,
        family=one.family,
        repetition=number,
        order=order,
        slot=slot,
        alone=alone,
        started=started,
        host=host,
        accounting="joint",
        argv=found.argv if found is not None else (),
        factors=one.factors,
        moments=found.moments if found is not None else {},
        figures=found.figures if found is not None else {},
        error=error,
    )


def _said(run: Run) -> str:
    if run.error is not None:
        return f"failed: {run.error}"
    least = min(moment.explained_share for moment in run.moments.values())
    return f"peak {run.figures['overhead_peak_bytes'] / 2**20:.1f} MiB, {least:.2%} explained"
