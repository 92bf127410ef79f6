"""The model of the ``measured`` policy: data, written by ``make fit`` from docs/study/runs.jsonl.gz.

Not to be edited. What one unit of each term costs (``measured_terms``), and margins by coverage (``measured_cost``).
"""

from __future__ import annotations

from guestroom.size.measured_cost import Cost, Group, Margin, Model

MODEL = Model(
    study="2026-11-25",
    host="kernel 6.18.44-fc-v509, 2 CPUs, 24105 MiB, cgroup v1",
    qemu="7.2.22",
    accelerator="tcg",
    configurations=91,
    runs=93,
    touched_bytes=50331648.0,
    terms={
        "QEMU": Cost(
            bytes_per_unit=(17490000.0,),
            highest=(19883000.0,),
            most=1.0,
            configurations=91,
        ),
        "copy of the kernel image": Cost(
            bytes_per_unit=(14168064.0,),
            highest=(14168064.0,),
            most=1.0,
            configurations=91,
        ),
        "TCG code buffer": Cost(
            bytes_per_unit=(1.1632,),
            highest=(1.1657,),
            most=50331648.0,
            configurations=91,
        ),
        "vCPUs": Cost(
            bytes_per_unit=(49843.0,),
            highest=(274040.0,),
            most=8.0,
            configurations=91,
        ),
        "page tables, anonymous RAM": Cost(
            bytes_per_unit=(0.0019494,),
            highest=(0.0019706,),
            most=4294967296.0,
            configurations=88,
        ),
        "page tables, shared RAM": Cost(
            bytes_per_unit=(0.0043174,),
            highest=(0.0043385,),
            most=4294967296.0,
            configurations=3,
        ),
        "disks": Cost(
            bytes_per_unit=(250210.0,),
            highest=(253830.0,),
            most=16.0,
            configurations=91,
        ),
        "disk queues": Cost(
            bytes_per_unit=(305560.0,),
            highest=(322750.0,),
            most=12.0,
            configurations=6,
        ),
        "I/O threads": Cost(
            bytes_per_unit=(1052800.0,),
            highest=(1092500.0,),
            most=2.0,
            configurations=2,
        ),
        "L2 caches": Cost(
            bytes_per_unit=(0.99697,),
            highest=(0.99742,),
            most=134217728.0,
            configurations=89,
        ),
        "qcow2 tables": Cost(
            bytes_per_unit=(2.8938,),
            highest=(3.0337,),
            most=4194304.0,
            configurations=89,
        ),
        "write-back": Cost(
            bytes_per_unit=(4709400.0,),
            highest=(8581500.0,),
            most=1.0,
            configurations=2,
        ),
        "requests in flight": Cost(
            bytes_per_unit=(6026.8,),
            highest=(14501.0,),
            most=256.0,
            configurations=90,
        ),
        "clusters in flight": Cost(
            bytes_per_unit=(1.4988, 0.77062, 0.54366, 0.0),
            highest=(1.5044, 0.79748, 0.54923, 0.0),
            most=536870912.0,
            configurations=25,
        ),
        "VGA": Cost(
            bytes_per_unit=(2459100.0,),
            highest=(5310500.0,),
            most=1.0,
            configurations=4,
        ),
        "virtio graphics": Cost(
            bytes_per_unit=(2819600.0,),
            highest=(2904600.0,),
            most=1.0,
            configurations=1,
        ),
        "qxl": Cost(
            bytes_per_unit=(8250900.0,),
            highest=(8335900.0,),
            most=1.0,
            configurations=1,
        ),
        "remote display": Cost(
            bytes_per_unit=(2777100.0,),
            highest=(4596200.0,),
            most=1.0,
            configurations=3,
        ),
        "remote display clients": Cost(
            bytes_per_unit=(1241100.0,),
            highest=(1241100.0,),
            most=4.0,
            configurations=3,
        ),
        "USB": Cost(
            bytes_per_unit=(1913600.0,),
            highest=(3039300.0,),
            most=2.0,
            configurations=2,
        ),
        "network": Cost(
            bytes_per_unit=(454850.0,),
            highest=(476700.0,),
            most=8.0,
            configurations=4,
        ),
        "balloon": Cost(
            bytes_per_unit=(628230.0,),
            highest=(1114800.0,),
            most=1.0,
            configurations=2,
        ),
    },
    groups={
        "plain": Group(
            samples=74,
            margins=(
                Margin(
                    coverage=0.95,
                    size=8255500.0,
                    within=74,
                ),
                Margin(
                    coverage=0.99,
                    size=8662600.0,
                    within=74,
                ),
                Margin(
                    coverage=0.999,
                    size=11921000.0,
                    within=74,
                ),
            ),
        ),
        "in flight": Group(
            samples=17,
            margins=(
                Margin(
                    coverage=0.95,
                    size=0.45251,
                    within=17,
                ),
                Margin(
                    coverage=0.99,
                    size=0.88616,
                    within=17,
                ),
                Margin(
                    coverage=0.999,
                    size=1.5174,
                    within=17,
                ),
            ),
        ),
    },
)
