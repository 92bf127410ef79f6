"""The same guest in two formats: libvirt's domain XML against the command line that libvirt makes of it.

libvirt's own tests hold about a thousand domains, most of them with their command line. They are not ours to keep, so
this fetches the Debian source package (or takes an unpacked one), describes each pair both ways, compares RAM, vCPUs
and device counts, and writes the report. A difference that has no cause below fails it.

    python -m tools.libvirt_corpus [--tests FOLDER] [--report FILE]
"""

from __future__ import annotations

import argparse
import collections
import glob
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from guestroom.describe import from_libvirt, from_qemu_argv
from guestroom.errors import GuestroomError
from guestroom.guest import Guest

REPORT = Path(__file__).parent.parent / "docs" / "reference" / "libvirt-agreement.md"
DATA = "tests/qemuxml2argvdata"
OLD_Q35 = "which USB controllers libvirt adds to q35 depends on the QEMU of the test, which the XML does not say"
CAUSES: dict[tuple[str, str], str] = {
    **{
        (name, "USB controllers"): OLD_Q35
        for name in ("cpu-host-model", "q35", "vcpu-placement-static", "pcihole64-q35")
    },
    **{(name, "USB controllers"): OLD_Q35 for name in ("pcie-root", "pcie-root-port", "pcie-expander-bus")},
    **{(f"pcie-root-port-model-{name}", "USB controllers"): OLD_Q35 for name in ("generic", "ioh3420")},
    **{(f"pcie-switch-{name}-port", "USB controllers"): OLD_Q35 for name in ("downstream", "upstream")},
    **{(name, "USB controllers"): OLD_Q35 for name in ("q35-pm-disable", "q35-pm-disable-fallback")},
    ("cpu-hotplug-startup", "vCPUs"): "libvirt starts one vCPU and plugs the others before the guest runs",
    ("default-video-type-ppc64", "USB devices"): "libvirt adds a USB keyboard and mouse to ppc64 with graphics",
    ("user-aliases", "USB devices"): "libvirt adds a second CCID controller, as the first is full",
    ("disk-transient", "disks"): "a transient disk with a shared backing is plugged after the start",
    (
        "migrate-numa-unaligned",
        "RAM",
    ): "an incoming migration from a libvirt that did not round, with cells above the RAM",
    ("migrate-numa-unaligned", "boot RAM"): "an incoming migration from a libvirt that did not round",
    **{
        ("disk-transient", f"disk {figure}"): "a transient disk with a shared backing is plugged after the start"
        for figure in ("AIO", "L2 caches", "caches", "formats", "queues")
    },
    ("disk-source-pool", "disk formats"): "the pool is asked for the format when the guest starts",
    ("disk-source-pool-mode", "disk formats"): "the pool is asked for the format when the guest starts",
    ("net-many-models", "network queues"): "two models that no QEMU has: the command line is not one that would start",
    ("fd-memory-no-numa-topology", "shared RAM"): "the QEMU of the test can't share RAM without a NUMA node",
    ("net-many-models", "networks"): "two models that no QEMU has: the command line is not one that would start",
    ("memory-hotplug-nvdimm-ppc64", "boot RAM"): "NVDIMMs on ppc64 are cut to the label's alignment",
    ("memory-hotplug-nvdimm-ppc64-abi-update", "boot RAM"): "NVDIMMs on ppc64 are cut to the label's alignment",
    ("memory-hotplug-ppc64-nonuma-abi-update", "boot RAM"): "ppc64 DIMMs as an older ABI rounded them",
    ("fd-memory-numa-topology2", "command line"): "its -smp is one that QEMU refuses (sockets x cores x threads)",
    ("fd-memory-numa-topology3", "command line"): "its -smp is one that QEMU refuses (sockets x cores x threads)",
    ("vhost_queues-invalid", "XML"): "it is meant to be refused: a negative number of queues",
}
UNTOLD = "libvirt tells QEMU no video memory for Cirrus, nor a QEMU of the test that has no such property"
FIGURES: Mapping[str, Callable[[Guest], object]] = {
    "RAM": lambda guest: guest.ram_bytes,
    "boot RAM": lambda guest: guest.boot_ram_bytes,
    "vCPUs": lambda guest: guest.vcpus,
    "vCPUs at most": lambda guest: guest.max_vcpus,
    "disks": lambda guest: len(guest.disks),
    "networks": lambda guest: len(guest.nics),
    "graphics": lambda guest: len(guest.videos),
    "passed-through devices": lambda guest: len(guest.passthrough),
    "iothreads": lambda guest: guest.iothreads,
    "shares": lambda guest: guest.shares,
    "USB controllers": lambda guest: guest.usb_controllers,
    "USB devices": lambda guest: guest.usb_devices,
    "TPM": lambda guest: guest.tpm,
    "balloon": lambda guest: guest.balloon,
    "sound cards": lambda guest: guest.sounds,
    "NUMA nodes": lambda guest: guest.numa_nodes,
    "disk formats": lambda guest: sorted(disk.format or "?" for disk in guest.disks),
    "disk caches": lambda guest: sorted(disk.cache or "?" for disk in guest.disks),
    "disk AIO": lambda guest: sorted(disk.aio or "?" for disk in guest.disks),
    "disk queues": lambda guest: sorted(disk.queues or 0 for disk in guest.disks),
    "disk L2 caches": lambda guest: sorted(disk.l2_cache_bytes or 0 for disk in guest.disks),
    "read-only disks": lambda guest: sum(disk.read_only for disk in guest.disks),
    "network queues": lambda guest: sorted(nic.queues or 0 for nic in guest.nics),
    "networks with vhost": lambda guest: sum(nic.vhost for nic in guest.nics),
    "video memory": lambda guest: sorted(video.vga_bytes or 0 for video in guest.videos),
    "displays": lambda guest: sorted(guest.displays),
    "RAM in huge pages": lambda guest: guest.hugepages,
    "shared RAM": lambda guest: sum(
        one.size_bytes or 0 for one in guest.memory_backends if one.backs_ram and one.share
    ),
    "locked RAM": lambda guest: guest.mem_lock,
    "accelerator": lambda guest: guest.accelerator,
}


def cause_of(name: str, figure: str, seen: str) -> str | None:
    """Why a figure differs; None where nobody knows."""
    untold = figure == "video memory" and seen.endswith("command line [0]")
    return CAUSES.get((name, figure)) or (UNTOLD if untold else None)


@dataclass(slots=True)
class Result:
    """What came of the corpus."""

    xmls: int = 0
    pairs: int = 0
    seconds: float = 0.0
    agree: collections.Counter[str] = field(default_factory=collections.Counter)
    differ: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, figure, what each side says."""

    @property
    def unexplained(self) -> list[tuple[str, str, str]]:
        """Differences without a cause."""
        return [one for one in self.differ if cause_of(*one) is None]


def fetch(folder: Path) -> Path:
    """The test data of Debian's libvirt source package. Raises ``CalledProcessError`` where it can't be had."""
    parts = folder / "sources.list.d"
    parts.mkdir()
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*.[ls]*")]:
        if path.exists():
            # This host's own archives, with their sources.
            text = re.sub(r"(?m)^(Types: +)?deb(?=[ \n])", lambda found: f"{found[1] or ''}deb-src", path.read_text())
            (parts / path.name).write_text(text)
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    places = {"Etc::sourcelist": "/dev/null", "Etc::sourceparts": parts, "State::lists": folder / "lists"}
    options = [word for key, value in places.items() for word in ("-o", f"Dir::{key}={value}")]
    options += ["-o", f"Dir::Cache={folder / 'cache'}"]
    for verb in (["update"], ["source", "--download-only", "libvirt"]):
        subprocess.run(["apt-get", "-qq", *options, *verb], cwd=folder, check=True)
    (archive,) = folder.glob("libvirt_*.orig.tar.xz")
    with tarfile.open(archive) as tar:
        members = [member for member in tar if f"/{DATA}/" in member.name and (member.isreg() or member.issym())]
        tar.extractall(folder, members, filter="data")
    (found,) = folder.glob(f"libvirt-*/{DATA}")
    return found


def argv_of(text: str) -> list[str]:
    """The command line of an ``.args`` file, without the environment before it."""
    words = shlex.split(text.replace("\\\n", " "))
    return words[next(i for i, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)) :]


def pairs(data: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Name, XML, and the command lines libvirt made of it."""
    for xml in sorted(data.glob("*.xml")):
        lines = [data / f"{xml.stem}.args", *sorted(data.glob(f"{glob.escape(xml.stem)}.*-latest.args"))]
        yield xml.stem, xml.read_text(), [path.read_text() for path in lines if path.exists()]


def compare(data: Path) -> Result:
    """Describe everything both ways."""
    result = Result()
    for name, xml, lines in pairs(data):
        result.xmls += 1
        began_s = time.perf_counter()
        try:
            guest = from_libvirt(xml)
        except GuestroomError as error:
            result.differ.append((name, "XML", error.line()))
            continue
        finally:
            result.seconds += time.perf_counter() - began_s
        for text in lines:
            try:
                other = from_qemu_argv(argv_of(text))
            except GuestroomError as error:
                result.differ.append((name, "command line", error.line()))
                continue
            result.pairs += 1
            _hold(result, name, guest, other)
    return result


def _hold(result: Result, name: str, guest: Guest, other: Guest) -> None:
    for figure, of in FIGURES.items():
        if of(guest) == of(other):
            result.agree[figure] += 1
        else:
            result.differ.append((name, figure, f"XML {of(guest)}, command line {of(other)}"))


def report(result: Result) -> str:
    """The page."""
    lines = [
        "# libvirt's XML against libvirt's command lines",
        "",
        "<!-- docs: generated by tools/libvirt_corpus.py; edit there or in the code -->",
        "",
        f"{result.xmls} domains of libvirt's own tests (Debian's source package) were described, the {result.pairs} "
        "command lines that libvirt makes of them read, both compared; `python -m tools.libvirt_corpus` does it again.",
        "",
        "| figure | agree | differ |",
        "|---|---|---|",
    ]
    for figure in FIGURES:
        count = sum(1 for _, what, _ in result.differ if what == figure)
        lines.append(f"| {figure} | {result.agree[figure]} | {count} |")
    lines += ["", "## What differs, and why", "", "| domain | figure | seen | cause |", "|---|---|---|---|"]
    for name, figure, seen in sorted(set(result.differ)):
        text = seen.replace("|", "\\|")
        lines.append(f"| `{name}` | {figure} | {text} | {cause_of(name, figure, seen) or '**not explained**'} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Fetch, compare, write; 1 where a difference has no cause."""
    parser = argparse.ArgumentParser(prog="python -m tools.libvirt_corpus", description=__doc__)
    parser.add_argument("--tests", type=Path, metavar="FOLDER", help=f"an unpacked {DATA}; else it is fetched")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="guestroom-corpus-") as folder:
        result = compare(options.tests or fetch(Path(folder)))
    options.report.write_text(report(result))
    rate = result.seconds / max(1, result.xmls) * 1e3
    print(
        f"{result.xmls} XML files ({rate:.2f} ms each), {result.pairs} pairs, {len(result.differ)} differences", end=""
    )
    print(f", {len(result.unexplained)} not explained")
    for name, figure, seen in result.unexplained:
        print(f"  {name}: {figure}: {seen}")
    return 1 if result.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
