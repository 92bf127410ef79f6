"""What several policies read from a guest the same way."""

from guestroom.guest import Guest
from guestroom.size.terms import NO_VCPUS, vcpus_or_one


def test_vcpus_are_taken_as_given_and_assumed_aloud() -> None:
    """A known number is used without a word, an unknown one counts as 1 with a warning."""
    assert vcpus_or_one(Guest(vcpus=6)) == (6, ())
    assert vcpus_or_one(Guest()) == (1, (NO_VCPUS,))
