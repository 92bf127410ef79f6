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
_ROW = re.compile(r"^(\| `measured` \|)(?: [\d.,]+ \|){3}", re.MULTILINE)


def main() -> None:
    """Fit and write."""
    runs = sys.argv[1] if len(sys.argv) > 1 else str(RUNS)
    _python("-m", "guestroom", "study", "fit", runs, "--out", str(MODEL))
    _python("tools/docs_reference.py")
    figures = _ROW.search((ROOT / "docs" / "reference" / "policies.md").read_text())
    if figures is None:
        raise SystemExit("docs/reference/policies.md has no row for measured")
    readme = ROOT / "README.md"
    readme.write_text(_ROW.sub(lambda _: figures[0], readme.read_text()))
    _python("-m", "tools.docs_blocks", "--fill", *EXAMPLES)


def _python(*argv: str) -> None:
    subprocess.run([sys.executable, *argv], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
