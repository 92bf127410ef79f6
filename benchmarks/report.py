"""The report: tables, a plot and the commands, from what the benchmarks left in ``benchmarks/results``.

    python -m benchmarks report

Nothing is measured here; a benchmark that has not run is said to be missing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
REPORT = HERE / "REPORT.md"
PLOT = HERE / "REPORT.svg"
Rows = Sequence[Mapping[str, Any]]


def write() -> Path:
    """Write the report and its plot; the path of the report."""
    found = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    rows = {name: result["rows"] for name, result in found.items()}
    plotted = _plot(rows)
    parts = [_head(found), *(section(rows) for section in (_alarm, _bursts, _thousand, _limits, _packing))]
    if plotted:
        parts.insert(1, f"![Alarm to raised limit, a pass over 1,000 guests, bursts]({PLOT.name})\n")
    REPORT.write_text("\n".join(part for part in parts if part))
    return REPORT


def table(rows: Rows, columns: Mapping[str, str]) -> str:
    """A Markdown table of some columns under their headings."""
    lines = ["| " + " | ".join(columns.values()) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(row.get(key, "")) for key in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _head(found: Mapping[str, Any]) -> str:
    machines = [result["machine"] for result in found.values()]
    text = "# How fast, how much: room before the wall\n\n"
    if not machines:
        return text + "Nothing has been measured yet: `make bench`.\n"
    first = machines[0]
    loads = ", ".join(f"{name} {result['machine']['load'][0]}" for name, result in found.items())
    took = ", ".join(f"{name} {result['took_s']} s" for name, result in found.items())
    return text + (
        f"{first['date']}; {first['cpus']} CPUs, {first['ram_bytes'] >> 30} GiB, kernel {first['kernel']}, "
        f"{first['qemu']}, Python {first['python']}. Load average before each: {loads}. Took: {took}.\n\n"
        "    make bench                                # everything, then this report\n"
        "    python -m benchmarks room [--fresh]       # only what is below; what has run already is kept\n"
        "    python -m benchmarks report               # this file and its plot again\n\n"
        "Every figure stands beside a baseline of the same run. Nothing here is asserted by tests except where it says "
        "so: they hold what causes the times, as counts of reads.\n"
    )


def _missing(name: str) -> str:
    return f"Not measured: `python -m benchmarks --only {name}`.\n"


def _alarm(rows: Mapping[str, Rows]) -> str:
    text = "## From the alarm to the raised limit\n\n"
    found = rows.get("alarm")
    if not found:
        return text + _missing("alarm")
    one = found[0]
    text += (
        f"A real QEMU with Linux grows by preallocated backends of 20 MiB; {one['guests_split']} real QEMUs are "
        f"under care with ladders of their own, {one['guests_adopted']} more are adopted, whose smaps the agent "
        f"parses ({one['smaps_per_s']} a second) while it commits every reading to SQLite. The crossing is stamped "
        "by another process on the same threshold, of higher real-time priority; the end is the return of "
        "the write. Its own wake "
        "can't be stamped by itself, so what the kernel takes to wake such a process is measured in the same run and "
        "may be added in full (`p99 with wake`). Goal: p99 at most 1 ms.\n\n"
    )
    columns = {
        "hogs": "CPU hogs",
        "raises": "raises",
        "p50_ms": "p50 ms",
        "p99_ms": "p99 ms",
        "max_ms": "max ms",
        "own_p99_ms": "alarm's own p99",
        "bare_write_p50_ms": "bare write p50",
        "kernel_wake_p50_ms": "kernel's wake p50",
        "kernel_wake_p99_ms": "p99",
        "p99_with_wake_ms": "p99 with wake",
        "by_agent": "by the agent",
        "agent_cpu_share": "agent's CPU",
    }
    return (
        text
        + table(found, columns)
        + (
            "\nThe raise is the alarm's own (SCHED_FIFO, pages locked, collector off, files kept open), from "
            "free room that "
            "the agent has lent to it; the guest whose threshold rang is read before all others. Between two "
            "thresholds a "
            "guest may pass its grant unheard: such raises are made by the next sweep "
            f"({', '.join(str(row['by_sweep']) for row in found)} here) and have no crossing to count from; the "
            f"headroom "
            "serves meanwhile.\n"
        )
    )


def _bursts(rows: Mapping[str, Rows]) -> str:
    text = "## Bursts of a gibibyte a second\n\n"
    found = rows.get("bursts")
    if not found:
        return text + _missing("bursts")
    text += (
        "Linux guests under verified I/O; one or two QEMUs grow by backends of 32 MiB, paced to 1 GiB/s each, through "
        "half a GiB of free room and then into the headroom. They are held before any wall, a neighbour's end lets "
        "them go on, heartbeat and checksums are right (`alive`). The last row is the same with agent and "
        "alarm stopped.\n\n"
    )
    columns = {
        "case": "case",
        "headroom_mib": "headroom MiB",
        "guard_mib": "guard MiB",
        "chosen_by": "chosen by",
        "speed_mib_s": "reached MiB/s",
        "grown_mib": "grown MiB",
        "raised_by_alarm": "raises",
        "hold_took_ms": "hold took ms",
        "headroom_left_mib": "headroom left at the hold MiB",
        "wall_left_mib": "left to the wall MiB",
        "charges_refused": "charges refused",
        "walls_hit": "walls hit",
        "alive": "alive",
    }
    return (
        text + table(found, columns) + ("\n`walls_hit` 0 and everybody alive are asserted from a guard of 64 MiB on.\n")
    )


def _thousand(rows: Mapping[str, Rows]) -> str:
    text = "## A thousand guests\n\n"
    found = rows.get("thousand")
    if not found:
        return text + _missing("thousand")
    passes = [row for row in found if "ratio" in row]
    agents = [row for row in found if "rss_mib" in row]
    text += (
        "Real cgroups (`NAME`, `ram`, `vmm`) with a real small process in each. The pass is the agent's own: usage and "
        "limit of each guest, and where usage moved four more files; the baseline preads the same files from "
        "open descriptors in a bare loop, in turns. Goal: at most 1.5.\n\n"
    )
    columns = {"what": "", "reads": "reads", "ours_ms": "pass ms", "bare_ms": "bare ms", "ratio": "ratio"}
    text += table(passes, columns | {"least_ratio": "least over least"})
    text += (
        "\nThe whole agent, one sweep a second, the thousand taken back from a ledger as after a restart. Goals: 2 % "
        "of a core, 64 MiB.\n\n"
    )
    columns = {
        "what": "",
        "cpu_percent": "agent's CPU %",
        "alarm_cpu_percent": "alarm's CPU %",
        "rss_mib": "agent's RSS MiB",
        "peak_mib": "peak",
        "alarm_rss_mib": "alarm's RSS MiB",
        "open_files": "open files",
    }
    return text + table(agents, columns)


def _limits(rows: Mapping[str, Rows]) -> str:
    text = "## A thousand limit changes on live, loaded guests\n\n"
    found = [*rows.get("limits", []), *rows.get("limits-v2", [])]
    if not found:
        return text + _missing("limits limits-v2")
    text += (
        "v1: real Linux guests whose QEMUs grow and give back all the while, OOM killers on; each shrink aims at the "
        "use of a moment before, then the limit goes up again. v2: `tests/inguest` on a booted v2 kernel. Busy is "
        "an answer, not a failure: the old limit stays.\n\n"
    )
    columns = {
        "cgroups": "cgroups",
        "guests": "guests",
        "changes": "changes",
        "down_done": "down: done",
        "down_busy": "busy",
        "up_done": "up: done",
        "killed": "killed",
        "walls_hit": "walls hit",
        "down_p50_ms": "down p50 ms",
        "down_p99_ms": "p99",
        "busy_p50_ms": "busy p50 ms",
        "up_p50_ms": "up p50 ms",
        "bare_write_p50_ms": "bare write p50 ms",
        "longest_ms": "longest ms",
        "verified": "I/O verified",
        "io_errors": "I/O errors",
    }
    return text + table(found, columns)


def _packing(rows: Mapping[str, Rows]) -> str:
    text = "## Real guests in 4 GiB\n\n"
    found = rows.get("packing")
    if not found:
        return text + _missing("packing")
    text += (
        "QEMUs of 128 to 256 MiB under TCG, all their RAM touched, doing checksummed I/O, are started one after "
        "another in one cgroup of 4 GiB until two in a row find no room. Each takes up to 120 MiB more than idle at "
        "its peak (wild: 160), once when it has started and again in turn, two at a time. A peer gives each a cgroup "
        "of RAM + its formula, OOM killer on; guestroom runs with `reserve = rest`, all else by default. Lost: killed, "
        "or with a wrong checksum or no life at the end; one that is held stands still and loses nothing. The oracle "
        "knows each peak as it was measured here and gives exactly that; guestroom knows none before it has seen it, "
        "so it keeps a headroom as large as the largest.\n\n"
    )
    columns = {
        "way": "way",
        "mix": "mix",
        "started": "started",
        "lost": "lost",
        "held at the end": "held at the end",
        "alive": "alive",
        "oracle": "oracle",
        "of oracle": "alive / oracle",
        "held": "held",
        "grown": "grown",
        "given back": "given back",
        "walls hit": "walls hit",
        "headroom MiB": "headroom MiB",
        "requests verified": "I/O verified",
        "most used MiB": "most used MiB",
    }
    return text + table(found, columns)


def _plot(rows: Mapping[str, Rows]) -> bool:
    """Three pictures beside each other; False without matplotlib (the ``plots`` extra) or without data."""
    if not any(name in rows for name in ("alarm", "thousand", "bursts")):
        return False
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'guestroom[plots]')")
        return False
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "guestroom"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(15, 4.5))
    for row in rows.get("alarm", []):
        values = json.loads(row["samples_ms"])
        shares = [(i + 1) / len(values) * 100 for i in range(len(values))]
        axes[0].step(values, shares, where="post", label=f"{row['hogs']} hogs ({len(values)} raises)")
    axes[0].axvline(1.0, color="grey", linestyle=":", label="goal for 99 %")
    axes[0].axhline(99, color="grey", linewidth=0.5)
    axes[0].set(xscale="log", xlabel="alarm to raised limit, ms", ylabel="% of raises", title="Alarm to raised limit")
    passes = [row for row in rows.get("thousand", []) if "ratio" in row]
    at = range(len(passes))
    axes[1].bar([i - 0.2 for i in at], [row["bare_ms"] for row in passes], 0.4, label="bare pread loop")
    axes[1].bar([i + 0.2 for i in at], [row["ours_ms"] for row in passes], 0.4, label="the agent's pass")
    axes[1].set_xticks(list(at), [row["what"].removeprefix("pass, ") for row in passes])
    axes[1].set(yscale="log", ylabel="ms", title="One pass over 1,000 guests")
    bursts = [row for row in rows.get("bursts", []) if not row["case"].startswith("control")]
    names = [f"{row['case'].split()[0]} growing\nguard {row['guard_mib']}" for row in bursts]
    axes[2].bar(range(len(bursts)), [row["headroom_left_mib"] for row in bursts], label="headroom left at the hold")
    axes[2].plot(range(len(bursts)), [row["guard_mib"] for row in bursts], "k_", markersize=20, label="guard")
    axes[2].set_xticks(range(len(bursts)), names, fontsize=7)
    axes[2].set(ylabel="MiB", title="Bursts, held before the wall")
    for one in axes:
        if one.get_legend_handles_labels()[0]:
            one.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})
    pyplot.close(figure)
    return True
