"""What the agent decided is decided again from its ledger alone, step by step the same."""

from __future__ import annotations

import errno
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from guestroom.config import Settings, Sharing
from guestroom.lab.verify import Verified, verify
from guestroom.record import open_ledger
from guestroom.record.reader import Made, read_ledger
from guestroom.testing import ManualClock
from guestroom.testing.zoo import ZOO

from .histories import Event, Start, play
from .judge import Judge
from .simagent import SETTINGS, SimAgent
from .test_zoo import UPS_AND_DOWNS, fail_at, with_neighbours

CHANGED = replace(SETTINGS, guard_bytes=None, giveback_after_s=5.0, peak_window_s=10.0)
"""The guard follows what is seen, and room is given back soon."""


def recorded(
    folder: Path, history: list[Event], failing: int | None = None, settings: Settings = CHANGED
) -> tuple[Made, ...]:
    """The decisions that an agent's ledger has after ``history``; from write ``failing`` on three fail."""
    clock = ManualClock()
    with open_ledger(str(folder), clock=clock) as ledger:
        agent = SimAgent(settings, ledger=ledger, clock=clock)  # type: ignore[arg-type]

        async def live(it: SimAgent) -> None:
            if failing is not None:
                fail_at(it, failing, (errno.EACCES,) * 3)
            await play(it, Judge(it), history)

        agent.run(live)
        return read_ledger(str(folder)).decisions


@pytest.mark.parametrize("kind", sorted(ZOO))
def test_every_decision_comes_out_the_same(kind: str, tmp_path: Path) -> None:
    """Beside a guest of each kind: from the recorded facts the same rules take the same steps, all of them."""
    found = verify(recorded(tmp_path, with_neighbours(kind)))
    assert found.differences == ()
    assert found.incomplete == 0
    assert found.same["admit"] >= 3
    assert found.same["divide"] >= 1


def test_the_histories_meet_every_rule(tmp_path: Path) -> None:
    """Starts, ends, growth, giving back, the alarm's own raises and holds, and what is put back after a failed step."""
    seen: Counter[str] = Counter()
    static = replace(CHANGED, sharing=Sharing.STATIC)
    for kind in ("bursty", "ceiling"):
        for settings in (CHANGED, static):
            decisions = recorded(tmp_path / f"{kind} {settings.sharing}", with_neighbours(kind), settings=settings)
            found = verify(decisions)
            assert found.differences == ()
            seen.update(found.same)
    for failing in (4, 6):
        found = verify(recorded(tmp_path / f"failing{failing}", UPS_AND_DOWNS, failing))
        assert found.differences == ()
        seen.update(found.same)
    assert set(seen) == {"admit", "divide", "grow", "give_back", "quick", "hold", "undo"}


def test_a_refusal_is_a_decision_too(tmp_path: Path) -> None:
    """One that found no room is in the ledger without steps, and is refused again."""
    decisions = recorded(tmp_path, [Start("A", ram_mib=512), Start("B", ram_mib=512), Start("C", ram_mib=512)])
    refused = [one for one in decisions if one.reason.startswith("refuse ")]
    assert [one.reason for one in refused] == ["refuse C"]
    assert refused[0].actions == ()
    assert verify(decisions).differences == ()
    given = json.loads(refused[0].inputs)
    given["newcomer"]["need_bytes"] = given["newcomer"]["boot_floor_bytes"] = 1
    forged = replace(refused[0], inputs=json.dumps(given))
    assert [one.again is not None for one in verify([forged]).differences] == [True]


def changed(made: Made, change: str) -> Made:
    """The decision with one fact of its first guest another than it was."""
    given = json.loads(made.inputs)
    given["guests"][0][change] += 64 << 20
    return replace(made, inputs=json.dumps(given))


def test_one_fact_that_was_another_is_found(tmp_path: Path) -> None:
    """A decision whose peak was written down wrongly comes out otherwise, and its first other step is named."""
    decisions = recorded(tmp_path, with_neighbours("bursty"))
    place = next(n for n, one in enumerate(decisions) if json.loads(one.inputs).get("rule") == "grow")
    forged = [*decisions[:place], changed(decisions[place], "overhead_bytes"), *decisions[place + 1 :]]
    found: Verified = verify(forged)
    assert len(found.differences) == 1
    difference = found.differences[0]
    assert (difference.decision, difference.rule, difference.step) == (decisions[place].number, "grow", 1)
    assert difference.recorded != difference.again
