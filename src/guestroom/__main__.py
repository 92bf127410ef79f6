"""``python -m guestroom``: the same as the ``guestroom`` command."""

from guestroom.cli.entry import main

if __name__ == "__main__":
    main()
