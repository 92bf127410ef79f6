"""Files that stay open: read afresh each time, opened once, never another cgroup's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guestroom import kernelfs
from guestroom.kernelfs import KeptFiles


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths as they are opened."""
    paths: list[str] = []
    really = os.open

    def noting(path: str, flags: int) -> int:
        paths.append(path)
        return really(path, flags)

    monkeypatch.setattr(kernelfs.os, "open", noting)
    return paths


def descriptors() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def usage(folder: Path, text: str) -> str:
    """A file of a name that is kept, with this text."""
    folder.mkdir(exist_ok=True)
    path = folder / "memory.usage_in_bytes"
    path.write_text(text)
    return str(path)


def test_opened_once_and_read_each_time(tmp_path: Path, opened: list[str]) -> None:
    """The text is always the newest, and the file is opened once however often it is read."""
    path, files = usage(tmp_path / "a", "1\n"), KeptFiles()
    assert files.read(path) == "1\n"
    usage(tmp_path / "a", "22\n")
    opened.clear()
    assert files.read(path) == "22\n"
    assert files.read_all((path, path)) == [b"22\n", b"22\n"]
    assert opened == []


def test_long_texts_are_whole(tmp_path: Path) -> None:
    """A text longer than one read is put together."""
    files = KeptFiles()
    path = usage(tmp_path / "a", "x" * 50_000)
    assert files.read(path) == "x" * 50_000 == files.read(path)


def test_other_names_are_not_kept(tmp_path: Path) -> None:
    """A file of another name (smaps, procs) is opened for each reading."""
    (tmp_path / "smaps").write_text("text")
    files = KeptFiles()
    assert files.read(str(tmp_path / "smaps")) == "text"
    assert len(files) == 0


def test_at_most_so_many(tmp_path: Path) -> None:
    """However many files there are, no more than the bound stay open, and all are read right."""
    files = KeptFiles(most=8)
    paths = [usage(tmp_path / str(number), str(number)) for number in range(30)]
    before = descriptors()
    for _ in range(2):
        assert [files.read(path) for path in paths] == [str(number) for number in range(30)]
    assert len(files) <= 8
    assert descriptors() <= before + 8


def test_forget_closes(tmp_path: Path) -> None:
    """What is below a folder that is forgotten is closed, its neighbours stay."""
    files = KeptFiles()
    first, second = usage(tmp_path / "a", "1"), usage(tmp_path / "ab", "2")
    before = descriptors()
    files.read(first)
    files.read(second)
    files.forget(str(tmp_path / "a"))
    assert len(files) == 1
    assert descriptors() == before + 1


def test_the_gone_are_none_among_many(tmp_path: Path) -> None:
    """One file that is not there leaves the others' texts right."""
    files = KeptFiles()
    path = usage(tmp_path / "a", "1")
    paths = (path, str(tmp_path / "b" / "memory.usage_in_bytes"))
    for _ in range(2):
        assert files.read_all(paths) == [b"1", None]
    with pytest.raises(FileNotFoundError):
        files.read(paths[1])


def test_what_is_not_read_any_more_is_closed(tmp_path: Path) -> None:
    """A file that was read once is closed after a while of sweeps; one that is read in each stays open."""
    files = KeptFiles()
    once, often = usage(tmp_path / "a", "1"), usage(tmp_path / "b", "2")
    together = (usage(tmp_path / "c", "3"),)
    files.read(once)
    for _ in range(3 * kernelfs.IDLE_ROUNDS):
        files.read(often)
        files.read_all(together)
    assert len(files) == 2
    assert files.read(once) == "1"
