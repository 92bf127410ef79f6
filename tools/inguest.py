"""Runs ``tests/inguest`` on a kernel with cgroup v2 only, booted in QEMU: the real v2, wherever this runs.

A second boot has systemd, this machine's own, as process 1, for what is different under it.

Two disks are made without root rights. ``base`` holds the very interpreter, QEMU and systemd of this machine with the
libraries ``ldd`` names and the run-time packages of this environment, and is cached under a hash of what went into it.
``code`` holds the sources, the tests and the test guest, and is made anew each time: seconds, so a changed line needs
nothing else.
The kernel is the test guest's (``tools/image.py``). Everything pytest prints comes over the serial console; the last
line the guest prints is its exit code, and a guest that ends without that line has failed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.requirements import Requirement

import image

ROOT = Path(__file__).resolve().parent.parent
UNDER_SYSTEMD = "tests/inguest/systemd"
MARK = "@@INGUEST "
TIMEOUT_S = 900
"""For guests that hang; on two calm cores a boot takes less than half of that."""
RAM_MIB = 3072
QEMU = "qemu-system-x86_64"
FIRMWARE = ("bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin")
FIRMWARE_FOLDERS = (Path("/usr/share/qemu"), Path("/usr/share/seabios"))
SYSTEMD_PROGRAMS = ("systemd", "systemd-executor", "systemd-shutdown", "systemctl", "systemd-run")
SKIPPED_STDLIB = frozenset({"test", "tests", "idlelib", "tkinter", "ensurepip", "lib2to3", "site-packages"})
WANTED = ("pytest", "pytest-timeout", "hypothesis")
"""What the tests need beside guestroom's own dependencies."""
_LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x[0-9a-f]+\)")
_DEFAULT_FOLDERS = frozenset(
    f"{prefix}/lib{rest}" for prefix in ("", "/usr") for rest in ("", "64", "/x86_64-linux-gnu")
)


def mkfs() -> str:
    """``mkfs.ext4``, which is not on every user's PATH."""
    found = shutil.which("mkfs.ext4", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise image.SetupError("mkfs.ext4 is not installed: apt-get install e2fsprogs")
    return found


def make_disk(folder: Path, disk: Path, *, spare_mib: int) -> None:
    """An ext4 file system with what ``folder`` holds, without a journal: nobody needs it after a crash."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    mib = size * 5 // 4 // 2**20 + spare_mib
    options = ["-q", "-F", "-O", "^has_journal", "-E", "root_owner=0:0", "-m", "0", "-d", str(folder)]
    image.run(mkfs(), *options, str(disk), f"{mib}M")


# --- base: interpreter, packages and QEMU ----------------------------------------------------------------------------


def interpreter_files() -> Iterator[Path]:
    """The interpreter behind this environment and its standard library."""
    yield Path(sys.executable).resolve()
    roots = {Path(sysconfig.get_path("stdlib")), Path(sysconfig.get_config_var("DESTSHARED"))}
    for root in sorted(roots):
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root).parts
            if path.is_file() and not SKIPPED_STDLIB.intersection(inside) and not inside[0].startswith("config-"):
                yield path


def package_files() -> dict[str, Path]:
    """What the packages of this environment consist of, by its path among them."""
    found = {}
    for distribution in distributions():
        for file in distribution.files or ():
            source = Path(str(file.locate()))
            if ".." not in file.parts and "__pycache__" not in file.parts and source.is_file():
                found[str(file)] = source
    return found


def compile_modules(folder: Path, place: str) -> None:
    """Compile what lies in ``folder`` and will be at ``place``: emulated, an import that must compile first takes ten
    times as long, and an agent imports hundreds. Dates are not compared again, and tracebacks show the guest's paths.
    """
    words = ["-q", "-j", "0", "-s", str(folder), "-p", place, "--invalidation-mode", "unchecked-hash", str(folder)]
    image.run(sys.executable, "-m", "compileall", *words)


def qemu_files() -> Iterator[Path]:
    """QEMU with its TCG module (Debian builds it as one) and the firmware a bare machine runs."""
    found = shutil.which(QEMU)
    if found is None:
        raise image.SetupError(f"{QEMU} is not installed: apt-get install qemu-system-x86")
    yield Path(found)
    for folder in Path("/usr/lib").glob("*/qemu"):
        yield from sorted(folder.glob("accel-tcg-x86_64.so"))
    for name in FIRMWARE:
        there = [folder / name for folder in FIRMWARE_FOLDERS if (folder / name).exists()]
        yield from there[:1]


def systemd_files() -> Iterator[Path]:
    """systemd's process 1, what it starts, and the commands that the tests and guestroom use."""
    for name in SYSTEMD_PROGRAMS:
        there = [path for path in (Path("/lib/systemd") / name, Path("/usr/bin") / name) if path.exists()]
        # Which programs there are depends on the version; process 1 and systemctl are in all of them.
        if not there and name in ("systemd", "systemctl"):
            raise image.SetupError("systemd is not installed: apt-get install systemd")
        yield from there[:1]


def libraries(programs: Iterable[Path]) -> set[Path]:
    """Shared libraries of ELF files, the loader included."""
    elves = [str(path) for path in programs if path.is_file() and path.open("rb").read(4) == b"\x7fELF"]
    # ldd exits with 1 when one of many is static.
    said = subprocess.run(["ldd", *elves], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
    missing = [line.strip() for line in said.splitlines() if "not found" in line]
    if missing:
        raise image.SetupError(f"a library is missing: {missing[0]}")
    return {Path(match[1]) for match in _LIBRARY.finditer(said)}


def base_disk(cache: Path) -> Path:
    """The base disk for this machine's interpreter and QEMU, built once."""
    files, packages = [*interpreter_files(), *qemu_files(), *systemd_files()], package_files()
    extensions = [path for path in packages.values() if ".so" in path.suffixes]
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for name, path in [*((str(path), path) for path in files), *packages.items()]:
        about = path.stat()
        digest.update(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())

    def build(folder: Path) -> None:
        image.say("building the v2 guest's disk: interpreter, packages, QEMU, systemd, libraries")
        shared = libraries([*files, *extensions])
        needed = sorted({*files, *shared})
        tree = folder / "tree"
        for path in needed:
            copy(path, tree / str(path)[1:])
        for name, path in packages.items():
            copy(path, tree / "site" / name)
        compile_modules(tree / "site", "/site")
        copy(image.static_busybox(), tree / "bin" / "busybox")
        for name in ("proc", "sys", "dev", "tmp", "run", "etc", "root", "code"):
            (tree / name).mkdir(exist_ok=True)
        (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n")
        (tree / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
        (tree / "bin/sh").symlink_to("busybox")
        others = sorted({str(path.parent) for path in shared - {*extensions}} - _DEFAULT_FOLDERS)
        (tree / "etc/library-path").write_text(":".join(others))
        make_disk(tree, folder / "base.img", spare_mib=512)
        shutil.rmtree(tree)

    return image.make_folder(cache / f"v2base-{digest.hexdigest()[:16]}", build) / "base.img"


def copy(source: Path, target: Path) -> None:
    """The file behind ``source`` with its times, which keep compiled modules valid."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


# --- code: sources and tests -------------------------------------------------------------------------


def distributions() -> list[importlib.metadata.Distribution]:
    """Everything guestroom and the tests need at run time, themselves included, guestroom not."""
    own = Requirement("guestroom")
    waiting, found = [own, *map(Requirement, WANTED)], dict[str, importlib.metadata.Distribution]()
    while waiting:
        wanted = waiting.pop()
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(wanted.name)
        for text in found[name].requires or ():
            needed = Requirement(text)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    del found["guestroom"]
    return [found[name] for name in sorted(found)]


def code_disk(folder: Path, pytest_args: list[str], *, systemd: bool = False) -> Path:
    """A fresh disk with the code under test and the words for pytest; with ``systemd`` that is to be process 1."""
    tree = folder / "code"
    skipped = shutil.ignore_patterns("*.pyc.*", ".pytest_cache")
    for name in ("src", "tests", "packaging"):
        shutil.copytree(ROOT / name, tree / name, ignore=skipped)
    copy(ROOT / "pyproject.toml", tree / "pyproject.toml")
    copy(ROOT / "tools/inguest-main.sh", tree / "main.sh")
    for name in ("vmlinuz", "initrd.gz"):
        copy((Path(sys.prefix) / "guest-image" / name).resolve(), tree / "guest-image" / name)
    (tree / "arguments").write_text(" ".join(map(shlex.quote, pytest_args)))
    (tree / "python").write_text(str(Path(sys.executable).resolve()))
    compile_modules(tree / "src", "/code/src")
    if systemd:
        shutil.copytree(ROOT / "tools/inguest-systemd", tree / "systemd")
    disk = folder / "code.img"
    make_disk(tree, disk, spare_mib=64)
    return disk


# --- the guest ------------------------------------------------------------------------------------------------


def kernel_folder(cache: Path) -> Path:
    """The test guest's kernel with its modules; set-up has it already, unless somebody cleared the cache."""
    modules = hashlib.sha256(" ".join(image.module_order()).encode()).hexdigest()[:8]
    present = sorted(cache.glob(f"kernel-*-{modules}"))
    if present:
        return present[-1]
    package = image.newest_kernel_package()
    target = cache / f"kernel-{package.removeprefix('linux-image-')}-{modules}"
    return image.make_folder(target, lambda folder: image.unpack_kernel(package, folder))


def write_initramfs(kernel: Path, target: Path) -> None:
    """Busybox and the disk drivers: enough to reach the base disk."""
    files = {
        "init": ROOT / "tools/inguest-init.sh",
        "bin/busybox": image.static_busybox(),
        "modules/order": image.GUEST / "modules",
        **{f"modules/{path.name}": path for path in (kernel / "modules").iterdir()},
    }
    target.write_bytes(image.initramfs(files))


def argv(kernel: Path, initrd: Path, disks: Iterable[Path]) -> list[str]:
    """QEMU's command line. Disks are written to a snapshot that goes with it, so the cached one stays as it is."""
    words = [QEMU, "-M", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(RAM_MIB)]
    words += ["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none"]
    words += ["-kernel", str(kernel / "vmlinuz"), "-initrd", str(initrd)]
    words += ["-append", "console=ttyS0 loglevel=3 cgroup_no_v1=all panic=-1 mitigations=off systemd.show_status=0"]
    for number, disk in enumerate(disks):
        words += ["-drive", f"if=none,id=d{number},file={disk},format=raw,snapshot=on,cache=unsafe"]
        words += ["-device", f"virtio-blk-pci,drive=d{number}"]
    return words


def watch(words: list[str], prefix: str = "") -> int:
    """Run the guest, pass on what it says with ``prefix`` before each line, return the code it ends with."""
    code: int | None = None
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            for line in lines(process.stdout.fileno(), time.monotonic() + TIMEOUT_S):
                print(f"{prefix}{line}", flush=True)
                if line.startswith(MARK):
                    code = int(line.removeprefix(MARK))
        except TimeoutError:
            process.kill()
            print(f"inguest: no end after {TIMEOUT_S} s", file=sys.stderr)
            return 1
    if code is None:
        print(f"inguest: the guest ended (QEMU {process.returncode}) without a result", file=sys.stderr)
        return 1
    return code


def lines(fd: int, end_s: float) -> Iterator[str]:
    """Lines of ``fd`` until it is closed, the last one also without its end. Raises ``TimeoutError``."""
    rest = b""
    while True:
        if not select.select([fd], [], [], max(0.0, end_s - time.monotonic()))[0]:
            raise TimeoutError
        chunk = os.read(fd, 1 << 16)
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole if chunk or not rest else [*whole, rest]:
            yield line.decode(errors="replace").rstrip("\r")
        if not chunk:
            return


def boot(kernel: Path, base: Path, words: list[str], *, systemd: bool, prefix: str = "") -> int:
    """Boot with the code as it is now, test; the code pytest ended with."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="guestroom-inguest-") as name:
        folder = Path(name)
        write_initramfs(kernel, folder / "initrd.gz")
        code = code_disk(folder, words, systemd=systemd)
        what = f"{kernel.name} with systemd" if systemd else kernel.name
        image.say(f"disk ready after {time.monotonic() - began_s:.1f} s, booting {what}")
        return watch(argv(kernel, folder / "initrd.gz", (base, code)), prefix)


def main() -> int:
    """Run what was asked for, or both boots at once: the bare v2 kernel, and the one with systemd."""
    parser = argparse.ArgumentParser(description="Run tests/inguest on a booted cgroup v2 kernel.")
    parser.add_argument("--systemd", action="store_true", help="with systemd as process 1, for tests/inguest/systemd")
    parser.add_argument("pytest_args", nargs="*", help="words for pytest inside [all of tests/inguest]")
    arguments = parser.parse_args()
    cache, usual = image.cache_folder(), ["-q", "--must-run", "inguest"]
    words = arguments.pytest_args
    try:
        kernel, base = kernel_folder(cache), base_disk(cache)
        if words or arguments.systemd:
            return boot(kernel, base, words or [*usual, UNDER_SYSTEMD], systemd=arguments.systemd)
        with ThreadPoolExecutor(2) as threads:
            bare = threads.submit(boot, kernel, base, [*usual, "tests/inguest"], systemd=False)
            other = threads.submit(boot, kernel, base, [*usual, UNDER_SYSTEMD], systemd=True, prefix="systemd: ")
            return max(bare.result(), other.result())
    except image.SetupError as error:
        print(f"inguest: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
