"""What ``guestroom describe`` says of a description."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from guestroom.cli.main import cli

ARGV = [
    *("qemu-system-x86_64", "-nodefaults", "-name", "web", "-m", "1G,maxmem=4G", "-smp", "2,maxcpus=4", "-M", "q35"),
    *("-accel", "tcg,tb-size=32", "-device", "virtio-blk-pci,drive=d0,queue-size=64"),
    *("-drive", "file=/a.qcow2,format=qcow2,if=none,id=d0,cache=none,l2-cache-size=8M"),
    *("-netdev", "user,id=n", "-device", "e1000,netdev=n", "-object", "memory-backend-ram,id=x,size=64M"),
    *(
        "-device",
        "virtio-balloon-pci",
        "-vga",
        "qxl",
        "-display",
        "none",
        "-kernel",
        "/vmlinuz",
        "-nonsense",
        "3",
        "-S",
    ),
]


def said(*words: str, stdin: str | None = None) -> str:
    """What the command prints."""
    done = CliRunner().invoke(cli, ["describe", *words], input=stdin)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_everything_understood_is_told_and_the_rest_named() -> None:
    """RAM, vCPUs, buffer, objects, disk, network, graphics, flags, files, and the option nobody knows."""
    lines = said("--", *ARGV).splitlines()
    assert "name: web" in lines
    assert "RAM promised: 4.0 GiB, at boot 1.0 GiB" in lines
    assert "vCPUs: 2, at most 4" in lines
    assert "machine: q35, x86_64, accelerator tcg" in lines
    assert "TCG code buffer: 32.0 MiB" in lines
    assert "memory object: x (ram), 64.0 MiB, backs no guest RAM" in lines
    assert "disk: d0, qcow2, virtio-blk, cache=none, queue size 64, L2 cache 8.0 MiB" in lines
    assert "network: e1000, user" in lines
    assert "graphics: qxl" in lines
    assert "also: balloon, starts paused" in lines
    assert "kernel: /vmlinuz" in lines
    assert any(line.startswith("passed over: ") and "-nonsense" in line for line in lines)


def test_libvirt_and_readconfig_come_from_files_or_stdin(tmp_path: Path) -> None:
    """The same words for every format."""
    xml = "<domain type='qemu'><name>v</name><memory unit='GiB'>2</memory><vcpu>2</vcpu></domain>"
    (tmp_path / "d.xml").write_text(xml)
    assert "RAM promised: 2.0 GiB" in said("--libvirt", str(tmp_path / "d.xml"))
    assert "name: v" in said("--libvirt", "-", stdin=xml)
    machine = "kind: VirtualMachineInstance\nspec: {domain: {memory: {guest: 3Gi}}}"
    assert "RAM promised: 3.0 GiB" in said("--kubevirt", "-", stdin=machine)
    assert "RAM promised: 512.0 MiB" in said("--readconfig", "-", stdin='[memory]\n  size = "512"\n')


def test_json_is_the_whole_guest() -> None:
    """Every field, unknown ones null."""
    found = json.loads(said("--json", "--", *ARGV))
    assert found["ram_bytes"] == 4 << 30
    assert found["firmware"] is None
    assert [disk["id"] for disk in found["disks"]] == ["d0"]


def test_what_is_not_said_is_not_known() -> None:
    """A file nobody reads leaves RAM unknown."""
    assert "RAM promised: not known" in said("--libvirt", "-", stdin="<domain/>")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "no guest is described"),
        (["--libvirt", "/no/such"], "cannot read"),
        (["--libvirt", "-", "--", "x"], "one way"),
        (["--kubevirt", "-", "--libvirt", "-"], "one way"),
        (["--kubevirt", "-"], "0 machines"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], expected: str) -> None:
    """Exit code 2 and what to do."""
    done = CliRunner().invoke(cli, ["describe", *words], input="")
    assert done.exit_code == 2
    assert expected in done.stderr
