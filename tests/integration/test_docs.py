"""README and docs where they talk to a real agent and real guests: typed as a reader would."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.pages import PAGES, ROOT
from tools import docs_blocks
from tools.docs_blocks import Page

pytestmark = pytest.mark.integration

WITH_AGENT = [path for path in PAGES if docs_blocks.needs_agent(path)]


@pytest.mark.parametrize("path", WITH_AGENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_guide_says_what_happens(path: Path) -> None:
    """Each command of a guide, typed on a host with the guide's own settings, prints what is written under it."""
    with Page(path) as page:
        for block in docs_blocks.blocks(path):
            page.run(block)
