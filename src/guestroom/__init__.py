"""guestroom: room for every guest.

Sizes, shares and safely applies the memory QEMU/KVM needs beside the guest's RAM. The stable Python
interface is ``guestroom.describe``, ``guestroom.size.estimate`` and ``guestroom.decide.divide``.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
