"""The runner of the v2 guest believes only a result it was told: whatever else happens is a failure."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import tree


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``tools/inguest.py``."""
    monkeypatch.syspath_prepend(str(tree.ROOT / "tools"))
    import inguest

    return inguest


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("1 passed\\n\\n@@INGUEST 0\\n", 0),
        ("1 failed\\r\\n@@INGUEST 1\\r\\n", 1),
        ("@@INGUEST 5", 5),
        ("1 passed\\n", 1),
        ("", 1),
        ("passed @@INGUEST 0\\n", 1),
    ],
)
def test_only_the_guests_own_last_line_counts(runner: ModuleType, said: str, code: int) -> None:
    """The exit code is the one the guest printed on a line of its own; a guest that ends without it has failed."""
    assert runner.watch(["sh", "-c", f"printf '{said}'"]) == code


def test_what_two_guests_say_is_told_apart(runner: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line of the second guest carries its prefix; its result counts all the same."""
    assert runner.watch(["sh", "-c", "printf '2 passed\\n@@INGUEST 0\\n'"], "systemd: ") == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["systemd: 2 passed", "systemd: @@INGUEST 0"]


def test_one_boot_that_fails_is_enough(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both boots run; the worse of their codes is the whole's."""
    codes = {False: 0, True: 1}
    monkeypatch.setattr(runner, "kernel_folder", lambda cache: cache)
    monkeypatch.setattr(runner, "base_disk", lambda cache: cache)
    monkeypatch.setattr(runner, "boot", lambda *_, systemd, prefix="": codes[systemd])
    monkeypatch.setattr(sys, "argv", ["inguest.py"])
    assert runner.main() == 1
    codes.update({False: 2, True: 0})
    assert runner.main() == 2
    codes[False] = 0
    assert runner.main() == 0


def test_a_guest_that_hangs_is_ended(runner: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that neither speaks nor ends is killed when its time is up, and has failed."""
    monkeypatch.setattr(runner, "TIMEOUT_S", 0.3)
    began_s = time.monotonic()
    assert runner.watch(["sleep", "60"]) == 1
    assert time.monotonic() - began_s < 10


def test_what_goes_into_the_guest_runs_there(runner: ModuleType) -> None:
    """The disks hold this interpreter with its loader, QEMU with its firmware, systemd, and what the tests import."""
    names = {path.name for path in (*runner.interpreter_files(), *runner.qemu_files(), *runner.systemd_files())}
    assert {"qemu-system-x86_64", "bios-256k.bin", "argparse.py", "systemd", "systemctl"} <= names
    loaders = runner.libraries([Path(sys.executable).resolve()])
    assert any("ld-linux" in path.name for path in loaders)
    packages = {distribution.name.lower() for distribution in runner.distributions()}
    assert {"pytest", "hypothesis", "fastapi", "pydantic-core", "qemu.qmp"} <= {p.replace("_", "-") for p in packages}
    assert "guestroom" not in packages
