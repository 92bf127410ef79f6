"""Finding the test guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from guestroom.errors import HostError
from guestroom.lab.image import FOLDER_VARIABLE, cache_folder, find_image, image_folder, main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A built image, reached through a link as set-up leaves it."""
    built = tmp_path / "image-1"
    built.mkdir()
    for name in ("vmlinuz", "initrd.gz"):
        (built / name).write_bytes(b"x")
    link = tmp_path / "guest-image"
    link.symlink_to(built)
    monkeypatch.setenv(FOLDER_VARIABLE, str(link))
    return built


def test_both_files_are_found_behind_the_link(folder: Path) -> None:
    """The paths given to QEMU are the image's own: a link moved meanwhile never mixes two images."""
    image = find_image()
    assert (image.kernel, image.initrd) == (str(folder / "vmlinuz"), str(folder / "initrd.gz"))


@pytest.mark.parametrize("missing", ["vmlinuz", "initrd.gz"])
def test_an_image_that_is_not_there_says_what_to_do(folder: Path, missing: str) -> None:
    """Without the image the error names the missing file and the command that builds it."""
    (folder / missing).unlink()
    with pytest.raises(HostError) as caught:
        find_image()
    assert caught.value.where is not None
    assert caught.value.where.endswith(missing)
    assert caught.value.hint == "make setup"


def test_the_paths_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a command it prints kernel and initramfs, one a line."""
    assert main() == 0
    assert capsys.readouterr().out == f"{folder}/vmlinuz\n{folder}/initrd.gz\n"


def test_as_a_command_a_missing_image_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the image the command fails with one line on stderr and no traceback."""
    (folder / "vmlinuz").unlink()
    assert main() == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "make setup" in shown.err


def test_by_default_the_environment_knows_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable it is the link that set-up left in this Python's own folder."""
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr("sys.prefix", "/somewhere/.venv")
    assert image_folder() == Path("/somewhere/.venv/guest-image")


def test_the_cache_is_where_users_expect_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CACHE_HOME decides; unset or empty it is ~/.cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/fast")
    assert cache_folder() == Path("/fast/guestroom")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/people/ann")
    assert cache_folder() == Path("/people/ann/.cache/guestroom")
