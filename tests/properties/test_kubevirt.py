"""Whatever a KubeVirt description says, it is read or refused."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from guestroom.describe import from_kubevirt
from guestroom.errors import GuestroomError
from guestroom.size import estimate, policies

WORDS = """
cpu cores sockets threads maxSockets memory guest maxGuest hugepages devices disks disk cdrom bus name volumes
interfaces model sriov binding gpus tpm enabled resources requests limits machine type firmware bootloader efi
ioThreadsPolicy ioThreads supplementalPoolThreadCount filesystems inputs launchSecurity sev reservedOverhead
"""
KEYS = st.sampled_from(WORDS.split())
TEXTS = st.sampled_from(["1", "010", "no", "true", "1Gi", "500m", "-1", "1e3", "auto", "virtio", "~"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(max_size=6)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)
DOMAINS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("cpu", "memory", "devices", "resources", "ioThreadsPolicy", "firmware"), TREES)
)
PIECES = st.sampled_from(
    [
        *(
            "kind: VirtualMachine\n",
            "spec:\n",
            " domain:\n",
            "  cpu: ",
            "{",
            "}",
            "[",
            "]",
            "&a ",
            "*a ",
            "!!x ",
            "---\n",
        ),
        *('"', "'", "|\n", "? ", ": ", "- ", "\t", "%YAML 1.2\n", "\\U0011FFFF", "\x00", "#", "<<: ", "\n", "a"),
    ]
)


@settings(max_examples=200, deadline=None)
@given(domain=DOMAINS, volumes=TREES)
def test_any_tree_is_read_or_refused(domain: object, volumes: object) -> None:
    """A machine whose fields hold anything describes a guest that every policy sizes, or is refused as wrong input."""
    text = json.dumps({"kind": "VirtualMachineInstance", "spec": {"domain": domain, "volumes": volumes}})
    with contextlib.suppress(GuestroomError):
        found = from_kubevirt(text)
        assert all(estimate(found, policy).overhead_bytes >= 0 for policy in policies())


@settings(max_examples=300, deadline=None)
@given(text=st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail in any other way than by its own errors."""
    with contextlib.suppress(GuestroomError):
        from_kubevirt(text)
