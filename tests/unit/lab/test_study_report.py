"""The report answers each question or says that it was not measured; as Markdown and as a page that needs nothing "
"else."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

from tests.unit.lab.study_runs import run

from guestroom.lab.study import report
from guestroom.lab.study.dataset import Run
from guestroom.lab.study.document import Bullets, Heading, Paragraph, Table, markdown, pictures
from guestroom.lab.study.page import html


def a_study() -> list[Run]:
    """One of everything the report asks for."""
    runs = [run("base", 68 + step / 10, step, iops=1000) for step in (1, 2, 3)]
    runs += [run(f"vcpus-{count}", 68 + count, vcpus=count) for count in (2, 4, 8)]
    runs += [run("uring", 68.2, aio="io_uring", iops=1000), run("vnc-1", 72, vnc_clients=1)]
    runs += [run(f"depth-{depth}", 68 + depth / 100, depth=depth) for depth in (1, 64, 256)]
    runs += [run(f"cluster-{kib}", 68 + kib / 256, cluster_kib=kib) for kib in (256, 1024)]
    for kib, depth in ((1024, 1), (1024, 16), (1024, 256), (64, 64), (64, 256)):
        runs.append(
            run(f"cow-{kib}-{depth}", 69 + kib * depth / 1024, idle_mib=69, backing=True, cluster_kib=kib, depth=depth)
        )
    runs += [run("zip", 90, idle_mib=69, compressed=True, load="randread", cluster_kib=1024)]
    runs += [
        run(f"virtual-{gib}", 69 + min(gib / 8, 32), idle_mib=69, virtual_gib=gib, allocated=True, load="randread")
        for gib in (16, 64, 1024)
    ]
    runs += [run("base", 68.4, accounting="split"), run("base", 70.2, "alone1"), run("odd", 1, error="no <boot>|")]
    return runs


def section(text: str, name: str) -> str:
    """The part of a Markdown report below a heading."""
    return text.partition(f"## {name}\n")[2].partition("\n## ")[0]


def test_planted_effect_is_shown_whatever_the_order() -> None:
    """A configuration 5 MiB above the base is shown as +5, with the same text for the same runs in any order."""
    runs = [run("base", 20, 1), run("base", 22, 2), run("two", 26, share=0.98, vcpus=2)]
    text = report.markdown(runs)
    assert "| two | two | 26.0 | +5.00 (± 22.01) | +5.00 | ± 22.01 | base | vCPUs 1 > 2 | 3 |" in text
    assert "| two | 2 | 98.00% | 98.00% | - | below 99% |" in text
    assert report.markdown(reversed(runs)) == text


def test_one_repetition_has_no_interval() -> None:
    """With one repetition of everything the interval is called unknown, and the sign of a saving stays."""
    assert "| -3.00 | unknown |" in report.markdown([run("base", 20), run("two", 17, vcpus=2)])


def test_what_is_missing_is_said() -> None:
    """A study without a base says so, a failed run is listed with its reason, a question without guests is not "
    "answered."""
    text = report.markdown([run("two", 17), run("base", 0, error="no boot")])
    assert "nothing to compare with" in text
    assert "| base/joint/1 | no boot |" in text
    assert "- a disk: not measured" in text
    assert "- a GiB of qcow2: not measured" in text
    assert "No run of this study has figures." in report.markdown([])


def test_every_question_has_its_answer() -> None:
    """The first page has a number for each thing a study is asked for."""
    short = section(report.markdown(a_study()), "In short")
    for words in (
        "a vCPU: +1.",
        "a GiB of qcow2: +0.125",
        "a VNC client: the first +3.8",
        "aio (io_uring instead of threads)",
    ):
        assert words in short
    assert re.search(r"cluster size, KiB 1024 > 64: -2\d\d\.\d MiB", short)
    assert "wrongly said to fit" in short
    assert "RAM charged apart or not: at most +0.2 MiB" in short
    assert "again alone: at most +2.0 MiB" in short
    assert "not measured" in section(report.markdown(a_study()), "In short").partition("a disk:")[2][:20]


def test_the_checks_of_the_study_are_shown() -> None:
    """Split beside joint, the study beside a second look alone, and runs that failed."""
    text = report.markdown(a_study())
    assert "| base | 68.2 | 68.4 | +0.20 |" in section(text, "Split and joint accounting side by side")
    assert "| base | 68.2 | 70.2 | +2.00 |" in section(text, "Do runs side by side distort each other?")
    assert "| yes |" in section(text, "Do runs side by side distort each other?")
    assert "| odd/joint/1 | no <boot>\\| |" in text


def test_a_family_nobody_thought_of_appears() -> None:
    """A factor that the report has never heard of is in its tables by its own name."""
    text = report.markdown([*a_study(), run("warp", 88, warp_drives=3, family="warp")])
    assert "| warp | warp | 88.0 |" in text
    assert "warp drives none > 3" in text


def test_any_part_of_a_study_has_a_report() -> None:
    """Whatever is missing of a study, interrupted anywhere, the rest is reported, both ways."""
    chance, whole = random.Random(3), a_study()
    for _ in range(12):
        some = chance.sample(whole, chance.randint(1, len(whole)))
        blocks = report.build(some)
        assert markdown(blocks).startswith("# Where the memory goes")
        assert report.html(blocks).endswith("</html>\n")


class _Page(HTMLParser):
    """What a page opens, closes and asks of others."""

    void = frozenset({"meta", "br", "hr", "img", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asked += [
            f"{name}={value}" for name, value in attrs if name in ("src", "href") and value and value[0] != "#"
        ]
        if tag in ("script", "link", "img"):
            self.asked.append(tag)
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    """Every element is closed where it belongs, what was measured is quoted, and nothing is fetched or run."""
    page = report.html(report.build(a_study()))
    seen = _Page()
    seen.feed(page)
    assert (seen.open, seen.wrong, seen.asked) == ([], [], [])
    assert "no &lt;boot&gt;|" in page
    assert "6.1 &lt;x&amp;y&gt;" in page
    assert "<boot>" not in page
    assert "prefers-color-scheme:dark" in page


def test_pictures_are_whole_and_the_same_each_time() -> None:
    """Each picture is well-formed SVG that says in words what it shows, small, and follows from the runs alone."""
    first, second = (pictures(report.build(runs)) for runs in (a_study(), list(reversed(a_study()))))
    assert {one.name for one in first} == {"rule", "qcow2", "costs", "parts", "knobs"}
    assert first == second
    for one in first:
        assert ElementTree.fromstring(one.svg).tag.endswith("svg")
        assert one.says
        assert len(one.svg) < 100_000


def test_blocks_are_written_both_ways() -> None:
    """Marks of code and strength become Markdown's and HTML's, bars in a table's cell stay in their cell."""
    blocks = (
        Heading(1, "A & B"),
        Paragraph("**strong** `a<b`"),
        Bullets(("one",)),
        Table(("x", "y"), (("a|b", "+1.5"),), folded=True),
    )
    folded = "| x | y |\n| --- | --- |\n| a\\|b | +1.5 |"
    text = f"<details><summary>1 rows</summary>\n\n{folded}\n\n</details>"
    assert markdown(blocks) == f"# A & B\n\n**strong** `a<b`\n\n- one\n\n{text}\n"
    page = html(blocks, "T<")
    for piece in ("<title>T&lt;</title>", "<h1>A &amp; B</h1>", "<strong>strong</strong> <code>a&lt;b</code>"):
        assert piece in page
    assert '<td>a|b</td><td class="n">+1.5</td>' in page
    assert "<details>" in page
