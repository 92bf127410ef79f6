"""Command lines as a whole."""

from __future__ import annotations

import pytest

from guestroom.describe import from_qemu_argv
from guestroom.errors import DescribeError
from guestroom.guest import Guest
from guestroom.units import GIB, MIB


def described(text: str) -> Guest:
    """The guest of a command line written with spaces."""
    return from_qemu_argv(text.split())


def test_with_and_without_the_program() -> None:
    """The program in front changes only what its name says."""
    assert described("qemu-system-x86_64 -m 1G").ram_bytes == described("-m 1G").ram_bytes == GIB
    assert described("/usr/bin/qemu-system-aarch64 -m 1G").arch == "aarch64"
    assert described("-m 1G").arch is None


def test_an_unread_configuration_file_leaves_ram_unknown() -> None:
    """Without read_file a -readconfig guest's RAM and vCPUs are None, not zero and not the default."""
    guest = described("qemu-system-x86_64 -readconfig vm.cfg")
    assert (guest.ram_bytes, guest.boot_ram_bytes, guest.vcpus, guest.max_vcpus) == (None, None, None, None)
    # Even a size after the file: the file may set maxmem.
    assert described("-readconfig vm.cfg -m 1G").ram_bytes is None


def test_a_configuration_file_counts_where_it_stands() -> None:
    """Options before the file are overridden by it, options after it override it."""
    config = '[memory]\n size = "300"\n[smp-opts]\n cpus = "2"\n'
    before = from_qemu_argv(["-m", "100", "-readconfig", "c"], read_file=lambda _: config)
    after = from_qemu_argv(["-readconfig", "c", "-m", "100", "-smp", "4"], read_file=lambda _: config)
    assert (before.ram_bytes, before.vcpus) == (300 * MIB, 2)
    assert (after.ram_bytes, after.vcpus) == (100 * MIB, 4)


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file or directory"), PermissionError(13, "denied")])
def test_a_configuration_file_that_fails_is_named(error: OSError) -> None:
    """An OSError of read_file becomes a DescribeError that names the file and the argument."""

    def read_file(path: str) -> str:
        raise error

    with pytest.raises(DescribeError) as caught:
        from_qemu_argv(["-S", "-readconfig", "vm.cfg"], read_file=read_file)
    assert "vm.cfg" in caught.value.message
    assert (error.strerror or "?") in caught.value.message
    assert caught.value.where == "argument 2: '-readconfig vm.cfg'"


def test_errors_in_a_configuration_file_name_file_and_line() -> None:
    """A mistake inside the file points there and not at the argument."""
    with pytest.raises(DescribeError) as caught:
        from_qemu_argv(["-readconfig", "vm.cfg"], read_file=lambda _: '[memory]\n size = "x"\n')
    assert caught.value.where == "vm.cfg:2"


def test_errors_quote_the_argument() -> None:
    """A malformed size names its argument and quotes the text."""
    with pytest.raises(DescribeError) as caught:
        described("qemu-system-x86_64 -S -m 600MB")
    assert caught.value.where == "argument 2: '-m 600MB'"
    assert "'600MB'" in caught.value.message
    assert caught.value.exit_code == 2


def test_unknown_options_are_kept() -> None:
    """Options nobody knows are kept as written and nothing else is lost."""
    guest = described("-m 1G -frobnicate all -zap -smp 2")
    assert guest.unknown == ("-frobnicate all", "-zap")
    assert (guest.ram_bytes, guest.vcpus) == (GIB, 2)


def test_what_steers_the_start_is_seen() -> None:
    """-S, -incoming, -daemonize, -name, -kernel, -initrd and -bios are found."""
    text = "-S -incoming defer -daemonize -name guest=web,debug-threads=on -kernel k -initrd i -bios b"
    guest = described(text)
    assert (guest.paused, guest.incoming, guest.daemonize) == (True, True, True)
    assert (guest.name, guest.kernel, guest.initrd, guest.firmware) == ("web", "k", "i", "b")
    plain = described("-m 1G")
    assert (plain.paused, plain.incoming, plain.daemonize, plain.name) == (False, False, False, None)


@pytest.mark.parametrize(
    ("text", "accelerator"),
    [
        ("-accel kvm -accel tcg", "kvm"),
        ("-accel tcg,thread=multi", "tcg"),
        ("-machine q35,accel=kvm:tcg", "kvm"),
        ("-enable-kvm", "kvm"),
        ("qemu-kvm -m 1G", "kvm"),
        ("qemu-system-x86_64 -m 1G", None),
    ],
)
def test_the_first_accelerator_counts(text: str, accelerator: str | None) -> None:
    """The accelerator QEMU tries first, in every way to name it; None where nothing says."""
    assert described(text).accelerator == accelerator


def test_the_code_buffer_counts_mebibytes() -> None:
    """tb-size=32 is 32 MiB; 0 leaves it to QEMU."""
    assert described("-accel tcg,tb-size=32").tb_bytes == 32 * MIB
    assert described("-accel tcg,tb-size=0").tb_bytes is None


def test_set_changes_what_was_said_before() -> None:
    """-set changes an earlier drive; one that names nothing is kept as unknown."""
    guest = described("-drive file=a.img,id=d,if=none -set drive.d.format=raw -set drive.x.format=raw")
    assert guest.disks[0].format == "raw"
    assert guest.unknown == ("-set drive.x.format=raw",)


def test_a_brace_is_json_only_where_qemu_says_so() -> None:
    """-device takes JSON, -name takes any text."""
    assert from_qemu_argv(["-name", "{web}"]).name == "{web}"
    assert from_qemu_argv(["-device", '{"driver": "virtio-balloon-pci", "id": "b"}']).balloon
    with pytest.raises(DescribeError):
        from_qemu_argv(["-device", "{driver"])


def test_newlines_are_just_characters() -> None:
    """A kernel command line of several lines is no error."""
    assert from_qemu_argv(["-kernel", "k", "-append", "a\nb"]).kernel == "k"


def test_an_empty_command_line_is_qemus_default_guest() -> None:
    """Nothing said: 128 MiB and one vCPU, as QEMU starts it."""
    guest = from_qemu_argv([])
    assert (guest.ram_bytes, guest.vcpus, guest.max_vcpus) == (128 * MIB, 1, 1)
