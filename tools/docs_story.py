"""Plays the story and keeps what it printed, as text and as the picture that README shows.

``docs/img/story.txt`` is the output of a real run, with nothing changed but the random name of its folder;
``docs/img/story.svg`` is drawn from that text. A test draws it again, and another plays the story again and holds
the text against it.

``python tools/docs_story.py`` plays it; ``--draw`` only draws the picture anew from the text.
"""

from __future__ import annotations

import argparse
import html
import io
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parents[1]
TEXT = ROOT / "docs" / "img" / "story.txt"
PICTURE = ROOT / "docs" / "img" / "story.svg"
COMMAND = "make run ONCE=1"
COLUMNS = 126
FOLDER = re.compile(r"/[\w/.-]*/guestroom-\w{8}(?=/)")
SPACED = re.compile(r'(<text [^>]*x=")([0-9.]+)(" [^>]*textLength=")([0-9.]+)("[^>]*>)([^<]*)</text>')
STYLES = (
    (r"^\[ *[0-9.]+ s\]", "grey62"),
    (r"  ok  ", "bold green"),
    (r"  NOT ", "bold red"),
    (r"EBUSY|\(squeezed\)|is refused|is lost|exit code 3|ended with -9", "bold yellow"),
    (r"^ +NAME .*$", "bold"),
)
# rich's own template fetches fonts from the web; a picture in a repository must not.
FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: {char_height}px;
  line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def play() -> str:
    """What the story prints on a pipe. Raises ``CalledProcessError`` when it did not come true."""
    argv = [sys.executable, "-m", "guestroom.lab.story", "--once"]
    return masked(subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def masked(text: str) -> str:
    """The text without the run's random folder."""
    return FOLDER.sub("/tmp/guestroom-example", text)


def chapters(text: str) -> list[str]:
    """The lines up to the summary, which only says again what each chapter ended with."""
    lines = text.splitlines()
    last = next(n for n, line in enumerate(lines) if "what was seen" in line)
    return [*(line for line in lines[: last - 1]), lines[-1]]


def draw(text: str) -> str:
    """The text as a picture of a terminal."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ {COMMAND}", style="bold"))
    for line in chapters(text):
        drawn = Text(line)
        for pattern, style in STYLES:
            drawn.highlight_regex(pattern, style)
        console.print(drawn)
    svg = console.export_svg(title="guestroom", theme=MONOKAI, code_format=FRAME, unique_id="story")
    return "\n".join(line.rstrip() for line in SPACED.sub(_moved, svg).splitlines()) + "\n"


def _moved(match: re.Match[str]) -> str:
    """A text that begins or ends with spaces, moved to where its first letter is: some renderers drop the spaces."""
    tag, x, rest, length, end, text = match.groups()
    words = text.replace("&#160;", " ")
    before = len(words) - len(words.lstrip(" "))
    width = float(length) / len(html.unescape(words))
    letters = len(html.unescape(words.strip(" ")))
    inner = words.strip(" ").replace(" ", "&#160;")
    if not inner:
        return ""
    return f"{tag}{float(x) + before * width:.1f}{rest}{letters * width:.1f}{end}{inner}</text>"


def main() -> int:
    """Play, keep, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draw", action="store_true", help="draw the picture from the text that is there")
    options = parser.parse_args()
    if not options.draw:
        TEXT.write_text(play())
    PICTURE.write_text(draw(TEXT.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
