"""``guestroom size``: descriptions in, estimates out."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from guestroom.cli.main import cli
from guestroom.size import policies
from guestroom.units import GIB, MAX_JSON_INT, MIB

READCONFIG = '[memory]\n  size = "2048"\n[smp-opts]\n  cpus = "4"\n'


def invoke(*args: str, stdin: str | None = None) -> Result:
    """The command in this process."""
    return CliRunner().invoke(cli, ["size", *args], input=stdin)


def document(*args: str) -> dict[str, Any]:
    """Its JSON, after success."""
    result = invoke("--json", *args)
    assert result.exit_code == 0, result.stderr
    loaded = json.loads(result.stdout)
    assert isinstance(loaded, dict)
    return loaded


def overheads(*args: str) -> dict[str, int]:
    """Overhead in bytes by policy."""
    return {one["policy"]: one["overhead_bytes"] for one in document(*args)["estimates"]}


def refused(*args: str, stdin: str | None = None) -> dict[str, Any]:
    """The error object of wrong input."""
    result = invoke("--json", *args, stdin=stdin)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("guestroom: ")
    assert result.stderr.count("\n") == 1
    error = json.loads(result.stdout)["error"]
    assert isinstance(error, dict)
    return error


def test_the_two_known_figures_by_parts() -> None:
    """Issue 3: 1 GiB and 2 vCPUs are 401.6 MiB by eve, 2 GiB and 1 vCPU 292 MiB by kubevirt; parts sum exactly."""
    assert round(overheads("--ram", "1GiB", "--vcpus", "2")["eve"] / MIB, 1) == 401.6
    found = document("--ram", "2GiB", "--vcpus", "1")
    assert {one["policy"] for one in found["estimates"]} == set(policies())
    for one in found["estimates"]:
        assert set(one) == {"policy", "overhead_bytes", "limit_bytes", "parts", "warnings", "promise"}
        assert sum(part["bytes"] for part in one["parts"]) == one["overhead_bytes"]
        assert one["limit_bytes"] == 2 * GIB + one["overhead_bytes"]
        assert all(set(part) == {"name", "bytes", "source"} for part in one["parts"])
        if one["policy"] == "kubevirt":
            assert one["overhead_bytes"] == 292 * MIB
    guest = found["guest"]
    assert (guest["name"], guest["ram_bytes"], guest["vcpus"], guest["max_vcpus"]) == (None, 2 * GIB, 1, None)


def test_policies_are_chosen_in_order_and_once() -> None:
    """--policy repeats; a policy named twice is shown once."""
    assert list(overheads("--ram", "1GiB", "--policy", "kata", "--policy", "eve", "--policy", "kata")) == [
        "kata",
        "eve",
    ]


def test_max_vcpus_count_where_a_policy_counts_them() -> None:
    """eve sizes for the vCPUs a guest may grow to."""
    few, many = (overheads("--ram", "1GiB", "--vcpus", "2", "--max-vcpus", str(most))["eve"] for most in (2, 8))
    assert many - few == 6 * 3 * MIB


def test_a_qemu_command_line_describes_the_guest() -> None:
    """What stands after -- is QEMU's: RAM, vCPUs and the name are read from it."""
    found = document("--policy", "eve", "--", "qemu-system-x86_64", "-name", "web", "-m", "512", "-smp", "2")
    guest = found["guest"]
    assert (guest["name"], guest["ram_bytes"], guest["vcpus"]) == ("web", 512 * MIB, 2)
    assert found["estimates"][0]["limit_bytes"] == 512 * MIB + found["estimates"][0]["overhead_bytes"]


def test_options_override_the_description() -> None:
    """--ram, --vcpus and --name win over the command line."""
    argv = ("--", "qemu-system-x86_64", "-m", "512", "-smp", "2")
    guest = document("--ram", "1GiB", "--vcpus", "4", "--name", "db", *argv)["guest"]
    assert (guest["ram_bytes"], guest["vcpus"], guest["name"]) == (GIB, 4, "db")
    assert guest["max_vcpus"] in (None, 4)


def test_a_readconfig_file_describes_the_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EVE's files are read, given alone, on stdin, or inside a command line relative to the current folder."""
    (tmp_path / "vm.cfg").write_text(READCONFIG)
    monkeypatch.chdir(tmp_path)
    given = document("--readconfig", "vm.cfg")["guest"]
    piped = json.loads(invoke("--json", "--readconfig", "-", stdin=READCONFIG).stdout)["guest"]
    inside = document("--", "qemu-system-x86_64", "-readconfig", "vm.cfg")["guest"]
    for guest in (given, piped, inside):
        assert (guest["ram_bytes"], guest["vcpus"]) == (2 * GIB, 4)


def test_a_readconfig_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Its path is in the error, given alone or inside a command line."""
    missing = str(tmp_path / "nosuch.cfg")
    assert missing in str(refused("--readconfig", missing))
    assert missing in str(refused("--", "qemu-system-x86_64", "-readconfig", missing))


def test_a_malformed_readconfig_file_is_named_with_its_line(tmp_path: Path) -> None:
    """file:line of the fault."""
    bad = tmp_path / "bad.cfg"
    bad.write_text('[memory]\n  size = "10 elephants"\n')
    assert refused("--readconfig", str(bad))["where"] == f"{bad}:2"
    assert invoke("--readconfig", "-", stdin=bad.read_text()).stderr.count("(stdin:2)") == 1


def test_the_two_ways_to_describe_exclude_each_other(tmp_path: Path) -> None:
    """A file and a command line at once is wrong usage, not a guess."""
    assert refused("--readconfig", "f", "--", "qemu-system-x86_64")["code"] == "usage"


@pytest.mark.parametrize(
    ("args", "code", "place"),
    [
        (["--ram", "600M"], "size", "--ram"),
        (["--ram", "-1"], "size", "--ram"),
        (["--ram", ""], "size", "--ram"),
        (["--ram", "1e9"], "size", "--ram"),
        (["--ram", "0"], "input", None),
        (["--ram", str(MAX_JSON_INT + 1)], "input", None),
        (["--ram", str(MAX_JSON_INT)], "input", None),
        (["--ram", "1GiB", "--policy", "nosuch"], "input", "--policy"),
        (["--ram", "1GiB", "--name", "../x"], "name", "--name"),
        (["--ram", "1GiB", "--name", "x" * 300], "name", "--name"),
        (["--ram", "1GiB", "--vcpus", "4", "--max-vcpus", "2"], "usage", None),
        (["--vcpus", "2"], "usage", None),
        ([], "usage", None),
        (["--ram", "1GiB", "--", "qemu-system-x86_64", "-m", "1X"], "describe", None),
        (["--", "qemu-system-x86_64", "-m", "-5"], "describe", None),
    ],
)
def test_wrong_input_is_named(args: list[str], code: str, place: str | None) -> None:
    """Every fault exits with 2, one line on stderr, and the code and place in the object."""
    error = refused(*args)
    if code != "describe":  # a size inside argv may be reported as either
        assert error["code"] == code
    if place is not None:
        assert error["where"] == place


def test_people_get_all_policies_side_by_side_with_warnings_below() -> None:
    """A table of all policies; the seed's share of a small guest is marked."""
    result = invoke("--ram", "128MiB", "--vcpus", "1")
    lines = result.stdout.splitlines()
    assert lines[0] == "guest: 128.0 MiB RAM, 1 vCPU"
    assert [line.split()[0] for line in lines[2 : 2 + len(policies())]] == list(policies())
    (warning,) = [line for line in lines if line.startswith("warning: proportional")]
    assert warning.startswith("warning: proportional: 38.4 MiB is less than the 66 to 71 MiB")


def test_people_get_every_part_of_one_policy_with_its_source() -> None:
    """--policy eve explains its figure."""
    out = invoke("--ram", "1GiB", "--vcpus", "2", "--policy", "eve").stdout
    assert "vmm_overhead.go undefinedVMMOverhead: 350 MiB" in out
    assert "401.6 MiB" in out
    assert "1,425.6 MiB" in out


def test_a_shared_warning_is_printed_once() -> None:
    """Unknown vCPUs concern many policies and take one line."""
    out = invoke("--ram", "1GiB").stdout
    assert out.count("number of vCPUs is not known") == 1
    assert "warning: eve, kubevirt, harvester, openshift, ovirt: the number" in out


def test_options_nobody_knows_are_mentioned() -> None:
    """An option of QEMU that was not understood is named below the table, on one line."""
    out = invoke("--", "qemu-system-x86_64", "-m", "512", "-frobnicate", "a\nb").stdout
    assert "-frobnicate" in out
    assert "\nb" not in out


def test_settings_come_before_estimates(tmp_path: Path) -> None:
    """With --config the guest's fixed overhead is shown first, as policy ``setting``, and the host's wins over it."""
    config = tmp_path / "config.toml"
    config.write_text('[guests.web]\noverhead = "300MiB"\n')
    args = ("--ram", "1GiB", "--config", str(config), "--policy", "eve")
    assert next(iter(overheads("--name", "web", *args).items())) == ("setting", 300 * MIB)
    assert list(overheads("--name", "other", *args)) == ["eve"]
    config.write_text('[sizing]\noverhead = "200MiB"\n[guests.web]\noverhead = "300MiB"\n')
    assert overheads("--name", "web", *args)["setting"] == 200 * MIB


def test_a_settings_file_that_is_not_there_is_wrong_input(tmp_path: Path) -> None:
    """--config names a file that must exist."""
    assert "nosuch.toml" in str(refused("--ram", "1GiB", "--config", str(tmp_path / "nosuch.toml")))


def test_parts_stand_side_by_side_by_kind_within_the_terminal() -> None:
    """Eleven policies in tables of at most 80 columns, whose columns sum to the overhead in the last row."""
    result = invoke("--ram", "1GiB", "--vcpus", "2", "--parts")
    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stdout.splitlines() if not line.startswith("warning:")]
    assert max(map(len, lines)) <= 80
    shown = [name for line in lines if line.startswith("MiB") for name in line.split()[1:]]
    assert shown == list(policies())
    eve = invoke("--ram", "1GiB", "--vcpus", "2", "--parts", "--policy", "eve").stdout.splitlines()[1:]
    rows = {line[:14].strip(): line[14:].strip() for line in eve}
    assert rows["overhead"] == "401.6"
    assert rows["QEMU itself"] == "20.0"


def test_more_is_in_the_json_only_where_it_was_asked_for() -> None:
    """Kinds, words, knobs and what fits: each under its own key; without their options the document is as before."""
    plain = ["--ram", "1GiB", "--vcpus", "2", "--policy", "eve"]
    assert set(document(*plain)) == {"guest", "estimates"}
    found = document(*plain, "--parts", "--why", "--smaller", "--host-memory", "16GiB")
    assert set(found) == {"guest", "estimates", "kinds", "why", "smaller", "fit"}
    assert sum(found["kinds"]["eve"].values()) == found["estimates"][0]["overhead_bytes"]
    assert set(found["why"]) == {part["name"] for part in found["estimates"][0]["parts"]}
    assert found["fit"]["guests"] == {"eve": found["fit"]["budget_bytes"] // found["estimates"][0]["limit_bytes"]}
    assert {"what", "cost", "gain_bytes", "burst_gain_bytes", "known_gain_bytes", "known"} == set(found["smaller"][0])


def test_fit_asks_this_machine_and_host_memory_another() -> None:
    """Both add a column of guests, and say what the host keeps."""
    here = invoke("--ram", "1GiB", "--vcpus", "2", "--fit").stdout.splitlines()
    assert here[1].startswith("host: ")
    assert here[2].split()[:4] == ["policy", "overhead", "limit", "guests"]
    there = invoke("--ram", "1GiB", "--vcpus", "2", "--host-memory", "64GiB", "--policy", "fixed").stdout
    assert "host: 64.0 GiB, 3.2 GiB kept for itself" in there
    assert "38" in there
    assert refused("--ram", "1GiB", "--host-memory", "64G")["where"] == "--host-memory"


def test_why_is_said_in_words() -> None:
    """A table for each policy."""
    text = invoke("--ram", "1GiB", "--vcpus", "2", "--policy", "eve", "--why").stdout
    assert "\neve: 401.6 MiB\n" in text
    assert "could not be tied to anything in the guest's description" in text


def test_the_bars_and_the_picture_show_the_same(tmp_path: Path) -> None:
    """``--plot`` draws in the terminal, ``--svg`` writes a file; one that can't be written is an error of one line."""
    picture = tmp_path / "a.svg"
    result = invoke("--ram", "1GiB", "--vcpus", "2", "--plot", "--svg", str(picture))
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1 : 1 + len(policies())]] == list(policies())
    assert picture.read_text().startswith("<svg ")
    broken = invoke("--ram", "1GiB", "--svg", str(tmp_path / "no" / "a.svg"))
    assert broken.exit_code == 1
    assert "the picture could not be written" in broken.stderr


def test_nothing_to_make_smaller_is_said() -> None:
    """An empty list would look like a failure."""
    argv = ["-accel", "kvm", "-nodefaults", "-m", "1G", "-mem-path", "/dev/hugepages"]
    text = invoke("--policy", "eve", "--smaller", "--", "qemu-system-x86_64", *argv).stdout
    assert "nothing is known that would make it smaller" in text


@pytest.mark.parametrize("option", ["--parts", "--plot", "--why", "--smaller", "--fit", "--host-memory=1GiB"])
def test_an_overhead_of_nothing_is_shown_too(option: str) -> None:
    """30 % of one byte have no parts: no kind, no bar, and no traceback."""
    result = invoke("--ram", "1", "--vcpus", "1", "--policy", "proportional", option)
    assert result.exit_code == 0, result.output
    assert "Traceback" not in result.output
    assert invoke("--ram", "1", "--vcpus", "1", "--policy", "proportional", option, "--json").exit_code == 0
