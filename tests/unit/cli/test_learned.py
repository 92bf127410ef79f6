"""``size --ledger``: what a host's own peaks say of a guest, with the samples it rests on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from guestroom.cli.promises import kept_lines
from guestroom.cli.size import size
from guestroom.guest import Guest
from guestroom.lives import Life, Promised
from guestroom.record import open_ledger
from guestroom.size import likeness
from guestroom.testing.clock import ManualClock
from guestroom.units import MIB

from .test_size import invoke

SHAPE = Guest(ram_bytes=256 * MIB, boot_ram_bytes=256 * MIB, vcpus=1)


def lives(count: int, peak_mib: int = 80) -> list[Life]:
    """Lives of guests of that shape, the last one long ago."""
    promised = Promised("learned", 400 * MIB, likeness(SHAPE, "7.2"), "eve", 379 * MIB)
    return [Life(f"g{i}", 1.0 + i, 5000.0 + i, 3600.0, True, peak_mib * MIB, 400 * MIB, promised) for i in range(count)]


@pytest.fixture
def state(tmp_path: Path) -> str:
    """A state folder whose ledger has 60 lives."""
    tmp_path.chmod(0o700)
    with open_ledger(str(tmp_path), clock=ManualClock()) as ledger:
        for life in lives(60):
            ledger.put_life(life)
    return str(tmp_path)


ARGS = ("--ram", "256MiB", "--vcpus", "1", "--policy", "learned")


def test_the_ledger_of_a_host_says_what_its_guests_came_to(state: str) -> None:
    """By folder or file: the peaks' figure and not the prior's, with every sample that supports it in words."""
    for path in (state, f"{state}/ledger.db"):
        out = invoke(*ARGS, "--ledger", path, "--why").stdout
        assert "learned, for tcg on QEMU 7.2:" in out
        assert "guests of this shape: 60 samples say 80.0 MiB" in out
        assert "19 of 20 stay within it, by 60 samples of guests of this shape" in out


def test_the_same_for_programs(state: str) -> None:
    """--json: promise, steps and words in one object; nothing is hidden in prose."""
    found = json.loads(invoke(*ARGS, "--ledger", state, "--json").stdout)
    assert found["estimates"][0]["overhead_bytes"] == 80 * MIB
    learned = found["learned"]
    assert learned["promise"]["coverage"] == 0.95
    assert learned["promise"]["samples"] == 60
    assert learned["steps"][-1]["level"] == "guests of this shape"
    assert (learned["qemu"], learned["miss"], learned["recent"]) == ("7.2", None, None)
    assert learned["prior"].startswith("measured, study of")
    assert learned["why"][-1] == learned["promise"]["words"]


def test_another_qemu_only_borrows(state: str) -> None:
    """--qemu names a version that never ran here: it is not below the study's, and no sample of here promises."""
    learned = json.loads(invoke(*ARGS, "--ledger", state, "--qemu", "9.0", "--json").stdout)
    assert "unseen" in learned["learned"]["promise"]["level"]
    assert all("another QEMU" in step["level"] for step in learned["learned"]["steps"])
    assert learned["estimates"][0]["overhead_bytes"] >= learned["learned"]["prior_bytes"]


def test_a_question_about_samples_without_a_ledger_is_wrong_usage(tmp_path: Path) -> None:
    """--qemu needs --ledger and says so; a path without a ledger is told, with what would be one."""
    asked = invoke(*ARGS, "--qemu", "7.2")
    assert asked.exit_code == 2
    assert "--ledger" in asked.stderr
    gone = invoke(*ARGS, "--ledger", str(tmp_path / "nowhere"))
    assert gone.exit_code == 2
    assert "there is no ledger" in gone.stderr
    assert CliRunner().invoke(size, ["--help"]).output.count("--ledger") >= 2


def test_a_line_says_what_became_of_promises() -> None:
    """Kept, promised, sure, missed, wasted; a share that nobody promised is not made up."""
    group = {
        "policy": "learned",
        "qemu": None,
        "accelerator": "kvm",
        "lives": 60,
        "missed": 2,
        "coverage": 58 / 60,
        "coverage_at_least": 0.898,
        "promised_coverage": 0.95,
        "waste_bytes": 3 * MIB,
        "peak_bytes": 90 * MIB,
        "largest_miss_bytes": 12 * MIB,
    }
    (line,) = kept_lines([group])
    assert line == (
        "promises of learned, kvm on QEMU of unknown version: 58 of 60 kept, 95.0% promised (surely 89.8%), 2 missed "
        "by up to 12.0 MiB; median peak 90.0 MiB, granted in vain 3.0 MiB on average"
    )
    (other,) = kept_lines([group | {"missed": 0, "promised_coverage": None, "qemu": "7.2"}])
    assert "60 of 60 kept (surely" in other
    assert "missed" not in other


def test_a_higher_share_can_be_asked_for(state: str) -> None:
    """--coverage: 99 of 100 takes more samples than there are, and it says so; all of them is no share."""
    found = json.loads(invoke(*ARGS, "--ledger", state, "--coverage", "0.99", "--json").stdout)
    assert found["learned"]["promise"]["wanted"] == 0.99
    assert found["learned"]["promise"]["coverage"] < 0.99
    assert found["learned"]["promise"]["needed"] == 299
    assert invoke(*ARGS, "--coverage", "1").exit_code == 2
