"""Files made to hurt: ``size`` and ``describe`` answer in one line that names the file, and exit with 2."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from guestroom.cli.main import cli

FORMATS = ("--readconfig", "--libvirt", "--kubevirt")
BAD: dict[str, bytes] = {
    "binary": bytes(range(256)) * 100,
    "text with NUL": b'[memory]\n  size = "1\0"\n',
    "not UTF-8": b"caf\xe9\n" * 10,
    "large": b" " * (17 << 20),
    "bomb": b"<!DOCTYPE a [<!ENTITY a 'b'>]><domain>&a;</domain>",
    "deep XML": b"<domain>" * 1000,
    "deep JSON": b'{"a":' * 1000,
    "deep YAML": b"spec: " + b"[" * 1000,
    "aliases": b"a: &a [x]\nb: [*a, *a]\n",
    "cut off": b"<domain><memory>1</memory>",
}


@pytest.mark.parametrize("command", ["size", "describe"])
@pytest.mark.parametrize("option", FORMATS)
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_with_its_name(command: str, option: str, name: str, tmp_path: Path) -> None:
    """Exit code 2, no traceback, on stderr ``guestroom: ...`` with the file, and the same as JSON."""
    path = tmp_path / "guest.txt"
    path.write_bytes(BAD[name])
    result = CliRunner().invoke(cli, [command, "--json", option, str(path)])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert str(path) in result.stderr
    assert "Traceback" not in result.output
    assert json.loads(result.stdout)["error"]["where"].startswith(str(path))


@pytest.mark.parametrize("option", FORMATS)
@pytest.mark.parametrize("path", ["/dev/zero", "/", "/nowhere/guest", "a\0b"])
def test_what_is_no_file_is_refused_too(option: str, path: str) -> None:
    """An endless device, a folder, nothing, and a name no file can have."""
    result = CliRunner().invoke(cli, ["size", option, path])
    assert result.exit_code == 2
    assert result.stderr.startswith("guestroom: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.skipif(os.name != "posix", reason="names are bytes only there")
def test_a_name_that_no_encoding_has_is_shown_as_escapes(tmp_path: Path) -> None:
    """JSON may say a lone surrogate: it is printed as an escape in text and in JSON."""
    path = tmp_path / "vm.json"
    path.write_text(
        '{"kind":"VirtualMachineInstance","metadata":{"name":"\\ud800"},"spec":{"domain":{"memory":{"guest":"1Gi"}}}}'
    )
    for extra in ([], ["--json"], ["--svg", str(tmp_path / "a.svg")]):
        result = CliRunner().invoke(cli, ["size", "--kubevirt", str(path), *extra])
        assert result.exit_code == 0, result.output
        assert "\\ud800" in result.stdout
