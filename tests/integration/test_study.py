"""A study on a real guest: its bytes explained, its journal gone on with, its report written."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from guestroom.lab.study.dataset import read
from guestroom.units import MIB

LONG_S = 500.0
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

BASE = """
[base]
ram_mib = 128
tb_mib = 8
format = "qcow2"
load = "randwrite"
depth = 16
load_s = 1
"""
MATRIX = (
    BASE
    + """
[[config]]
name = "base"
family = "base"
[[config]]
name = "overlay"
family = "copy-on-write"
cluster_kib = 1024
backing = true
depth = 64
"""
)


def study(*words: str) -> str:
    """What the command says on stderr."""
    argv = [sys.executable, "-m", "guestroom", "study", *words]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=LONG_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # so that no guest is left behind
        _, said = process.communicate()
    assert process.returncode == 0, said
    return said


def test_a_study_measures_goes_on_and_reports(tmp_path: Path) -> None:
    """Each guest gives figures by part, 99 % explained and counted by pages within 1 %; none is run twice."""
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(MATRIX)
    words = ("run", "--matrix", str(matrix), "--out", str(tmp_path / "out"))
    assert "1/1 base/joint/1" in study(*words, "--only", "base")
    said = study(*words)
    assert "overlay/joint/1" in said
    assert "base/joint/1" not in said
    runs = {run.config: run for run in read(tmp_path / "out" / "runs.jsonl")}
    for run in runs.values():
        assert run.error is None
        assert set(run.moments) == {"idle", "steady", "peak", "after"}
        assert all(moment.explained_share >= 0.99 for moment in run.moments.values())
        assert abs((run.moments["idle"].by_pages_share or 0) - 1) <= 0.01
        assert run.figures["iops"] > 0
        assert run.figures["sample_hz"] >= 20
    # 64 requests of 4 KiB in flight, each with a cluster of 1 MiB to be copied.
    more = runs["overlay"].figures["overhead_peak_bytes"] - runs["base"].figures["overhead_peak_bytes"]
    assert 16 * MIB < more < 160 * MIB
    study("report", str(tmp_path / "out" / "runs.jsonl"))
    assert "overlay" in (tmp_path / "out" / "report.md").read_text()


ACTING = (
    BASE
    + """
[[config]]
name = "base"
family = "base"
split = true
[[config]]
name = "migrate"
family = "migrate"
load = "migrate"
touch_mib = 32
[[config]]
name = "hotplug"
family = "hotplug"
machine = "pc"
load = "hotplug"
hot_disks = 2
[[config]]
name = "receive"
family = "network"
nics = 1
jobs = 2
load = "receive"
[[config]]
name = "share"
family = "share"
memory = "memfd"
shares = 1
load = "share"
"""
)


def test_what_the_host_does_to_a_guest_is_measured(tmp_path: Path) -> None:
    """RAM charged apart gives the overhead it gives together; migrating, plugging and networking are explained too."""
    matrix = tmp_path / "matrix.toml"
    matrix.write_text(ACTING)
    said = study("run", "--matrix", str(matrix), "--out", str(tmp_path / "out"), "--jobs", "2")
    runs = {run.run_id: run for run in read(tmp_path / "out" / "runs.jsonl")}
    assert [run.error for run in runs.values()] == [None] * 9
    for run in runs.values():
        assert all(moment.explained_share >= 0.99 for moment in run.moments.values())
        assert abs((run.moments["idle"].by_pages_share or 0) - 1) <= 0.01
    joint, split = (runs[f"base/{how}/1"].moments["idle"].overhead_bytes for how in ("joint", "split"))
    assert abs(joint - split) < 3 * MIB
    assert (
        runs["base/split/1"].figures["vmm_peak_bytes"] < runs["base/split/1"].figures["kernel_peak_bytes"] - 128 * MIB
    )
    # measure() fails a run whose guest does not see the disks that were plugged in.
    assert all(runs[f"{name}/joint/1"].figures["act_s"] > 0 for name in ("migrate", "hotplug"))
    assert runs["share/joint/1"].moments["idle"].parts["virtiofsd (helper)"][1] > 0
    assert runs["receive/joint/1"].figures["received_bytes_s"] > MIB
    plugged = runs["hotplug/joint/1"]
    assert plugged.figures["overhead_peak_bytes"] > plugged.moments["idle"].overhead_bytes
    assert "base: peak" in said
    assert runs["base/joint/alone1"].alone
