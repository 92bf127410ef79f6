"""QEMU command lines, brought into QEMU's own groups.

Short options are put where QEMU itself puts them (the switch in ``qemu_init``, softmmu/vl.c): ``-m`` into
``memory``, ``-kernel`` and ``-bios`` into ``machine``, ``-hda`` into ``drive``. A ``-readconfig`` file
takes effect where it stands, so what comes later on the command line overrides it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from guestroom.describe.keyval import parse_keyval, parse_values
from guestroom.describe.options import Option, split_argv
from guestroom.describe.readconfig import parse_sections
from guestroom.describe.settings import Entry, Settings, Value
from guestroom.errors import DescribeError

ReadFile = Callable[[str], str]

_LISTS: dict[str, tuple[str, str | None]] = {
    "M": ("machine", "type"),
    "accel": ("accel", "accel"),
    "audio": ("audio", "driver"),
    "blockdev": ("blockdev", "driver"),
    "chardev": ("chardev", "backend"),
    "device": ("device", "driver"),
    "display": ("display", "type"),
    "drive": ("drive", None),
    "fsdev": ("fsdev", "fsdriver"),
    "m": ("memory", "size"),
    "machine": ("machine", "type"),
    "mon": ("mon", "chardev"),
    "name": ("name", "guest"),
    "net": ("net", "type"),
    "netdev": ("netdev", "type"),
    "nic": ("nic", "type"),
    "numa": ("numa", "type"),
    "object": ("object", "qom-type"),
    "overcommit": ("overcommit", None),
    "realtime": ("realtime", None),
    "smp": ("smp-opts", "cpus"),
    "spice": ("spice", None),
    "tpmdev": ("tpmdev", "type"),
    "virtfs": ("virtfs", "fsdriver"),
    "vnc": ("vnc", "vnc"),
}
"""Option: its group, and the key its first part may leave out."""

_SINGLE: dict[str, tuple[str, str]] = {
    "append": ("machine", "append"),
    "balloon": ("balloon", "type"),
    "bios": ("machine", "firmware"),
    "dtb": ("machine", "dtb"),
    "incoming": ("incoming", "uri"),
    "initrd": ("machine", "initrd"),
    "kernel": ("machine", "kernel"),
    "mem-path": ("mem-path", "path"),
    "monitor": ("monitor", "device"),
    "parallel": ("parallel", "device"),
    "qmp": ("monitor", "device"),
    "qmp-pretty": ("monitor", "device"),
    "serial": ("serial", "device"),
    "soundhw": ("soundhw", "cards"),
    "tb-size": ("accel", "tb-size"),
    "usbdevice": ("usbdevice", "name"),
    "vga": ("vga", "model"),
}
"""Option whose whole argument is one value: its group and key."""

_DRIVES: dict[str, dict[str, str]] = {
    "": {"index": "0", "media": "disk"},
    "hda": {"index": "0", "media": "disk"},
    "hdb": {"index": "1", "media": "disk"},
    "hdc": {"index": "2", "media": "disk"},
    "hdd": {"index": "3", "media": "disk"},
    "cdrom": {"index": "2", "media": "cdrom"},
    "fda": {"if": "floppy", "index": "0"},
    "fdb": {"if": "floppy", "index": "1"},
    "mtdblock": {"if": "mtd"},
    "pflash": {"if": "pflash"},
    "sd": {"if": "sd"},
}
"""Option that names an image file: the ``-drive`` it stands for."""

_MACHINE_FLAGS = {"enable-kvm": ("accel", "kvm"), "usb": ("usb", "on"), "nographic": ("graphics", "off")}
_JSON = frozenset({"blockdev", "device", "display", "netdev", "object"})
"""Options that take a JSON object instead of a list; elsewhere a brace is just a character."""
_SET = re.compile(r"(?P<group>[^.]{1,63})\.(?P<id>[^.]{1,63})\.(?P<key>[^=]{1,63})=(?P<value>.*)", re.DOTALL)
_NOT_SETTABLE = frozenset({"object", "machine", "smp-opts", "boot-opts"})


def settings_from_argv(argv: Sequence[str], read_file: ReadFile | None = None) -> Settings:
    """Read a command line; ``read_file`` gives the text of each ``-readconfig`` file.

    Raises ``DescribeError`` for what QEMU could not read either and for a configuration file that
    ``read_file`` fails on.
    """
    split = split_argv(argv)
    settings = Settings(source="qemu-argv", program=split.program)
    for option in split.options:
        _take(settings, option, read_file)
    return settings


def _take(settings: Settings, option: Option, read_file: ReadFile | None) -> None:
    """Put one option where QEMU puts it."""
    name, value = option.name, option.value
    if not option.known:
        settings.unknown.append(option.text)
    elif value is None:
        settings.flags.add(name)
        if name in _MACHINE_FLAGS:
            key, text = _MACHINE_FLAGS[name]
            _add(settings, option, "machine", {key: text})
    elif name in _DRIVES:
        # Like drive_add: the file's name is taken whole, commas and all.
        _add(settings, option, "drive", _DRIVES[name] | {"file": value})
    elif name in _SINGLE:
        group, key = _SINGLE[name]
        _add(settings, option, group, {key: value})
    elif name in _LISTS:
        group, implied = _LISTS[name]
        if name in _JSON:
            _add(settings, option, group, parse_values(value, implied, option.where))
        else:
            _add(settings, option, group, parse_keyval(value, implied))
    elif name == "global":
        _add(settings, option, "global", _global(value))
    elif name == "set":
        _set(settings, option, value)
    elif name == "readconfig":
        _read_config(settings, option, value, read_file)


def _add(settings: Settings, option: Option, group: str, values: dict[str, str]) -> None:
    if group == "machine":
        values = {key.replace("_", "-"): text for key, text in values.items()}
    settings.add(Entry(group, values, option.where, values.get("id"), index=option.index))


def _global(text: str) -> dict[str, str]:
    """``driver.property=value``, or the list form (``qemu_global_option``, softmmu/qdev-monitor.c)."""
    name, _, value = text.partition("=")
    driver, dot, key = name.partition(".")
    if dot and "," not in name:
        return {"driver": driver, "property": key, "value": value}
    return parse_keyval(text)


def _set(settings: Settings, option: Option, text: str) -> None:
    """``-set group.id.key=value``: change what was said before (``qemu_set_option``)."""
    match = _SET.fullmatch(text)
    done = False
    if match is not None and match["group"] not in _NOT_SETTABLE:
        done = settings.change(match["group"], match["id"], match["key"], match["value"], option.where)
    if not done:
        settings.unknown.append(option.text)


def _read_config(settings: Settings, option: Option, path: str, read_file: ReadFile | None) -> None:
    if read_file is None:
        settings.unread.append(Value("readconfig", path, option.where))
        return
    try:
        text = read_file(path)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DescribeError(
            f"the configuration file {path} can't be read: {why}",
            where=option.where,
            hint="give a file that can be read, or leave -readconfig out",
        ) from error
    for entry in parse_sections(text, path):
        settings.add(entry)
