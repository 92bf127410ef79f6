"""``guestroom run`` read without click: the same as click reads, or nothing."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestroom.cli.main import cli
from guestroom.cli.plain import DEFAULT_SOCKET, plain_run, read_time
from guestroom.cli.run import run

WORDS = st.sampled_from(
    [
        *(
            "--name",
            "--on-short",
            "--helper",
            "--helper-ready",
            "--verdict-fd",
            "--agent-lost",
            "--socket",
            "--json",
            "--timeout",
        ),
        *("--", "--help", "--nosuch", "--name=a", "-h", "-", ""),
        *(
            "a",
            "web-1",
            "a/b",
            "ram",
            "x" * 64,
            "ü",
            "\udcff",
            "squeeze",
            "refuse",
            "wait",
            "3",
            "-1",
            "1.5",
            "nan",
            "007",
            "5min",
            "1.5h",
            "3m",
        ),
        *("qemu-system-x86_64", "-m", "64", "/tmp/a.sock", "swtpm --tpm2"),
    ]
)
USUAL = st.builds(
    lambda options, argv: ["--name", "a", *options, "--", *argv],
    st.lists(WORDS, max_size=5),
    st.lists(WORDS, min_size=1, max_size=4),
)
ENVIRON = st.sampled_from([{}, {"GUESTROOM_SOCKET": ""}, {"GUESTROOM_SOCKET": "/run/other.sock"}])


@given(USUAL | st.lists(WORDS, max_size=9), ENVIRON)
def test_what_is_read_plainly_click_reads_the_same(args: list[str], environ: dict[str, str]) -> None:
    """For any words and environment the short way has the very options click finds, or leaves them to click."""
    plain = plain_run(["run", *args], environ)
    if plain is None:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GUESTROOM_SOCKET", raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        # As part of the whole: click remembers a command's help option as the first context named it.
        params = run.make_context("run", list(args), parent=click.Context(cli, **cli.context_settings)).params
    assert {key: value for key, value in params.items() if key != "as_json"} == plain


def test_the_usual_form_is_read_plainly() -> None:
    """Every option with a value, in any order, is recognised; so is the shortest form."""
    shortest = plain_run(["run", "--name", "web-1", "--", "qemu", "-m", "64", "--", "x"], {})
    assert shortest is not None
    assert shortest["argv"] == ("qemu", "-m", "64", "--", "x")
    assert (shortest["socket_path"], shortest["verdict_fd"], shortest["on_short"]) == (DEFAULT_SOCKET, None, None)
    words = "run --socket s --verdict-fd 3 --json --helper a --helper b --helper-ready p --agent-lost 2.5 --name n"
    full = plain_run([*words.split(), "--on-short", "squeeze", "--", "qemu"], {})
    assert full is not None
    assert (full["helpers"], full["helper_ready"], full["agent_lost_s"]) == (("a", "b"), ("p",), 2.5)
    assert (full["verdict_fd"], full["socket_path"], full["on_short"]) == (3, "s", "squeeze")


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["ps"],
        ["run"],
        ["run", "--help"],
        ["run", "--name", "a", "--"],
        ["run", "--name", "a", "qemu"],
        ["run", "--", "qemu"],
        ["run", "--name", "a/b", "--", "qemu"],
        ["run", "--name", "ram", "--", "qemu"],
        ["run", "--name", "a", "--verdict-fd", "x", "--", "qemu"],
        ["run", "--name", "a", "--verdict-fd", "-1", "--", "qemu"],
        ["run", "--name", "a", "--agent-lost", "nan", "--", "qemu"],
        ["run", "--name", "a", "--on-short", "perhaps", "--", "qemu"],
        ["run", "--name=a", "--", "qemu"],
        ["run", "--name", "a", "--", "qemu", "\udcff"],
    ],
)
def test_what_is_unusual_or_wrong_is_left_to_click(args: list[str]) -> None:
    """Help, other commands, other forms and mistakes are click's to show and to explain."""
    assert plain_run(args, {}) is None


def test_a_start_loads_no_click() -> None:
    """``run`` up to its first word with the agent imports neither click nor anything heavier."""
    heavy = {"click", "dataclasses", "email", "http.client", "inspect", "pydantic", "ssl", "subprocess", "asyncio"}
    code = (
        "import sys\nfrom guestroom.cli.entry import main\n"
        "sys.argv = ['guestroom', 'run', '--name', 'a', '--socket', '/nowhere', '--', 'true']\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 1, end.code\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    assert "no agent answers" in done.stderr


def test_every_option_of_run_is_known_or_left_to_click() -> None:
    """An option that run gets later is at worst slower: the short way knows its own by name."""
    known = {option for parameter in run.params for option in parameter.opts if isinstance(parameter, click.Option)}
    for option in known - {"--name", "--json"}:
        assert plain_run(["run", "--name", "a", option, "--", "qemu"], {}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("0", 0.0), ("5min", 300.0), ("1.5h", 5400.0)]
    + [(wrong, None) for wrong in ("", "s", "-1", "5m", "5 min", "1e3", "nan", "1.5.5h", "9" * 10, "٣")],
)
def test_a_time_is_read_or_not_at_all(text: str, seconds: float | None) -> None:
    """Plain seconds, s, min and h; anything that could mean two things is refused."""
    assert read_time(text) == seconds
