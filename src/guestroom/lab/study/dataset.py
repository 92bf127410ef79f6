"""What a study measured: one run a line while it goes on, one tidy table when it is done.

A run is appended to the journal (JSON Lines) as soon as it ends, so that a study can be interrupted at any moment and
goes on where it was; a last line cut off by a crash is dropped. The table (CSV, gzipped) has one row for each figure of
each run, with everything about the run beside it, for whatever tool its reader likes.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from guestroom.errors import InputError

Factor = str | int | float | bool | None
"""One property of a configuration; None where it has none."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the bytes were at one moment of a run."""

    at_s: float
    """Seconds after the process was started."""
    charged_bytes: int
    overhead_bytes: int
    explained_share: float
    """Explained bytes of the charged ones, 0 to 1."""
    parts: Mapping[str, tuple[str, int]]
    """Kind (``ram``, ``overhead``, ``reclaimable``, ``unknown``) and bytes of each part."""
    by_pages_share: float | None = None
    """Bytes counted page by page over the parts such a count can see; None where it was not counted."""


@dataclass(frozen=True, slots=True)
class Run:
    """One guest, started, loaded, measured and ended."""

    run_id: str
    """``CONFIG/ACCOUNTING/REPETITION``: unique in a study. ``alone1`` is one that was measured again, alone."""
    config: str
    """Name of the configuration: all runs of one differ by chance only (and by accounting)."""
    family: str
    """What the configuration varies against the base: ``vcpus``, ``disks``, ``copy-on-write``, ``knob``, ..."""
    repetition: int
    order: int
    """Place in the randomised order."""
    slot: int
    """Which of the runs side by side it was; 0 when alone."""
    alone: bool
    """True where nothing else of the study ran beside it."""
    started: str
    """UTC, ISO 8601."""
    host: Mapping[str, str]
    """``kernel``, ``qemu``, ``accelerator``, ``cgroup`` (``v1``/``v2``), ``cpus``, ``memory_mib``, ``glibc``."""
    accounting: str
    """``joint`` (one cgroup) or ``split`` (RAM charged apart)."""
    argv: tuple[str, ...]
    """QEMU's command line, files by their bare names."""
    factors: Mapping[str, Factor]
    """Properties of guest and load; the names are those of a matrix (``matrix.DEFAULTS``)."""
    moments: Mapping[str, Moment] = field(default_factory=dict)
    """``idle`` (booted, before the load), ``steady`` (in the middle of it), ``peak`` (largest overhead of a full look),
    ``after`` (load ended)."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Measured figures: ``overhead_peak_bytes`` (best knowledge of the true peak: the kernel's own where no cache blurs
    it), ``sampled_peak_bytes`` (the largest that was read), ``overhead_steady_bytes`` (median), ``kernel_peak_bytes``
    (all charges, page cache too), ``vmm_peak_bytes`` (of what is charged beside RAM, with split accounting),
    ``boot_s``, ``iops``, ``received_bytes_s``, ``sent_bytes_s``, ``act_s`` (what the host did), ``sample_hz``,
    ``samples``."""
    error: str | None = None
    """Why it gave no figures; None where it did."""


def append(journal: Path, run: Run) -> None:
    """Add a run to the journal, on disk when this returns."""
    mend(journal)
    with journal.open("ab", buffering=0) as file:
        file.write(_line(run).encode())
        os.fsync(file.fileno())


def _line(run: Run) -> str:
    return json.dumps(asdict(run), separators=(",", ":"), sort_keys=True) + "\n"


def mend(journal: Path) -> None:
    """Cut off a last line that a crash left without its end."""
    if not journal.exists():
        return
    with journal.open("r+b") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


def read(journal: Path) -> tuple[Run, ...]:
    """All runs of a journal, plain or gzipped, in the order they ended.

    Raises ``InputError`` with file and line for what is no run; a cut last line is left out.
    """
    try:
        raw = journal.read_bytes()
    except OSError as error:
        raise InputError(f"can't read the study's runs: {error.strerror}", where=str(journal)) from error
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise InputError(f"the file is damaged: {error}", where=str(journal)) from error
    lines = raw.decode(errors="replace").split("\n")
    return tuple(_parse(line, f"{journal}:{number}") for number, line in enumerate(lines[:-1], 1) if line)


def _parse(line: str, where: str) -> Run:
    try:
        values = json.loads(line)
        moments = {
            name: Moment(**{**moment, "parts": {part: (kind, size) for part, (kind, size) in moment["parts"].items()}})
            for name, moment in values.pop("moments").items()
        }
        return Run(**{**values, "argv": tuple(values["argv"]), "moments": moments})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"this line is no run of a study: {error}", where=where) from error


def write_gzip(path: Path, runs: Iterable[Run]) -> None:
    """The runs as a gzipped journal: the same bytes for the same runs."""
    text = "".join(_line(run) for run in runs)
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


_RUN_COLUMNS = ("run_id", "config", "family", "repetition", "order", "slot", "alone", "started", "accounting")
_FIGURE_COLUMNS = ("moment", "name", "kind", "value")


def write_table(path: Path, runs: Iterable[Run]) -> None:
    """The tidy table: one row for each figure and each part of each moment of each run, gzipped CSV.

    A row has the run's columns, its host (``host.*``), its factors, its command line, then moment, name, kind, value.
    ``kind`` is the part's kind, ``total`` for sums of a moment, ``figure`` for figures of the run (moment empty).
    """
    kept = tuple(runs)
    hosts = sorted({name for run in kept for name in run.host})
    factors = sorted({name for run in kept for name in run.factors})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*_RUN_COLUMNS, *(f"host.{name}" for name in hosts), *factors, "argv", "error", *_FIGURE_COLUMNS))
    for run in kept:
        own = [getattr(run, name) for name in _RUN_COLUMNS]
        own += [run.host.get(name, "") for name in hosts]
        own += ["" if (value := run.factors.get(name)) is None else value for name in factors]
        own += [" ".join(run.argv), run.error or ""]
        for row in _figures(run):
            writer.writerow((*own, *row))
    path.write_bytes(gzip.compress(out.getvalue().encode(), compresslevel=9, mtime=0))


def _figures(run: Run) -> Iterable[tuple[str, str, str, float]]:
    for name, value in run.figures.items():
        yield "", name, "figure", value
    for moment, seen in run.moments.items():
        yield moment, "charged_bytes", "total", seen.charged_bytes
        yield moment, "overhead_bytes", "total", seen.overhead_bytes
        yield moment, "explained_share", "total", seen.explained_share
        if seen.by_pages_share is not None:
            yield moment, "by_pages_share", "total", seen.by_pages_share
        for part, (kind, size) in seen.parts.items():
            yield moment, part, kind, size


def latest(runs: Iterable[Run]) -> tuple[Run, ...]:
    """One run for each ``run_id``: the last that was measured, so that a run made good replaces the one that failed."""
    return tuple({run.run_id: run for run in runs}.values())
