"""A study's runs survive writing, reading and a crash in the middle of a line."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from guestroom.errors import InputError
from guestroom.lab.study.dataset import Moment, Run, append, latest, read, write_gzip, write_table


def run(name: str = "base", **changes: object) -> Run:
    """A run as a study writes it."""
    values: dict[str, object] = {
        "run_id": f"{name}/joint/1",
        "config": name,
        "family": "base",
        "repetition": 1,
        "order": 4,
        "slot": 0,
        "alone": True,
        "started": "2026-11-25T07:00:00Z",
        "host": {"qemu": "7.2.22"},
        "accounting": "joint",
        "argv": ("qemu-system-x86_64", "-m", "256"),
        "factors": {"vcpus": 1, "aio": None},
        "moments": {"idle": Moment(3.0, 100, 60, 0.5, {"heap": ("overhead", 60), "guest RAM": ("ram", 40)})},
        "figures": {"iops": 12.5},
    }
    return Run(**{**values, **changes})  # type: ignore[arg-type]


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    """A run read back equals the run written, in the order of writing."""
    journal = tmp_path / "runs.jsonl"
    append(journal, run("a"))
    append(journal, run("b", error="boot took too long"))
    assert read(journal) == (run("a"), run("b", error="boot took too long"))


def test_a_cut_line_is_dropped_and_written_over(tmp_path: Path) -> None:
    """A line that a crash cut is no run, and the next run begins a line of its own."""
    journal = tmp_path / "runs.jsonl"
    append(journal, run("a"))
    whole = journal.read_bytes()
    journal.write_bytes(whole + whole[: len(whole) // 2])
    assert read(journal) == (run("a"),)
    append(journal, run("b"))
    assert read(journal) == (run("a"), run("b"))


def test_a_line_that_is_no_run_is_named(tmp_path: Path) -> None:
    """A damaged line is an error with its file and number."""
    journal = tmp_path / "runs.jsonl"
    append(journal, run("a"))
    journal.write_bytes(journal.read_bytes() + b'{"run_id": 3}\n')
    with pytest.raises(InputError) as caught:
        read(journal)
    assert caught.value.where == f"{journal}:2"


def test_a_gzipped_journal_is_read_as_well(tmp_path: Path) -> None:
    """The file kept beside a report is read like the journal, and its bytes follow from the runs alone."""
    first, second = tmp_path / "a.gz", tmp_path / "b.gz"
    write_gzip(first, [run("a")])
    write_gzip(second, [run("a")])
    assert read(first) == (run("a"),)
    assert first.read_bytes() == second.read_bytes()


def test_the_table_has_a_row_for_each_figure(tmp_path: Path) -> None:
    """Each part and figure is a row that carries the run's factors and host."""
    path = tmp_path / "t.csv.gz"
    write_table(path, [run("a")])
    rows = list(csv.DictReader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))
    by_name = {(row["moment"], row["name"]): row for row in rows}
    assert by_name["idle", "heap"]["value"] == "60"
    assert by_name["idle", "heap"]["vcpus"] == "1"
    assert by_name["idle", "heap"]["aio"] == ""
    assert by_name["", "iops"]["host.qemu"] == "7.2.22"
    assert {row["kind"] for row in rows} == {"figure", "total", "overhead", "ram"}


def test_a_run_made_good_replaces_the_one_that_failed() -> None:
    """Of two runs of one name the later stands; the order is that of the first."""
    good = run("a", figures={"iops": 2.0})
    assert latest([run("a", error="no boot"), run("b"), good]) == (good, run("b"))
