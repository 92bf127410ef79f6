"""The count by pages: whoever the kernel names as owner, and the pages of a huge page that it names nobody for."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from guestroom.errors import ReadError
from guestroom.observe import pages
from guestroom.units import PAGE_BYTES

HEAD, TAIL = 1 << 15, 1 << 16


@pytest.fixture
def kernel_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the two files are read from."""
    monkeypatch.setattr(pages, "_FILE", str(tmp_path / "kpagecgroup"))
    monkeypatch.setattr(pages, "_FLAGS", str(tmp_path / "kpageflags"))
    return tmp_path


def written(folder: Path, owners: list[int], flags: list[int]) -> None:
    """The two files as the kernel lays them out: 64 bits for each page."""
    (folder / "kpagecgroup").write_bytes(array("Q", owners).tobytes())
    (folder / "kpageflags").write_bytes(array("Q", flags).tobytes())


def test_tails_of_huge_pages_count_on_every_kernel(kernel_files: Path) -> None:
    """A huge page counts whole whether the kernel names its owner at each page (6.18) or only at the first (6.1)."""
    flags = [0, HEAD, *[TAIL] * 511, 0, HEAD, *[TAIL] * 511]
    written(kernel_files, [7, *[7] * 512, 0, *[9] * 512], flags)
    assert pages.charged_bytes((7,)) == 513 * PAGE_BYTES
    written(kernel_files, [7, 7, *[0] * 511, 0, 9, *[0] * 511], flags)
    assert pages.charged_bytes((7,)) == 513 * PAGE_BYTES
    assert pages.charged_bytes((7, 9)) == 1025 * PAGE_BYTES


def test_a_page_of_nobody_is_nobodys(kernel_files: Path) -> None:
    """Free pages behind an owned one, and huge pages of nobody, are not counted."""
    written(kernel_files, [7, 0, 0, 0, 7, 0], [0, 0, HEAD, TAIL, HEAD, TAIL])
    assert pages.charged_bytes((7,)) == 3 * PAGE_BYTES


def test_a_huge_page_over_the_end_of_a_reading_is_whole(kernel_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tails are found though the next reading begins within it."""
    monkeypatch.setattr(pages, "_CHUNK_BYTES", 32)
    written(kernel_files, [0, 0, 7, *[0] * 9, 7], [0, 0, HEAD, *[TAIL] * 7, 0, 0, 0])
    assert pages.charged_bytes((7,)) == 9 * PAGE_BYTES


@pytest.mark.parametrize("missing", ["kpagecgroup", "kpageflags"])
def test_a_kernel_without_the_files_is_said(kernel_files: Path, missing: str) -> None:
    """Without either file there is no count, and no wrong one."""
    written(kernel_files, [7], [0])
    (kernel_files / missing).unlink()
    with pytest.raises(ReadError, match=missing):
        pages.charged_bytes((7,))
