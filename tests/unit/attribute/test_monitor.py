"""What QEMU says of its own memory on its monitor."""

from __future__ import annotations

from guestroom.attribute.monitor import block_names, job_names

OF_7_2 = """\
              Block Name    PSize              Offset               Used              Total
                  pc.ram    4 KiB  0x0000000002000000 0x0000000010000000 0x0000000010000000
                            4 KiB  0x0000000000000000 0x0000000002000000 0x0000000002000000
    /rom@etc/acpi/tables    4 KiB  0x0000000013100000 0x0000000000020000 0x0000000000200000
                 pc.bios    4 KiB  0x0000000012000000 0x0000000000040000 0x0000000000040000
0000:00:02.0/virtio-net-pci.rom    4 KiB  0x00000000130c0000 0x0000000000040000 0x0000000000040000
"""
OF_8_2 = """\
              Block Name    PSize              Offset               Used              Total                HVA  RO
                  pc.ram    4 KiB  0x0000000000000000 0x0000000008000000 0x0000000008000000 0x00007fe5b3e00000  rw
"""


def test_names_are_found_by_size() -> None:
    """What QEMU 7.2 prints: blocks of one size share a line, one without a name is left out."""
    assert block_names(OF_7_2) == {
        256 << 20: "pc.ram",
        2 << 20: "/rom@etc/acpi/tables",
        256 << 10: "0000:00:02.0/virtio-net-pci.rom, pc.bios",
    }


def test_newer_columns_do_no_harm() -> None:
    """Columns that later versions add behind are left alone."""
    assert block_names(OF_8_2) == {128 << 20: "pc.ram"}


def test_what_is_not_understood_names_nothing() -> None:
    """Another heading, cut lines and no text at all give no names and no error."""
    assert block_names("") == {}
    assert block_names("unknown command: 'info ramblock'") == {}
    assert block_names(OF_7_2.splitlines()[0] + "\n pc.ram 4 KiB 0x0 0x0 nonsense\n pc.ram 4 KiB\n") == {}


def test_jobs_are_named() -> None:
    """Each running block job by type and device; an answer of another shape names nothing."""
    assert job_names([{"type": "mirror", "device": "d0", "len": 1}, {"type": "backup"}, 3]) == ("mirror of d0",)
    assert job_names(None) == ()
