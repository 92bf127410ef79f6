"""``guestroom study``: measure real guests of many shapes, and say what each thing costs."""

from __future__ import annotations

import signal
import sys
from fnmatch import fnmatch
from importlib.resources import as_file, files
from pathlib import Path

import click

from guestroom.cli.output import emit_json, emit_text, json_option
from guestroom.cli.say import note
from guestroom.cli.study_fit import evaluate_, fit_
from guestroom.errors import InputError
from guestroom.lab.study import dataset, document, report, runner
from guestroom.lab.study.matrix import Configuration, read_matrix

_SHIPPED = ("full", "quick")


@click.group()
def study() -> None:
    """Measure what guests cost beside their RAM, in real QEMUs, and report it."""


@study.command()
@click.option(
    "--matrix", default="full", show_default=True, metavar="full|quick|FILE", help="What to measure; a file is TOML."
)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default="study", show_default=True)
@click.option("--only", metavar="PATTERN", help="Just the configurations whose name fits, as a shell's pattern.")
@click.option("--repetitions", type=click.IntRange(1, 1000), default=1, show_default=True)
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Guests side by side.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the random order.")
@json_option
def run(matrix: str, out: Path, only: str | None, repetitions: int, jobs: int, seed: int, as_json: bool) -> int:
    """Measure the guests of a matrix; goes on where an earlier run into the same folder stopped.

    Needs root, or cgroups of one's own. Exit code 1 when a guest gave no figures.
    """
    wanted = tuple(one for one in _read(matrix) if only is None or fnmatch(one.name, only))
    if not wanted:
        raise InputError(f"no configuration fits {only!r}", where=matrix, hint="leave --only out for all of them")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    runs = runner.run_study(wanted, out, repetitions=repetitions, jobs=jobs, seed=seed, say=note)
    failed = [one for one in runs if one.error is not None and one.config in {each.name for each in wanted}]
    summary = {"runs": len(runs), "failed": len(failed), "journal": str(out / runner.JOURNAL)}
    if as_json:
        emit_json(summary)
    else:
        emit_text(f"{len(runs)} runs in {summary['journal']}, {len(failed)} without figures")
    sys.stdout.flush()
    return 1 if failed else 0


@study.command(name="report")
@click.argument("runs", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder, or the report's file (.md); beside the runs by default."
)
@click.option("--html", "page", type=click.Path(path_type=Path), help="The page's file; report.html there by default.")
@json_option
def report_(runs: Path, out: Path | None, page: Path | None, as_json: bool) -> None:
    """Say what the RUNS (a study's runs.jsonl, or runs.jsonl.gz) show: report.md, one page, and the data as a table."""
    found = dataset.latest(dataset.read(runs))
    folder, text = _places(out if out is not None else runs.parent)
    page = folder / "report.html" if page is None else page
    blocks = report.build(found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text.write_text(document.markdown(blocks))
        page.write_text(report.html(blocks))
        drawn = [folder / f"{picture.name}.svg" for picture in document.pictures(blocks)]
        for path, picture in zip(drawn, document.pictures(blocks), strict=True):
            path.write_text(picture.svg)
        dataset.write_table(folder / "table.csv.gz", found)
        dataset.write_gzip(folder / "runs.jsonl.gz", found)
    except OSError as error:
        raise InputError(f"can't write the report: {error.strerror}", where=str(error.filename or folder)) from error
    written = [str(path) for path in (text, page, *drawn, folder / "table.csv.gz", folder / "runs.jsonl.gz")]
    if as_json:
        emit_json({"runs": len(found), "written": written})
    else:
        emit_text(f"{len(found)} runs: {', '.join(written)}")


def _places(out: Path) -> tuple[Path, Path]:
    """Folder of everything, and the report's own file."""
    return (out.parent, out) if out.suffix == ".md" else (out, out / "report.md")


study.add_command(fit_)
study.add_command(evaluate_)


def _end(number: int, _: object) -> None:
    """Whoever ends it early finds no guests or cgroups left behind."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def _read(matrix: str) -> tuple[Configuration, ...]:
    if matrix not in _SHIPPED:
        return read_matrix(Path(matrix))
    with as_file(files("guestroom.lab.study") / "matrices" / f"{matrix}.toml") as path:
        return read_matrix(path)
