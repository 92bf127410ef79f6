"""What a study is to measure: a TOML matrix of a base guest and of configurations that each vary it.

A base and its variations instead of a full cross product, because a difference to the base is the price of what was
varied, and a product of thirty factors would never end.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from guestroom.errors import InputError
from guestroom.lab.study.dataset import Factor
from guestroom.lab.study.loads import LOADS

DEFAULTS: Mapping[str, Factor] = {
    "aio": "threads",
    "allocated": False,
    "backing": False,
    "balloon": False,
    "block_kib": 4,
    "boot": "kernel",
    "bus": "virtio-blk",
    "cache": "none",
    "cache_clean_s": 0,
    "cluster_kib": 64,
    "compressed": False,
    "depth": 1,
    "detect_zeroes": "off",
    "disks": 1,
    "env_arena_max": 0,
    "env_mmap_kib": 0,
    "env_trim_kib": 0,
    "filled": False,
    "firmware": "bios",
    "format": "raw",
    "hot_disks": 0,
    "iops_max": 0,
    "iothreads": 0,
    "jobs": 1,
    "l2_cache_mib": 0,
    "load": "idle",
    "load_s": 3,
    "machine": "q35",
    "memory": "anon",
    "nics": 0,
    "pool_max": 0,
    "queue_size": 0,
    "queues": 0,
    "ram_mib": 256,
    "refcount_cache_kib": 0,
    "shares": 0,
    "snapshots": 0,
    "tb_mib": 0,
    "touch_mib": 0,
    "usb": False,
    "vcpus": 1,
    "vga_mib": 0,
    "video": "none",
    "virtual_gib": 1,
    "vnc_clients": 0,
}
"""Every factor and its value where a matrix is silent; 0 leaves the choice to QEMU where it has one of its own."""
WORDS: Mapping[str, tuple[str, ...]] = {
    "aio": ("threads", "native", "io_uring"),
    "boot": ("kernel", "disk"),
    "bus": ("virtio-blk", "virtio-scsi", "nvme"),
    "cache": ("none", "writeback", "writethrough", "directsync", "unsafe"),
    "detect_zeroes": ("off", "on", "unmap"),
    "firmware": ("bios", "uefi"),
    "format": ("raw", "qcow2"),
    "load": tuple(LOADS),
    "machine": ("q35", "pc", "microvm"),
    "memory": ("anon", "memfd", "hugetlb"),
    "video": ("none", "std", "virtio", "qxl"),
}
"""What a factor that is a word can be."""
_OWN_KEYS = ("name", "family")
_HOW_KEYS = {"repeat": 1, "split": False}
_PCI = ("usb", "video", "shares", "balloon")


@dataclass(frozen=True, slots=True)
class Configuration:
    """One guest with one load, to be measured as often as asked for."""

    name: str
    family: str
    """What it varies against the base."""
    factors: Mapping[str, Factor]
    """Every factor of ``DEFAULTS``."""
    repeat: int = 1
    """How often it is measured at least."""
    split: bool = False
    """Whether it is measured with its RAM charged apart as well, as often."""

    @property
    def accountings(self) -> tuple[str, ...]:
        """``joint``, and ``split`` where it is to be measured both ways."""
        return ("joint", "split") if self.split else ("joint",)


def read_matrix(path: Path) -> tuple[Configuration, ...]:
    """The configurations of a matrix file, in its order. Raises ``InputError`` with file and key."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"can't read the matrix: {error}", where=str(path)) from error
    return parse_matrix(text, str(path))


def parse_matrix(text: str, where: str) -> tuple[Configuration, ...]:
    """The configurations of a matrix: ``[base]`` over ``DEFAULTS``, each ``[[config]]`` over that.

    Raises ``InputError`` naming file and key.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"the matrix is no TOML: {error}", where=where) from error
    for key in document:
        if key not in ("base", "config"):
            raise InputError(f"unknown table {key!r}", where=f"{where}: {key}", hint="known: base, config")
    given, listed = document.get("base", {}), document.get("config", [])
    if not isinstance(given, dict):
        raise InputError("base is no table", where=f"{where}: base", hint="write [base]")
    if not isinstance(listed, list) or not listed or not all(isinstance(entry, dict) for entry in listed):
        raise InputError("no configuration is listed", where=f"{where}: config", hint="write [[config]]")
    base = {**DEFAULTS, **_factors(given, f"{where}: base")}
    found: dict[str, Configuration] = {}
    for number, entry in enumerate(listed):
        key = f"{where}: config[{number}]"
        name, family = (_word(entry, own, key) for own in _OWN_KEYS)
        if name in found:
            raise InputError(f"two configurations are called {name!r}", where=f"{key}.name")
        repeat, split = _how(entry, key)
        own = {factor: value for factor, value in entry.items() if factor not in (*_OWN_KEYS, *_HOW_KEYS)}
        factors = {**base, **_factors(own, key)}
        _consistent(factors, key)
        found[name] = Configuration(name, family, factors, repeat, split)
    return tuple(found.values())


def _word(entry: Mapping[str, object], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value or "/" in value:
        raise InputError(f"{key} must be a word without '/', not {value!r}", where=f"{where}.{key}")
    return value


def _how(entry: Mapping[str, object], where: str) -> tuple[int, bool]:
    """How often, and whether with split accounting as well."""
    repeat, split = (entry.get(key, silent) for key, silent in _HOW_KEYS.items())
    if type(repeat) is not int or not 1 <= repeat <= 1000:
        raise InputError(f"repeat must be a number from 1 to 1000, not {repeat!r}", where=f"{where}.repeat")
    if not isinstance(split, bool):
        raise InputError(f"split must be true or false, not {split!r}", where=f"{where}.split")
    return repeat, split


def _factors(given: Mapping[str, object], where: str) -> dict[str, Factor]:
    checked: dict[str, Factor] = {}
    for name, value in given.items():
        if name not in DEFAULTS:
            raise InputError(f"unknown factor {name!r}", where=f"{where}.{name}", hint=f"known: {', '.join(DEFAULTS)}")
        kind = type(DEFAULTS[name])
        if not isinstance(value, str | int | bool) or type(value) is not kind:
            raise InputError(f"{name} must be of type {kind.__name__}, not {value!r}", where=f"{where}.{name}")
        if type(value) is int and value < 0:
            raise InputError(f"{name} can't be negative: {value}", where=f"{where}.{name}")
        if name in WORDS and value not in WORDS[name]:
            raise InputError(
                f"{name} can't be {value!r}", where=f"{where}.{name}", hint=f"known: {', '.join(WORDS[name])}"
            )
        checked[name] = value
    return checked


def _consistent(factors: Mapping[str, Factor], where: str) -> None:
    """Refuse a load without the device it needs, and devices that can't go together."""
    load = str(factors["load"])
    for needed in LOADS[load].needs:
        if not factors[needed]:
            raise InputError(f"the load {load} needs {needed}", where=f"{where}.{needed}", hint="1 or more")
    if factors["shares"] and factors["memory"] == "anon":
        raise InputError("a share's server maps the guest's RAM", where=f"{where}.memory", hint="memory = 'memfd'")
    on_pci = [name for name in _PCI if factors[name] not in (False, 0, "none")]
    if factors["machine"] == "microvm" and (on_pci or factors["bus"] != "virtio-blk" or factors["firmware"] != "bios"):
        what = ", ".join(on_pci) or "this bus or firmware"
        raise InputError(f"microvm has no PCI for {what}", where=f"{where}.machine", hint="q35 or pc")
    if factors["boot"] == "disk" and factors["firmware"] != "uefi":
        raise InputError("only UEFI starts a kernel from a disk", where=f"{where}.boot", hint="firmware = 'uefi'")
    if factors["hot_disks"] and factors["machine"] != "pc":
        raise InputError(
            "disks are plugged into the bus of machine pc", where=f"{where}.hot_disks", hint="machine = 'pc'"
        )
    one_kind = [name for name in ("backing", "compressed", "filled") if factors[name]]
    if len(one_kind) > 1 or (one_kind and factors["format"] == "raw"):
        raise InputError(f"a disk can't be {' and '.join([*one_kind, str(factors['format'])])}", where=where)
