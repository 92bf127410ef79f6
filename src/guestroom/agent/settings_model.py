"""What the settings file may hold: one strict model per section, each key with its meaning.

The same declarations check the file, tell what is allowed and print the example, so that the three can't
drift apart. Attributes carry the names of ``config.Settings``, aliases are the file's keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from guestroom import size
from guestroom.config import Brake, OnRunaway, OnShort, Percent, Reclaim, Reserve, Rest, Settings, Sharing
from guestroom.errors import InputError, SizeError
from guestroom.units import MAX_JSON_INT, Dialect, parse_size

_D = Settings()
_SIZE = 'bytes, or text like "600MiB" (KiB, MiB, GiB, TiB)'
_PERCENT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,2}))?%\Z")
_CGROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\Z")
_LONGEST_S = 366 * 86400.0


def read_size(value: object, least: int = 0) -> int:
    """Bytes of a size as the file gives it; ``ValueError`` says why not."""
    if isinstance(value, str):
        try:
            found = parse_size(value, Dialect.GUESTROOM)
        except SizeError as error:
            raise ValueError(error.message) from error
    elif isinstance(value, int) and not isinstance(value, bool):
        found = value
    else:
        raise ValueError("it is not a size")
    if not least <= found <= MAX_JSON_INT:
        raise ValueError("it is too small" if found < least else "it is not below 2^53 bytes")
    return found


LEAST_RESERVE_BYTES = 16 << 20
"""A reserve below this holds no QEMU at all (66 MiB bare): a forgotten ``%`` or ``MiB``."""


def read_reserve(value: object) -> Reserve:
    """A reserve as the file gives it; ``ValueError`` says why not."""
    if value == Rest.REST.value:
        return Rest.REST
    if not isinstance(value, str) or not value.endswith("%"):
        found = read_size(value, least=1)
        if found < LEAST_RESERVE_BYTES:
            raise ValueError(f"it is {found} bytes, which no guest can live in; was a percentage meant, like '25%'?")
        return found
    return read_percent(value)


def read_percent(value: object) -> Percent:
    """A share as the file gives it, above 0 and at most 100 %; ``ValueError`` says why not."""
    match = _PERCENT.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("it is not a percentage with at most two decimals")
    hundredths = int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if not 0 < hundredths <= 10_000:
        raise ValueError("it is not more than 0 % and at most 100 %")
    return Percent(hundredths)


def _size_or(word: str, least: int = 0) -> PlainValidator:
    """A size, or ``word`` for None."""

    def read(value: object) -> int | None:
        return None if value == word else read_size(value, least)

    return PlainValidator(read)


def _text(pattern: re.Pattern[str], taken: tuple[str, ...] = (), empty: bool = False) -> PlainValidator:
    """A text that fits ``pattern``; ``empty``: the empty text means None."""

    def read(value: object) -> str | None:
        if empty and value == "":
            return None
        if not isinstance(value, str) or not pattern.match(value) or value in taken:
            raise ValueError("it is not such a name")
        return value

    return PlainValidator(read)


def _one_of(kind: Callable[[str], Any]) -> PlainValidator:
    """A text that ``kind`` (an enum or a check that raises) takes."""

    def read(value: object) -> Any:
        if not isinstance(value, str):
            raise ValueError("it is not a text")
        try:
            return kind(value)
        except InputError as error:
            raise ValueError(error.message) from error
        except ValueError:
            raise ValueError("there is no such choice") from None

    return PlainValidator(read)


def _key(alias: str, default: Any, toml: str, allowed: str, meaning: str) -> Any:
    """One key of the file: its default, as TOML too, what is allowed, what it means."""
    return Field(default, alias=alias, description=meaning, json_schema_extra={"toml": toml, "allowed": allowed})


def _seconds(alias: str, default: float, least: float, meaning: str) -> Any:
    """A key that is a time."""
    return Field(
        default,
        alias=alias,
        ge=least,
        le=_LONGEST_S,
        allow_inf_nan=False,
        description=meaning,
        json_schema_extra={"toml": f"{default:g}", "allowed": f"seconds, from {least:g} to {_LONGEST_S:.0f}"},
    )


def _read_wait(value: object) -> float | None:
    """A time, or ``none``."""
    if value == "none":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("it is not a number of seconds")
    if not 0 <= value <= _LONGEST_S:
        raise ValueError("it is no such time")
    return float(value)


def _words(kind: type[OnShort] | type[OnRunaway] | type[Reclaim] | type[Sharing] | type[Brake]) -> str:
    return ", ".join(f'"{one.value}"' for one in kind)


class Section(BaseModel):
    """A table of the file: strict types, no unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HostSection(Section):
    """The host's memory and how it is shared."""

    system_reserve_bytes: Annotated[int | None, _size_or("auto")] = _key(
        "system_reserve",
        _D.system_reserve_bytes,
        '"auto"',
        f'"auto", {_SIZE}',
        "Kept for the host itself; auto: the larger of 512 MiB and 5 % of host memory.",
    )
    reserve: Annotated[Any, PlainValidator(read_reserve)] = _key(
        "reserve",
        _D.reserve,
        '"25%"',
        f'a percentage like "25%" or "12.5%", {_SIZE}, or "rest"',
        "Kept for the overhead of all guests: a share of the budget, a size, or all that promised RAM leaves (rest).",
    )
    headroom_bytes: Annotated[int | None, _size_or("auto")] = _key(
        "headroom",
        _D.headroom_bytes,
        '"auto"',
        f'"auto", {_SIZE}',
        "The shared part of the reserve that whoever bursts takes from at once; auto: the largest burst one present "
        "guest can make, described or seen, at least 128 MiB.",
    )
    guard_bytes: Annotated[int | None, _size_or("auto")] = _key(
        "guard",
        _D.guard_bytes,
        '"auto"',
        f'"auto", {_SIZE}',
        "Headroom left at which guests above their grants are held still; auto: the fastest growth seen times the "
        "measured reaction, at least 64 MiB, at most half the headroom.",
    )
    sharing: Annotated[Sharing, _one_of(Sharing)] = _key(
        "sharing",
        _D.sharing,
        f'"{_D.sharing.value}"',
        _words(Sharing),
        "reserve: divided by weight, again at every start and stop; static: every grant is the guest's need.",
    )
    alarm_step_bytes: Annotated[int, PlainValidator(lambda value: read_size(value, 4096))] = _key(
        "alarm_step",
        _D.alarm_step_bytes,
        '"16MiB"',
        f"{_SIZE}, at least 4KiB",
        "How far apart the kernel's alarms on a guest's use are.",
    )
    on_runaway: Annotated[OnRunaway, _one_of(OnRunaway)] = _key(
        "on_runaway",
        _D.on_runaway,
        f'"{_D.on_runaway.value}"',
        _words(OnRunaway),
        "When a guest stays held because no room comes: keep it still (hold), stop it in order (stop), or let it go on "
        "into its own limit (wall).",
    )
    brake: Annotated[Brake, _one_of(Brake)] = _key(
        "brake",
        _D.brake,
        f'"{_D.brake.value}"',
        _words(Brake),
        "How a guest whose disk requests in flight take the headroom is slowed down before it would be held: few "
        "requests a second (throttle), vCPUs stopped for the moment they take (stop), or not at all (none).",
    )
    reclaim: Annotated[Reclaim, _one_of(Reclaim)] = _key(
        "reclaim",
        _D.reclaim,
        f'"{_D.reclaim.value}"',
        _words(Reclaim),
        "What may be taken back from guests before one is turned away or held: nothing (off), page cache and what "
        "their balloon_min allows (cache), and QEMU's own memory into swap as well (swap).",
    )
    giveback_keep_bytes: Annotated[int, PlainValidator(read_size)] = _key(
        "giveback_keep",
        _D.giveback_keep_bytes,
        '"32MiB"',
        _SIZE,
        "What a guest keeps above its floor when it gives room back.",
    )
    giveback_step: Annotated[Percent, PlainValidator(read_percent)] = _key(
        "giveback_step",
        _D.giveback_step,
        '"25%"',
        'a percentage like "25%" or "12.5%"',
        "The most a guest gives back in one step, as a share of its grant (but at least 16 MiB).",
    )
    swap_bytes: Annotated[int | None, _size_or("auto")] = _key(
        "swap",
        _D.swap_bytes,
        '"auto"',
        f'"auto", {_SIZE}',
        "Most of a guest's overhead that may be swapped out (cgroup v2); auto: as the kernel will. Guest RAM never is.",
    )
    zswap_bytes: Annotated[int | None, _size_or("auto")] = _key(
        "zswap",
        _D.zswap_bytes,
        '"auto"',
        f'"auto", {_SIZE}',
        "Most of that kept compressed in memory by zswap (cgroup v2, from kernel 5.19 on); auto: as the kernel will.",
    )
    cgroup: Annotated[str, _text(_CGROUP, ("tasks", "notify_on_release"))] = _key(
        "cgroup",
        _D.cgroup,
        f'"{_D.cgroup}"',
        "1 to 63 letters, digits, '-' or '_', beginning with a letter or digit",
        "Name of the cgroup all guests are in, made under the agent's own.",
    )
    socket_group: Annotated[str | None, _text(_GROUP, empty=True)] = _key(
        "socket_group",
        _D.socket_group,
        '""',
        'the name of a group, or "" for the agent\'s own',
        "Group that may talk to the agent's socket.",
    )


class SizingSection(Section):
    """How much overhead a guest is expected to need."""

    policy: Annotated[str, _one_of(size.check_policy)] = _key(
        "policy",
        _D.policy,
        f'"{_D.policy}"',
        ", ".join(f'"{name}"' for name in size.policies()),
        "Sizing policy that gives a guest's need (guestroom size shows them side by side).",
    )
    coverage: float = Field(
        _D.coverage,
        alias="coverage",
        ge=0.5,
        le=0.999,
        description="Share of guests a need is to be enough for, where the policy can promise one (measured, learned).",
        json_schema_extra={"toml": f"{_D.coverage:g}", "allowed": "from 0.5 to 0.999"},
    )
    overhead_bytes: Annotated[int | None, _size_or("none", 1)] = _key(
        "overhead",
        _D.overhead_bytes,
        '"none"',
        f'"none", {_SIZE}, at least 1',
        "Fixed need of every guest in place of the policy's.",
    )
    cap_bytes: Annotated[int | None, _size_or("none", 1)] = _key(
        "cap",
        _D.cap_bytes,
        '"none"',
        f'"none", {_SIZE}, at least 1',
        "Most overhead any guest may have.",
    )
    on_short: Annotated[OnShort, _one_of(OnShort)] = _key(
        "on_short",
        _D.on_short,
        f'"{_D.on_short.value}"',
        _words(OnShort),
        "When there is less room than a new guest needs: start it with what is left (squeeze), do not start it "
        "(refuse), restart a guest marked recreatable under a lower limit (recreate), or let it wait its turn (wait).",
    )


class TimingSection(Section):
    """Times, in seconds."""

    settle_s: float = _seconds(
        "settle_s", _D.settle_s, 0, "How long after its start a guest's need belongs to its floor."
    )
    peak_window_s: float = _seconds(
        "peak_window_s", _D.peak_window_s, 1, "How long a guest's peak of overhead belongs to its floor."
    )
    agent_lost_s: float = _seconds(
        "agent_lost_s", _D.agent_lost_s, 1, "After how long without the agent held guests go on."
    )
    sweep_s: float = _seconds("sweep_s", _D.sweep_s, 0.01, "How often every guest is looked at.")
    start_timeout_s: float = _seconds(
        "start_timeout_s", _D.start_timeout_s, 1, "How long a guest may take to obtain its RAM and begin to run."
    )
    wait_timeout_s: Annotated[float | None, PlainValidator(_read_wait)] = _key(
        "wait_timeout_s",
        _D.wait_timeout_s,
        '"none"',
        f'"none", seconds, from 0 to {_LONGEST_S:.0f}',
        "How long a guest waits for room at most (on_short wait) where its run does not say; none: without end.",
    )
    stop_timeout_s: float = _seconds(
        "stop_timeout_s", _D.stop_timeout_s, 1, "How long a guest may take to stop when it is recreated."
    )
    recreate_interval_s: float = _seconds(
        "recreate_interval_s", _D.recreate_interval_s, 0, "Least time between two recreations of one guest."
    )
    runaway_after_s: float = _seconds(
        "runaway_after_s", _D.runaway_after_s, 1, "How long a guest is held before on_runaway is asked."
    )
    giveback_after_s: float = _seconds(
        "giveback_after_s",
        _D.giveback_after_s,
        1,
        "How long a guest must have room to spare before each step in which it gives some back.",
    )
    warn_before_s: float = _seconds(
        "warn_before_s", _D.warn_before_s, 1, "How long before a guest would reach its limit a warning is raised."
    )
    reclaim_s: float = _seconds(
        "reclaim_s", _D.reclaim_s, 0.1, "The longest that getting memory back may delay a new guest."
    )
    reading_keep_s: float = _seconds(
        "reading_keep_s", _D.reading_keep_s, 0, "How far apart a quiet guest's readings are kept in the ledger."
    )


class GuestSection(Section):
    """One guest, by its name. What is not set here is as for all guests."""

    weight: Annotated[int | None, PlainValidator(lambda value: read_size(value, 1))] = _key(
        "weight", None, "1", f"a whole number of at least 1, or {_SIZE}", "Its claim on the reserve; not set: its RAM."
    )
    cap_bytes: Annotated[int | None, PlainValidator(lambda value: read_size(value, 1))] = _key(
        "cap", None, '"600MiB"', f"{_SIZE}, at least 1", "Most overhead it may have; not set: the cap of [sizing]."
    )
    overhead_bytes: Annotated[int | None, PlainValidator(lambda value: read_size(value, 1))] = _key(
        "overhead", None, '"400MiB"', f"{_SIZE}, at least 1", "Its fixed need; not set: the policy's."
    )
    recreatable: bool = _key(
        "recreatable", False, "false", "true, false", "It may be stopped and restarted to make room for another."
    )
    recreate_need_bytes: Annotated[int | None, PlainValidator(lambda value: read_size(value, 1))] = _key(
        "recreate_need",
        None,
        '"200MiB"',
        f"{_SIZE}, at least 1",
        "Overhead that is enough when it is restarted; not set: its need.",
    )
    on_short: Annotated[OnShort | None, _one_of(OnShort)] = _key(
        "on_short", None, '"squeeze"', _words(OnShort), "What happens when there is less room than it needs."
    )
    swap_bytes: Annotated[int | None, PlainValidator(read_size)] = _key(
        "swap", None, "0", _SIZE, "Most of its overhead that may be swapped out; not set: that of [host]."
    )
    zswap_bytes: Annotated[int | None, PlainValidator(read_size)] = _key(
        "zswap", None, "0", _SIZE, "Most of that kept compressed in memory; not set: that of [host]."
    )
    on_runaway: Annotated[OnRunaway | None, _one_of(OnRunaway)] = _key(
        "on_runaway", None, '"stop"', _words(OnRunaway), "What happens when it stays held; not set: that of [host]."
    )
    brake: Annotated[Brake | None, _one_of(Brake)] = _key(
        "brake", None, '"stop"', _words(Brake), "How it is slowed down; not set: that of [host]."
    )
    balloon_min_bytes: Annotated[int | None, PlainValidator(lambda value: read_size(value, 1))] = _key(
        "balloon_min",
        None,
        '"512MiB"',
        f"{_SIZE}, at least 1",
        "RAM it keeps at least when its balloon is used; not set: its balloon is never touched.",
    )
