"""The settings file: what is taken, and every error told with its line."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import pytest

from guestroom import size
from guestroom.agent import settings_file
from guestroom.agent.settings_file import LARGEST_BYTES, example_toml, load_settings, parse_settings
from guestroom.config import Brake, GuestSettings, OnRunaway, OnShort, Percent, Reclaim, Rest, Settings, Sharing
from guestroom.errors import ConfigError
from guestroom.units import GIB, MIB


def refused(text: str) -> ConfigError:
    """The error a text ends in."""
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "config.toml")
    assert caught.value.exit_code == 2
    return caught.value


def test_no_settings_are_the_defaults() -> None:
    """An empty file and an empty section change nothing."""
    for text in ("", "# nothing\n", "[host]\n[sizing]\n[timing]\n[guests]\n"):
        assert parse_settings(text, "config.toml") == Settings()


FULL = """
[host]
system_reserve = "1GiB"
reserve = "12.5%"
headroom = "256MiB"
guard = 67108864
sharing = "static"
alarm_step = "8MiB"
cgroup = "vms"
socket_group = "kvm"
on_runaway = "wall"
brake = "none"
reclaim = "swap"
giveback_keep = "48MiB"
giveback_step = "10%"
swap = "64MiB"
zswap = 0

[sizing]
policy = "kubevirt"
coverage = 0.99
overhead = "300MiB"
cap = "600MiB"
on_short = "squeeze"

[timing]
settle_s = 0
peak_window_s = 300.5
agent_lost_s = 20
sweep_s = 0.5
start_timeout_s = 60
wait_timeout_s = 900
stop_timeout_s = 10
recreate_interval_s = 1800
reading_keep_s = 5
runaway_after_s = 30
giveback_after_s = 90
warn_before_s = 300
reclaim_s = 2.5

[guests.db]
weight = "4GiB"
cap = "1GiB"
overhead = "500MiB"
recreatable = true
recreate_need = "200MiB"
on_short = "recreate"
on_runaway = "stop"
swap = 0
zswap = "1MiB"
brake = "stop"

[guests.web-1]
weight = 3
balloon_min = "512MiB"
"""

FULL_SETTINGS = Settings(
    reserve=Percent(1250),
    system_reserve_bytes=GIB,
    headroom_bytes=256 * MIB,
    guard_bytes=64 * MIB,
    sharing=Sharing.STATIC,
    policy="kubevirt",
    coverage=0.99,
    overhead_bytes=300 * MIB,
    cap_bytes=600 * MIB,
    on_short=OnShort.SQUEEZE,
    settle_s=0.0,
    peak_window_s=300.5,
    agent_lost_s=20.0,
    sweep_s=0.5,
    reading_keep_s=5.0,
    recreate_interval_s=1800.0,
    start_timeout_s=60.0,
    wait_timeout_s=900.0,
    stop_timeout_s=10.0,
    alarm_step_bytes=8 * MIB,
    cgroup="vms",
    socket_group="kvm",
    on_runaway=OnRunaway.WALL,
    brake=Brake.NONE,
    reclaim=Reclaim.SWAP,
    reclaim_s=2.5,
    runaway_after_s=30.0,
    giveback_after_s=90.0,
    giveback_keep_bytes=48 * MIB,
    giveback_step=Percent(1000),
    swap_bytes=64 * MIB,
    zswap_bytes=0,
    warn_before_s=300.0,
    guests={
        "db": GuestSettings(
            4 * GIB, GIB, 500 * MIB, True, 200 * MIB, OnShort.RECREATE, OnRunaway.STOP, 0, MIB, Brake.STOP
        ),
        "web-1": GuestSettings(weight=3, balloon_min_bytes=512 * MIB),
    },
)


def test_every_setting_reaches_the_decisions() -> None:
    """Each key of the file ends in the field it is meant for, in bytes and seconds."""
    assert parse_settings(FULL, "config.toml") == FULL_SETTINGS


def test_the_full_example_above_leaves_no_field_at_its_default() -> None:
    """The test above covers every field there is: a new one without a key in the file is noticed."""
    default = Settings()
    same = [f.name for f in dataclasses.fields(Settings) if getattr(FULL_SETTINGS, f.name) == getattr(default, f.name)]
    assert same == []


def test_the_printed_example_says_the_defaults() -> None:
    """What the documentation prints as the defaults are the defaults, guests aside."""
    assert parse_settings(example_toml(), "example") == Settings()


def test_the_printed_example_names_every_setting_with_its_meaning() -> None:
    """Every key stands uncommented with a meaning and what is allowed before it."""
    lines = example_toml().splitlines()
    keys = [i for i, line in enumerate(lines) if re.match(r"[a-z_]+ = ", line)]
    assert len(keys) == len(dataclasses.fields(Settings)) - 1
    for i in keys:
        assert re.match(r"# [A-Z(a-z].{15,}", lines[i - 2])
        assert lines[i - 1].startswith("# Allowed: ")


def test_the_printed_guest_can_be_used_as_it_is() -> None:
    """Taking the comment signs off gives a section that is accepted."""
    text = example_toml()
    guest = text[text.index("# [guests.NAME]") :].replace("\n# ", "\n").removeprefix("# ")
    assert parse_settings(guest.replace("= false", "= true"), "example").guests == {
        "NAME": GuestSettings(
            1, 600 * MIB, 400 * MIB, True, 200 * MIB, OnShort.SQUEEZE, OnRunaway.STOP, 0, 0, Brake.STOP, 512 * MIB
        )
    }


@pytest.mark.parametrize(
    ("text", "reserve"),
    [
        ('"25%"', Percent(2500)),
        ('"0.01%"', Percent(1)),
        ('"100%"', Percent(10000)),
        ('"33.3%"', Percent(3330)),
        ('"800MiB"', 800 * MIB),
        ("838860800", 800 * MIB),
        ('"1.5GiB"', 3 * GIB // 2),
        ('"rest"', Rest.REST),
    ],
)
def test_the_reserve_can_be_said_in_three_ways(text: str, reserve: object) -> None:
    """A percentage is exact to a hundredth, a size is bytes, and ``rest`` is its own thing."""
    assert parse_settings(f"[host]\nreserve = {text}", "config.toml").reserve == reserve


@pytest.mark.parametrize(
    "value",
    ['"600M"', '"1G"', '"-1MiB"', '""', '"25.125%"', '"101%"', '"0%"', '"%"', '"-5%"', "0", "-1", "2.5", "true", "[]"],
)
def test_an_unclear_reserve_is_refused(value: str) -> None:
    """What could be read in two ways, or is no share of anything, is wrong input with the value quoted."""
    error = refused(f"# first line\n[host]\nreserve = {value}\n")
    assert error.where == "config.toml:3"
    assert error.message.startswith(f"host.reserve: {value} is not allowed: ")
    assert '"rest"' in error.message


def test_600m_is_refused_with_both_readings() -> None:
    """``600M`` means two things: both are told in bytes."""
    message = refused('[sizing]\ncap = "600M"').message
    assert "629,145,600" in message
    assert "600,000,000" in message


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("host", "system_reserve", '"all"', '"auto"'),
        ("host", "headroom", "-5", '"auto"'),
        ("host", "headroom", "9007199254740992", '"auto"'),
        ("host", "guard", '"none"', '"auto"'),
        ("host", "sharing", '"fair"', '"reserve", "static"'),
        ("host", "sharing", "1", '"reserve", "static"'),
        ("host", "alarm_step", "4095", "at least 4KiB"),
        ("host", "cgroup", '"a/b"', "letters"),
        ("host", "cgroup", '".."', "letters"),
        ("host", "cgroup", '"tasks"', "letters"),
        ("host", "cgroup", '"a\\nb"', "letters"),
        ("host", "socket_group", '"a b"', "a group"),
        ("host", "socket_group", "7", "a group"),
        ("sizing", "policy", '"guess"', '"eve"'),
        ("sizing", "policy", "[]", '"eve"'),
        ("sizing", "overhead", "0", '"none"'),
        ("sizing", "cap", '"auto"', '"none"'),
        ("sizing", "on_short", '"perhaps"', '"squeeze", "refuse", "recreate", "wait"'),
        ("timing", "wait_timeout_s", '"auto"', '"none", seconds, from 0'),
        ("timing", "wait_timeout_s", "-1", '"none"'),
        ("timing", "wait_timeout_s", "nan", '"none"'),
        ("timing", "wait_timeout_s", "true", '"none"'),
        ("host", "on_runaway", '"kill"', '"hold", "stop", "wall"'),
        ("host", "brake", '"slow"', '"throttle", "stop", "none"'),
        ("host", "reclaim", '"all"', '"off", "cache", "swap"'),
        ("host", "giveback_step", '"0%"', "percentage"),
        ("host", "giveback_step", "25", "percentage"),
        ("timing", "settle_s", "-1", "seconds, from 0"),
        ("timing", "settle_s", "nan", "seconds"),
        ("timing", "settle_s", "inf", "seconds"),
        ("timing", "settle_s", '"120"', "seconds"),
        ("timing", "settle_s", "true", "seconds"),
        ("timing", "sweep_s", "0", "seconds, from 0.01"),
        ("timing", "peak_window_s", "1e12", "to 31622400"),
        ("timing", "start_timeout_s", "07:32:00", "seconds"),
        ("guests.a", "weight", "0", "at least 1"),
        ("guests.a", "weight", "1.5", "at least 1"),
        ("guests.a", "cap", '"none"', "MiB"),
        ("guests.a", "recreatable", '"yes"', "true, false"),
        ("guests.a", "recreatable", "1", "true, false"),
        ("guests.a", "on_short", '""', '"squeeze"'),
    ],
)
def test_a_value_that_is_not_allowed_is_told(section: str, key: str, value: str, allowed: str) -> None:
    """The error has the line, the key, the value found, and what is allowed."""
    error = refused(f"\n[{section}]\n\n{key} = {value}\n")
    assert error.where == "config.toml:4"
    assert error.message.startswith(f"{section}.{key}: ")
    assert "is not allowed: " in error.message
    assert allowed in error.message.split("; allowed: ")[1]


def test_every_sizing_policy_can_be_chosen() -> None:
    """Whatever ``guestroom size`` shows can be the host's policy."""
    for name in size.policies():
        assert parse_settings(f'[sizing]\npolicy = "{name}"', "config.toml").policy == name


@pytest.mark.parametrize(
    ("text", "where", "advice"),
    [
        ("[host]\nheadrom = 1", "config.toml:2", "did you mean headroom?"),
        ("[host]\nzzz = 1", "config.toml:2", "known: system_reserve, reserve"),
        ("[timing]\nguard = 1", "config.toml:2", "known: settle_s"),
        ('\nreserve = "25%"', "config.toml:2", "it belongs in [host]"),
        ("[hosts]\n", "config.toml:1", "known sections: host, sizing, timing, guests"),
        ("[guests.a]\nwait = 1", "config.toml:2", "no such setting"),
    ],
)
def test_an_unknown_setting_is_told_with_a_way_out(text: str, where: str, advice: str) -> None:
    """A misspelt setting is never ignored: it would leave the operator believing in it."""
    error = refused(text)
    assert error.where == where
    assert advice in error.message


@pytest.mark.parametrize("text", ["host = 1", "[[host]]", "guests = []", "[guests]\na = 1", "timing = 'fast'"])
def test_a_section_that_is_no_table_is_told(text: str) -> None:
    """A section written as a value or a list is an input error, not a traceback."""
    assert "it must" in refused(text).message


@pytest.mark.parametrize("name", ["a/b", "", "..", "a b", "x" * 300, "ram", "tasks", "a\\nb"])
def test_a_guest_name_that_can_not_be_a_folder_is_told(name: str) -> None:
    """A guest's section has the name its cgroup would have: others can't exist."""
    error = refused(f'\n[guests."{name}"]\nweight = 1\n')
    assert error.where == "config.toml:2"
    assert "guest name" in error.message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[host]\nheadroom = "128MiB"\nguard = "128MiB"', 3, "not less than the headroom"),
        ("[host]\nheadroom = 0\nguard = 1", 3, "not less than the headroom"),
        ('[host]\nreserve = "100MiB"\nheadroom = "101MiB"', 3, "more than the reserve"),
        ("[sizing]\ncap = 5\noverhead = 6", 3, "more than the cap of 5"),
        ("[sizing]\ncap = 5\n[guests.a]\noverhead = 6", 4, "more than the cap of 5"),
        ("[guests.a]\ncap = 5\noverhead = 6", 3, "more than the cap of 5"),
        ("[sizing]\noverhead = 6\n[guests.a]\ncap = 5", 4, "the overhead of [sizing]"),
        ("[guests.a]\nrecreatable = true\ncap = 5\nrecreate_need = 6", 4, "more than the cap of 5"),
        ("[guests.a]\nrecreate_need = 6", 2, "recreatable = true"),
        ("[timing]\npeak_window_s = 2\nsweep_s = 3", 2, "shorter than one sweep"),
        ("[timing]\nagent_lost_s = 2\nsweep_s = 3", 2, "shorter than one sweep"),
    ],
)
def test_settings_that_do_not_fit_together_are_told(text: str, line: int, words: str) -> None:
    """What each is allowed alone but not together is found at the start, not when a guest pays for it."""
    error = refused(text)
    assert error.where == f"config.toml:{line}"
    assert words in error.message


@pytest.mark.parametrize(
    "text",
    [
        "[host]\nheadroom = 0\nguard = 0",
        "[sizing]\ncap = 5\n[guests.a]\ncap = 7\noverhead = 6",
        "[sizing]\ncap = 5\noverhead = 5",
        "[guests.a]\nrecreatable = true\nrecreate_need = 6",
    ],
)
def test_what_fits_together_is_taken(text: str) -> None:
    """A headroom of nothing with nobody held, and a guest's own cap above the host's, are choices one may make."""
    parse_settings(text, "config.toml")


def test_all_errors_are_told_at_once_in_the_order_of_the_file() -> None:
    """The operator mends the file once: nothing is hidden behind the first error."""
    error = refused(
        'reserve = 1\n[timing]\nsweep_s = "x"\n[host]\nguard = 9\nheadroom = 8\n'
        '[guests."a/b"]\nweight = 0\n[guests.c]\nx = 1\n'
    )
    lines = [int(number) for number in re.findall(r"config\.toml:([0-9]+): ", error.message)]
    assert lines == [1, 3, 5, 7, 8, 10]
    assert error.numbers["errors"] == 6
    assert error.where == "config.toml:1"
    assert "\n" not in error.line()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[host]\nreserve = \n", "config.toml:2"),
        ("[host]\nreserve = 1\nreserve = 2\n", "config.toml:3"),
        ("[host]\n[host]\n", "config.toml:2"),
        ("a = 'unfinished", "config.toml:1"),
        ("a = '''\nunfinished\n", "config.toml:2"),
        ("x = " + "1" * 5000, "config.toml"),
        ("x = " + "[" * 100_000, "config.toml"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(text: str, where: str) -> None:
    """A slip of the pen is shown where it is; a hostile file is an error like any other."""
    error = refused(text)
    assert error.where == where
    assert len(error.line()) < 500


def test_a_long_value_is_shown_shortened() -> None:
    """A value of a megabyte does not flood the terminal."""
    error = refused(f'[host]\nsharing = "{"x" * 100_000}"')
    assert len(error.line()) < 500


def test_settings_can_not_be_changed_afterwards() -> None:
    """What was checked stays what it is."""
    settings = parse_settings(FULL, "config.toml")
    with pytest.raises(TypeError):
        settings.guests["x"] = GuestSettings()  # type: ignore[index]


def test_a_file_is_read(tmp_path: Path) -> None:
    """The file named is the file used."""
    path = tmp_path / "config.toml"
    path.write_text(FULL)
    assert load_settings(str(path)) == FULL_SETTINGS


def test_a_missing_default_file_means_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without a settings file runs on the defaults; with one at the default place it is used."""
    path = tmp_path / "config.toml"
    monkeypatch.setattr(settings_file, "DEFAULT_PATH", str(path))
    assert load_settings(None) == Settings()
    path.write_text('[host]\nreserve = "rest"')
    assert load_settings(None).reserve is Rest.REST


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """Who names a file means it: its absence is never silently the defaults."""
    with pytest.raises(ConfigError, match="no settings file") as caught:
        load_settings(str(tmp_path / "absent.toml"))
    assert caught.value.where == str(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (b"\xef\xbb\xbf[host]\n", "byte order mark", 1),
        ("[host]\n".encode("utf-16"), "UTF-16", 1),
        (b"[host]\n\x00\x01", "binary", 2),
        (b"[host]\n\n# caf\xe9\n", "not UTF-8: byte 0xe9", 3),
    ],
)
def test_a_file_of_another_encoding_is_told(tmp_path: Path, content: bytes, words: str, line: int) -> None:
    """Text that is not plain UTF-8 is named with its line instead of being guessed at."""
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=words) as caught:
        load_settings(str(path))
    assert caught.value.where == f"{path}:{line}"


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    """A file beyond 1 MiB is some other file; one of exactly 1 MiB is still read."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"#" * LARGEST_BYTES)
    assert load_settings(str(path)) == Settings()
    path.write_bytes(b"#" * (LARGEST_BYTES + 1))
    with pytest.raises(ConfigError, match=r"larger than 1\.0 MiB"):
        load_settings(str(path))


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    """A folder, a FIFO nobody writes to and an endless device are errors at once."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(ConfigError, match=r"not a regular file|directory"):
            load_settings(str(path))


@pytest.mark.parametrize("path", ["a\0b", "/etc/passwd/config.toml", "x" * 5000])
def test_a_path_that_can_not_be_opened_is_told(path: str) -> None:
    """Whatever the system says about the path comes as an input error."""
    with pytest.raises(ConfigError, match="can't be read"):
        load_settings(path)
