"""Fakes that users of guestroom can test against: a clock, a host, a ledger."""
