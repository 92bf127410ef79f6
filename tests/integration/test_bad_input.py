"""Wrong input, hostile clients and broken surroundings: a clear error, and nothing changed, nothing lost.

One agent with one running guest stands through most of it: after each test it must look exactly as before.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import MakeHost
from tests.integration.test_launch import firmware, run_firmware, running, until

from guestroom.errors import GuestroomError, InputError
from guestroom.lab.host import Host
from guestroom.lab.image import GuestImage
from guestroom.units import MIB

pytestmark = pytest.mark.integration

SETTINGS = '[host]\nreserve = "4GiB"\nheadroom = "128MiB"\n'
QEMU = "qemu-system-x86_64"
GUESTROOM = (sys.executable, "-m", "guestroom")
Done = subprocess.CompletedProcess[str]


# --- what must stay as it is -------------------------------------------------------------------------------


def ledger_of(state: str) -> tuple[str, list[str], int]:
    """The ledger as SQLite sees it from outside: its health, its guests, decisions never finished."""
    with contextlib.closing(sqlite3.connect(f"file:{state}/ledger.db?mode=ro", uri=True, timeout=10)) as ledger:
        health = ledger.execute("PRAGMA integrity_check").fetchone()[0]
        guests = [name for (name,) in ledger.execute("SELECT name FROM guests ORDER BY name")]
        unfinished = ledger.execute("SELECT count(*) FROM decisions WHERE finished_wall_s IS NULL").fetchone()[0]
    return health, guests, unfinished


def picture(host: Host) -> dict[str, Any]:
    """Guests, cgroups and limits by the agent's word, the kernel's and the ledger's."""
    keys = ("pid", "state", "held", "grant_bytes", "limit_bytes")
    rows = {name: [row[key] for key in keys] for name, row in host.ps().items()}
    folders = sorted(host.files.list_dirs(host.layout.memory))
    return {
        "rows": rows,
        "folders": folders,
        "limits": [host.figure(host.layout.guest(name), "memory.limit_in_bytes") for name in folders],
        "wall": host.figure(host.layout.memory, "memory.limit_in_bytes"),
        "alive": [Path(f"/proc/{row[0]}").exists() for row in rows.values()],
        "ledger": ledger_of(host.state),
        "descriptors": sum(1 for _ in Path(f"/proc/{host.process.pid}/fd").iterdir())
        if host.process is not None
        else None,
    }


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    """An agent with one running guest."""
    host = Host(SETTINGS)
    try:
        host.start()
        guest = run_firmware(host, "stands")
        assert until(running(host, "stands"))
        before = picture(host)
        for _ in range(20):  # until its sweeps have opened what they keep open
            time.sleep(1.5)
            now = picture(host)
            if as_before(now, before):
                break
            before = now
        yield host
        assert guest.poll() is None
        guest.terminate()
        assert guest.wait(20) == 0
    finally:
        sys.stdout.write(host.log())
        host.clean_up()


@pytest.fixture
def host(shared: Host) -> Iterator[Host]:
    """The same agent; after the test everything is as it was before it."""
    before = picture(shared)
    yield shared
    if not until(lambda: as_before(picture(shared), before)):
        assert picture(shared) == before
    assert "Traceback" not in shared.log()


def as_before(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Everything the same; of descriptors not more (one in use for a moment before may be closed by now)."""
    same = {key: value for key, value in now.items() if key != "descriptors"}
    return same == {key: before[key] for key in same} and now["descriptors"] <= before["descriptors"]


def shell(command: Sequence[str | bytes], redirect: str = "") -> Done:
    """A command with its output caught, except where ``redirect`` says otherwise."""
    words = [os.fsdecode(word) for word in command]
    script = ["bash", "-c", f"{shlex.join(words)} {redirect}"] if redirect else words
    return subprocess.run(script, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def complains(done: Done, code: int, *mentions: str) -> str:
    """One line on stderr with every mention, the exit code, and nothing on stdout. The line."""
    assert done.returncode == code, done
    assert done.stderr.startswith("guestroom: "), done
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    for mention in mentions:
        assert mention in done.stderr
    assert done.stdout == ""
    return done.stderr


def complains_in_json(done: Done, code: int, *mentions: str) -> dict[str, Any]:
    """The same with --json: the object on stdout says what the line says."""
    plain = subprocess.CompletedProcess(done.args, done.returncode, "", done.stderr)
    line = complains(plain, code, *mentions)
    (error,) = json.loads(done.stdout).values()
    assert set(error) == {"code", "message", "where", "numbers", "hint"}
    assert isinstance(error, dict)
    assert json.dumps(error["message"])[1:20] in json.dumps(line)
    return error


# --- command lines, sizes, names -----------------------------------------------------------------------------

ARGVS: list[tuple[list[str | bytes], str]] = [
    ([QEMU, "-m", "64Q"], "64Q"),
    ([QEMU, "-m", "-5"], "-5"),
    ([QEMU, "-m", "99999999999999999999T"], "99999999999999999999T"),
    ([QEMU, "-m"], "-m"),
    ([QEMU, "-m", "64,maxmem="], "maxmem"),
    ([QEMU, "-m", "64", "-smp", "-3"], "-3"),
    ([QEMU, "-m", "64", "-smp", "two"], "two"),
    ([QEMU, "-m", "64", "-object", '{"qom-type":'], "-object"),
    ([QEMU, "-m", "64", "-object", "memory-backend-ram,id=r,size=1X"], "1X"),
    ([QEMU, "-m", "64", "-readconfig"], "-readconfig"),
    ([QEMU, "-m", b"64\xff"], "64\\udcff"),
    ([QEMU, "-m", "6" * 5000], "666"),
]


@pytest.mark.parametrize(("argv", "mention"), ARGVS, ids=[mention[:12] for _, mention in ARGVS])
def test_malformed_command_lines(host: Host, argv: list[str | bytes], mention: str) -> None:
    """size, plan and run refuse a command line QEMU would not take: 2, a line that quotes it, an object with --json."""
    for command in (
        ["size", "--json"],
        ["plan", "--json", "--socket", host.socket],
        ["run", "--json", "--name", "bad", "--socket", host.socket],
    ):
        complains_in_json(shell([*GUESTROOM, *command, "--", *argv]), 2, mention)


@pytest.mark.parametrize(
    ("argv", "mention"),
    [
        ([], "ARGV"),
        ([""], "program"),
        ([QEMU, "-S", "-m", "64", "-machine", "none"], "none"),
        ([QEMU, "-m", "64", "-mem-path", "/tmp"], "share=on"),
        ([QEMU, "-m", "64", "-daemonize"], "daemonize"),
        ([QEMU, "-m", "64", *["-device", "x" * 90_000] * 20], ""),
    ],
    ids=["none", "empty", "machine-none", "mem-path", "daemonize", "huge"],
)
def test_command_lines_that_cannot_be_run(host: Host, argv: list[str], mention: str) -> None:
    """What describes no guest that could be kept under a limit is refused by run before anything is reserved."""
    complains(shell([*host.run_words("bad"), *argv]), 2, mention)


def answered(host: Host, target: str, body: dict[str, object]) -> dict[str, Any]:
    """The first line of an answer; an error line of a start raised like any other error."""
    line = next(iter(host.client.stream("POST", target, body).lines()))
    if line.get("exit_code") == 2:
        raise InputError(line["error"]["message"])
    return line


NAMES = ["a/b", "..", ".", "a.b", "a\nb", "x" * 300, "", " ", "ü", "名", "-a", "ram", "tasks", "a;rm", b"a\xff"]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:12] for name in NAMES])
def test_names_that_cannot_be_a_folder(host: Host, name: str | bytes) -> None:
    """A name with a slash, dot, newline, 300 characters or non-ASCII is refused by the command and by the API."""
    line = complains(shell([*GUESTROOM, "run", f"--name={os.fsdecode(name)}", "--socket", host.socket, "--", QEMU]), 2)
    assert "name" in line
    if isinstance(name, bytes):
        return
    body = {"name": name, "argv": firmware(), "child_pid": os.getpid()}
    for target in ("/v1/plan", "/v1/release", "/v1/start"):
        known = {"/v1/plan": {"name", "argv"}, "/v1/release": {"name"}, "/v1/start": set(body)}[target]
        given = {key: value for key, value in body.items() if key in known}
        with pytest.raises(InputError):
            answered(host, target, given)
    assert not (host.folder / "b").exists()


@pytest.mark.parametrize(
    ("options", "mention"),
    [
        (["--on-short", "perhaps"], "perhaps"),
        (["--agent-lost", "nan"], "nan"),
        (["--agent-lost", "-1"], "-1"),
        (["--agent-lost", "soon"], "soon"),
        (["--helper", "x 'y"], "quotation"),
        (["--helper", ""], "--helper"),
        (["--verdict-fd", "9"], "9"),
        (["--verdict-fd", "-1"], "-1"),
        (["--verdict-fd", "99999999999999999999"], "99999999999999999999"),
        (["--verdict-fd", "stdout"], "stdout"),
        (["--no-such-option"], "--no-such-option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_of_run_that_make_no_sense(host: Host, options: list[str], mention: str) -> None:
    """Every option is checked before the agent is asked for room."""
    words = [*GUESTROOM, "run", "--socket", host.socket, "--name", "bad", *options, "--", *firmware()]
    complains(shell(words), 2, mention)


# --- files ---------------------------------------------------------------------------------------------------


def make_file(folder: Path, kind: str) -> Path:
    """A -readconfig file that is none."""
    path = folder / kind
    match kind:
        case "garbage":
            path.write_bytes(os.urandom(5000))
        case "nul":
            path.write_bytes(b"\0" * 5000)
        case "nul-inside":
            path.write_bytes(b'[memory]\n  size = "6\x004"\n')
        case "huge":
            path.write_text('[memory]\n  size = "64"\n')
            os.truncate(path, 100 * MIB)
        case "truncated-by-us":
            path.write_text("# padding\n" * 120_000 + '[memory]\n  size = "64"\n')
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "zero":
            return Path("/dev/zero")
        case _:
            return path
    return path


KINDS = ["garbage", "nul", "nul-inside", "huge", "truncated-by-us", "fifo", "folder", "zero", "missing"]


@pytest.mark.parametrize("kind", KINDS)
def test_readconfig_files_that_are_none(host: Host, tmp_path: Path, kind: str) -> None:
    """Garbage, NULs, 100 MB, a FIFO, a folder, an endless or missing file: refused by path, none read in part."""
    path = make_file(tmp_path, kind)
    argv = [*firmware(), "-readconfig", str(path)]
    complains(shell([*host.run_words("bad"), *argv]), 2, str(path))
    complains(shell([*GUESTROOM, "plan", "--socket", host.socket, "--", *argv]), 2, str(path))


@pytest.mark.parametrize(
    ("text", "line", "mentions"),
    [
        ("[host]\nreserve = \n", 2, ()),
        ('[host]\nreserve = "25%"\nreserve = "26%"\n', 3, ("reserve",)),
        ('[host]\nresreve = "25%"\n', 2, ("resreve", "reserve")),
        ("[hots]\n", 1, ("hots",)),
        ('[host]\nheadroom = "600M"\n', 2, ("600M",)),
        (
            '[host]\nreserve = "-1"\n[timing]\nsettle_s = -3\n[guests."a/b"]\nweight = 0\n',
            2,
            ("settle_s", "a/b", "weight"),
        ),
        ("\0\0\0", 1, ()),
    ],
    ids=["syntax", "twice", "unknown-key", "unknown-table", "size", "several", "nul"],
)
def test_settings_that_are_wrong(tmp_path: Path, text: str, line: int, mentions: tuple[str, ...]) -> None:
    """The agent does not start on a file with an error: 2, file:line, all errors at once, and nothing left behind."""
    config, sock, state = tmp_path / "c.toml", tmp_path / "a.sock", tmp_path / "state"
    config.write_text(text)
    words = [*GUESTROOM, "agent", "--config", str(config), "--socket", str(sock), "--state", str(state)]
    complains(shell(words), 2, f"{config}:{line}", *mentions)
    error = complains_in_json(shell([*words, "--check", "--json"]), 2, f"{config}:{line}")
    assert error["where"] == f"{config}:{line}"
    assert not sock.exists()
    assert not state.exists()


# --- sockets and state folders -------------------------------------------------------------------------------


@contextlib.contextmanager
def mounted(place: Path, options: str) -> Iterator[Path]:
    """A file system of its own at ``place``; the test is skipped, and says so, where none can be mounted."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "guestroom-test", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take every free block of a file system."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return filler


def agent_words(host: Host, *, sock: object = None, state: object = None) -> list[str]:
    """A second agent, with this host's settings, and its socket and state where nothing else is said."""
    words = ["agent", "--config", str(host.config), "--socket", str(sock if sock is not None else host.socket)]
    return [*GUESTROOM, *words, "--state", str(state if state is not None else host.state)]


def somebody_elses(path: Path) -> None:
    """A socket another user made."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    os.chown(path, 65534, 65534)


@pytest.mark.parametrize("kind", ["theirs", "file", "folder", "below-a-file", "too-long", "link", "empty"])
def test_socket_paths_that_are_not_ours(tmp_path: Path, kind: str) -> None:
    """A socket somebody else owns, a file, a folder: left alone, the agent ends with 1 (a wrong option with 2)."""
    path, mention, code = tmp_path / "a.sock", "--socket", 1
    if kind == "theirs":
        somebody_elses(path)
        mention = "65534"
    elif kind == "file":
        path.write_text("precious")
    elif kind == "folder":
        path.mkdir()
    elif kind == "below-a-file":
        (tmp_path / "f").write_text("precious")
        path, mention = tmp_path / "f" / "a.sock", "ENOTDIR"
    elif kind == "too-long":
        path, mention = tmp_path / ("x" * 120), "107"
    elif kind == "link":
        (tmp_path / "f").write_text("precious")
        path.symlink_to(tmp_path / "f")
    before = path.lstat() if os.path.lexists(path) else None
    state = tmp_path / "state"
    given = "" if kind == "empty" else str(path)
    words = [*GUESTROOM, "agent", "--socket", given, "--state", str(state)]
    complains(shell(words), 2 if kind == "empty" else code, mention, given)
    assert (path.lstat() if os.path.lexists(path) else None) == before
    assert not state.exists()
    if kind in ("file", "link"):
        assert path.read_text() == "precious"


@pytest.mark.parametrize("kind", ["missing", "folder", "file", "deaf", "babble", "lies", "too-long"])
def test_agents_that_are_none(tmp_path: Path, kind: str) -> None:
    """Whatever is behind the socket, run starts nothing and says with 1 what it found and where."""
    path = tmp_path / "a.sock"
    listener = socket.socket(socket.AF_UNIX)
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("precious")
    elif kind == "too-long":
        path = tmp_path / ("x" * 120)
    elif kind != "missing":
        listener.bind(str(path))
        listener.listen(1)
    answers = {
        "deaf": b"",
        "babble": b"\0\xff hello\n" * 100,
        "lies": b'HTTP/1.1 500 Oops\r\ncontent-length: 12\r\n\r\n{"error": 12',
    }
    mark = tmp_path / "ran"
    words = [*GUESTROOM, "run", "--name", "a", "--socket", str(path), "--json", "--", "touch", str(mark), "-m", "64"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        if kind in answers:
            connection, _ = listener.accept()
            connection.recv(1 << 16)
            connection.sendall(answers[kind])
            connection.close()
        stdout, stderr = process.communicate(timeout=30)
    listener.close()
    complains_in_json(subprocess.CompletedProcess(words, process.returncode, stdout, stderr), 1, str(path))
    assert not mark.exists()


@pytest.mark.parametrize(
    "kind", ["below-a-file", "read-only", "open-to-all", "theirs", "full", "garbage", "link", "empty"]
)
def test_state_folders_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    """Not writable, full, anybody's, not ours: 1 with the path and what to do; what was there is left as it is."""
    place, mention = tmp_path / "s", "--state"
    sock = tmp_path / "a.sock"
    with contextlib.ExitStack() as stack:
        state = place / "state"
        if kind == "read-only":
            stack.enter_context(mounted(place, "size=1m,ro"))
            mention = "EROFS"
        elif kind == "full":
            fill(stack.enter_context(mounted(place, "size=1m,mode=0700")))
            mention = "ENOSPC"
        elif kind == "below-a-file":
            place.write_text("precious")
            mention = "ENOTDIR"
        else:
            state.mkdir(parents=True, mode=0o700)
        if kind == "open-to-all":
            state.chmod(0o777)
        elif kind == "theirs":
            os.chown(state, 65534, 65534)
        elif kind == "garbage":
            (state / "ledger.db").write_bytes(b"precious" * 1000)
            mention = "never overwrites"
        elif kind == "link":
            (tmp_path / "f").write_text("precious")
            (state / "ledger.db").symlink_to(tmp_path / "f")
        given = "" if kind == "empty" else str(state)
        words = [*GUESTROOM, "agent", "--socket", str(sock), "--state", given]
        line = complains(shell(words), 2 if kind == "empty" else 1, mention)
        assert given in line
    assert not sock.exists()
    if kind == "garbage":
        assert (state / "ledger.db").read_bytes() == b"precious" * 1000
    elif kind == "link":
        assert (tmp_path / "f").read_text() == "precious"


def test_a_second_agent_is_sent_away(host: Host, tmp_path: Path) -> None:
    """On the same state, the same socket or the same cgroup a second agent ends with 1 and the first goes on."""
    pid = str(host.process.pid if host.process is not None else None)
    complains(shell(agent_words(host, sock=tmp_path / "b.sock")), 1, host.state, f"pid {pid}", "stop")
    complains(shell(agent_words(host, state=tmp_path / "s")), 1, host.socket, "another agent")
    same_cgroup = agent_words(host, sock=tmp_path / "c.sock", state=tmp_path / "s")
    complains(shell(same_cgroup), 1, host.layout.memory, "[host]")
    assert not list(tmp_path.glob("*.sock"))


def test_a_disk_that_runs_full_hurts_no_guest(tmp_path: Path, make_host: MakeHost, image: GuestImage) -> None:
    """With a full disk a loaded guest goes on, a leaver's room comes back, a start is refused; later all is written."""
    with mounted(tmp_path / "small", "size=1m,mode=0700") as small:
        host = make_host('[host]\nreserve = "2GiB"\nheadroom = "0"\nguard = "0"\n[timing]\nsettle_s = 0\n', start=False)
        host.state = str(small / "state")
        host.start()
        vm = host.run(host.machine("stays", image))
        leaver = run_firmware(host, "leaves", ram_mib=256)
        assert until(running(host, "leaves"))
        assert vm.wait_alive(60)
        half = host.ps()["stays"]["grant_bytes"]
        filler = fill(small)

        refused = shell([*host.run_words("new"), *firmware()])
        complains(refused, 1, "ENOSPC", f"{host.state}/ledger.db", "make room")
        assert sorted(host.ps()) == ["leaves", "stays"]
        assert sorted(host.files.list_dirs(host.layout.memory)) == ["leaves", "stays"]

        leaver.terminate()
        assert leaver.wait(20) == 0
        assert until(lambda: list(host.ps()) == ["stays"])
        assert until(lambda: host.ps()["stays"]["grant_bytes"] > half + 500 * MIB)
        row = host.ps()["stays"]
        assert host.figure(host.layout.guest("stays"), "memory.limit_in_bytes") == row["limit_bytes"]
        vm.grow(half + 100 * MIB, "full")
        assert vm.alive() is None
        assert host.process is not None
        assert host.process.poll() is None

        filler.unlink()
        assert until(lambda: ledger_of(host.state) == ("ok", ["stays"], 0), 30)
        wall_bytes = row["ram_bytes"] + host.client.get("/v1/host")["reserve_bytes"]
        assert until(lambda: host.figure(host.layout.memory, "memory.limit_in_bytes") == wall_bytes)
        again = run_firmware(host, "new")
        assert until(running(host, "new"))
        again.terminate()
        assert again.wait(20) == 0
        host.wait_for("ended", "leaves")
        assert "Traceback" not in host.log()


# --- the API's socket ----------------------------------------------------------------------------------------


def talk(host: Host, payload: bytes, *, hang_up: bool = True) -> bytes:
    """What the agent answers to raw bytes until it closes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(host.socket)
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(payload)
            if hang_up:
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(1 << 16):
                answer += chunk
        return answer


def request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    """A request in bytes."""
    lines = [f"{method} {target} HTTP/1.1", "host: guestroom", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


GARBAGE = {
    "random": os.urandom(5000),
    "nul": b"\0" * 100_000,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x7f" * 500,
    "text": b"hello agent, how are you?\r\n\r\n",
    "version": b"GET /v1/host HTTP/9.9\r\nhost: x\r\n\r\n",
    "no-host": b"GET /v1/host HTTP/1.1\r\n\r\n",
    "endless-header": b"GET /v1/host HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 300_000,
    "negative-length": request("POST", "/v1/start", "content-length: -5"),
    "two-lengths": request("POST", "/v1/start", "content-length: 5", "content-length: 6"),
    "bad-chunk": request("POST", "/v1/start", "transfer-encoding: chunked", body=b"zz\r\n\r\n"),
    "half-head": b"POST /v1/start HTTP/1.1\r\nhos",
    "half-body": request(
        "POST", "/v1/start", "content-type: application/json", "content-length: 100", body=b'{"name":'
    ),
    "upgrade": request("GET", "/v1/host", "connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"),
    "no-json": request("POST", "/v1/plan", "content-type: application/json", "content-length: 4", body=b"\xff\xfe\0{"),
    "method": request("BREW", "/v1/guests", "connection: close"),
    "path": request("GET", "/v1/guests/../../../etc/passwd", "connection: close"),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_bytes_that_are_no_request(host: Host, kind: str) -> None:
    """Garbage, half requests and wrong methods are refused or dropped; the next client is served as ever."""
    answer = talk(host, GARBAGE[kind])
    assert answer == b"" or answer.split()[1] in (b"400", b"404", b"405", b"422") or kind == "upgrade", answer
    assert list(host.ps()) == ["stands"]


def resident_bytes(pid: int) -> int:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_body_that_never_ends_is_not_kept(host: Host) -> None:
    """100 MB in one body, announced or not, are refused with 413 and never held in the agent's memory."""
    assert host.process is not None
    before = resident_bytes(host.process.pid)
    chunk = b"100000\r\n" + b" " * MIB + b"\r\n"
    chunked = request("POST", "/v1/plan", "content-type: application/json", "transfer-encoding: chunked")
    announced = request("POST", "/v1/start", "content-type: application/json", f"content-length: {100 * MIB}")
    for payload in (chunked + chunk * 100, announced + b" " * (100 * MIB)):
        answer = talk(host, payload)
        assert answer == b"" or b" 413 " in answer.split(b"\r\n")[0], answer
    assert resident_bytes(host.process.pid) - before < 40 * MIB
    with pytest.raises(GuestroomError):
        host.client.post("/v1/plan", {"name": "a", "argv": ["x" * MIB] * 20})


def test_two_hundred_idle_clients_keep_nobody_out(host: Host) -> None:
    """Clients that connect and never send, or stop half way, do not delay a guest's start or end."""
    crowd = []
    for number in range(200):
        idler = socket.socket(socket.AF_UNIX)
        idler.connect(host.socket)
        if number % 2:
            idler.sendall(GARBAGE["half-body" if number % 4 == 1 else "half-head"])
        crowd.append(idler)
    try:
        guest = run_firmware(host, "through")
        host.wait_for("started", "through")
        time.sleep(0.3)  # for its run to hear of it too
        guest.terminate()
        assert guest.wait(20) == 0
        assert until(lambda: list(host.ps()) == ["stands"])
    finally:
        for idler in crowd:
            idler.close()


def test_a_client_that_leaves_with_its_request_reserves_nothing(host: Host) -> None:
    """A start whose client hangs up at once is undone: its process ended, its room and its name free again."""
    with subprocess.Popen(["sleep", "1000"]) as child:
        body = json.dumps({"name": "gone", "argv": firmware(), "child_pid": child.pid}).encode()
        head = ("content-type: application/json", f"content-length: {len(body)}")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(host.socket)
            connection.sendall(request("POST", "/v1/start", *head, body=body))
        host.wait_for("not_started", "gone", timeout_s=30)
        assert until(lambda: list(host.ps()) == ["stands"], 30)
        child.kill()


def test_only_ones_own_children_are_taken(host: Host) -> None:
    """A start that names somebody else's process is wrong input, and that process stays where it was."""
    stands = host.ps()["stands"]["pid"]
    for pid in (1, stands, os.getpid(), os.getppid()):
        before = Path(f"/proc/{pid}/cgroup").read_text()
        body = {"name": "thief", "argv": firmware(), "child_pid": pid}
        (line,) = host.client.stream("POST", "/v1/start", body).lines()
        assert line["event"] == "error"
        assert line["exit_code"] == 2
        assert str(pid) in line["error"]["message"]
        assert Path(f"/proc/{pid}/cgroup").read_text() == before


# --- standard streams and descriptors ------------------------------------------------------------------------

BROKEN = firmware(64, "-device", "no-such-device")


@pytest.mark.parametrize("redirect", [">&-", "2>&-", "<&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"])
def test_run_without_its_streams(host: Host, redirect: str) -> None:
    """With any stream closed or full the exit code is QEMU's, or 2 for wrong usage, and there is no traceback."""
    done = shell([*host.run_words("bare"), *BROKEN], redirect)
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    if "2>" not in redirect:
        assert "no-such-device" in done.stderr
    assert until(lambda: list(host.ps()) == ["stands"])
    done = shell([*host.run_words("a/b"), *BROKEN], redirect)
    assert done.returncode == 2


def test_closed_streams_are_nobody_elses(host: Host) -> None:
    """Where run was started without stdin, stdout and stderr, QEMU has /dev/null there, nothing opened later."""
    words = shlex.join([*host.run_words("bare"), *firmware()])
    process = subprocess.Popen(["bash", "-c", f"exec {words} <&- >&- 2>&-"])
    assert until(running(host, "bare"))
    pid = host.ps()["bare"]["pid"]
    assert {str(Path(f"/proc/{pid}/fd/{fd}").readlink()) for fd in (0, 1, 2)} == {"/dev/null"}
    time.sleep(0.3)
    process.terminate()
    assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("redirect", "code"),
    [("9</dev/null", 2), ("9</dev/null 9<&-", 2), ("9>/dev/full", 1), ("9> >(exec 0<&-; exec sleep 0.1)", None)],
    ids=["read-only", "closed", "full", "nobody-reads"],
)
def test_a_verdict_nobody_can_get_starts_nothing(host: Host, redirect: str, code: int | None) -> None:
    """The verdict is authoritative: where --verdict-fd can't take it, QEMU is not executed and the reason is said."""
    if code is None:
        reader, writer = os.pipe()
        os.close(reader)
        words = [*host.run_words("mute", "--verdict-fd", str(writer)), *firmware()]
        done = subprocess.run(words, capture_output=True, text=True, pass_fds=(writer,), timeout=30, check=False)
        os.close(writer)
    else:
        done = shell([*host.run_words("mute", "--verdict-fd", "9"), *firmware()], redirect)
    complains(done, code or 1, "--verdict-fd")


def test_a_guest_outlives_whoever_read_its_messages(host: Host) -> None:
    """A run whose stderr and stdout have lost their readers goes on, and its guest ends with its own exit code."""
    process = run_firmware(host, "alone")
    host.wait_for("started", "alone")
    time.sleep(0.3)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    process.terminate()
    assert process.wait(20) == 0


@pytest.mark.parametrize("command", [["ps"], ["events"], ["plan"], ["release", "nobody"]])
def test_commands_whose_output_goes_nowhere(host: Host, command: list[str]) -> None:
    """With stdout closed or full a command says so in one line and fails; what it did not do stays undone."""
    more = ["--", *firmware()] if command == ["plan"] else []
    words = [*GUESTROOM, *command, "--socket", host.socket, *more]
    for redirect, mention in ((">&-", "standard output"), (">/dev/full", "No space left")):
        done = shell(words, redirect)
        code, expected = (2, "nobody") if command[0] == "release" else (1, mention)
        complains(done, code, expected)


def test_followers_that_leave_are_let_go(host: Host) -> None:
    """``events --follow`` ends when its reader does, and the agent keeps nothing for it."""
    words = [*GUESTROOM, "events", "--follow", "--socket", host.socket]
    follower = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert follower.stdout is not None
    assert follower.stderr is not None
    assert follower.stdout.readline()
    follower.stdout.close()
    for _ in range(3):  # news that it finds it can't print
        shell([*host.run_words("bad"), QEMU, "-m", "64Q"])
    assert follower.wait(20) == 1
    assert follower.stderr.read() == b""
    follower.stderr.close()
