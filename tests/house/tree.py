"""The project's own files, as the house tests read them."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "guestroom"


@cache
def tracked() -> tuple[Path, ...]:
    """Every file a clone has, and every one that is about to be in it."""
    # CI may run as another user than the one who cloned, which git by itself refuses.
    argv = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return tuple(path for path in (ROOT / name for name in sorted(set(names)) if name) if path.is_file())


def texts(*suffixes: str) -> list[tuple[Path, str]]:
    """Path and text of the tracked text files, or of those with these suffixes."""
    found = []
    for path in tracked():
        if suffixes and path.suffix not in suffixes:
            continue
        content = path.read_bytes()
        if b"\0" not in content:
            found.append((path, content.decode("utf-8", errors="replace")))
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(path.read_text(), filename=str(path))


def modules(folder: Path) -> list[Path]:
    """The tracked Python modules below a folder."""
    return [path for path in tracked() if path.suffix == ".py" and folder in path.parents]


def name_of(path: Path) -> str:
    """How a file is called in a message."""
    return str(path.relative_to(ROOT))
