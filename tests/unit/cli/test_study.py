"""``guestroom study report`` writes where it is told to, and says so where it can't."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.lab.study_runs import run

from guestroom.cli.study import study
from guestroom.errors import InputError
from guestroom.lab.study.dataset import read, write_gzip


def a_journal(folder: Path) -> Path:
    """Runs of a small study."""
    path = folder / "runs.jsonl.gz"
    write_gzip(path, [run("base", 20), run("two", 22, vcpus=2)])
    return path


def report(*words: str) -> None:
    """The command; its errors are the caller's."""
    CliRunner().invoke(study, ["report", *words], catch_exceptions=False, standalone_mode=False)


@pytest.mark.parametrize(
    ("words", "text", "page"),
    [
        ([], "report.md", "report.html"),
        (["--out", "new/place"], "new/place/report.md", "new/place/report.html"),
        (["--out", "new/x.md"], "new/x.md", "new/report.html"),
        (["--out", "x.md", "--html", "y.html"], "x.md", "y.html"),
    ],
)
def test_it_writes_where_it_is_told_to(
    words: list[str], text: str, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the runs by default; into a folder, or a file for the Markdown and one for the page."""
    monkeypatch.chdir(tmp_path)
    report(str(a_journal(tmp_path)), *words)
    place = tmp_path / text
    assert place.read_text().startswith("# Where the memory goes\n")
    assert (tmp_path / page).read_text().startswith("<!doctype html>")
    assert (place.parent / "table.csv.gz").exists()
    assert read(place.parent / "runs.jsonl.gz") == read(tmp_path / "runs.jsonl.gz")
    for line in place.read_text().splitlines():
        if line.startswith("!["):
            assert (place.parent / line.rpartition("(")[2].rstrip(")")).exists()


def test_a_place_that_can_t_be_written_is_named(tmp_path: Path) -> None:
    """A file where the folder should be is an error that names it."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError) as refused:
        report(str(a_journal(tmp_path)), "--out", str(tmp_path / "taken" / "x.md"))
    assert "taken" in (refused.value.where or "")
