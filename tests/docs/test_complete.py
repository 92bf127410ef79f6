"""Nothing that the code can say or take is missing in the docs, and nothing there is invented."""

from __future__ import annotations

import ast
import dataclasses
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs.pages import PAGES, ROOT, prose
from tests.integration.test_story import CHAPTERS
from tools import docs_reference, docs_story

from guestroom.agent import settings_model
from guestroom.cli import families
from guestroom.cli.main import COMMANDS
from guestroom.ports import Event
from guestroom.size import Kept

SRC = ROOT / "src" / "guestroom"
REFERENCE = ROOT / "docs" / "reference"


@pytest.mark.parametrize("name", list(docs_reference.PAGES))
def test_generated_pages_are_current(name: str) -> None:
    """A page that the code tells says what the code says now; tools/docs_reference.py writes it again."""
    assert (REFERENCE / name).read_text() == docs_reference.PAGES[name]()


def test_the_picture_is_of_the_text() -> None:
    """README's picture shows the kept output of the story and nothing else."""
    assert docs_story.PICTURE.read_text() == docs_story.draw(docs_story.TEXT.read_text())
    assert "http" not in docs_story.PICTURE.read_text().replace("http://www.w3.org/2000/svg", "")


def test_the_kept_story_has_every_chapter() -> None:
    """The kept output is of a story that came true, with all that the test which plays it asks for."""
    lines = docs_story.TEXT.read_text().splitlines()
    for chapter in CHAPTERS:
        assert any("  ok " in line and chapter in line for line in lines), chapter
    assert not any("  NOT " in line for line in lines)


def test_readme_quotes_the_story() -> None:
    """Each line of the story that README shows is in the kept output, in that order."""
    readme, story = (ROOT / "README.md").read_text(), docs_story.TEXT.read_text()
    quoted = re.search(r"```text\n(\[.*?)```", readme, re.DOTALL)
    refusal = re.search(r"```text\n(guestroom: .*?)\.\.\.\n```", readme, re.DOTALL)
    assert quoted is not None
    assert refusal is not None
    at = 0
    for line in quoted[1].splitlines():
        at = story.index(line, at)
    assert refusal[1].strip() in story


def test_readme_compares_by_size_s_own_figures() -> None:
    """README's table of policies has the figures that guestroom size gives, for every policy."""
    rows = re.findall(r"^\| `([\w-]+)` \| ([\d.,]+) \| ([\d.,]+) \| ([\d.,]+) \|", README, re.MULTILINE)
    generated = docs_reference.policies_page()
    assert len(rows) == len(docs_reference.size.policies())
    for name, *figures in rows:
        assert f"| `{name}` | {' | '.join(figures)} |" in generated


README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_used_in_a_guide(name: str) -> None:
    """Each command has its help in the reference and is shown in a guide or README."""
    assert f"## guestroom {name}\n" in (REFERENCE / "cli.md").read_text()
    assert any(f"guestroom {name}" in path.read_text() for path in PAGES if REFERENCE not in path.parents)


def test_every_setting_is_explained() -> None:
    """Each key of the settings file has its row in the reference; a key nobody has is not in a guide's table."""
    text = (REFERENCE / "settings.md").read_text()
    sections = (
        settings_model.HostSection,
        settings_model.SizingSection,
        settings_model.TimingSection,
        settings_model.GuestSection,
    )
    keys = {str(field.alias) for kind in sections for field in kind.model_fields.values()}
    assert len(keys) > 20
    assert {key for key in keys if f"| `{key}` |" not in text} == set()


# --- events ------------------------------------------------------------------------------------------------


def event_kinds(tree: ast.Module) -> Iterator[str]:
    """Kinds of the events a module can note: the first argument of calls of ``.event(...)``, also by a variable."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for call in ast.walk(function):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "event"):
                continue
            first = call.args[0]
            if not isinstance(first, ast.Name):
                yield from _constants(first)
                continue
            values = list(_values(function, first.id))
            assert values or first.id in {one.arg for one in function.args.args}, ast.unparse(call)
            yield from values


def _values(function: ast.AST, name: str) -> Iterator[str]:
    """Texts that a variable can be: assigned to it, or among which it was found."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.IfExp() | ast.Constant() as value):
                if target == name:
                    yield from _constants(value)
            case ast.Compare(left=ast.Name(id=left), ops=[ast.In()], comparators=[ast.Tuple() as several]):
                if left == name:
                    yield from _constants(several)
            case _:
                pass


def _constants(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _constants(body)
            yield from _constants(orelse)
        case ast.Tuple(elts=elements):
            for element in elements:
                yield from _constants(element)
        case _:
            raise AssertionError(f"the kind of this event can't be told: {ast.unparse(node)}")


def all_kinds() -> set[str]:
    """Kinds of events of the whole package, without the simulated host's."""
    paths = [path for path in SRC.rglob("*.py") if "testing" not in path.parts]
    return {kind for path in paths for kind in event_kinds(ast.parse(path.read_text()))}


def test_every_event_is_documented() -> None:
    """The kinds in events.md are exactly those the package can note, and what it says to watch is among them."""
    text = (REFERENCE / "events.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == all_kinds()
    watch = re.search(r"Watch these: (.*)\.\n", text)
    assert watch is not None
    assert set(re.findall(r"`(\w+)`", watch[1])) <= set(documented)


def test_an_undocumented_event_would_be_found() -> None:
    """Kinds given as a text, as one of two, and by a variable are all collected; one that can't be told fails."""
    source = """
def f(self, deps, kind, x):
    deps.event("one", None, "text")
    deps.event("two" if x else "three", None, "text")
    word = "four" if x else "five"
    deps.event(word, None, "text")
    if x in ("six", "seven"):
        self.deps.event(x, None, "text")
    deps.event(kind, None, "text")
"""
    assert set(event_kinds(ast.parse(source))) == {"one", "two", "three", "four", "five", "six", "seven"}
    with pytest.raises(AssertionError):
        list(event_kinds(ast.parse("def f(deps):\n    deps.event('a' + 'b', None, 'text')\n")))


# --- JSON --------------------------------------------------------------------------------------------------


def fields(heading: str) -> set[str]:
    """Fields that json.md documents below a heading."""
    text = (REFERENCE / "json.md").read_text()
    part = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert part is not None
    return set(re.findall(r"^\| `(\w+)` \|", part[1], re.MULTILINE))


@pytest.mark.parametrize(
    ("heading", "function"), [("Guest", "guest_row"), ("Verdict", "verdict_row"), ("Host", "host_row")]
)
def test_every_json_field_is_documented(heading: str, function: str) -> None:
    """What json.md lists for an object is exactly what the agent puts into it."""
    tree = ast.parse((SRC / "agent" / "views.py").read_text())
    found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    returned = next(node.value for node in reversed(found.body) if isinstance(node, ast.Return))
    assert isinstance(returned, ast.Dict)
    assert fields(heading) == {ast.literal_eval(key) for key in returned.keys if key is not None}


def test_every_field_of_learning_is_documented() -> None:
    """json.md lists what /v1/learning has and what each of its groups has."""
    found = next(
        node
        for node in ast.walk(ast.parse((SRC / "agent" / "learning.py").read_text()))
        if isinstance(node, ast.AsyncFunctionDef) and node.name == "row"
    )
    returned = next(node.value for node in reversed(found.body) if isinstance(node, ast.Return))
    assert isinstance(returned, ast.Dict)
    own = {ast.literal_eval(key) for key in returned.keys if key is not None}
    assert fields("Learning") == own | {field.name for field in dataclasses.fields(Kept)}


def test_every_metric_is_documented() -> None:
    """Each figure for Prometheus is in the guide, by its name or by the end that follows a name before it."""
    text = (ROOT / "docs" / "howto" / "metrics.md").read_text()
    named = set(re.findall(r"`(guestroom_\w+)", text))
    for row in text.splitlines():
        first = re.search(r"`(guestroom_(?:guest|host|promise))_\w+", row)
        named |= {first[1] + end for end in re.findall(r"`(_\w+)", row)} if first is not None else set()
    assert {*families.OF_GUEST, *families.OF_HOST, *families.OF_PROMISES} - named == set()


def test_event_fields_are_documented() -> None:
    """events.md names every field of an event."""
    text = (REFERENCE / "events.md").read_text()
    assert all(f"`{field.name}`" in text for field in dataclasses.fields(Event))


# --- packaging and words -----------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_units_are_what_systemd_reads(tmp_path: Path) -> None:
    """systemd-analyze finds nothing to say about the units, and finds a planted error."""
    for name in ("guestroom.service", "guestroom-guests.service", "guest@.service"):
        text = (ROOT / "packaging" / name).read_text().replace("/opt/guestroom/bin/guestroom", sys.executable)
        (tmp_path / name).write_text(text)
    (tmp_path / "guest@web.service").write_text((tmp_path / "guest@.service").read_text())

    def verify(*names: str) -> str:
        paths = [str(tmp_path / name) for name in names]
        done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=60)
        return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if str(tmp_path) in line)

    assert verify("guestroom.service", "guestroom-guests.service", "guest@web.service") == ""
    (tmp_path / "guestroom.service").write_text((tmp_path / "guestroom.service").read_text() + "\n[Service]\nTypo=1\n")
    assert "Typo" in verify("guestroom.service")


def test_the_guide_explains_the_unit_s_lines() -> None:
    """Each line that systemd.md explains is in one of the agent's two units, letter by letter."""
    unit = [
        line
        for name in ("guestroom.service", "guestroom-guests.service")
        for line in (ROOT / "packaging" / name).read_text().splitlines()
    ]
    rows = re.findall(r"^\| `(\w+=\S+)` \|", (ROOT / "docs" / "howto" / "systemd.md").read_text(), re.MULTILINE)
    assert len(rows) > 4
    assert [row for row in rows if row not in unit] == []


def test_every_page_can_be_found() -> None:
    """Each page of docs is linked from README or from the list of decisions."""
    linked = "".join((ROOT / name).read_text() for name in ("README.md", "docs/decisions/README.md"))
    lost = [path.name for path in PAGES[1:] if path.name not in linked]
    assert lost == []


def test_every_promise_is_explained() -> None:
    """concepts.md has all eleven promises, each saying what of it is built."""
    text = prose(ROOT / "docs" / "concepts.md")
    numbers = [int(number) for number in re.findall(r"^\*\*P(\d+) ", text, re.MULTILINE)]
    assert numbers == list(range(1, 12))
