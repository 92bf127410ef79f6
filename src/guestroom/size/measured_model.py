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
            bytes_per_unit=(17473000.0,),
            highest=(19850000.0,),
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
            bytes_per_unit=(1.1602,),
            highest=(1.1649,),
            most=50331648.0,
            configurations=91,
        ),
        "vCPUs": Cost(
            bytes_per_unit=(82861.0,),
            highest=(313640.0,),
            most=8.0,
            configurations=91,
        ),
        "page tables, anonymous RAM": Cost(
            bytes_per_unit=(0.0019679,),
            highest=(0.0019706,),
            most=4294967296.0,
            configurations=88,
        ),
        "page tables, shared RAM": Cost(
            bytes_per_unit=(0.0043359,),
            highest=(0.0043385,),
            most=4294967296.0,
            configurations=3,
        ),
        "disks": Cost(
            bytes_per_unit=(250520.0,),
            highest=(259230.0,),
            most=16.0,
            configurations=91,
        ),
        "disk queues": Cost(
            bytes_per_unit=(283160.0,),
            highest=(321490.0,),
            most=12.0,
            configurations=6,
        ),
        "I/O threads": Cost(
            bytes_per_unit=(1087500.0,),
            highest=(1092500.0,),
            most=2.0,
            configurations=2,
        ),
        "L2 caches": Cost(
            bytes_per_unit=(0.99754,),
            highest=(0.99761,),
            most=134217728.0,
            configurations=89,
        ),
        "qcow2 tables": Cost(
            bytes_per_unit=(2.9636,),
            highest=(3.1951,),
            most=4194304.0,
            configurations=89,
        ),
        "write-back": Cost(
            bytes_per_unit=(4786600.0,),
            highest=(8593400.0,),
            most=1.0,
            configurations=2,
        ),
        "requests in flight": Cost(
            bytes_per_unit=(5965.1,),
            highest=(9260.0,),
            most=256.0,
            configurations=90,
        ),
        "requests for clusters": Cost(
            bytes_per_unit=(34651.0,),
            highest=(52364.0,),
            most=256.0,
            configurations=25,
        ),
        "clusters in flight": Cost(
            bytes_per_unit=(1.5054, 0.81575),
            highest=(1.5391, 0.87544),
            most=232390855.74277994,
            configurations=25,
        ),
        "VGA": Cost(
            bytes_per_unit=(2533400.0,),
            highest=(5310500.0,),
            most=1.0,
            configurations=4,
        ),
        "virtio graphics": Cost(
            bytes_per_unit=(2893900.0,),
            highest=(2904600.0,),
            most=1.0,
            configurations=1,
        ),
        "qxl": Cost(
            bytes_per_unit=(8325200.0,),
            highest=(8335900.0,),
            most=1.0,
            configurations=1,
        ),
        "remote display": Cost(
            bytes_per_unit=(2777100.0,),
            highest=(5485600.0,),
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
            bytes_per_unit=(1950800.0,),
            highest=(2960000.0,),
            most=2.0,
            configurations=2,
        ),
        "network": Cost(
            bytes_per_unit=(464140.0,),
            highest=(478740.0,),
            most=8.0,
            configurations=4,
        ),
        "balloon": Cost(
            bytes_per_unit=(702530.0,),
            highest=(2121100.0,),
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
                    size=8303400.0,
                    within=74,
                ),
                Margin(
                    coverage=0.99,
                    size=8700200.0,
                    within=74,
                ),
                Margin(
                    coverage=0.999,
                    size=11876000.0,
                    within=74,
                ),
            ),
        ),
        "in flight": Group(
            samples=17,
            margins=(
                Margin(
                    coverage=0.95,
                    size=0.92337,
                    within=17,
                ),
                Margin(
                    coverage=0.99,
                    size=1.548,
                    within=17,
                ),
                Margin(
                    coverage=0.999,
                    size=2.5543,
                    within=17,
                ),
            ),
        ),
        "worked on": Group(
            samples=0,
            margins=(
                Margin(
                    coverage=0.95,
                    size=8303400.0,
                    within=74,
                ),
                Margin(
                    coverage=0.99,
                    size=8700200.0,
                    within=74,
                ),
                Margin(
                    coverage=0.999,
                    size=11876000.0,
                    within=74,
                ),
            ),
        ),
    },
)
