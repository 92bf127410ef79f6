"""``guestroom replay``: hosts through the agent's rules, from a ledger, a trace or a seed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.docs.test_complete import fields
from tests.unit.lab.test_verify import DUE, INPUTS
from tests.unit.record.samples import LET_GO, RAISE, done, reading, record

from guestroom.cli.main import cli
from guestroom.cli.replay import replay as command
from guestroom.record import open_ledger
from guestroom.testing import ManualClock
from guestroom.units import MIB

MADE_UP = ("--synthetic", "bursty", "--guests", "12", "--hours", "0.2")


def invoke(*args: str, stdin: str | None = None) -> Result:
    """The command in this process."""
    return CliRunner().invoke(cli, ["replay", *args], input=stdin)


def rows(*args: str) -> list[dict[str, object]]:
    """The results of a replay that goes well."""
    result = invoke(*args, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["results"]
    assert isinstance(found, list)
    return found


def test_each_combination_is_a_row_in_the_order_given() -> None:
    """Two policies times two ways of sharing."""
    found = rows(*MADE_UP, "--policy", "eve", "--policy", "fixed", "--sharing", "static", "--sharing", "reserve")
    assert [(row["policy"], row["sharing"]) for row in found] == [
        ("eve", "static"),
        ("eve", "reserve"),
        ("fixed", "static"),
        ("fixed", "reserve"),
    ]


def test_a_seed_gives_the_same_answer_and_another_another() -> None:
    """Deterministic, down to the last byte."""
    assert rows(*MADE_UP, "--seed", "7") == rows(*MADE_UP, "--seed", "7")
    assert rows(*MADE_UP, "--seed", "7") != rows(*MADE_UP, "--seed", "8")


def test_the_table_says_what_is_the_same_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Settings are columns only where they differ."""
    same = invoke(*MADE_UP, "--policy", "eve", "--policy", "ovirt", "--reserve", "rest")
    assert same.exit_code == 0
    assert "sharing reserve, reserve rest, headroom auto; refuse when short" in same.stdout
    differing = invoke(*MADE_UP, "--policy", "eve", "--reserve", "rest", "--reserve", "25%", "--headroom", "256MiB")
    assert re.search(r"^policy +reserve +admitted", differing.stdout, re.MULTILINE)
    assert "headroom 256.0 MiB" in differing.stdout


def test_the_fields_are_the_documented_ones() -> None:
    """json.md lists exactly what a result has."""
    assert fields("guestroom replay") == set(rows(*MADE_UP)[0])


@pytest.fixture
def state(tmp_path: Path) -> str:
    """A ledger of one guest that used 100 MiB for a minute."""
    clock, folder = ManualClock(), str(tmp_path / "state")
    with open_ledger(folder, clock=clock) as ledger:
        ledger.put_guest(record("web", started_wall_s=clock.wall()))
        for _ in range(6):
            clock.sleep(10)
            ledger.reading(reading("web", at_s=clock.monotonic()), None, None)
        ledger.remove_guest("web", "ended")
    return folder


def test_a_ledger_is_replayed_by_what_it_kept_and_by_other_policies(state: str) -> None:
    """The recorded need where no policy is named; a policy sizes the same guest again."""
    found = rows("--ledger", state, "--host-memory", "4GiB", "--policy", "recorded", "--policy", "fixed")
    assert [(row["policy"], row["guests"], row["admitted"]) for row in found] == [("recorded", 1, 1), ("fixed", 1, 1)]
    assert rows("--ledger", state, "--host-memory", "4GiB") == found[:1]


def test_decisions_are_made_again(state: str) -> None:
    """The same steps: exit code 0; another: 1, with both. What can't be made again is counted."""
    with open_ledger(state, clock=ManualClock()) as ledger:
        ledger.carried_out("hold a", json.dumps(INPUTS), [done(step) for step in DUE])
        ledger.carried_out("of old", '{"guests": [], "budget": {}}', [done(RAISE)])
        ledger.carried_out("a thaw", "{}", [done(LET_GO)])
    same = invoke("--ledger", state, "--verify")
    assert same.exit_code == 0
    assert "1 decisions made again, 1 the same (hold 1)" in same.stdout
    assert "not made again: 1 of another guestroom" in same.stdout
    assert "not made again: 1 that no rule" in same.stdout
    with open_ledger(state, clock=ManualClock()) as ledger:
        ledger.carried_out("hold b", json.dumps(INPUTS), [done(step) for step in DUE[::-1]])
    other = invoke("--ledger", state, "--verify")
    assert other.exit_code == 1
    assert "(hold: hold b) differs in step 1" in other.stdout
    told = json.loads(invoke("--ledger", state, "--verify", "--json").stdout)
    assert (told["checked"], told["same"], len(told["differences"])) == (2, {"hold": 1}, 1)
    assert fields("guestroom replay --verify") == set(told)


def test_a_trace_is_read_from_stdin() -> None:
    """The format of lab.traces."""
    head = {"guestroom_trace": 1, "guests": {"a": {"ram_bytes": 1 << 28, "need_bytes": 9 * MIB, "boot_floor_bytes": 1}}}
    text = f'{json.dumps(head)}\n[0, "a", 5000000]\n[60, "a", 5000000]\n'
    result = invoke("--trace", "-", "--host-memory", "4GiB", "--json", stdin=text)
    assert json.loads(result.stdout)["results"][0]["admitted"] == 1
    broken = invoke("--trace", "-", "--host-memory", "4GiB", stdin=text + "[1]\n")
    assert broken.exit_code == 2
    assert "stdin:4" in broken.stderr


@pytest.mark.parametrize(
    ("args", "word"),
    [
        ((), "name one thing to replay"),
        ((*MADE_UP, "--ledger", "x"), "name one thing to replay"),
        (("--ledger", "/nowhere/ledger.db"), "there is no ledger here (/nowhere/ledger.db)"),
        (("--ledger", __file__), "not a ledger of guestroom's"),
        ((*MADE_UP, "--verify"), "--verify needs a ledger"),
        ((*MADE_UP, "--policy", "magic"), "no sizing policy 'magic' (--policy)"),
        ((*MADE_UP, "--policy", "recorded"), "no recorded need"),
        ((*MADE_UP, "--reserve", "lots"), "--reserve 'lots'"),
        ((*MADE_UP, "--reserve", "0%"), "--reserve '0%'"),
        ((*MADE_UP, "--headroom", "600M"), "--headroom"),
        ((*MADE_UP, "--config", "/nowhere.toml"), "no settings file here"),
        (("--trace", "-"), "first line is not that of a trace"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(args: tuple[str, ...], word: str) -> None:
    """What was wrong, where, and no traceback."""
    result = invoke(*args, stdin="")
    assert result.exit_code == 2, result.output
    assert word in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_host_nobody_knows_is_asked_for(state: str) -> None:
    """A ledger whose decisions kept no host needs its memory named."""
    result = invoke("--ledger", state)
    assert (result.exit_code, "--host-memory" in result.stderr) == (2, True)


def test_what_takes_long_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal, on stderr, so that the result stays clean; a script's log is spared."""
    monkeypatch.setattr("guestroom.cli.replay.PROGRESS_S", 0.0)
    assert invoke(*MADE_UP, "--json").stderr == ""
    monkeypatch.setattr("guestroom.cli.replay._is_watched", lambda: True)
    result = invoke(*MADE_UP, "--json")
    assert "replay 1 of 1: " in result.stderr
    json.loads(result.stdout)
    assert command.name == "replay"
