"""Builds the test guest (a Debian kernel and a busybox initramfs) once, into the user's cache folder.

Run by ``tools/setup.sh`` with any Python >= 3.11, before the virtual environment exists: standard library only.
An image's folder is named after a hash of everything in ``guest/`` and of this file, and after the kernel's
version. Folders are made under a temporary name and renamed when complete, so neither an interrupted build nor
two at once can leave a broken one. The environment is pointed at the image by a symbolic link, so two
checkouts with different guests don't disturb each other. See ``guestroom.lab.image`` for the reader.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import lzma
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUEST = ROOT / "guest"
KERNEL_PACKAGE = re.compile(r"^linux-image-(\d[\w.+]*(?:-\d+)?)-cloud-amd64$")
MEASURED_SERIES = "linux-image-6.1.0-"


class SetupError(Exception):
    """What is missing and what to do; shown without a traceback."""


def say(text: str) -> None:
    """One progress line."""
    print(f"setup: {text}", flush=True)


def run(*argv: str, cwd: Path | None = None) -> str:
    """Standard output of a command; its own words are the error when it fails."""
    try:
        done = subprocess.run(argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        raise SetupError(f"{argv[0]} is not installed: see CONTRIBUTING.md for the list of packages") from None
    if done.returncode != 0:
        raise SetupError(f"{' '.join(argv)} failed with {done.returncode}:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def cache_folder() -> Path:
    """Where images and kernels are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "guestroom"


def sources_hash() -> str:
    """Changes when any source of the guest, or the way it is built, does."""
    digest = hashlib.sha256()
    for path in sorted([*GUEST.iterdir(), Path(__file__).resolve()]):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def make_folder(target: Path, build: Callable[[Path], None]) -> Path:
    """``target``, built by ``build`` into a temporary sibling and renamed; whoever comes first wins."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        build(working)
        working.chmod(0o755)
        try:
            working.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return target


def newest_kernel_package() -> str:
    """The newest cloud kernel in the package lists, 6.1 if there is one; the lists are fetched when they know none."""
    found = _kernel_packages()
    if not found and os.geteuid() == 0:
        say("fetching the package lists")
        run("apt-get", "-qq", "update")
        found = _kernel_packages()
    if not found:
        raise SetupError(
            "no linux-image-*-cloud-amd64 in the package lists: the test guest needs Debian's package sources "
            "(as root: apt-get update)"
        )
    # The series the project's measurements were made with comes first; any newer one works as well.
    return max(found, key=lambda name: (name.startswith(MEASURED_SERIES), [int(n) for n in re.findall(r"\d+", name)]))


def _kernel_packages() -> list[str]:
    names = run("apt-cache", "search", "--names-only", r"^linux-image-.*-cloud-amd64$").splitlines()
    return [name for name in (line.split(" ", 1)[0] for line in names) if KERNEL_PACKAGE.match(name)]


def unpack_kernel(package: str, folder: Path) -> None:
    """``vmlinuz`` and the modules the guest loads, out of the Debian package, which is not installed."""
    say(f"downloading {package}")
    with tempfile.TemporaryDirectory(dir=folder) as working_name:
        working = Path(working_name)
        run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=working)
        (archive,) = working.glob("*.deb")
        run("dpkg", "-x", str(archive), str(working / "x"))
        kernels = [path for path in (working / "x" / "boot").glob("vmlinuz-*") if path.is_file()]
        if len(kernels) != 1:
            raise SetupError(f"{archive.name} holds {len(kernels)} kernels, one was expected")
        shutil.copyfile(kernels[0], folder / "vmlinuz")
        (folder / "modules").mkdir()
        for name in module_order():
            # A module that is not there is built in; init goes on without it.
            for path in (working / "x").rglob(f"{name}.ko*"):
                content = path.read_bytes()
                content = lzma.decompress(content) if path.suffix == ".xz" else content
                (folder / "modules" / f"{name}.ko").write_bytes(content)


def module_order() -> list[str]:
    """Names of the guest's modules in the order of loading: first those that every guest loads."""
    return [name for file in ("modules", "modules-more") for name in (GUEST / file).read_text().split()]


def static_busybox() -> Path:
    """The busybox that needs no libraries."""
    found = shutil.which("busybox")
    if found is None:
        raise SetupError("busybox is not installed: apt-get install busybox-static")
    # ldd exits with 1 for a program without a dynamic loader, which is what is wanted here.
    dynamic = subprocess.run(["ldd", found], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    if dynamic:
        raise SetupError(f"{found} needs shared libraries: apt-get install busybox-static")
    return Path(found)


def compile_tools(into: Path) -> None:
    """Each C file of ``guest/`` as a static program."""
    into.mkdir()
    flags = ["-O2", "-static", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-s"]
    for source in sorted(GUEST.glob("*.c")):
        run("gcc", *flags, "-o", str(into / source.stem), str(source))


def cpio_entry(name: str, mode: int, content: bytes = b"", number: int = 0) -> bytes:
    """One entry of a ``newc`` archive (kernel: Documentation/driver-api/early-userspace/buffer-format.rst)."""
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = [number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0]
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return header + b"\0" * (-len(header) % 4) + content + b"\0" * (-len(content) % 4)


def initramfs(files: dict[str, Path]) -> bytes:
    """The compressed archive: the folders that are needed, then the files; the same bytes for the same input."""

    def entries() -> Iterator[bytes]:
        folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
        for number, folder in enumerate(sorted(folders), start=1):
            yield cpio_entry(folder, stat.S_IFDIR | 0o755, number=number)
        for number, name in enumerate(sorted(files), start=len(folders) + 1):
            yield cpio_entry(name, stat.S_IFREG | 0o755, files[name].read_bytes(), number)
        yield cpio_entry("TRAILER!!!", 0)

    return gzip.compress(b"".join(entries()), compresslevel=9, mtime=0)


def build_image(kernel: Path, folder: Path) -> None:
    """``vmlinuz`` and ``initrd.gz`` in ``folder``."""
    say("compiling the test guest's tools")
    with tempfile.TemporaryDirectory(dir=folder) as working_name:
        tools = Path(working_name) / "tools"
        compile_tools(tools)
        files = {
            "init": GUEST / "init.sh",
            "bin/busybox": static_busybox(),
            "modules/order": GUEST / "modules",
            **{f"tools/{path.name}": path for path in tools.iterdir()},
            **{f"modules/{path.name}": path for path in (kernel / "modules").iterdir()},
        }
        (folder / "initrd.gz").write_bytes(initramfs(files))
    shutil.copyfile(kernel / "vmlinuz", folder / "vmlinuz")


def find_or_build(cache: Path) -> Path:
    """The image of these sources: any that is there, else one built with the newest kernel."""
    sources = sources_hash()
    present = sorted(cache.glob(f"image-{sources}-*"))
    if present:
        return present[-1]
    if platform.machine() != "x86_64":
        raise SetupError(f"the test guest is built for x86_64 only, this machine is {platform.machine()}")
    package = newest_kernel_package()
    version = package.removeprefix("linux-image-")
    kernel = make_folder(
        cache / f"kernel-{version}-{hashlib.sha256(' '.join(module_order()).encode()).hexdigest()[:8]}",
        lambda folder: unpack_kernel(package, folder),
    )
    return make_folder(cache / f"image-{sources}-{version}", lambda folder: build_image(kernel, folder))


def point(link: Path, image: Path) -> None:
    """Make ``link`` lead to ``image``, in one step."""
    if link.is_symlink() and link.readlink() == image:
        return
    fresh = link.with_name(f"{link.name}.{os.getpid()}")
    fresh.symlink_to(image)
    fresh.replace(link)


def main() -> int:
    """Build if needed, then point the environment at the image."""
    parser = argparse.ArgumentParser(description="Build the test guest's kernel and initramfs once.")
    parser.add_argument("link", type=Path, help="symbolic link to set to the image's folder")
    arguments = parser.parse_args()
    try:
        image = find_or_build(cache_folder())
        point(arguments.link, image)
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"setup: the test guest could not be built: {error}", file=sys.stderr)
        return 1
    say(f"test guest in {image}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
