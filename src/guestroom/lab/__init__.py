"""Real guests to try guestroom on: the test guest, the story, and (later) studies and replays.

Uses the same rooms as the agent; nothing else imports it, except the command line.
"""
