"""How fast guestroom is, each figure beside a baseline taken in the same run.

    python -m benchmarks [--json FILE] [--only run size divide sweep] [--rounds N]

Nothing is asserted: seconds depend on the machine and on what else it does, so every series has its baseline
interleaved with it, and what counts is the ratio or the difference. ``benchmarks/RESULTS.md`` has what one machine
gave. Tests hold what causes the times instead: what is imported, how much work is counted.
"""
