"""Real descriptions, broken at random: each reader reads the rest or refuses it in one line, and never crashes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guestroom.describe import burst_bytes, from_kubevirt, from_libvirt, from_qemu_argv, from_readconfig
from guestroom.describe.qcow2 import parse_header
from guestroom.errors import GuestroomError
from guestroom.guest import Guest
from guestroom.size import estimate, policies

RECORDED = Path(__file__).parents[1] / "readers" / "describe"
XML = """<?xml version="1.0" encoding="UTF-8"?>
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web</name><memory unit='GiB'>2</memory><maxMemory slots='4' unit='GiB'>8</maxMemory>
  <memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages><access mode='shared'/></memoryBacking>
  <vcpu current='2'>4</vcpu><iothreads>2</iothreads><os firmware='efi'><type arch='x86_64'>hvm</type></os>
  <cpu><numa><cell id='0' memory='1048576' memAccess='shared'/><cell id='1' memory='1048576'/></numa></cpu>
  <devices>
    <disk type='file'><driver type='qcow2' cache='none' queues='2'><metadata_cache><max_size unit='MiB'>4</max_size>
    </metadata_cache></driver><source file='/a'/><target dev='vda' bus='virtio'/></disk>
    <controller type='scsi' index='0'><driver queues='4' cmd_per_lun='8'/></controller>
    <interface type='bridge'><model type='virtio'/><driver queues='2'/></interface>
    <video><model type='qxl' ram='65536' vram='65536' heads='2'/></video><graphics type='vnc'/>
    <memory model='dimm'><target><size unit='MiB'>512</size><node>1</node></target></memory>
    <hostdev type='pci'><source><address domain='0' bus='1' slot='0' function='0'/></source></hostdev>
  </devices>
  <qemu:commandline><qemu:arg value='-device'/><qemu:arg value='virtio-blk-pci,drive=x'/></qemu:commandline>
</domain>
"""
MACHINE = {
    "kind": "VirtualMachine",
    "metadata": {"name": "web"},
    "spec": {
        "template": {
            "spec": {
                "architecture": "amd64",
                "domain": {
                    "cpu": {"cores": 2, "maxSockets": 4},
                    "memory": {"guest": "4Gi", "hugepages": {"pageSize": "2Mi"}},
                    "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}, "limits": {"cpu": 2}},
                    "devices": {
                        "disks": [{"name": "a", "disk": {"bus": "virtio"}, "cache": "none"}],
                        "interfaces": [{"name": "n", "masquerade": {}}],
                        "tpm": {},
                    },
                },
                "volumes": [{"name": "a", "containerDisk": {"image": "i"}}, {"name": "b", "emptyDisk": {}}],
            }
        }
    },
}
YAML = """kind: VirtualMachineInstance
metadata: {name: web}
spec:
  domain:
    cpu:
      cores: 2
    memory: {guest: 4Gi}
    devices:
      disks:
      - name: a
        disk: {bus: virtio}
  volumes:
  - name: a
    persistentVolumeClaim: {claimName: c}
"""
BITS = r"""
\x00 \ud800 \ufeff &a; <!DOCTYPE[<!ENTITY]> ]]> <![CDATA[ <?x?> *a &a !!python/object:os.system <<: %TAG --- -1 1e999
0x NaN \\ud800 " ' ,, = \n \t \u0660 \u2028 no 010 [memory] ] }
"""
HOSTILE = st.sampled_from([bit.encode().decode("unicode_escape") for bit in BITS.split()]) | st.sampled_from(
    ["9" * 400, "{" * 70, "[" * 70]
)
EDIT = st.tuples(
    st.sampled_from(["cut", "double", "put", "swap"]), st.floats(0, 1), st.floats(0, 1), HOSTILE | st.characters()
)


def _broken(text: str, edits: list[tuple[str, float, float, str]]) -> str:
    """``text`` after some cuts, doublings, insertions and replacements."""
    for how, at, width, bit in edits:
        start = int(at * len(text))
        end = start + int(width * width * 60)
        match how:
            case "cut":
                text = text[:start] + text[end:]
            case "double":
                text = text[:end] + text[start:end] + text[end:]
            case "put":
                text = text[:start] + bit + text[start:]
            case _:
                text = text[:start] + bit + text[start + 1 :]
    return text


def _sized(read: Callable[[str], Guest], text: str) -> None:
    """Read it, and hold its figures: none is negative, and every policy sizes it or refuses."""
    found = read(text)
    assert found.ram_bytes is None or found.ram_bytes >= 0
    assert min(found.iothreads, found.shares, found.usb_devices, found.sounds, found.numa_nodes) >= 0
    assert burst_bytes(found) >= 0
    for policy in policies():
        assert estimate(found, policy).overhead_bytes >= 0


def _held(read: Callable[[str], Guest], text: str) -> None:
    """It is a guest whose figures are sane, or one error of one line."""
    refused: GuestroomError | None = None
    try:
        _sized(read, text)
    except GuestroomError as error:
        refused = error
    if refused is not None:
        assert "\n" not in refused.line()
        assert len(refused.line()) < 2000
        assert refused.exit_code == 2


BROKEN = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
EDITS = st.lists(EDIT, max_size=5)


@BROKEN
@given(edits=EDITS)
def test_a_broken_domain_is_read_or_refused(edits: list[tuple[str, float, float, str]]) -> None:
    """libvirt's XML: entities, encodings, counts and sizes included."""
    _held(from_libvirt, _broken(XML, edits))


@BROKEN
@given(edits=EDITS)
def test_a_broken_machine_in_json_is_read_or_refused(edits: list[tuple[str, float, float, str]]) -> None:
    """KubeVirt's JSON: depth, duplicates and numbers beyond any included."""
    _held(from_kubevirt, _broken(json.dumps(MACHINE, indent=1), edits))


@BROKEN
@given(edits=EDITS)
def test_a_broken_machine_in_yaml_is_read_or_refused(edits: list[tuple[str, float, float, str]]) -> None:
    """KubeVirt's YAML: anchors, tags and YAML 1.1's traps included."""
    _held(from_kubevirt, _broken(YAML, edits))


@BROKEN
@given(edits=EDITS)
def test_a_broken_configuration_is_read_or_refused(edits: list[tuple[str, float, float, str]]) -> None:
    """EVE's -readconfig file."""
    _held(from_readconfig, _broken((RECORDED / "eve.cfg").read_text(), edits))


@BROKEN
@given(edits=EDITS, name=st.sampled_from(["libvirt", "proxmox", "kata"]))
def test_a_broken_command_line_is_read_or_refused(edits: list[tuple[str, float, float, str]], name: str) -> None:
    """Recorded command lines, their JSON forms included."""
    _held(lambda text: from_qemu_argv(text.split("\n")), _broken((RECORDED / f"{name}.argv").read_text(), edits))


@given(head=st.binary(max_size=120), magic=st.booleans())
def test_any_image_header_is_figures_or_none(head: bytes, magic: bool) -> None:
    """Images are their guests' own: no header makes a division by nothing or a cache below none."""
    found = parse_header((b"QFI\xfb\x00\x00\x00\x03" if magic else b"") + head)
    assert found is None or found.l2_cache_bytes() > 0
