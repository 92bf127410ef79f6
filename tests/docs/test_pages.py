"""README and docs, typed as a reader would: what needs no agent. The rest is in tests/integration/test_docs.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.pages import PAGES, ROOT, links, slugs
from tools import docs_blocks
from tools.docs_blocks import Block, DocsError, Page, differs

from guestroom.size import registry

PLAIN = [path for path in PAGES if not docs_blocks.is_generated(path) and not docs_blocks.needs_agent(path)]


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_says_what_happens(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of a page gives what is written under it, or says why nobody types it."""
    # A page registers a policy of its own, which tests that come after it in this process must not see.
    monkeypatch.setattr(registry, "_POLICIES", dict(registry._POLICIES))
    with Page(path) as page:
        for block in docs_blocks.blocks(path):
            page.run(block)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_block_says_what_becomes_of_it(path: Path) -> None:
    """No fenced block of a page written by hand is without a comment that says it is run, a file, or why not."""
    if docs_blocks.is_generated(path):
        return
    silent = [block.where for block in docs_blocks.blocks(path) if block.directive is None]
    assert silent == []
    fences = len(re.findall(r"^```\w", path.read_text(), re.MULTILINE))
    assert fences == sum(bool(block.language) for block in docs_blocks.blocks(path))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    """Each relative link is to a file that is there, and its fragment to a heading of that file."""
    broken = []
    for target in links(path):
        name, _, fragment = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (fragment and fragment not in slugs(file)):
            broken.append(target)
    assert broken == []


def test_a_wrong_output_is_found(tmp_path: Path) -> None:
    """A block whose output is not what is written fails, with file, line, and both texts."""
    path = tmp_path / "page.md"
    path.write_text("text\n\n<!-- docs: run -->\n```console\n$ echo one\ntwo\n```\n")
    block = docs_blocks.blocks(path)[0]
    with Page(path) as page, pytest.raises(DocsError, match=r"page.md:4.*\n.*expected: two\nprinted:  one"):
        page.run(block)


@pytest.mark.parametrize(
    ("directive", "language", "text"),
    [
        (None, "console", "$ echo"),
        ("not run:", "console", "$ echo"),
        ("run", "ruby", "puts 1"),
        ("run", "python", ">>> 1 + 1\n3"),
        ("run", "python", "1 + 1"),
        ("run", "toml", "[host]\nreserv = 1"),
        ("run", "json", "{"),
        ("run", "console", "no prompt"),
    ],
)
def test_what_is_no_example_is_found(tmp_path: Path, directive: str | None, language: str, text: str) -> None:
    """A block without a directive or a reason, of a language nobody runs, or that is wrong in itself, fails."""
    with Page(tmp_path / "page.md") as page, pytest.raises(Exception, match=r"page\.md|Expecting|reserv"):
        page.run(Block(tmp_path / "page.md", 1, directive, language, text))


@pytest.mark.parametrize(
    ("expected", "got", "options", "fits"),
    [
        (["a 10.0 MiB"], ["a 12.0 MiB"], "", False),
        (["a 10.0 MiB"], ["a 12.0 MiB"], "near 2 MiB", True),
        (["a 10.0 MiB"], ["a 12.1 MiB"], "near 2 MiB", False),
        (["a 1.0 GiB x"], ["a 1,020.0 MiB   x"], "near 4 MiB", True),
        (["a 10.0 MiB"], ["b 10.0 MiB"], "near 2 MiB", False),
        (["web  12  running"], ["web  4711  running"], "mask pid", True),
        (["at 2026-11-24 10:00:00"], ["at 2027-01-01 23:59:59"], "mask time", True),
        (["one", "...", "four"], ["one", "two", "three", "four"], "", True),
        (["one", "...", "four"], ["one", "two", "three"], "", False),
        (["one", "..."], ["one"], "", True),
        (["one ..."], ["one two"], "", True),
        (["one ..."], ["two one"], "", False),
        (["a", "b"], ["b", "a"], "", False),
        (["a", "b"], ["b", "a"], "any order", True),
        (["a", "b"], ["b", "c"], "any order", False),
        (["a"], ["a", "b"], "", False),
        (["a"], ["a", "b"], "any order", False),
        (["a", "b"], ["a"], "", False),
    ],
)
def test_only_what_is_named_may_differ(expected: list[str], got: list[str], options: str, fits: bool) -> None:
    """Sizes within what is allowed, what a mask names and '...' may differ; all else may not."""
    assert (differs(expected, got, options) is None) == fits


def test_pages_that_need_an_agent_are_left_to_integration() -> None:
    """Some pages talk to a real agent, most don't, and each is in one of the two groups."""
    assert {path for path in PAGES if docs_blocks.needs_agent(path)}
    assert len(PLAIN) > 5
