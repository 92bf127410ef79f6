"""Files, standard input and sizes as commands read them."""

import io
import os
import sys
from pathlib import Path

import click
import pytest

from guestroom.cli.inputs import SIZE, SizeType, check_argv, read_again, read_text
from guestroom.errors import InputError, SizeError
from guestroom.units import GIB, MIB


def test_a_file_is_read_as_written(tmp_path: Path) -> None:
    """Text comes back unchanged, non-ASCII and line ends included."""
    file = tmp_path / "f"
    file.write_bytes("a\r\nü\n".encode())
    assert read_text(str(file)) == "a\r\nü\n"


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` reads what is piped in."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"piped")))
    assert read_text("-") == "piped"


def test_a_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stdin the error says so and names the way out."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="no standard input"):
        read_text("-")


@pytest.mark.parametrize("path", ["/nonexistent/file", "/", "nul\0byte", ""])
def test_what_cannot_be_read_is_wrong_input_with_its_name(path: str) -> None:
    """A missing file, a folder and an impossible name exit with 2, not with a traceback."""
    with pytest.raises(InputError, match="cannot read the input") as caught:
        read_text(path)
    assert caught.value.where == path


def test_an_endless_input_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless stdin is read up to one byte more than allowed and refused."""

    class Endless(io.BytesIO):
        def read(self, most: int | None = -1, /) -> bytes:
            assert most is not None
            assert 0 < most <= MIB + 1, "read without a limit"
            return b"x" * most

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Endless()))
    with pytest.raises(InputError, match=r"larger than 1\.0 MiB"):
        read_text("-", most_bytes=MIB)


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    """Exactly as many bytes as allowed are read; one more is refused."""
    file = tmp_path / "f"
    file.write_bytes(b"x" * 10)
    assert len(read_text(str(file), most_bytes=10)) == 10
    with pytest.raises(InputError, match="larger than 9 B"):
        read_text(str(file), most_bytes=9)


def test_bytes_that_are_no_text_are_named_by_line(tmp_path: Path) -> None:
    """Invalid UTF-8 is wrong input at its line."""
    file = tmp_path / "f"
    file.write_bytes(b"good\nbad \xff\n")
    with pytest.raises(InputError, match="byte 9") as caught:
        read_text(str(file))
    assert caught.value.where == f"{file}:2"


def test_size_options_give_bytes() -> None:
    """Binary units and plain bytes; an option's default that is bytes already stays."""
    assert SIZE.convert("1GiB", None, None) == GIB
    assert SIZE.convert("4096", None, None) == 4096
    assert SIZE.convert(7, None, None) == 7


def test_a_size_option_is_named_in_its_error() -> None:
    """``--ram 600M`` quotes both readings and says which option it was."""
    option = click.Option(["--ram"], type=SizeType())
    with pytest.raises(SizeError, match=r"629,145,600 bytes and 600 x 10\^6 is 600,000,000") as caught:
        SIZE.convert("600M", option, None)
    assert caught.value.where == "--ram"


def test_what_is_read_again_is_a_regular_file_read_whole(tmp_path: Path) -> None:
    """Text up to the limit comes back whole; one byte more is refused, never cut off."""
    file = tmp_path / "f"
    file.write_text("x" * 10)
    assert read_again(str(file), most_bytes=10) == "x" * 10
    with pytest.raises(InputError, match="larger than 9"):
        read_again(str(file), most_bytes=9)


def test_what_says_nothing_twice_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO without a writer, a folder, a device and a missing file are wrong input by name, without waiting."""
    os.mkfifo(tmp_path / "fifo")
    for path in (str(tmp_path / "fifo"), str(tmp_path), "/dev/null", str(tmp_path / "none")):
        with pytest.raises(InputError, match="cannot read the input") as caught:
            read_again(path, most_bytes=10)
        assert caught.value.where == path


def test_arguments_that_cannot_be_sent_are_named_by_number() -> None:
    """A byte that is no UTF-8 (a surrogate in Python's argv) is wrong input with its place; other text passes."""
    check_argv(["qemu", "-name", "ü"])
    with pytest.raises(InputError, match=r"argument 2 .*udcff"):
        check_argv(["qemu", "-name", "\udcff"])
