"""What an amount costs by a model, on a model made up for it."""

import pytest

from guestroom.guest import Disk, Guest
from guestroom.size.measured_cost import WIDENED, Cost, cost_bytes, predict, stretches
from guestroom.size.measured_model import MODEL
from guestroom.size.measured_terms import TYPICAL, Load, Term, amounts
from guestroom.units import GIB, KIB, MIB


def group_of(load: Load, cluster_bytes: int = 64 * KIB) -> str:
    """Group of a guest with one overlay under a load."""
    disk = Disk(format="qcow2", interface="virtio-blk", cluster_bytes=cluster_bytes)
    return predict(MODEL, Guest(ram_bytes=GIB, disks=(disk,)), GIB, load).group


def test_a_guest_is_of_the_group_that_its_load_says() -> None:
    """Little in flight is plain, more than 4 MiB of clusters in flight, and what the host does comes before both."""
    assert group_of(TYPICAL) == "plain"
    assert group_of(TYPICAL, 2 * MIB) == "in flight"
    assert group_of(Load(requests=256, job="backup"), 2 * MIB) == "worked on"
    assert group_of(Load(snapshots=1)) == group_of(Load(hot_disks=2)) == "worked on"


def test_requests_for_the_same_cluster_hold_one() -> None:
    """256 writes into an image of 128 clusters hold 111 of them, 16 hold 15; decompressing each holds its own."""
    disk = Disk(format="qcow2", interface="virtio-blk", cluster_bytes=2 * MIB, virtual_bytes=256 * MIB)
    guest = Guest(ram_bytes=GIB, disks=(disk,))
    held = {
        count: amounts(guest, GIB, Load(requests=count), 0.0)["clusters in flight"] / (2 * MIB) for count in (16, 256)
    }
    assert {count: round(clusters) for count, clusters in held.items()} == {16: 15, 256: 111}
    zipped = amounts(guest, GIB, Load(requests=256, copies=False, inflates=True), 0.0)
    assert zipped["clusters in flight"] == 512 * MIB


PLAIN = Term("x", "thing")
BENT = Term("y", "byte", knots=(10.0, 100.0))


def test_an_amount_is_cut_at_the_knots() -> None:
    """Each stretch holds what lies in it, and the stretches sum to the amount."""
    assert stretches(PLAIN, 7.0) == (7.0,)
    assert stretches(BENT, 5.0) == (5.0, 0.0, 0.0)
    assert stretches(BENT, 130.0) == (10.0, 90.0, 30.0)


def test_each_stretch_has_its_slope() -> None:
    """A term that gets cheaper costs the sum over its stretches."""
    assert cost_bytes(BENT, Cost((3.0, 2.0, 1.0), (3.0, 2.0, 1.0), 1000.0, 5), 130.0) == 3 * 10 + 2 * 90 + 30


@pytest.mark.parametrize(("highest", "raised"), [(2.0, 2.0 * WIDENED), (2.1, 2.0 * WIDENED), (5.0, 3.0)])
def test_beyond_the_most_measured_the_slope_is_raised(highest: float, raised: float) -> None:
    """Beyond what was measured each unit costs the highest slope of the fits, at least a quarter more."""
    cost = Cost((2.0,), (highest,), 10.0, 5)
    assert cost_bytes(PLAIN, cost, 10.0) == 20.0
    assert cost_bytes(PLAIN, cost, 14.0) == pytest.approx(28.0 + 4 * raised)
