"""A report as one HTML page that needs nothing else: no network, no script, pictures inside; light and dark."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import assert_never

from guestroom.lab.study.document import Block, Bullets, Heading, Paragraph, Picture, Table

_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")
_NUMBER = re.compile(r"[-+±]? ?\d[\d,.]*( ?[%x])?( \.\. .*)?|unknown|-")

_STYLE = """
:root{color-scheme:light dark;--ground:#fff;--ink:#1b1f24;--soft:#5a6470;--line:#d5dae0;--shade:#f4f6f8;--link:#0b57a4}
@media (prefers-color-scheme:dark){:root{--ground:#14171b;--ink:#e4e8ec;--soft:#a2acb6;--line:#3a424b;--shade:#1e2329;
--link:#7db8f0}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.8rem;line-height:1.2;margin:.5rem 0 1rem}
h2{font-size:1.3rem;margin:2.5rem 0 .5rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.5rem 0 .5rem}
p,ul{max-width:48rem}
li{margin:.25rem 0}
code{font:.9em ui-monospace,monospace;background:var(--shade);padding:.05em .3em;border-radius:3px}
.wide{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.3rem .7rem;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{background:var(--shade)}
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
summary{cursor:pointer;color:var(--link);margin:1rem 0}
figure{margin:1.5rem 0}
figure svg{display:block;max-width:100%;height:auto}
nav ul{columns:2;padding-left:1.2rem;font-size:.95rem}
a{color:var(--link)}
"""


def html(blocks: Iterable[Block], title: str) -> str:
    """The whole page."""
    kept = tuple(blocks)
    places = {
        number: f"part-{number}" for number, one in enumerate(kept) if isinstance(one, Heading) and one.level == 2
    }
    body: list[str] = []
    for number, block in enumerate(kept):
        body.append(_written(block, places.get(number)))
        if isinstance(block, Heading) and block.level == 1:
            body.append(_contents(kept, places))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _contents(blocks: tuple[Block, ...], places: dict[int, str]) -> str:
    found = ((place, blocks[number]) for number, place in places.items())
    items = (f'<li><a href="#{place}">{_text(one.text)}</a></li>' for place, one in found if isinstance(one, Heading))
    return f'<nav aria-label="Contents"><ul>{"".join(items)}</ul></nav>'


def _text(text: str) -> str:
    """A text with its marks; everything else is quoted."""
    return _STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(text)))


def _written(block: Block, place: str | None) -> str:
    match block:
        case Heading():
            named = "" if place is None else f' id="{place}"'
            return f"<h{block.level}{named}>{_text(block.text)}</h{block.level}>"
        case Paragraph():
            return f"<p>{_text(block.text)}</p>"
        case Bullets():
            return "<ul>" + "".join(f"<li>{_text(item)}</li>" for item in block.items) + "</ul>"
        case Table():
            return _table(block)
        case Picture():
            return f'<figure role="img" aria-label="{escape(block.says)}">{block.svg.strip()}</figure>'
        case _:
            assert_never(block)


def _table(block: Table) -> str:
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in block.columns)
    rows = "\n".join("<tr>" + "".join(_cell(cell) for cell in row) + "</tr>" for row in block.rows)
    whole = (
        '<div class="wide"><table><thead><tr>' + head + "</tr></thead>\n<tbody>\n" + rows + "\n</tbody></table></div>"
    )
    if not block.folded:
        return whole
    return f"<details><summary>{len(block.rows)} rows</summary>\n{whole}\n</details>"


def _cell(cell: str) -> str:
    kind = ' class="n"' if _NUMBER.fullmatch(cell) else ""
    return f"<td{kind}>{_text(cell)}</td>"
