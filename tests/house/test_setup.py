"""Set-up says what is missing, and the test guest's builder never leaves a broken cache."""

from __future__ import annotations

import gzip
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import pytest
import tree

SETUP = tree.ROOT / "tools" / "setup.sh"


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """``tools/image.py`` with a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = importlib.util.spec_from_file_location("guest_image_builder", tree.ROOT / "tools" / "image.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def bare_path(folder: Path, *programs: str) -> Path:
    """A folder of programs to be the whole PATH: those set-up's own script needs, and the given ones."""
    folder.mkdir()
    needed = ("bash", "cat", "chmod", "dirname", "env", "flock", "id", "ldd", "mkdir", "sha256sum", "tr", "uname")
    for program in (*needed, *programs):
        found = shutil.which(program)
        assert found, program
        (folder / program).symlink_to(found)
    return folder


def run_setup(checkout: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Set-up in a copy of what it reads, with nothing else on PATH."""
    (checkout / "tools").mkdir(parents=True)
    shutil.copy(SETUP, checkout / "tools" / "setup.sh")
    environment = {"PATH": str(path), "HOME": str(checkout)}
    argv = [str(path / "bash"), "tools/setup.sh"]
    return subprocess.run(argv, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)


def test_without_apt_what_is_missing_is_listed(tmp_path: Path) -> None:
    """Where nothing can be installed, set-up fails with one list of packages and the command that installs them."""
    done = run_setup(tmp_path / "checkout", bare_path(tmp_path / "bin"))
    assert done.returncode == 1
    for package in ("qemu-system-x86", "qemu-utils", "busybox-static", "gcc", "make", "libvirt-clients"):
        assert package in done.stderr
    assert "as root: apt-get install --no-install-recommends" in done.stderr
    assert not (tmp_path / "checkout" / ".venv").exists()


def test_what_is_there_is_not_asked_for(tmp_path: Path) -> None:
    """A program that is on PATH is not in the list of missing packages."""
    done = run_setup(tmp_path / "checkout", bare_path(tmp_path / "bin", "make", "gcc"))
    assert done.returncode == 1
    missing = done.stderr.splitlines()[0].split(": ", 2)[2].split()
    assert "qemu-utils" in missing
    assert not {"make", "gcc"} & set(missing)


def test_another_kind_of_machine_is_told_so(tmp_path: Path) -> None:
    """On a processor the test guest is not built for, set-up says which one it needs and stops."""
    path = bare_path(tmp_path / "bin")
    (path / "uname").unlink()
    (path / "uname").write_text('#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo aarch64\n')
    (path / "uname").chmod(0o755)
    done = run_setup(tmp_path / "checkout", path)
    assert done.returncode == 1
    assert "x86_64, this is Linux/aarch64" in done.stderr


def test_an_interrupted_build_leaves_nothing(builder: ModuleType, tmp_path: Path) -> None:
    """A build that fails half-way leaves neither a folder that looks complete nor its temporary one."""

    def half(folder: Path) -> None:
        (folder / "vmlinuz").write_bytes(b"half")
        raise builder.SetupError("the disk is full")

    with pytest.raises(builder.SetupError):
        builder.make_folder(tmp_path / "cache" / "image-1", half)
    assert list((tmp_path / "cache").iterdir()) == []


def test_two_builds_at_once_leave_one_whole_image(builder: ModuleType, tmp_path: Path) -> None:
    """Whoever is second takes the first one's folder; nothing of either is mixed or left over."""
    target = tmp_path / "cache" / "image-1"
    both_are_building = threading.Barrier(2, timeout=30)
    results: list[Path] = []

    def build(owner: str) -> None:
        def fill(folder: Path) -> None:
            (folder / "vmlinuz").write_text(owner)
            both_are_building.wait()
            (folder / "initrd.gz").write_text(owner)

        results.append(builder.make_folder(target, fill))

    threads = [threading.Thread(target=build, args=(owner,)) for owner in "AB"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [target, target]
    assert [path.name for path in target.parent.iterdir()] == ["image-1"]
    assert (target / "vmlinuz").read_text() == (target / "initrd.gz").read_text()


def test_a_built_image_is_found_without_any_tool(builder: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the image of these sources in the cache, nothing is downloaded and no package tool is asked."""
    present = builder.cache_folder() / f"image-{builder.sources_hash()}-6.1.0-1-cloud-amd64"
    present.mkdir(parents=True)
    monkeypatch.setenv("PATH", os.devnull)
    assert builder.find_or_build(builder.cache_folder()) == present


def test_a_changed_source_is_another_image(
    builder: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each file of the guest is part of the image's name: after a change the old image is not used."""
    copy = tmp_path / "guest"
    shutil.copytree(builder.GUEST, copy)
    monkeypatch.setattr(builder, "GUEST", copy)
    before = builder.sources_hash()
    seen = {before}
    for path in sorted(copy.iterdir()):
        path.write_bytes(path.read_bytes() + b"\n")
        seen.add(builder.sources_hash())
    assert len(seen) == 1 + len(list(copy.iterdir()))


def test_the_newest_measured_kernel_is_chosen(builder: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions compare as numbers, the measured series comes first, debug and unsigned packages are left out."""
    lists = """\
linux-image-6.1.0-9-cloud-amd64 - Linux 6.1
linux-image-6.1.0-47-cloud-amd64 - Linux 6.1
linux-image-6.1.0-47-cloud-amd64-dbg - Debug symbols
linux-image-6.1.0-99-cloud-amd64-unsigned - unsigned
linux-image-6.12.9+deb12-cloud-amd64 - Linux 6.12
linux-image-cloud-amd64 - meta package
"""
    monkeypatch.setattr(builder, "run", lambda *argv, **options: lists)
    assert builder.newest_kernel_package() == "linux-image-6.1.0-47-cloud-amd64"
    monkeypatch.setattr(builder, "run", lambda *argv, **options: lists.replace("6.1.0-", "6.5.0-"))
    assert builder.newest_kernel_package() == "linux-image-6.12.9+deb12-cloud-amd64"


def test_the_archive_is_one_the_kernel_reads(builder: ModuleType, tmp_path: Path) -> None:
    """Another program unpacks the initramfs to the same files, runnable, and the same input gives the same bytes."""
    source = tmp_path / "source"
    source.write_bytes(b"#!/bin/busybox sh\n" + b"x" * 1021)
    files = {"init": source, "modules/a/deep.ko": source}
    archive = builder.initramfs(files)
    assert archive == builder.initramfs(files)
    out = tmp_path / "out"
    out.mkdir()
    plain = gzip.decompress(archive)
    subprocess.run(["busybox", "cpio", "-i", "-d"], cwd=out, input=plain, check=True, capture_output=True)
    for name in files:
        assert (out / name).read_bytes() == source.read_bytes()
        assert os.access(out / name, os.X_OK)


def test_the_link_is_replaced_in_one_step(builder: ModuleType, tmp_path: Path) -> None:
    """The environment's link is moved to a new image without a moment in which it is missing, and left alone else."""
    link = tmp_path / "guest-image"
    builder.point(link, tmp_path / "one")
    first = link.lstat().st_ino
    builder.point(link, tmp_path / "one")
    assert link.lstat().st_ino == first
    builder.point(link, tmp_path / "two")
    assert link.readlink() == tmp_path / "two"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("guest-image")] == ["guest-image"]


def test_a_failing_tool_is_quoted(builder: ModuleType) -> None:
    """When a program that set-up runs fails, its own words and its exit code are in the message."""
    with pytest.raises(builder.SetupError, match=r"failed with 3:\nno such flag"):
        builder.run(sys.executable, "-c", "import sys; sys.stderr.write('no such flag'); sys.exit(3)")


def test_a_missing_tool_is_named(builder: ModuleType) -> None:
    """A program that is not installed is named, with where to read what to install."""
    with pytest.raises(builder.SetupError, match=r"no-such-tool is not installed"):
        builder.run("no-such-tool")
