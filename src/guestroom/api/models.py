"""What the API takes, checked before anything is done with it. Byte values stay below 2^53."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from guestroom.units import MAX_JSON_INT

_Text = Annotated[str, Field(max_length=1 << 20)]
_Seconds = Annotated[float, Field(ge=0, le=366 * 86400, allow_inf_nan=False)]
_Pid = Annotated[int, Field(gt=0, lt=1 << 22)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class GuestDescription(_Strict):
    """A guest as its owner starts it: the argv and the text of its readconfig files, never a ready-made size."""

    name: Annotated[str, Field(max_length=1024, description="1 to 63 letters, digits, '-' or '_'")]
    argv: Annotated[list[_Text], Field(max_length=10_000)]
    readconfig: Annotated[dict[str, _Text], Field(max_length=64)] = {}
    on_short: Literal["squeeze", "refuse", "recreate", "wait"] | None = None


class Start(GuestDescription):
    """A start: the guest and the waiting processes that become QEMU and its helpers."""

    child_pid: _Pid
    helper_pids: Annotated[list[_Pid], Field(max_length=64)] = []
    timeout_s: _Seconds | None = None
    waited_s: _Seconds = 0.0


class Release(_Strict):
    """A guest to let go."""

    name: Annotated[str, Field(max_length=1024)]


class Adopt(_Strict):
    """A running QEMU to take under care, by ``pid`` or by libvirt's name for it."""

    pid: _Pid | None = None
    libvirt: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    name: Annotated[str, Field(max_length=1024)] | None = None
    limit_bytes: Annotated[int, Field(gt=0, le=MAX_JSON_INT)] | None = None
    ram_bytes: Annotated[int, Field(gt=0, le=MAX_JSON_INT)] | None = None
    watch: bool = False
