"""The pages, their links and headings, for the tests of README and docs."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def prose(path: Path) -> str:
    """A page's text without its fenced blocks and comments."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def links(path: Path) -> list[str]:
    """Relative links of a page."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    return [target for target in found if not target.startswith(("http:", "https:"))]


def slugs(path: Path) -> set[str]:
    """Fragments of a page's headings, as GitHub makes them."""
    if path.suffix != ".md":
        return set()
    titles = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
