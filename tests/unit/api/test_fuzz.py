"""The API under requests nobody would write: generated from its own models, and bent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.api.fake_keeper import FakeKeeper, client_of

from guestroom.agent.adopt import AdoptRequest
from guestroom.agent.request import StartRequest
from guestroom.api.app import build_app
from guestroom.api.models import Adopt, GuestDescription, Release, Start
from guestroom.units import MAX_JSON_INT

TEXT = st.text(st.characters(exclude_categories=[]), max_size=30)
SIZES = st.sampled_from(
    ["64", "64M", "1G", "-1", "64Q", "99999999999999999999T", "0", "", "1e3", "64,maxmem=1G,slots=2"]
)
WORDS = st.sampled_from(
    [
        *("qemu-system-x86_64", "-m", "-smp", "-machine", "-object", "-drive", "-device", "-blockdev", "-netdev"),
        *("-readconfig", "f", "-S", "-incoming", "-mem-prealloc", "-mem-path", "-daemonize", "-accel", "--", "-"),
        *("q35,memory-backend=m", "memory-backend-ram,id=m,size=64M", "memory-backend-file,id=m,size=64M,mem-path=/x"),
        *('{"qom-type":"memory-backend-ram","id":"m","size":1}', '{"driver":', "if=none,id=a,file=/x", "cpus=-1"),
        *("virtio-blk-pci,drive=a", "tcg,tb-size=8", "tcg,tb-size=x", "none", "xenpv", ",,,", "a=b,a=c", "=", "on"),
    ]
)
CONFIG = st.one_of(
    TEXT, st.sampled_from(['[memory]\n size = "64"\n', '[memory]\n size = "x"\n', "[", '[smp-opts]\n cpus="0"'])
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
ARGV = st.lists(st.one_of(WORDS, SIZES, TEXT), max_size=12).map(lambda words: ["qemu-system-x86_64", *words])
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "name": st.one_of(st.sampled_from(["a", "b", "ram", "../x", "a\nb", "x" * 300, ""]), TEXT),
    "argv": ARGV,
    "readconfig": st.dictionaries(st.sampled_from(["f", "/etc/g"]) | TEXT, CONFIG, max_size=2),
    "on_short": st.sampled_from([None, "squeeze", "refuse", "recreate", "wait"]),
    "child_pid": st.integers(-1, 1 << 23),
    "helper_pids": st.lists(st.integers(-1, 1 << 23), max_size=3),
    "timeout_s": st.none() | st.floats(-1.0, 1e9),
    "waited_s": st.floats() | st.integers(),
    "pid": st.none() | st.integers(-1, 1 << 23),
    "libvirt": st.none() | TEXT,
    "limit_bytes": st.none() | st.integers(-1, 1 << 54),
    "ram_bytes": st.none() | st.integers(-1, 1 << 54),
    "watch": st.booleans(),
}
MODELS = {
    "/v1/start": Start,
    "/v1/plan": GuestDescription,
    "/v1/release": Release,
    "/v1/stopping": Release,
    "/v1/adopt": Adopt,
}


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """A body of the right keys; sometimes one is left out, replaced by anything, or added."""
    body = {key: draw(values) for key, values in FIELDS.items()}
    for key in draw(st.sets(st.sampled_from(list(body)), max_size=2)):
        if draw(st.booleans()):
            del body[key]
        else:
            body[key] = draw(JSON)
    if draw(st.integers(0, 9)) == 0:
        body[draw(TEXT)] = draw(JSON)
    return body


def trimmed(target: str, body: dict[str, Any]) -> dict[str, Any]:
    """Only what this target knows, so that more than the unknown key is looked at."""
    known = MODELS[target].model_fields
    return {key: value for key, value in body.items() if key in known or key not in FIELDS}


def send(method: str, target: str, content: bytes, keeper: FakeKeeper) -> tuple[int, Any]:
    """Status and decoded answer; a bug in a handler is raised here."""

    async def go() -> tuple[int, Any]:
        async with client_of(keeper) as client:
            answer = await client.request(method, target, content=content, headers={"content-type": "application/json"})
            return answer.status_code, answer.json()

    return asyncio.run(go())


def judge(status: int, answer: Any) -> None:
    """A request was understood, or it got an error object with a message; nothing is the server's fault."""
    assert status in (200, 400, 404, 405, 413, 422)
    if status != 200:
        error = answer["error"]
        assert set(error) == {"code", "message", "where", "numbers", "hint"}
        assert error["message"]


@given(target=st.sampled_from(list(MODELS)), body=bodies())
@settings(max_examples=400, deadline=None)
def test_bent_requests_are_understood_or_told_what_is_wrong(target: str, body: dict[str, Any]) -> None:
    """Whatever a client sends under the right names, it gets an answer, and the keeper only what the model allows."""
    keeper = FakeKeeper()
    judge(*send("POST", target, json.dumps(trimmed(target, body)).encode(), keeper))
    for request in keeper.asked:
        if isinstance(request, StartRequest):
            assert 0 < request.child_pid < 1 << 22
            assert all(isinstance(word, str) for word in request.argv)
        if isinstance(request, AdoptRequest):
            assert request.pid is None or 0 < request.pid < 1 << 22
            assert request.limit_bytes is None or 0 < request.limit_bytes <= MAX_JSON_INT


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]),
    path=st.one_of(
        st.sampled_from(["/v1/guests", "/v1/host", "/v1/events", "/v1/start", "/v1/plan", "/v1/release"]),
        st.text(st.characters(codec="ascii"), max_size=20).map(lambda text: "/v1/guests/" + text),
    ),
    query=st.dictionaries(
        st.sampled_from(["after", "limit", "x"]), st.integers().map(str) | st.text(max_size=9), max_size=3
    ),
    body=st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()),
)
@settings(max_examples=200, deadline=None)
def test_any_method_path_and_body_gets_an_answer(method: str, path: str, query: dict[str, str], body: bytes) -> None:
    """Methods, paths, queries and bodies in any mixture end in an answer of the one form."""

    async def go() -> tuple[int, bytes]:
        async with client_of(FakeKeeper()) as client:
            escaped = "".join(ch if ch.isalnum() or ch == "/" else f"%{ord(ch):02x}" for ch in path)
            answer = await client.request(method, escaped, params=query, content=body)
            return answer.status_code, answer.content

    status, content = asyncio.run(go())
    judge(
        status,
        json.loads(content)
        if content and status != 200
        else {"error": dict.fromkeys(("code", "message", "where", "numbers", "hint"), "HEAD")},
    )


def test_the_fuzzed_application_is_the_real_one() -> None:
    """Every path that takes a body is bent, and the strategies name every key: a new one must be bent too."""
    described = build_app(FakeKeeper()).openapi()  # type: ignore[arg-type]
    assert {path for path, methods in described["paths"].items() if "post" in methods} == set(MODELS)
    assert {key for model in MODELS.values() for key in model.model_fields} == set(FIELDS)
