"""``make fit``: the shipped model from the committed study, and every page that shows its figures.

Fits ``docs/study/runs.jsonl.gz`` (or the runs given), writes ``src/guestroom/size/measured_model.py``, the generated
reference, README's table of policies and the filled examples, each in a process of its own: this one would still have
the old model.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "docs" / "study" / "runs.jsonl.gz"
MODEL = ROOT / "src" / "guestroom" / "size" / "measured_model.py"
EXAMPLES = ("README.md", "docs/howto/size.md")
EVALUATION = ROOT / "docs" / "study" / "evaluation.md"
PAGE = """# How right the policy `measured` is

Made by `make fit` from the committed study. By configuration: what is asked about was never learnt from, nor were its
repetitions.

- load known: told what each guest does.
- as sized: as `guestroom size` says it, with 16 requests in flight assumed.
- with burst: that and the burst which the shared headroom keeps.
- typical loads: as sized, on the guests that do no more than is assumed.
- The rows below are the peers' formulas on the same guests: they promise nothing.

<!-- docs: not run: takes the study and scipy; tests/docs/test_study_model.py holds it against the study -->
```console
$ guestroom study evaluate docs/study/runs.jsonl.gz
{evaluate}
```

## What each thing costs

A term with two costs gets cheaper: the first 16 MiB of clusters in flight, and what lies beyond. "up to" is the
largest amount that was measured; beyond it the policy widens and says so.

<!-- docs: not run: takes the study and scipy; tests/docs/test_study_model.py holds it against the study -->
```console
$ guestroom study fit docs/study/runs.jsonl.gz
{fit}
```
"""
_ROW = r"^\| `{name}` \|(?: [\d.,]+ \|){{3}}"
"""A policy's row of figures, in README and in the reference."""
_POLICIES = ("measured", "learned")
"""Whose figures follow from the model."""


def main() -> None:
    """Fit and write."""
    runs = sys.argv[1] if len(sys.argv) > 1 else str(RUNS)
    _python("-m", "guestroom", "study", "fit", runs, "--out", str(MODEL))
    _python("tools/docs_reference.py")
    reference, readme = (ROOT / "docs" / "reference" / "policies.md").read_text(), ROOT / "README.md"
    for row in (re.compile(_ROW.format(name=name), re.MULTILINE) for name in _POLICIES):
        figures = row.search(reference)
        if figures is None:
            raise SystemExit(f"docs/reference/policies.md has no row {row.pattern}")
        readme.write_text(row.sub(figures[0], readme.read_text()))
    _python("-m", "tools.docs_blocks", "--fill", *EXAMPLES)
    told = {name: _said("-m", "guestroom", "study", name, runs) for name in ("fit", "evaluate")}
    EVALUATION.write_text(PAGE.format(**told))


def _said(*argv: str) -> str:
    return subprocess.run([sys.executable, *argv], cwd=ROOT, check=True, capture_output=True, text=True).stdout.rstrip()


def _python(*argv: str) -> None:
    subprocess.run([sys.executable, *argv], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
