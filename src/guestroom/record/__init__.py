"""The ledger: what was decided and what happened, durable across any crash (promise P8).

It records and gives back; it decides nothing and touches no kernel file.
"""

from guestroom.record.ledger import SqliteLedger, open_ledger
from guestroom.record.outbox import Outbox
from guestroom.record.reader import read_lives

__all__ = ["Outbox", "SqliteLedger", "open_ledger", "read_lives"]
