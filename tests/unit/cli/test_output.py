"""JSON, errors and tables, as every command prints them."""

import io
import json
import sys
from pathlib import Path
from typing import TextIO

import pytest

from guestroom.cli.output import (
    Column,
    emit_json,
    emit_text,
    fail,
    note,
    one_line,
    plain_table,
    size_cell,
    table,
)
from guestroom.errors import ConfigError, HostError, NoRoomError
from guestroom.units import MIB


class Terminal(io.StringIO):
    """A stdout that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


def test_json_is_one_line_of_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe gets one document on one line, in plain ASCII."""
    emit_json({"name": "ü", "n": [1, None]})
    assert capsys.readouterr().out == '{"name": "\\u00fc", "n": [1, null]}\n'


def test_json_is_indented_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the same document is laid out."""
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    emit_json({"a": 1})
    assert out.getvalue() == '{\n  "a": 1\n}\n'


def test_lines_leave_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed into a pipe is not kept back until the command ends."""
    kept = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(kept)))
    emit_text("a")
    assert kept.getvalue() == b"a\n"
    emit_json({})
    assert kept.getvalue() == b"a\n{}\n"


def test_nan_never_reaches_a_reader() -> None:
    """NaN is no JSON: printing it is a programming error, not a document."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        emit_json({"a": float("nan")})


def test_a_closed_stdout_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stdout nothing is printed in silence."""
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(HostError, match="no standard output"):
        emit_text("x")


def test_a_closed_stderr_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who closed stderr does not want the note; the command goes on."""
    monkeypatch.setattr(sys, "stderr", None)
    note("nobody hears it")


@pytest.mark.parametrize(("error", "code"), [(ConfigError, 2), (NoRoomError, 3), (HostError, 1)])
def test_fail_prints_one_line_and_gives_the_exit_code(
    error: type[ConfigError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line is on stderr; stdout stays empty without --json."""
    assert fail(error("it broke", where="f:3", hint="mend it"), as_json=False) == code
    assert capsys.readouterr() == ("", "guestroom: it broke (f:3): mend it\n")


def test_fail_prints_the_object_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With --json stdout has the error object, and the line is on stderr all the same."""
    fail(ConfigError("it broke", where="f:3", numbers={"n": 1}), as_json=True)
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    expected = {"code": "config", "message": "it broke", "where": "f:3", "numbers": {"n": 1}, "hint": None}
    assert json.loads(out) == {"error": expected}


def test_a_line_stays_a_line() -> None:
    """Control characters are shown, so that a name can't forge a second line or paint the terminal."""
    assert one_line("a\nguestroom: all is well\x1b[31m\u202e") == "a\\nguestroom: all is well\\x1b[31m\\u202e"
    assert one_line("Gäste 中") == "Gäste 中"


def test_numbers_align_right_and_text_left() -> None:
    """Columns line up, with no spaces at the ends of lines."""
    columns = (Column("name"), Column("size", right=True), Column("note"))
    assert plain_table(columns, [["a", "1.0 MiB", ""], ["long", "100.0 MiB", "x"]]) == [
        "name       size  note",
        "a       1.0 MiB",
        "long  100.0 MiB  x",
    ]


def test_a_table_in_a_pipe_is_plain(capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown cells are dashes, counts are numbers, and nothing is drawn."""
    table((Column("a"), Column("b", right=True)), [("x", None), ("y\n", 12)])
    assert capsys.readouterr().out == "a     b\nx     -\ny\\n  12\n"


def test_a_table_on_a_terminal_is_drawn_and_names_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """rich draws it, and a guest called ``[red]`` keeps its name."""
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    table((Column("a"),), [("[red]",)])
    assert "[red]" in out.getvalue()
    assert "─" in out.getvalue()


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_color_and_dumb_terminals_get_plain_text(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR and TERM=dumb are honoured on a terminal too."""
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv(variable, value)
    table((Column("a"),), [("b",)])
    assert out.getvalue() == "a\nb\n"


def test_an_unknown_size_stays_unknown() -> None:
    """None is no 0 B."""
    assert size_cell(None) is None
    assert size_cell(MIB) == "1.0 MiB"


def broken() -> TextIO:
    """A stream on a full device: it takes what is written, and fails when that is flushed."""
    return Path("/dev/full").open("w")


def test_a_complaint_nobody_can_hear_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full stderr an error keeps its exit code, and nothing is left that would fail again at exit."""
    monkeypatch.setattr(sys, "stderr", stream := broken())
    assert fail(NoRoomError("full"), as_json=False) == 3
    stream.flush()


def test_an_error_object_nobody_can_read_is_no_second_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json and a full or closed stdout the line and the exit code are those of the error itself."""
    for stdout in (broken(), None):
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "stderr", said := io.StringIO())
        assert fail(ConfigError("bad", where="f:1"), as_json=True) == 2
        assert said.getvalue() == "guestroom: bad (f:1)\n"
