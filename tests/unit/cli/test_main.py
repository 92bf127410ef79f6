"""The command itself: finding subcommands, and errors into lines and exit codes."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from guestroom import __version__
from guestroom.cli import main as main_module
from guestroom.cli.main import COMMANDS, cli
from guestroom.cli.say import wants_json
from guestroom.errors import HostError, InputError, NoRoomError

PYTHON = [sys.executable, "-m", "guestroom"]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""Output that can't be written then fails late, at the flush, as it does for users."""


def run(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A real process."""
    return subprocess.run([*PYTHON, *args], input=stdin, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], int | None]], None]:
    """Makes ``guestroom fail`` call a function."""

    def install(body: Callable[[], int | None]) -> None:
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        def command(as_json: bool) -> int | None:
            return body()

        monkeypatch.setitem(COMMANDS, "fail", ("tests:none", "fails"))
        monkeypatch.setattr(
            main_module.GuestroomGroup, "get_command", lambda self, ctx, name: command if name == "fail" else None
        )

    return install


def test_help_lists_every_command_and_imports_none() -> None:
    """``--help`` shows the whole table without loading a single subcommand."""
    code = (
        "import sys\nfrom guestroom.cli.main import cli, COMMANDS\n"
        "try: cli.main(['--help'])\nexcept SystemExit as end: assert not end.code\n"
        "print([m for t, _ in COMMANDS.values() if (m := t.split(':')[0]) in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    for name, (_, summary) in COMMANDS.items():
        assert name in done.stdout
        assert summary in done.stdout
    assert done.stdout.rstrip().endswith("[]")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_has_its_module(name: str) -> None:
    """No line of the table points nowhere."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    assert attribute
    assert importlib.util.find_spec(module) is not None


HEAVY = {
    *("asyncio", "concurrent", "ctypes", "email", "fastapi", "http.client", "logging", "multiprocessing", "pydantic"),
    *("qemu", "rich", "sqlite3", "ssl", "starlette", "subprocess", "tomllib", "urllib.request", "uvicorn"),
}
"""Modules that cost more than a light command has: it starts in a quarter of a second (see benchmarks)."""
LIGHT = (
    ("size", "--ram", "1GiB", "--json"),
    ("size", "--", "qemu-system-x86_64", "-m", "64", "-smp", "2"),
    ("divide", "--json"),
    ("divide",),
)


@pytest.mark.parametrize("args", LIGHT)
def test_light_commands_import_nothing_heavy(args: tuple[str, ...]) -> None:
    """``size`` and ``divide`` load no pydantic, FastAPI, rich, asyncio or sqlite: that is their start-up time."""
    code = (
        "import sys\nfrom guestroom.cli.main import cli\n"
        f"try: cli.main({list(args)!r})\nexcept SystemExit as end: assert not end.code, end.code\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input='{"reserve_bytes": 1, "guests": []}',
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.strip() == "[]"
    assert done.stdout


def test_version_and_module_call() -> None:
    """``python -m guestroom --version`` is the command."""
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"guestroom, version {__version__}\n")


def test_no_command_shows_the_help_and_is_wrong_usage() -> None:
    """A bare ``guestroom`` explains itself on stderr and exits with 2."""
    done = run()
    assert done.returncode == 2
    assert "Commands:" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["size", "--nosuch"], "No such option '--nosuch'"),
        (["size", "--vcpus", "0"], "0 is not in the range"),
        (["size", "--vcpus", "9" * 5000], "is not a valid int"),
        (["divide", "a", "b"], "unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line_and_2_with_and_without_json(args: list[str], message: str) -> None:
    """click's own errors follow the contract: a line on stderr, the object on stdout with --json, exit code 2."""
    plain = CliRunner().invoke(cli, args)
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert message in plain.stderr
    assert plain.stderr.startswith("guestroom: ")
    assert plain.stderr.count("\n") == 1
    with_json = CliRunner().invoke(cli, [*args, "--json"])
    assert with_json.exit_code == 2
    assert json.loads(with_json.stdout)["error"]["code"] == "usage"


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError("in"), 2), (NoRoomError("room"), 3), (HostError("host"), 1)],
)
def test_errors_become_exit_codes(
    error: Exception, code: int, failing: Callable[[Callable[[], int | None]], None]
) -> None:
    """Wrong input 2, no room 3, a machine that refused 1; with --json the object is on stdout."""

    def body() -> int | None:
        raise error

    failing(body)
    result = CliRunner().invoke(cli, ["fail", "--json"])
    assert result.exit_code == code
    assert json.loads(result.stdout)["error"]["message"] == str(error)
    assert result.stderr == f"guestroom: {error}\n"
    assert CliRunner().invoke(cli, ["fail"]).stdout == ""


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_a_command_returns_its_exit_code(
    returned: int | None, code: int, failing: Callable[[Callable[[], int | None]], None]
) -> None:
    """None is success, a number is the exit code."""
    failing(lambda: returned)
    assert CliRunner().invoke(cli, ["fail"]).exit_code == code


def test_ctrl_c_is_130_without_a_traceback(failing: Callable[[Callable[[], int | None]], None]) -> None:
    """An interrupted command ends as shells expect it."""

    def body() -> int | None:
        raise KeyboardInterrupt

    failing(body)
    result = CliRunner().invoke(cli, ["fail"])
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_an_os_error_nobody_expected_is_one_line(failing: Callable[[Callable[[], int | None]], None]) -> None:
    """What happened and to which file, not a traceback."""

    def body() -> int | None:
        raise PermissionError(13, "Permission denied", "/some/file")

    failing(body)
    result = CliRunner().invoke(cli, ["fail"])
    assert result.exit_code == 1
    assert result.stderr == "guestroom: failed: Permission denied (/some/file)\n"


def test_a_bug_keeps_its_traceback(failing: Callable[[Callable[[], int | None]], None]) -> None:
    """An error that nobody meant is not dressed up as wrong input."""

    def body() -> int | None:
        raise ZeroDivisionError

    failing(body)
    assert isinstance(CliRunner().invoke(cli, ["fail"]).exception, ZeroDivisionError)


def test_a_full_disk_is_said_and_not_swallowed() -> None:
    """Output that could not be written is a failure with one line."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PYTHON, "size", "--ram", "1GiB"],
            stdout=full,
            stderr=subprocess.PIPE,
            env=BUFFERED,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "guestroom: failed: No space left on device\n")


def test_a_reader_that_has_gone_is_no_drama() -> None:
    """``guestroom size | head -0``: nothing on stderr."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*PYTHON, "size", "--ram", "1GiB"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        env=BUFFERED,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(write_end)
    assert done.stderr == ""
    assert done.returncode == 1


def test_json_is_asked_for_only_among_our_own_arguments() -> None:
    """A ``--json`` after ``--`` belongs to QEMU."""
    assert wants_json(["size", "--json"])
    assert wants_json(["size", "--json", "--", "qemu"])
    assert not wants_json(["size", "--", "qemu", "--json"])
    assert not wants_json(["size"])


def test_a_terminal_without_unicode_gets_escapes() -> None:
    """With an ASCII stdout and stderr nothing ends in an encoding error."""
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*PYTHON, "size", "--ram", "1GiB", "--policy", "ü"], capture_output=True, env=env, timeout=60, check=False
    )
    assert done.returncode == 2
    assert b"no sizing policy '\\xfc'" in done.stderr
