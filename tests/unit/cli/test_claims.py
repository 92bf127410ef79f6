"""The input of ``divide``: what is taken, and every fault with its place."""

import json
from typing import Any

import pytest

from guestroom.cli.claims import GivenClaim, parse_claims
from guestroom.errors import ClaimsError
from guestroom.units import MAX_JSON_INT


def guest(**changes: Any) -> dict[str, Any]:
    """A guest as JSON, with changes."""
    return {"name": "a", "weight": 1, "floor_bytes": 0, "cap_bytes": None} | changes


def without(key: str) -> dict[str, Any]:
    """A guest as JSON that lacks a key."""
    return {name: value for name, value in guest().items() if name != key}


def text(*guests: Any, **changes: Any) -> str:
    """An input as JSON text."""
    return json.dumps({"reserve_bytes": 1 << 30, "guests": list(guests)} | changes)


def fault(given: str) -> ClaimsError:
    """The error that ``given`` gets."""
    with pytest.raises(ClaimsError) as caught:
        parse_claims(given, "stdin")
    return caught.value


def test_a_good_input_is_taken_as_it_is() -> None:
    """Values, order and the default page size."""
    given = parse_claims(text(guest(cap_bytes=8192), guest(name="b", weight=7, floor_bytes=1)), "stdin")
    assert (given.reserve_bytes, given.page_bytes) == (1 << 30, 4096)
    assert given.claims == (GivenClaim("a", 1, 0, 8192), GivenClaim("b", 7, 1, None))


def test_no_guests_and_no_reserve_are_an_input() -> None:
    """An empty list and a reserve of 0 are answers to give, not faults."""
    assert parse_claims('{"reserve_bytes": 0, "guests": []}', "stdin").claims == ()


def test_the_largest_numbers_json_can_carry_are_taken() -> None:
    """2^53 - 1 is a reserve and a cap and a weight."""
    given = parse_claims(text(guest(weight=MAX_JSON_INT, cap_bytes=MAX_JSON_INT), reserve_bytes=MAX_JSON_INT), "stdin")
    assert given.claims[0].cap_bytes == MAX_JSON_INT


@pytest.mark.parametrize("page_bytes", [1, 4096, 2 << 20, 1 << 40])
def test_page_sizes_are_powers_of_two(page_bytes: int) -> None:
    """Base pages, huge pages, and 1 for exact bytes."""
    assert parse_claims(text(page_bytes=page_bytes), "stdin").page_bytes == page_bytes


@pytest.mark.parametrize("page_bytes", [0, -4096, 4095, 3, 1 << 41])
def test_other_page_sizes_are_refused(page_bytes: int) -> None:
    """What no machine has as a page is a mistake."""
    assert fault(text(page_bytes=page_bytes)).where == "stdin: page_bytes"


@pytest.mark.parametrize("key", ["weight", "floor_bytes", "cap_bytes"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1.0", "1.0 is not an integer"),
        ("1.5", "1.5 is not an integer"),
        ("1e3", "1e3 is not an integer"),
        ("NaN", "NaN is not an integer"),
        ("Infinity", "Infinity is not an integer"),
        ("-Infinity", "-Infinity is not an integer"),
        ("true", "it is true, not an integer"),
        ("false", "it is false, not an integer"),
        ('"1"', "it is the string '1', not an integer"),
        ("[]", "it is a list, not an integer"),
        ("{}", "it is an object, not an integer"),
        ("-1", "-1 is less than"),
        ("9007199254740992", "9007199254740992 is more than 2^53 - 1"),
        ("-" + "9" * 4000, "-10^30 or more is less than"),
        ("9" * 4000, "10^30 or more is more than 2^53 - 1"),
    ],
)
def test_only_integers_in_range_are_numbers(key: str, value: str, message: str) -> None:
    """Floats (1.0 too), NaN, infinities, booleans, strings, negatives and what doubles can't carry are refused."""
    error = fault(text(guest(), guest(name="b", **{key: "HERE"})).replace('"HERE"', value))
    assert message in error.message
    assert error.where == f"stdin: guests[1].{key}"


@pytest.mark.parametrize("key", ["weight", "floor_bytes"])
def test_null_is_only_a_cap(key: str) -> None:
    """Unknown weights and floors can't be shared by."""
    assert fault(text(guest(**{key: None}))).message == "it is null, not an integer"


def test_a_weight_of_zero_is_refused() -> None:
    """A guest without a claim would get nothing for ever."""
    assert fault(text(guest(weight=0))).message == "0 is less than 1"


@pytest.mark.parametrize("key", ["name", "weight", "floor_bytes", "cap_bytes"])
def test_nothing_may_be_left_out(key: str) -> None:
    """A missing key is named; a missing cap is not "no cap"."""
    error = fault(text(without(key)))
    assert error.message == f"{key} missing"
    assert error.where == "stdin: guests[0]"
    assert (error.hint == "write null for no cap") is (key == "cap_bytes")


@pytest.mark.parametrize("key", ["reserve_bytes", "guests"])
def test_the_input_itself_is_complete(key: str) -> None:
    """Reserve and guests must be there."""
    data = json.loads(text())
    del data[key]
    assert fault(json.dumps(data)).message == f"{key} missing"


def test_an_unknown_key_is_a_typing_mistake() -> None:
    """It is named with the known ones, at the top and in a guest."""
    assert fault(text(reserve=1)).message == "unknown key 'reserve'"
    error = fault(text(guest(capbytes=1)))
    assert (error.message, error.where) == ("unknown key 'capbytes'", "stdin: guests[0]")
    assert "cap_bytes" in str(error.hint)


def test_a_key_given_twice_is_no_choice() -> None:
    """JSON readers silently take the last; a share must not depend on that."""
    error = fault('{"reserve_bytes": 1, "reserve_bytes": 2, "guests": []}')
    assert "'reserve_bytes' is given twice" in error.message
    in_guest = text(guest()).replace('"weight": 1', '"weight": 1, "weight": 2')
    assert fault(in_guest).where == "stdin: guests[0]"


def test_a_name_twice_is_refused_with_both_places() -> None:
    """The second is at fault and the first is pointed at."""
    error = fault(text(guest(), guest(name="b"), guest()))
    assert (error.message, error.where) == ("'a' is also the name of guests[0]", "stdin: guests[2].name")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", "a\nb", "x" * 300, "ram", "vmm", "ü", 5, None, ["a"]])
def test_names_that_name_no_guest_are_refused(name: object) -> None:
    """What could not be a guest's folder, or is no string, is refused at its place."""
    assert fault(text(guest(name=name))).where == "stdin: guests[0].name"


def test_a_cap_below_the_floor_after_rounding_is_refused_with_numbers() -> None:
    """Floor up, cap down to pages: 5000..8191 leaves no page size between, 5000..8192 does."""
    assert parse_claims(text(guest(floor_bytes=5000, cap_bytes=8192)), "stdin").claims[0].cap_bytes == 8192
    error = fault(text(guest(floor_bytes=5000, cap_bytes=8191)))
    assert error.where == "stdin: guests[0].cap_bytes"
    assert error.numbers == {"floor_bytes": 5000, "cap_bytes": 8191, "page_bytes": 4096}
    assert parse_claims(text(guest(floor_bytes=5000, cap_bytes=8191), page_bytes=1), "stdin").claims


def test_floors_that_sum_beyond_json_are_refused() -> None:
    """The shortfall could not be printed exactly."""
    many = [guest(name=f"g{i}", floor_bytes=MAX_JSON_INT // 2) for i in range(3)]
    assert fault(text(*many)).message == "the floors sum to more than 2^53 - 1 bytes"


@pytest.mark.parametrize("given", ["[]", "null", "1", '"x"', "true"])
def test_other_documents_are_refused(given: str) -> None:
    """The input is an object."""
    assert "not an object" in fault(given).message


@pytest.mark.parametrize("guests", [None, {}, 3, "a"])
def test_guests_are_a_list(guests: object) -> None:
    """Nothing else is taken for one."""
    assert "not a list" in fault(text(guests=guests)).message


def test_a_guest_is_an_object() -> None:
    """Its place is named."""
    assert fault(text(guest(), [])).where == "stdin: guests[1]"


@pytest.mark.parametrize("given", ["", "  \n"])
def test_an_empty_input_is_said_to_be_empty(given: str) -> None:
    """Not "Expecting value"."""
    assert fault(given).message == "the input is empty"


def test_broken_json_is_placed_by_line_and_column() -> None:
    """file:line:column."""
    assert fault('{"reserve_bytes": 1,\n oops}').where == "stdin:2:2"
    assert fault('{"reserve_bytes": 1} x').where == "stdin:1:22"
    assert fault("\ufeff{}").where == "stdin:1:1"


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deep_nesting_is_an_error_not_a_crash(opening: str) -> None:
    """A hundred thousand brackets get one line."""
    assert "nested too deeply" in fault(opening * 100_000).message


def test_absurdly_long_numbers_are_an_error_not_a_crash() -> None:
    """Python refuses to convert more than 4,300 digits; the user gets a line."""
    assert "thousands of digits" in fault(f'{{"reserve_bytes": {"9" * 5000}, "guests": []}}').message
