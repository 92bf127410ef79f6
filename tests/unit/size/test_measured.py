"""The measured policy: parts by term, and honesty about what nobody measured."""

from dataclasses import replace

import pytest

from guestroom.errors import InputError
from guestroom.guest import Disk, Guest, MemoryBackend, Nic, Passthrough, Video
from guestroom.size import BARE_QEMU_BYTES, Estimate, estimate
from guestroom.size.measured_model import MODEL
from guestroom.size.measured_terms import BY_NAME
from guestroom.units import GIB, KIB, MIB, format_bytes

DISK = Disk(format="qcow2", interface="virtio-blk", cache="none", cluster_bytes=64 * KIB, virtual_bytes=GIB)
SMALL = Guest(
    ram_bytes=256 * MIB,
    vcpus=1,
    accelerator="tcg",
    tb_bytes=32 * MIB,
    disks=(DISK,),
    kernel="vmlinuz",
    source="qemu-argv",
)


def measured(guest: Guest, coverage: float = 0.95) -> Estimate:
    """The estimate."""
    return estimate(guest, "measured", coverage=coverage)


def part(guest: Guest, name: str) -> int:
    """Bytes of one part; 0 where it has none."""
    return sum(one.bytes for one in measured(guest).parts if one.name == name)


def test_the_studys_base_guest_gets_what_it_took_and_little_more() -> None:
    """The base took 68 to 71 MiB in every study; its estimate is between that and a third more, without a warning."""
    one = measured(SMALL)
    assert BARE_QEMU_BYTES - 4 * MIB < one.overhead_bytes < 1.35 * BARE_QEMU_BYTES
    assert one.warnings == ()


def test_every_part_says_where_it_comes_from() -> None:
    """Each measured part has the study's day, its samples, QEMU and accelerator in its source."""
    for one in measured(SMALL).parts[:-1]:
        assert f"study of {MODEL.study}, n=" in one.source
        assert MODEL.qemu in one.source
    assert "0.95 of guests" in measured(SMALL).parts[-1].source


def test_a_small_measured_guest_is_not_called_starving() -> None:
    """tb-size 8 brings a guest below 71 MiB: that was measured, so nobody is warned."""
    one = measured(replace(SMALL, tb_bytes=8 * MIB))
    assert one.overhead_bytes < BARE_QEMU_BYTES
    assert one.warnings == ()


def test_what_is_promised_is_said_with_what_it_rests_on() -> None:
    """The promise names share and samples; a share the samples don't carry is marked in it and in the source."""
    promise = measured(SMALL).promise
    assert promise is not None
    assert (promise.wanted, promise.is_kept, promise.samples) == (0.95, True, MODEL.groups["plain"].samples)
    bold = measured(SMALL, 0.999)
    assert bold.promise is not None
    assert not bold.promise.is_kept
    assert "not supported by samples (2995 needed)" in bold.parts[-1].source
    assert bold.overhead_bytes > measured(SMALL).overhead_bytes


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0, 1.5, 0.9999])
def test_a_share_nobody_can_promise_is_refused(coverage: float) -> None:
    """0, 1 and what lies beyond the fitted shares are wrong input."""
    with pytest.raises(InputError, match="promised"):
        measured(SMALL, coverage)


def test_formulas_take_any_share_and_promise_nothing() -> None:
    """A peer's formula gives the same whatever is asked, and no promise."""
    assert estimate(SMALL, "eve", coverage=0.99) == estimate(SMALL, "eve")
    assert estimate(SMALL, "eve").promise is None


def test_beyond_the_study_it_names_the_term_and_widens() -> None:
    """RAM beyond the largest measured is named with both sizes, and costs more a GiB than within."""
    most = int(MODEL.terms["page tables, anonymous RAM"].most)
    name = "page tables, anonymous RAM"
    (warning,) = measured(replace(SMALL, ram_bytes=4 * most)).warnings
    assert f"{name} ({format_bytes(4 * most)}; at most {format_bytes(most)} measured)" in warning
    within, beyond = part(replace(SMALL, ram_bytes=most), name), part(replace(SMALL, ram_bytes=4 * most), name)
    assert beyond > 4 * within
    assert measured(replace(SMALL, ram_bytes=most)).warnings == ()


def test_what_was_not_measured_is_named_and_has_a_stated_source() -> None:
    """What comes from elsewhere, KVM, a TPM, a passed-through GPU, is named in the warning; the part has its source."""
    guest = replace(
        SMALL,
        accelerator="kvm",
        tpm=True,
        passthrough=(Passthrough("01:00.0", "gpu", mmio_bytes=GIB), Passthrough("01:00.1", "gpu", GIB, bridge=True)),
    )
    one = measured(guest)
    warning = next(warning for warning in one.warnings if "stated sources" in warning)
    for name in ("KVM vCPUs", "KVM page tables", "TPM", "MMIO passed through", "IOMMU page tables"):
        assert name in warning
        assert "not measured" in next(each.source for each in one.parts if each.name == name)
    assert part(guest, "KVM page tables") == 256 * MIB // 512
    assert part(guest, "MMIO passed through") == -(-GIB // 100)
    assert part(guest, "TCG code buffer") == 0


def test_what_is_not_described_is_as_qemu_takes_it() -> None:
    """No accelerator is TCG, no tb-size is what the study's guest touched, no vCPUs is one: said where it matters."""
    guest = Guest(ram_bytes=GIB, source="qemu-argv")
    assert part(guest, "vCPUs") == part(replace(guest, vcpus=1), "vCPUs")
    assert part(guest, "TCG code buffer") > part(SMALL, "TCG code buffer")
    (warning,) = measured(guest).warnings
    assert "TCG assumed" in warning
    assert "nothing" not in warning
    assert "none is counted" in " ".join(measured(Guest(ram_bytes=GIB, vcpus=1)).warnings)


def test_an_image_of_unknown_size_is_assumed_and_said() -> None:
    """Of an image whose size nobody said 64 GiB is assumed, with 8 MiB of cache, and the warning says so."""
    blank = replace(SMALL, disks=(replace(DISK, virtual_bytes=None),))
    assert part(blank, "L2 caches") == part(replace(SMALL, disks=(replace(DISK, virtual_bytes=64 * GIB),)), "L2 caches")
    assert any("64 GiB assumed" in warning for warning in measured(blank).warnings)


def test_the_l2_cache_is_as_large_as_it_may_be_and_no_larger() -> None:
    """A TiB takes QEMU's 32 MiB, l2-cache-size=1M one, 128M all of its 128."""
    large = replace(DISK, virtual_bytes=1024 * GIB)
    sizes = [
        part(replace(SMALL, disks=(replace(large, l2_cache_bytes=size),)), "L2 caches")
        for size in (MIB, None, 128 * MIB)
    ]
    each = MODEL.terms["L2 caches"].bytes_per_unit[0]
    assert [round(size / each / MIB) for size in sizes] == [1, 32, 128]


def test_requests_in_flight_are_bounded_by_the_queue() -> None:
    """A queue of 4 requests lets a typical load copy four clusters, not sixteen; raw images and CDs copy none."""
    wide = replace(DISK, cluster_bytes=2 * MIB)
    few, many = (
        part(replace(SMALL, disks=(replace(wide, queue_size=size),)), "clusters in flight") for size in (4, 256)
    )
    assert few < many
    assert part(replace(SMALL, disks=(replace(DISK, format="raw"),)), "clusters in flight") == 0
    assert part(replace(SMALL, disks=(replace(DISK, read_only=True),)), "clusters in flight") == 0


def test_many_clusters_in_flight_have_a_margin_of_their_own() -> None:
    """With 2 MiB clusters the promise rests on configurations with I/O in flight, and the margin is larger."""
    heavy = replace(SMALL, disks=(replace(DISK, cluster_bytes=2 * MIB),))
    one = measured(heavy)
    assert one.promise is not None
    assert one.promise.samples == MODEL.groups["in flight"].samples
    assert one.parts[-1].bytes > measured(SMALL).parts[-1].bytes


def test_shared_ram_has_more_page_tables_and_huge_pages_have_none() -> None:
    """memfd costs more page tables than anonymous RAM, hugetlbfs none worth counting."""
    shared = replace(SMALL, memory_backends=(MemoryBackend("ram0", "memfd", 256 * MIB, backs_ram=True, share=True),))
    assert part(shared, "page tables, shared RAM") > part(SMALL, "page tables, anonymous RAM")
    huge = measured(replace(SMALL, hugepages=True))
    assert not any("page tables" in one.name for one in huge.parts)


def test_a_backend_that_is_no_ram_is_overhead_in_full() -> None:
    """A memory backend plugged nowhere counts its size."""
    ballast = replace(SMALL, memory_backends=(MemoryBackend("b", "ram", 64 * MIB, backs_ram=False),))
    assert part(ballast, "memory backends beside RAM") == 64 * MIB


def test_graphics_are_told_apart() -> None:
    """QEMU's and libvirt's names of an adapter are the same adapter; one nobody measured is stated by oVirt."""
    for model, term in (("VGA", "VGA"), ("std", "VGA"), ("virtio-vga", "virtio graphics"), ("qxl-vga", "qxl")):
        assert part(replace(SMALL, videos=(Video(model),)), term) > MIB
    assert part(replace(SMALL, videos=(Video("cirrus"),)), "other graphics") == 16 * MIB


def test_each_device_adds_its_part() -> None:
    """Networks, USB, balloon and a remote display each add a part of that name."""
    full = replace(SMALL, nics=(Nic(), Nic(queues=4)), usb_controllers=1, balloon=True, displays=("vnc",))
    names = {one.name for one in measured(full).parts}
    assert {"network", "USB", "balloon", "remote display", "remote display clients"} <= names
    each = MODEL.terms["network"].bytes_per_unit[0]
    assert part(full, "network") == pytest.approx(5 * each, abs=1)


def test_the_model_speaks_of_known_terms_only() -> None:
    """Each term of the shipped model is one that guests are measured by, with a cost for each stretch."""
    for name, cost in MODEL.terms.items():
        assert len(cost.bytes_per_unit) == len(cost.highest) == len(BY_NAME[name].knots) + 1
        assert all(high >= slope >= 0 for high, slope in zip(cost.highest, cost.bytes_per_unit, strict=True))
