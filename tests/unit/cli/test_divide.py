"""``guestroom divide``: claims in, grants out."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from guestroom.cli.main import cli
from guestroom.units import MIB

STORY = {
    "reserve_bytes": 800 * MIB,
    "guests": [
        {"name": "a", "weight": 1, "floor_bytes": 500 * MIB, "cap_bytes": 600 * MIB},
        {"name": "b", "weight": 1, "floor_bytes": 0, "cap_bytes": 600 * MIB},
    ],
}


def invoke(given: Any, *args: str) -> Result:
    """The command in this process, its input on stdin."""
    return CliRunner().invoke(cli, ["divide", *args], input=given if isinstance(given, str) else json.dumps(given))


def test_the_seeds_story_is_divided() -> None:
    """A keeps its floor of 500 MiB and B gets the rest, in the contract's JSON and in input order."""
    result = invoke(STORY, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "feasible": True,
        "short_bytes": 0,
        "unused_bytes": 0,
        "grants": [
            {"name": "a", "grant_bytes": 500 * MIB, "bound": "floor"},
            {"name": "b", "grant_bytes": 300 * MIB, "bound": "share"},
        ],
    }


def test_a_file_is_read_and_named_in_errors(tmp_path: Path) -> None:
    """FILE instead of stdin, and its name in the place of a fault."""
    file = tmp_path / "claims.json"
    file.write_text(json.dumps(STORY))
    result = CliRunner().invoke(cli, ["divide", "--json", str(file)])
    assert json.loads(result.stdout)["feasible"] is True
    file.write_text(json.dumps(STORY).replace("629145600", "1.5"))
    result = CliRunner().invoke(cli, ["divide", "--json", str(file)])
    assert result.exit_code == 2
    error = json.loads(result.stdout)["error"]
    assert (error["code"], error["where"]) == ("claims", f"{file}: guests[0].cap_bytes")


def test_floors_that_do_not_fit_are_an_answer_with_exit_code_3() -> None:
    """The shortfall in rounded bytes, no grants, the whole reserve unused, one line on stderr."""
    given = {"reserve_bytes": 10_000, "guests": [{"name": "a", "weight": 1, "floor_bytes": 8193, "cap_bytes": None}]}
    result = invoke(given, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {"feasible": False, "short_bytes": 4096, "unused_bytes": 10_000, "grants": []}
    assert result.stderr.startswith("guestroom: the floors of 1 guest(s) are 4.0 KiB (4096 bytes) more than")
    assert result.stderr.count("\n") == 1
    assert invoke(given).stdout == ""


def test_no_guests_are_feasible() -> None:
    """Nobody claims anything: all of the reserve is unused."""
    result = invoke({"reserve_bytes": 5000, "guests": []}, "--json")
    assert json.loads(result.stdout) == {"feasible": True, "short_bytes": 0, "unused_bytes": 5000, "grants": []}


def test_page_bytes_are_honoured() -> None:
    """With pages of 1 byte shares are exact to the byte, with 2 MiB pages whole huge pages."""
    guests = [{"name": n, "weight": 1, "floor_bytes": 0, "cap_bytes": None} for n in "abc"]
    exact = json.loads(invoke({"reserve_bytes": 10, "page_bytes": 1, "guests": guests}, "--json").stdout)
    assert [grant["grant_bytes"] for grant in exact["grants"]] == [3, 3, 3]
    assert exact["unused_bytes"] == 1
    huge = json.loads(invoke({"reserve_bytes": 11 * MIB, "page_bytes": 2 * MIB, "guests": guests}, "--json").stdout)
    assert [grant["grant_bytes"] for grant in huge["grants"]] == [2 * MIB] * 3


def test_people_get_a_table() -> None:
    """Who gets what, bound by what, and what is unused."""
    lines = invoke(STORY).stdout.splitlines()
    assert lines[0].split() == ["guest", "weight", "floor", "cap", "grant", "bound"]
    assert lines[1].split() == ["a", "1", "500.0", "MiB", "600.0", "MiB", "500.0", "MiB", "floor"]
    assert lines[3] == "unused: 0 B of 800.0 MiB"


@pytest.mark.parametrize(
    "given", ["", "{", "[" * 100_000, '{"reserve_bytes": NaN, "guests": []}', '{"reserve_bytes": 1.0, "guests": []}']
)
def test_bad_input_is_one_line_and_2(given: str) -> None:
    """No traceback, nothing half printed; with --json only the error object is on stdout."""
    result = invoke(given, "--json")
    assert result.exit_code == 2
    assert list(json.loads(result.stdout)) == ["error"]
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    assert invoke(given).stdout == ""


def test_bytes_that_are_no_text_are_refused() -> None:
    """Invalid UTF-8 on stdin is wrong input."""
    result = CliRunner().invoke(cli, ["divide", "--json"], input=b'{"reserve_bytes": \xff}')
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["where"] == "stdin:1"
