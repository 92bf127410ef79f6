"""Small readers every kernel file needs: one number, one word, one list, with the tree's errors.

``read_text`` is the only place that meets ``OSError``, so that nothing else leaks out of this package.
"""

from __future__ import annotations

import errno
import re

from guestroom.errors import ReadError, VanishedError, from_read
from guestroom.ports import Files

_NUMBER = re.compile(r"[0-9]{1,20}\n?\Z", re.ASCII)


def read_text(files: Files, path: str) -> str:
    """Text of ``path``. Raises ``VanishedError`` where it is gone, ``ReadError`` otherwise."""
    try:
        return files.read(path)
    except OSError as error:
        raise from_read(error, path) from error


def read_optional(files: Files, folder: str, name: str) -> str | None:
    """Text of ``folder/name``, or ``None`` where this kernel has no such file although ``folder`` is there.

    Raises ``VanishedError`` where the folder is gone, ``ReadError`` otherwise.
    """
    path = f"{folder}/{name}"
    try:
        return files.read(path)
    except OSError as error:
        if error.errno != errno.ENOENT or not exists(files, folder):
            raise from_read(error, path) from error
        return None


def exists(files: Files, folder: str) -> bool:
    """True where ``folder`` is there."""
    try:
        folder_inode(files, folder)
    except VanishedError:
        return False
    return True


def folder_inode(files: Files, folder: str) -> int:
    """Which folder exactly. Raises ``VanishedError`` or ``ReadError``."""
    try:
        return files.inode(folder)
    except OSError as error:
        raise from_read(error, folder) from error


def list_dirs(files: Files, folder: str) -> list[str]:
    """Names of the folders inside. Raises ``VanishedError`` or ``ReadError``."""
    try:
        return files.list_dirs(folder)
    except OSError as error:
        raise from_read(error, folder) from error


def number(path: str, text: str) -> int:
    """The one whole number that ``text`` is. Raises ``ReadError``."""
    if not _NUMBER.match(text):
        raise ReadError(path, "not one whole number", line=1, text=text)
    return int(text)


def numbers(path: str, text: str) -> list[int]:
    """Whole numbers, one a line. Raises ``ReadError`` with the line."""
    found = []
    for line_number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        if not _NUMBER.match(line):
            raise ReadError(path, "not one whole number a line", line=line_number, text=line)
        found.append(int(line))
    return found


def words(path: str, text: str) -> dict[str, str]:
    """``name value`` lines. Raises ``ReadError`` with the line."""
    found = {}
    for line_number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        name, _, value = line.partition(" ")
        if not name.isidentifier() or not value:
            raise ReadError(path, "a line is not 'name value'", line=line_number, text=line)
        found[name] = value
    return found
