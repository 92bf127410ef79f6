"""What a study is to measure: a TOML matrix of a base guest and of configurations that each vary it.

A base and its variations instead of a full cross product, because a difference to the base is the price of what was
varied, and a product of twenty factors would never end.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from guestroom.errors import InputError
from guestroom.lab.study.dataset import Factor

DEFAULTS: Mapping[str, Factor] = {
    "aio": "threads",
    "allocated": False,
    "backing": False,
    "balloon": False,
    "block_kib": 4,
    "cache": "none",
    "cluster_kib": 64,
    "compressed": False,
    "depth": 1,
    "disks": 1,
    "env_arena_max": 0,
    "format": "raw",
    "iothreads": 0,
    "jobs": 1,
    "l2_cache_mib": 0,
    "load": "idle",
    "load_s": 3,
    "machine": "q35",
    "memory": "anon",
    "nics": 0,
    "queue_size": 0,
    "queues": 0,
    "ram_mib": 256,
    "tb_mib": 0,
    "usb": False,
    "vcpus": 1,
    "video": "none",
    "virtual_gib": 1,
    "vnc_clients": 0,
}
"""Every factor and its value where a matrix is silent; 0 leaves the choice to QEMU where it has one of its own."""
_OWN_KEYS = ("name", "family")


@dataclass(frozen=True, slots=True)
class Configuration:
    """One guest with one load, to be measured as often as asked for."""

    name: str
    family: str
    """What it varies against the base."""
    factors: Mapping[str, Factor]
    """Every factor of ``DEFAULTS``."""


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
        own = {factor: value for factor, value in entry.items() if factor not in _OWN_KEYS}
        found[name] = Configuration(name, family, {**base, **_factors(own, key)})
    return tuple(found.values())


def _word(entry: Mapping[str, object], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value or "/" in value:
        raise InputError(f"{key} must be a word without '/', not {value!r}", where=f"{where}.{key}")
    return value


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
        checked[name] = value
    return checked
